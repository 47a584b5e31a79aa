// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-jpegcheck
//!
//! Lets JPEG pictures through, one whole JPEG in each buffer, and nothing else. It looks at
//! the bytes, not at the caps, which may be missing or wrong where pictures come from other
//! machines. What is no JPEG is dropped with a warning, the first one, the second, the
//! fourth and so on, and never ends the stream. As everywhere, a JPEG is known by how it
//! begins; one that was cut off passes, as much as there is of it. One whose header says more
//! than `max-pixels` is dropped, because a decoder would take memory for all of them.
//!
//! With `capture-time` and `origin` it stamps the pictures that go out with the time of
//! their capture and with who sends them, in JPEG comments that decoders skip. On arrival it
//! tells the time downstream (`GstReferenceTimestampMeta`), and in `stats` whose pictures
//! come and how old they are. A time before 2000 or more than a day in the future is counted
//! (`capture-times-ignored`) and ignored: with `capture-time` such a picture is stamped anew, in
//! front of the old stamp, as one without a stamp is.
//!
//! Where two senders use one stream, only the pictures of the one pass who came first, until
//! nothing of it has come for `origin-timeout`. A warning names both. Pictures without a name
//! count as one sender's.
//!
//! It never waits, and copies no picture.
//!
//! ## Example
//!
//! Pictures over Zenoh, with `gst-plugin-zenoh`:
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! jpegcheck capture-time=true origin=hall ! zenohsink key-expr=cam/hall/jpeg congestion-control=drop
//! ```
//!
//! and out of it:
//!
//! ```bash
//! gst-launch-1.0 zenohsrc key-expr=cam/hall/jpeg apply-buffer-meta=false ! jpegcheck ! queue leaky=downstream max-size-buffers=1 ! jpegdec ! videoconvert ! autovideosink
//! ```

use std::{
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use b64jpeg_wire::{
    FrameLimits, WireError,
    jpeg::{self, Origin},
};
use gst::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::turn::{Stranger, Turn};
use crate::common::{
    capture::{self, CaptureTime, Delays},
    clock,
    faults::RAISE_MAX_PIXELS,
    panics, picture,
    receiver::{self, DEFAULT_MAX_PIXELS},
    sender::{self, DEFAULT_CAPTURE_TIME},
    stats::{self, Stats},
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "jpegcheck",
        gst::DebugColorFlags::empty(),
        Some("JPEG check"),
    )
});

const DEFAULT_ORIGIN_TIMEOUT: gst::ClockTime = gst::ClockTime::SECOND;

#[derive(Debug, Clone)]
struct Settings {
    capture_time: bool,
    origin: String,
    origin_timeout: gst::ClockTime,
    max_pixels: u32,
    stats_interval: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            capture_time: DEFAULT_CAPTURE_TIME,
            origin: String::new(),
            origin_timeout: DEFAULT_ORIGIN_TIMEOUT,
            max_pixels: DEFAULT_MAX_PIXELS,
            stats_interval: stats::DEFAULT_INTERVAL,
        }
    }
}

impl Settings {
    /// Who is to be stamped as the sender, if anybody.
    fn origin(&self) -> Result<Option<Origin>, gst::ErrorMessage> {
        if self.origin.is_empty() {
            return Ok(None);
        }
        let origin = Origin::new(&self.origin).ok_or_else(|| {
            gst::error_msg!(
                gst::ResourceError::Settings,
                (
                    "`origin` {:?} is no name: up to {} bytes without control characters are",
                    self.origin,
                    Origin::MAX
                )
            )
        })?;
        Ok(Some(origin))
    }
}

/// From start to stop.
#[derive(Debug, Default)]
struct State {
    limits: FrameLimits,
    capture_time: bool,
    origin: Option<Origin>,
    turn: Turn,
    /// Width and height of the last picture, as in the caps downstream.
    size: Option<Option<(u16, u16)>>,
    /// Something was dropped before the next picture.
    discont: bool,
    stats: Stats,
    strangers: u64,
    delays: Delays,
    told: stats::Told,
}

impl State {
    /// The counts as users read them.
    fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        stats.set("strangers", self.strangers);
        if let Some(origin) = self.turn.origin() {
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
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The element that a pad belongs to.
    fn of(parent: Option<&gst::Object>) -> Option<&Self> {
        let element = parent?.downcast_ref::<super::JpegCheck>()?;
        Some(element.imp())
    }

    fn start(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        *self.state() = State {
            limits: FrameLimits {
                max_pixels: receiver::max_pixels(settings.max_pixels),
                ..FrameLimits::default()
            },
            capture_time: settings.capture_time,
            origin: settings.origin()?,
            ..State::default()
        };
        Ok(())
    }

    fn sink_chain(&self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        let picture = self.look(&buffer)?;
        let output = picture.map(|info| self.take(buffer, info));
        let interval = self.settings().stats_interval;
        let telling = self.state().told.again(interval);
        if telling {
            self.obj().notify("stats");
        }
        match output {
            Some(output) => self.src_pad.push(output),
            None => Ok(gst::FlowSuccess::Ok),
        }
    }

    /// What a buffer is, if it is a picture that is wanted; warns if not.
    fn look(&self, buffer: &gst::BufferRef) -> Result<Option<jpeg::JpegInfo>, gst::FlowError> {
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
                    match state.turn.take(origin, now, origin_timeout.into()) {
                        Ok(()) => return Ok(Some(info)),
                        Err(Stranger(warning)) => {
                            state.strangers += 1;
                            warning
                        }
                    }
                }
                Err(error) => {
                    state.stats.errors += 1;
                    let bad = state.stats.errors;
                    bad.is_power_of_two().then(|| {
                        let caps = match self.sink_pad.current_caps() {
                            // Others made them, of any length.
                            Some(caps) => format!("as {:.200}", caps.to_string()),
                            None => "without caps".into(),
                        };
                        let advice = match &error {
                            WireError::TooManyPixels { .. } => RAISE_MAX_PIXELS,
                            _ => "; whoever sends it has to send one JPEG at a time",
                        };
                        format!(
                            "Picture {number} is dropped: {error}; it came {caps}{advice}; \
                             bad ones so far: {bad}"
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

    /// A picture as it goes out.
    fn take(&self, input: gst::Buffer, info: jpeg::JpegInfo) -> gst::Buffer {
        self.announce(info.size);
        let (captured, capture_time, origin, discont) = {
            let state = &mut *self.state();
            let captured = state.delays.judge(&info);
            if let Some(time) = captured {
                state.delays.add(time, capture::now());
            }
            let discont = std::mem::take(&mut state.discont);
            (captured, state.capture_time, state.origin.clone(), discont)
        };
        let len = input.size();
        // When it was captured is known best to who stamped it first.
        let stamp = (capture_time && captured.is_none()).then(|| {
            let segment = self.sink_pad.sticky_event::<gst::event::Segment>(0);
            let segment = segment.map_or_else(gst::Segment::new, |event| event.segment().clone());
            capture::time_of(&*self.obj(), &segment, &input)
        });
        let mut buffer = match (stamp, &origin) {
            (None, None) => input,
            _ => {
                let time = stamp.map(CaptureTime::unix_ns);
                picture::stamped(&input, jpeg::stamps(time, origin.as_ref()))
            }
        };
        if discont {
            buffer.make_mut().set_flags(gst::BufferFlags::DISCONT);
        }
        if let Some(time) = captured.or(stamp) {
            capture::add_meta(buffer.make_mut(), time);
        }
        gst::log!(CAT, imp = self, "{buffer:?}");

        let state = &mut *self.state();
        state.stats.frame(len, buffer.size());
        buffer
    }

    /// Sends caps downstream if the pictures have another size than before and, with the
    /// first ones, what has to follow caps.
    fn announce(&self, size: Option<(u16, u16)>) {
        let last = self.state().size.replace(size);
        if last == Some(size) {
            return;
        }
        let caps = picture::caps(size, None);
        gst::debug!(CAT, imp = self, "Pictures are {caps}");
        if !self.src_pad.push_event(gst::event::Caps::new(&caps)) {
            // A pad that is flushing takes none.
            self.state().size = None;
        }
        if last.is_none() {
            let mut held = vec![];
            self.sink_pad.sticky_events_foreach(|event| {
                if waits_for_caps(event) {
                    held.push(event.clone());
                }
                ControlFlow::Continue(gst::EventForeachAction::Keep)
            });
            for event in held {
                self.src_pad.push_event(clock::segment_of_time(event));
            }
        }
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        gst::log!(CAT, imp = self, "{event:?}");
        let begun = self.state().size.is_some();
        match event.type_() {
            // The pad keeps them, to be looked at when a picture comes.
            gst::EventType::Caps => true,
            _ if !begun && waits_for_caps(&event) => true,
            // Before the first picture nothing is missing.
            gst::EventType::Gap if !begun => true,
            _ => self.src_pad.push_event(clock::segment_of_time(event)),
        }
    }
}

/// Whether an event that a pad keeps has its place behind the caps.
fn waits_for_caps(event: &gst::EventRef) -> bool {
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
        let template = |name| class.pad_template(name).expect("it is among ours");
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
            obj.add_pad(pad).expect("there is none of this name");
        }
    }

    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            vec![
                sender::capture_time_property(),
                glib::ParamSpecString::builder("origin")
                    .nick("Origin")
                    .blurb(
                        "Stamp each picture with this name of its sender, up to 200 bytes, in a \
                         JPEG comment that decoders skip; empty for none",
                    )
                    .default_value(Some(""))
                    .mutable_ready()
                    .build(),
                clock::time_spec(
                    "origin-timeout",
                    "Origin timeout",
                    "Nanoseconds without a picture of the sender whose pictures pass, after \
                     which those of another one may (0 = everybody's pass)",
                    DEFAULT_ORIGIN_TIMEOUT,
                    gst::ClockTime::ZERO,
                ),
                receiver::max_pixels_spec(),
                stats::spec(),
                stats::interval_spec(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            const OF_TYPE: &str = "GObject checks the type";
            let time = || gst::ClockTime::from_nseconds(value.get().expect(OF_TYPE));
            let mut settings = self.settings();
            match pspec.name() {
                "capture-time" => settings.capture_time = value.get().expect(OF_TYPE),
                "origin" => {
                    settings.origin = value.get::<Option<_>>().expect(OF_TYPE).unwrap_or_default();
                }
                "origin-timeout" => settings.origin_timeout = time(),
                "max-pixels" => settings.max_pixels = value.get().expect(OF_TYPE),
                "stats-interval" => settings.stats_interval = time(),
                name => unreachable!("no writable property {name}"),
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(
            self,
            "property",
            pspec.default_value().clone(),
            || match pspec.name() {
                "capture-time" => self.settings().capture_time.to_value(),
                "origin" => self.settings().origin.to_value(),
                "origin-timeout" => self.settings().origin_timeout.nseconds().to_value(),
                "max-pixels" => self.settings().max_pixels.to_value(),
                "stats" => self.state().structure().to_value(),
                "stats-interval" => self.settings().stats_interval.nseconds().to_value(),
                name => unreachable!("no property {name}"),
            },
        )
    }
}

impl GstObjectImpl for JpegCheck {}

impl ElementImpl for JpegCheck {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "JPEG check",
                "Filter/Video/Network",
                "Lets the JPEG pictures of one sender through and nothing else; stamps, or \
                 reads, whose they are and when they were captured",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            use crate::common::framing::always_template;
            vec![
                always_template("sink", gst::PadDirection::Sink, &gst::Caps::new_any()),
                always_template("src", gst::PadDirection::Src, &picture::CAPS),
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
