// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegpay
//!
//! Writes each JPEG as one frame of the framing that Python/OpenCV programs read:
//! a length and the picture as base64 text.
//!
//! Every output buffer is one whole frame, so that elements that serve many clients
//! (`tcpserversink`) begin and recover on a frame.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! b64jpegpay ! tcpserversink port=9999
//! ```
//!
//! What is not a JPEG is dropped with a warning. A picture longer than the header can
//! say is an error.

use std::sync::{Mutex, MutexGuard, PoisonError};

use b64jpeg_wire::{Framing, OutgoingFrame, WireError};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_transform::GenerateOutputSuccess, prelude::*},
};
use once_cell::sync::Lazy;

use crate::common::{
    capture, clock,
    framing::{self, CAPS_WITH_FRAMING, JPEG_CAPS, MEDIA_TYPE},
    panics,
    quit::{self, Quit},
    sender::{Format, Refused},
    stats::{self, Stats},
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
    format: Format,
    quit_key: String,
}

#[derive(Debug, Default)]
struct State {
    /// The framing since the start.
    framing: Option<Framing>,
    capture_time: bool,
    stats: Stats,
}

#[derive(Default)]
pub struct B64JpegPay {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    quit: Quit,
}

impl B64JpegPay {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The frame for one picture, or why there is none.
    fn frame(&self, input: &gst::BufferRef, jpeg: &[u8]) -> Result<gst::Buffer, WireError> {
        let (framing, capture_time) = {
            let state = self.state();
            (state.framing.unwrap_or_default(), state.capture_time)
        };
        let mut picture = OutgoingFrame::new(jpeg)?;
        if capture_time {
            let obj = self.obj();
            let time = capture::time_of(&*obj, &obj.segment(), input);
            picture = picture.captured_at(time.unix_ns());
        }

        let mut output = gst::Buffer::with_size(picture.wire_len(framing)?)
            .expect("GStreamer aborts when memory runs out");
        let output_ref = output.get_mut().expect("nobody else has it yet");
        {
            let mut bytes = output_ref
                .map_writable()
                .expect("system memory is writable");
            picture.encode(framing, &mut bytes);
        }
        // Every frame can be decoded on its own; a new client may begin with any.
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
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            let mut properties = Format::properties().to_vec();
            properties.extend([quit::key_spec(), stats::spec()]);
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            let mut settings = self.settings();
            match pspec.name() {
                "quit-key" => {
                    let key = value.get::<Option<_>>().expect("GObject checks the type");
                    settings.quit_key = key.unwrap_or_default();
                }
                name => settings.format.set(name, value),
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(
            self,
            "property",
            pspec.default_value().clone(),
            || match pspec.name() {
                "quit-key" => self.settings().quit_key.to_value(),
                "stats" => self.state().stats.structure().to_value(),
                name => self.settings().format.get(name),
            },
        )
    }
}

impl GstObjectImpl for B64JpegPay {}

impl ElementImpl for B64JpegPay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Base64 JPEG payloader",
                "Codec/Payloader/Network",
                "Frames JPEG pictures as Python/OpenCV programs read them: length and base64 text",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![
                framing::always_template("sink", gst::PadDirection::Sink, &JPEG_CAPS),
                framing::always_template("src", gst::PadDirection::Src, &CAPS_WITH_FRAMING),
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
                    let frames = other.get_mut().expect("nobody else has it yet");
                    for jpeg in caps.iter() {
                        let frame = gst::Structure::builder(MEDIA_TYPE)
                            .field("header", framing.header().as_str())
                            .field("payload", framing.payload().as_str());
                        // What a receiver of the caps may want to know.
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
            gst::trace!(CAT, imp = self, "{caps} from {direction:?} makes {other}");
            Some(other)
        })
    }

    fn query(&self, direction: gst::PadDirection, query: &mut gst::QueryRef) -> bool {
        panics::guard(self, "query", false, || {
            // Upstream's bytes are not the bytes of the frames.
            if direction == gst::PadDirection::Src {
                match query.view_mut() {
                    gst::QueryViewMut::Seeking(seeking)
                        if seeking.format() == gst::Format::Bytes =>
                    {
                        let nowhere = gst::format::Bytes::ZERO;
                        seeking.set(false, nowhere, gst::format::Bytes::NONE);
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
            self.parent_sink_event(clock::segment_of_time(event))
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
                self.frame(&input, &jpeg)
            };
            match frame {
                Ok(output) => {
                    gst::log!(CAT, imp = self, "{input:?} makes {output:?}");
                    self.state().stats.frame(input.size(), output.size());
                    Ok(GenerateOutputSuccess::Buffer(output))
                }
                Err(error) => {
                    let refused = {
                        let stats = &mut self.state().stats;
                        stats.dropped += 1;
                        Refused::new(stats, input.size(), error)
                    };
                    refused.report(&*self.obj())?;
                    Ok(GenerateOutputSuccess::NoOutput)
                }
            }
        })
    }
}
