// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-jpegcheck
//!
//! Passes buffers that are one whole JPEG each, and drops all others. It looks at the bytes, not
//! at the caps, which may be missing or wrong when frames come from another machine. For the
//! first dropped buffer, the second, the fourth and so on it posts a warning; it never ends the
//! stream. As in all elements, a JPEG is recognised by its first bytes, so a truncated JPEG
//! passes. A JPEG whose header declares more than `max-pixels` is dropped, because a decoder
//! would allocate memory for all of them.
//!
//! With `capture-time` and `origin` it stamps outgoing frames with the time of their capture and
//! the name of their sender, in JPEG comments that decoders skip. From incoming frames it reads
//! the time into a `GstReferenceTimestampMeta`; `stats` has the sender and the delays. A time
//! before 2000 or more than a day in the future is ignored and counted
//! (`capture-times-ignored`); with `capture-time` such a frame gets a new stamp before the old
//! one, like a frame without a stamp.
//!
//! If two senders use one stream, only the frames of the first sender pass, until it has sent
//! none for `origin-timeout`. A warning names both. Frames without a name count as those of one
//! sender.
//!
//! It never waits, and copies no frame.
//!
//! ## Example
//!
//! Frames into Zenoh, with `gst-plugin-zenoh`:
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! jpegcheck capture-time=true origin=hall ! zenohsink key-expr=cam/hall/jpeg congestion-control=drop
//! ```
//!
//! and from Zenoh:
//!
//! ```bash
//! gst-launch-1.0 zenohsrc key-expr=cam/hall/jpeg apply-buffer-meta=false ! jpegcheck ! queue leaky=downstream max-size-buffers=1 ! jpegdec ! videoconvert ! autovideosink
//! ```

use std::{
    ops::ControlFlow,
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use b64jpeg_net::sync::lock;
use b64jpeg_wire::{
    FrameLimits, WireError,
    jpeg::{self, Origin},
};
use gst::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::{
    settings::{PROPERTIES, Settings},
    stream_holder::{ForeignSender, StreamHolder},
};
use crate::common::{
    capture_time::{self, CaptureTime, Delays},
    error_policy::RAISE_MAX_PIXELS,
    jpeg_buffer, panics, receiver_settings,
    stats::{self, Stats},
    time,
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "jpegcheck",
        gst::DebugColorFlags::empty(),
        Some("JPEG check"),
    )
});

/// From start to stop.
#[derive(Debug, Default)]
struct State {
    limits: FrameLimits,
    capture_time: bool,
    origin: Option<Origin>,
    holder: StreamHolder,
    /// Width and height in the caps downstream; `None` before caps were sent.
    size: Option<Option<(u16, u16)>>,
    /// Whether a frame was dropped since the last one that passed.
    discont: bool,
    stats: Stats,
    /// Frames dropped because another sender holds the stream.
    strangers: u64,
    delays: Delays,
    stats_timer: stats::NotifyTimer,
}

impl State {
    /// The value of `stats`.
    fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        stats.set("strangers", self.strangers);
        if let Some(origin) = self.holder.origin() {
            stats.set("origin", origin);
        }
        self.delays.tell(&mut stats);
        stats
    }
}

pub struct JpegCheck {
    sink_pad: gst::Pad,
    src_pad: gst::Pad,
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

impl JpegCheck {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The implementation of the element that a pad belongs to.
    fn of(parent: Option<&gst::Object>) -> Option<&Self> {
        let element = parent?.downcast_ref::<super::JpegCheck>()?;
        Some(element.imp())
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        *self.state() = State {
            limits: FrameLimits {
                max_pixels: receiver_settings::max_pixels(settings.max_pixels),
                ..FrameLimits::default()
            },
            capture_time: settings.capture_time,
            origin: settings.origin()?,
            ..State::default()
        };
        Ok(())
    }

    fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let accepted = self.accept(&buffer)?;
        let output = accepted.map(|info| self.prepare(buffer, info));
        let interval = self.settings().stats_interval;
        let due = self.state().stats_timer.is_due(interval);
        if due {
            self.obj().notify("stats");
        }
        match output {
            Some(output) => self.src_pad.push(output),
            None => Ok(gst::FlowSuccess::Ok),
        }
    }

    /// Decides whether a buffer passes. Counts a buffer that does not, and warns.
    ///
    /// # Errors
    ///
    /// If the buffer cannot be mapped.
    fn accept(&self, buffer: &gst::BufferRef) -> Result<Option<jpeg::JpegInfo>, gst::FlowError> {
        let bytes = buffer.map_readable().map_err(|error| {
            gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
            gst::FlowError::Error
        })?;
        let origin_timeout = self.settings().origin_timeout;
        let warning = {
            let state = &mut *self.state();
            let number = state.stats.frames + state.stats.dropped;
            let warning = match jpeg::JpegInfo::received(&bytes, &state.limits) {
                Ok(info) => {
                    let origin = Origin::of(&bytes).unwrap_or_default();
                    let now = Instant::now();
                    match state.holder.admit(origin, now, origin_timeout.into()) {
                        Ok(()) => return Ok(Some(info)),
                        Err(ForeignSender { conflict }) => {
                            state.strangers += 1;
                            conflict.map(|conflict| conflict.to_string())
                        }
                    }
                }
                Err(error) => {
                    state.stats.errors += 1;
                    let bad = state.stats.errors;
                    bad.is_power_of_two().then(|| {
                        let caps = match self.sink_pad.current_caps() {
                            // They come from upstream and may have any length.
                            Some(caps) => format!("as {:.200}", caps.to_string()),
                            None => "without caps".into(),
                        };
                        let advice = match &error {
                            WireError::TooManyPixels { .. } => RAISE_MAX_PIXELS,
                            _ => "; each buffer must contain one JPEG",
                        };
                        format!(
                            "Frame {number} is dropped: {error}; it came {caps}{advice}; \
                             bad frames so far: {bad}"
                        )
                    })
                }
            };
            state.stats.dropped += 1;
            state.stats.bytes_in += bytes.len() as u64;
            state.discont = true;
            warning
        };
        gst::log!(CAT, imp = self, "{buffer:?} is dropped");
        if let Some(text) = warning {
            gst::element_imp_warning!(self, gst::StreamError::WrongType, ("{text}"));
        }
        Ok(None)
    }

    /// Stamps a frame, adds its capture time as a meta, and counts it.
    fn prepare(&self, input: gst::Buffer, info: jpeg::JpegInfo) -> gst::Buffer {
        self.send_caps(info.size);
        let (captured, capture_time, origin, discont) = {
            let state = &mut *self.state();
            let captured = state.delays.judge(&info);
            if let Some(time) = captured {
                state.delays.add(time, capture_time::now());
            }
            let discont = std::mem::take(&mut state.discont);
            (captured, state.capture_time, state.origin.clone(), discont)
        };
        let len = input.size();
        // The first stamp is nearest to the capture.
        let stamp = (capture_time && captured.is_none()).then(|| {
            let segment = self.sink_pad.sticky_event::<gst::event::Segment>(0);
            let segment = segment.map_or_else(gst::Segment::new, |event| event.segment().clone());
            capture_time::time_of(&*self.obj(), &segment, &input)
        });
        let mut buffer = match (stamp, &origin) {
            (None, None) => input,
            _ => {
                let time = stamp.map(CaptureTime::unix_ns);
                jpeg_buffer::stamped(&input, jpeg::stamps(time, origin.as_ref()))
            }
        };
        if discont {
            buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
        }
        if let Some(time) = captured.or(stamp) {
            capture_time::add_meta(buffer.make_mut(), time);
        }
        gst::log!(CAT, imp = self, "{buffer:?}");

        let state = &mut *self.state();
        state.stats.frame(len, buffer.size());
        buffer
    }

    /// Sends caps downstream if the size has changed, and after the first caps the sticky events
    /// that must follow caps.
    fn send_caps(&self, size: Option<(u16, u16)>) {
        let last = self.state().size.replace(size);
        if last == Some(size) {
            return;
        }
        let caps = jpeg_buffer::caps(size, None);
        gst::debug!(CAT, imp = self, "Caps: {caps}");
        if !self.src_pad.push_event(gst::event::Caps::new(&caps)) {
            // A flushing pad refuses events: try again with the next frame.
            self.state().size = None;
        }
        if last.is_none() {
            let mut held = vec![];
            self.sink_pad.sticky_events_foreach(|event| {
                if follows_caps(event) {
                    held.push(event.clone());
                }
                ControlFlow::Continue(gst::EventForeachAction::Keep)
            });
            for event in held {
                self.src_pad.push_event(time::segment_of_time(event));
            }
        }
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        gst::log!(CAT, imp = self, "{event:?}");
        let caps_sent = self.state().size.is_some();
        match event.type_() {
            // The pad stores the event; it is sent with the first frame.
            gst::EventType::Caps => true,
            _ if !caps_sent && follows_caps(&event) => true,
            // A gap before the first frame means nothing downstream.
            gst::EventType::Gap if !caps_sent => true,
            _ => self.src_pad.push_event(time::segment_of_time(event)),
        }
    }
}

/// Whether this is a sticky event that must follow the caps.
fn follows_caps(event: &gst::EventRef) -> bool {
    use gst::EventType;
    event.is_sticky()
        && !matches!(
            event.type_(),
            EventType::StreamStart | EventType::Caps | EventType::Eos
        )
}

#[glib::object_subclass]
impl ObjectSubclass for JpegCheck {
    const NAME: &'static str = "GstB64JpegCheck";
    type Type = super::JpegCheck;
    type ParentType = gst::Element;

    fn with_class(class: &Self::Class) -> Self {
        let template = |name| {
            class
                .pad_template(name)
                .expect("the element has this template")
        };
        let sink_pad = gst::Pad::builder_from_template(&template("sink"))
            .chain_function(|_, parent, buffer| {
                let Some(imp) = Self::of(parent) else {
                    return Err(gst::FlowError::Flushing);
                };
                let failure = Err(gst::FlowError::Error);
                panics::guard(imp, "sink_chain", failure, || imp.sink_chain(buffer))
            })
            .event_function(|_, parent, event| {
                Self::of(parent).is_some_and(|imp| {
                    panics::guard(imp, "sink_event", false, || imp.sink_event(event))
                })
            })
            .build();
        let src_pad = gst::Pad::builder_from_template(&template("src"))
            .flags(gst::PadFlags::FIXED_CAPS)
            .build();
        Self {
            sink_pad,
            src_pad,
            settings: Mutex::default(),
            state: Mutex::default(),
        }
    }
}

impl ObjectImpl for JpegCheck {
    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        for pad in [&self.sink_pad, &self.src_pad] {
            obj.add_pad(pad).expect("its name is unique");
        }
    }

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
            setting.unwrap_or_else(|| self.state().structure().to_value())
        })
    }
}

impl GstObjectImpl for JpegCheck {}

impl ElementImpl for JpegCheck {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "JPEG check",
                "Filter/Video/Network",
                "Passes the JPEGs of one sender and drops everything else; stamps or reads their \
                 capture time and origin",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            use crate::common::framing_properties::always_template;
            vec![
                always_template("sink", gst::PadDirection::Sink, &gst::Caps::new_any()),
                always_template("src", gst::PadDirection::Src, &jpeg_buffer::CAPS),
            ]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let started = panics::catch(self, "start", || self.start());
            started.flatten().map_err(|message| {
                self.post_error_message(message);
                gst::StateChangeError
            })?;
        }
        self.parent_change_state(transition)
    }
}
