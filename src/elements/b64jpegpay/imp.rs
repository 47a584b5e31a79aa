// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegpay
//!
//! Writes each JPEG as one frame of the framing that Python/OpenCV programs read:
//! a length and the JPEG as base64 text.
//!
//! Every output buffer is one whole frame, so that elements that serve many clients
//! (`tcpserversink`) start and recover at a frame.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! b64jpegpay ! tcpserversink port=9999
//! ```
//!
//! A buffer that is not a JPEG is dropped with a warning. A JPEG that is too long for the
//! header is an error.

use std::sync::{Mutex, MutexGuard};

use b64jpeg_net::sync::lock;
use b64jpeg_wire::{Framing, OutgoingFrame, WireError};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_transform::GenerateOutputSuccess, prelude::*},
};
use once_cell::sync::Lazy;

use crate::common::{
    capture_time,
    framing_properties::{self, CAPS_WITH_FRAMING, JPEG_CAPS, MEDIA_TYPE},
    panics,
    property_table::PropertyTable,
    quit_key::{self, QuitRequest},
    sender_settings::{SenderSettings, UnsendableFrame},
    stats::{self, Stats},
    time,
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "b64jpegpay",
        gst::DebugColorFlags::empty(),
        Some("Base64 JPEG payloader"),
    )
});

#[derive(Debug, Default, Clone)]
struct Settings {
    format: SenderSettings,
    quit_key: String,
}

static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    PropertyTable::default()
        .group(
            SenderSettings::properties(),
            |s: &Settings| &s.format,
            |s| &mut s.format,
        )
        .field(quit_key::key_spec(), |s| &s.quit_key, |s| &mut s.quit_key)
        .computed(stats::spec())
});

#[derive(Debug, Default)]
struct State {
    /// The framing, between start and stop.
    framing: Option<Framing>,
    capture_time: bool,
    stats: Stats,
}

#[derive(Default)]
pub struct B64JpegPay {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    quit: QuitRequest,
}

impl B64JpegPay {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Encodes one JPEG as a frame.
    fn encode(&self, input: &gst::BufferRef, jpeg: &[u8]) -> Result<gst::Buffer, WireError> {
        let (framing, capture_time) = {
            let state = self.state();
            (state.framing.unwrap_or_default(), state.capture_time)
        };
        let mut frame = OutgoingFrame::new(jpeg)?;
        if capture_time {
            let obj = self.obj();
            let time = capture_time::time_of(&*obj, &obj.segment(), input);
            frame = frame.captured_at(time.unix_ns());
        }

        let mut output = gst::Buffer::with_size(frame.wire_len(framing)?)
            .expect("GStreamer aborts when memory runs out");
        let output_ref = output.get_mut().expect("a new buffer has one owner");
        {
            let mut bytes = output_ref
                .map_writable()
                .expect("system memory is writable");
            frame.encode(framing, &mut bytes);
        }
        // Not DELTA_UNIT or HEADER: a client may start with any frame.
        let flags = gst::BufferFlags::DISCONT | gst::BufferFlags::LIVE;
        output_ref.set_flags(input.flags() & flags);
        output_ref.set_pts(input.pts());
        output_ref.set_dts(input.dts());
        output_ref.set_duration(input.duration());
        Ok(output)
    }
}

#[glib::object_subclass]
impl ObjectSubclass for B64JpegPay {
    const NAME: &'static str = "GstB64JpegPay";
    type Type = super::B64JpegPay;
    type ParentType = gst_base::BaseTransform;
}

impl ObjectImpl for B64JpegPay {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
    }

    fn set_property(&self, id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            PROPERTIES.set(&mut self.settings(), id, value);
        })
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            let setting = PROPERTIES.get(&self.settings(), id);
            setting.unwrap_or_else(|| self.state().stats.structure().to_value())
        })
    }
}

impl GstObjectImpl for B64JpegPay {}

impl ElementImpl for B64JpegPay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Base64 JPEG payloader",
                "Codec/Payloader/Network",
                "Frames JPEGs as Python/OpenCV programs read them: length and base64 text",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![
                framing_properties::always_template("sink", gst::PadDirection::Sink, &JPEG_CAPS),
                framing_properties::always_template(
                    "src",
                    gst::PadDirection::Src,
                    &CAPS_WITH_FRAMING,
                ),
            ]
        });
        &TEMPLATES
    }
}

impl BaseTransformImpl for B64JpegPay {
    const MODE: gst_base::subclass::BaseTransformMode =
        gst_base::subclass::BaseTransformMode::NeverInPlace;
    const PASSTHROUGH_ON_SAME_CAPS: bool = false;
    const TRANSFORM_IP_ON_PASSTHROUGH: bool = false;

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        panics::catch(self, "start", || {
            let format = self.settings().format.clone();
            let framing = format.check()?;
            self.quit.reset();
            gst::info!(CAT, imp = self, "Writing {framing}");
            *self.state() = State {
                framing: Some(framing),
                capture_time: format.capture_time,
                stats: Stats::new(Some(framing)),
            };
            Ok(())
        })?
    }

    fn transform_caps(
        &self,
        direction: gst::PadDirection,
        caps: &gst::Caps,
        filter: Option<&gst::Caps>,
    ) -> Option<gst::Caps> {
        panics::guard(self, "transform_caps", Some(gst::Caps::new_empty()), || {
            let mut other = match direction {
                gst::PadDirection::Src => JPEG_CAPS.clone(),
                _ => {
                    let started = self.state().framing;
                    let framing = started.unwrap_or_else(|| self.settings().format.framing());
                    let mut other = gst::Caps::new_empty();
                    let frames = other.get_mut().expect("new caps have one owner");
                    for jpeg in caps.iter() {
                        let frame = gst::Structure::builder(MEDIA_TYPE)
                            .field("header", framing.header().as_str())
                            .field("payload", framing.payload().as_str());
                        // Downstream may need these, which the framing does not change.
                        let frame = ["width", "height", "framerate"]
                            .into_iter()
                            .fold(frame, |frame, name| {
                                frame.field_if_some(name, jpeg.value(name).ok().cloned())
                            });
                        frames.append_structure(frame.build());
                    }
                    other
                }
            };
            if let Some(filter) = filter {
                other = filter.intersect_with_mode(&other, gst::CapsIntersectMode::First);
            }
            gst::trace!(
                CAT,
                imp = self,
                "{caps} on the {direction:?} pad: {other} on the other"
            );
            Some(other)
        })
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        panics::guard(self, "query", false, || {
            // Byte positions upstream are not those in the framed stream.
            if direction == gst::PadDirection::Src {
                match query.view_mut() {
                    gst::QueryViewMut::Seeking(seeking)
                        if seeking.format() == gst::Format::Bytes =>
                    {
                        let start = gst::format::Bytes::ZERO;
                        seeking.set(false, start, gst::format::Bytes::NONE);
                        return true;
                    }
                    gst::QueryViewMut::Duration(duration)
                        if duration.format() == gst::Format::Bytes =>
                    {
                        return false;
                    }
                    _ => {}
                }
            }
            BaseTransformImplExt::parent_query(self, direction, query)
        })
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "sink_event", false, || {
            self.quit.on_sink_event(&event);
            self.parent_sink_event(time::segment_of_time(event))
        })
    }

    fn src_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "src_event", false, || {
            let key = self.settings().quit_key.clone();
            self.quit.on_key(&*self.obj(), &key, &event) || self.parent_src_event(event)
        })
    }

    fn generate_output(&self) -> Result<GenerateOutputSuccess, gst::FlowError> {
        panics::guard(self, "generate_output", Err(gst::FlowError::Error), || {
            let Some(input) = self.take_queued_buffer() else {
                return Ok(GenerateOutputSuccess::NoOutput);
            };
            self.quit.check()?;
            let frame = {
                let jpeg = input.map_readable().map_err(|error| {
                    gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                    gst::FlowError::Error
                })?;
                self.encode(&input, &jpeg)
            };
            match frame {
                Ok(output) => {
                    gst::log!(CAT, imp = self, "{input:?} encoded as {output:?}");
                    self.state().stats.frame(input.size(), output.size());
                    Ok(GenerateOutputSuccess::Buffer(output))
                }
                Err(error) => {
                    let refused = {
                        let stats = &mut self.state().stats;
                        stats.dropped += 1;
                        UnsendableFrame::new(stats, input.size(), error)
                    };
                    refused.report(&*self.obj())?;
                    Ok(GenerateOutputSuccess::NoOutput)
                }
            }
        })
    }
}
