// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegdepay
//!
//! Parses the frames that Python/OpenCV programs send (a length, then one JPEG as base64
//! text) and outputs whole JPEGs. The bytes may arrive in buffers of any size.
//!
//! Without caps and properties the element recognises the framing from the first bytes. A bad
//! frame is reported with its number and byte offset, and the stream continues with the next
//! good one; more than `max-errors` consecutive bad frames end it.
//!
//! A recorded stream has a duration and can be seeked; its timestamps are computed from
//! `framerate`. The frames of a live stream keep the timestamps of their source, or else get
//! the time of their arrival.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 tcpclientsrc host=localhost port=9999 ! b64jpegdepay ! jpegdec ! videoconvert ! autovideosink
//! ```

use std::sync::{Mutex, MutexGuard};

use b64jpeg_net::sync::lock;
use b64jpeg_wire::{
    AcceptedFramings, FrameError, FrameLimits, FrameSpan, Payload, StreamStep, WireError, jpeg,
};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{BaseParseFrame, prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::{
    settings::{PROPERTIES, Settings},
    state::{Outcome, State},
};
use crate::common::{
    error_policy::{Verdict, with_advice},
    framing_properties::{self, CAPS},
    jpeg_buffer, panics,
    quit_key::QuitRequest,
    time,
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "b64jpegdepay",
        gst::DebugColorFlags::empty(),
        Some("Base64 JPEG depayloader"),
    )
});

pub struct B64JpegDepay {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    quit: QuitRequest,
}

impl Default for B64JpegDepay {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            state: Mutex::new(State::new(&settings)),
            settings: Mutex::new(settings),
            quit: QuitRequest::default(),
        }
    }
}

impl B64JpegDepay {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Makes one step of the parser over `data`, which stands at `offset` in the stream.
    fn step(&self, input: &gst::BufferRef, data: &[u8], offset: u64, end: bool) -> Outcome {
        let (frame, framing, limits) = {
            let state = &mut *self.state();
            if state.stream.offset() != offset {
                gst::debug!(CAT, imp = self, "The stream continues at byte {offset}");
                state.jump(offset);
            }
            let known = state.stream.framing();
            let step = state.stream.step(data, end);
            let framing = state.stream.framing();
            if let Some(framing) = framing.filter(|_| framing != known) {
                gst::info!(CAT, imp = self, "The framing is {framing}");
                state.stats.framing = Some(framing);
            }
            state.stats.resyncs = state.stream.resyncs();
            match step {
                StreamStep::Need(len) => return Outcome::Need(len),
                StreamStep::Skip(len) => {
                    state.skipped = true;
                    return Outcome::Skip(len);
                }
                StreamStep::Bad(fault) => return Outcome::Bad(fault),
                StreamStep::Frame(frame) => {
                    (frame, framing.expect("a frame has one"), state.limits)
                }
            }
        };
        // Decoding a large frame takes long, so that the lock is released before.
        match decode(input, data, &frame, framing.payload(), &limits) {
            Ok((buffer, info)) => self.state().accept(input, frame, buffer, &info),
            Err(error) if error.is_picture_error() => {
                let fault = self.state().stream.discard(&frame, error);
                Outcome::Dropped(fault, frame.len)
            }
            Err(error) => Outcome::Bad(self.state().stream.reject(error)),
        }
    }

    /// Reports a bad frame. Fails if the stream ends with it.
    fn report(&self, fault: &FrameError) -> Result<(), gst::FlowError> {
        let max_errors = self.settings().format.tolerance.max_errors;
        let verdict = {
            let state = &mut *self.state();
            state.stats.errors += 1;
            state.discont = true;
            state.faults.judge(fault, max_errors)
        };
        match verdict {
            Verdict::Foreign(text) => {
                let details = with_advice(fault);
                gst::element_imp_error!(
                    self,
                    gst::StreamError::WrongType,
                    ("{text}"),
                    ["{details}"]
                );
                Err(self.fail())
            }
            Verdict::TooMany(text) => {
                gst::element_imp_error!(self, gst::StreamError::Decode, ("{text}"));
                Err(self.fail())
            }
            Verdict::Forgiven(text) => {
                match text {
                    Some(text) => {
                        gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}"));
                    }
                    None => gst::debug!(CAT, imp = self, "{fault}"),
                }
                Ok(())
            }
        }
    }

    /// Ignores all further bytes after an error was posted. GstBaseParse would still pass
    /// some when it drains at EOS.
    fn fail(&self) -> gst::FlowError {
        self.quit.ask();
        gst::FlowError::Error
    }

    /// At the end of a stream without a good frame, posts an error that says why. The warnings
    /// are not enough: applications may not show them.
    fn conclude(&self) -> Result<(), gst::FlowError> {
        let pull = self.obj().sink_pad().mode() == gst::PadMode::Pull;
        let text = {
            let state = &mut *self.state();
            // GstBaseParse also drains at a discontinuity.
            if !pull && !state.eos {
                return Ok(());
            }
            state.faults.conclude()
        };
        match text {
            None => Ok(()),
            Some(text) => {
                gst::element_imp_error!(self, gst::StreamError::WrongType, ("{text}"));
                Err(self.fail())
            }
        }
    }

    /// Finds out whether the source is a file. Then GstBaseParse computes the timestamps.
    fn query_source(&self) {
        if self.state().live.is_some() {
            return;
        }
        let obj = self.obj();
        let sink_pad = obj.sink_pad();
        // With a segment in another format the stream was extracted from a container, and
        // positions in bytes are positions in the container.
        let of_bytes = sink_pad
            .sticky_event::<gst::event::Segment>(0)
            .is_some_and(|event| event.segment().format() == gst::Format::Bytes);
        let mut query = gst::query::Seeking::new(gst::Format::Bytes);
        let is_file = sink_pad.mode() == gst::PadMode::Pull
            || of_bytes && sink_pad.peer_query(&mut query) && query.result().0;
        let (rate, timed) = {
            let (framerate, framerate_set) = {
                let settings = self.settings();
                (settings.framerate, settings.framerate_set)
            };
            let state = &mut *self.state();
            let timed = is_file || framerate_set;
            if timed && state.framerate.is_none() && framerate.numer() > 0 {
                state.framerate = Some(framerate);
            }
            state.live = Some(!timed);
            (state.framerate.filter(|_| timed), timed)
        };
        gst::info!(CAT, imp = self, "A file: {is_file}; frames/s: {rate:?}");
        obj.set_frame_rate(rate.unwrap_or(gst::Fraction::new(0, 1)), 0, 0);
        // Timestamps computed from a frame rate would make a sink wait on a live stream, and the
        // delay would grow.
        obj.set_infer_ts(timed);
        obj.set_pts_interpolation(timed);
        if is_file {
            // The duration is estimated with each frame, so that it is known in PAUSED.
            obj.set_duration(gst::ClockTime::NONE, 1);
        }
        if !timed {
            // The answer to latency queries is known only now.
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        }
    }

    /// The timestamp of a frame that arrives now, on a live stream without timestamps.
    fn arrival_time(&self) -> Option<gst::ClockTime> {
        let obj = self.obj();
        // There is no running time before the first frame has prerolled the sinks.
        let now = time::running_time(&*obj).or_else(|| obj.start_time())?;
        let segment = obj.segment().downcast::<gst::ClockTime>().ok()?;
        segment.position_from_running_time(now)
    }
}

/// A buffer with the JPEG of a frame, which shares the memory of `input` if that has the JPEG
/// itself, and the JPEG's header.
fn decode(
    input: &gst::BufferRef,
    data: &[u8],
    frame: &FrameSpan,
    payload: Payload,
    limits: &FrameLimits,
) -> Result<(gst::Buffer, jpeg::JpegInfo), WireError> {
    let text = &data[frame.payload.clone()];
    if payload == Payload::Jpeg {
        let info = jpeg::JpegInfo::received(text, limits)?;
        let buffer = input
            .copy_region(gst::BufferCopyFlags::MEMORY, frame.payload.clone())
            .expect("the frame is inside the input");
        return Ok((buffer, info));
    }
    jpeg_buffer::decode(payload, text, limits)
}

#[glib::object_subclass]
impl ObjectSubclass for B64JpegDepay {
    const NAME: &'static str = "GstB64JpegDepay";
    type Type = super::B64JpegDepay;
    type ParentType = gst_base::BaseParse;
}

impl ObjectImpl for B64JpegDepay {
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

impl GstObjectImpl for B64JpegDepay {}

impl ElementImpl for B64JpegDepay {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Base64 JPEG depayloader",
                // Autopluggers link a demuxer that has its source pad already before they start
                // it. Parsers are linked later, and the first frames would be lost.
                "Codec/Demuxer/Depayloader/Network",
                "Takes JPEG pictures out of the framing of Python/OpenCV programs: \
                 length and base64 text",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![
                framing_properties::always_template("sink", gst::PadDirection::Sink, &CAPS),
                framing_properties::always_template(
                    "src",
                    gst::PadDirection::Src,
                    &jpeg_buffer::CAPS,
                ),
            ]
        });
        &TEMPLATES
    }
}

impl BaseParseImpl for B64JpegDepay {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        panics::catch(self, "start", || {
            let settings = self.settings().clone();
            settings.format.check(AcceptedFramings::default())?;
            *self.state() = State::new(&settings);
            self.quit.reset();
            self.obj().set_min_frame_size(1);
            Ok(())
        })?
    }

    fn set_sink_caps(&self, caps: &gst::Caps) -> Result<(), gst::LoggableError> {
        panics::guard(
            self,
            "set_sink_caps",
            Err(gst::loggable_error!(CAT, "an internal error")),
            || {
                let format = self.settings().format.clone();
                let in_caps = framing_properties::from_caps(caps)
                    .map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{caps}: {error}")))
                    .and_then(|in_caps| Ok((in_caps, format.check(in_caps)?)));
                let (in_caps, accepted) = match in_caps {
                    Ok(framings) => framings,
                    Err(message) => {
                        self.post_error_message(message);
                        return Err(gst::loggable_error!(CAT, "The caps {caps} are not usable"));
                    }
                };
                let state = &mut *self.state();
                if in_caps != state.caps {
                    gst::debug!(CAT, imp = self, "The caps change the framing: {caps}");
                    state.stream.set_accepted(accepted);
                    state.caps = in_caps;
                }
                state.framerate = caps
                    .structure(0)
                    .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
                    .filter(|rate| rate.numer() > 0);
                // The frame rate, which is in our caps, may have changed.
                state.size = None;
                state.live = None;
                Ok(())
            },
        )
    }

    fn sink_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "sink_event", false, || {
            self.quit.on_sink_event(&event);
            match event.view() {
                gst::EventView::StreamStart(_) => self.state().eos = false,
                gst::EventView::Eos(_) => self.state().eos = true,
                // GstBaseParse would drain at a gap, and cut the frame that has arrived in part.
                gst::EventView::Gap(_) => {
                    let src_pad = self.obj().src_pad().clone();
                    let begun = src_pad.sticky_event::<gst::event::Segment>(0).is_some();
                    return !begun || src_pad.push_event(event);
                }
                gst::EventView::FlushStop(_) => {
                    gst::debug!(CAT, imp = self, "Flushed");
                    self.obj().set_min_frame_size(1);
                    let state = &mut *self.state();
                    let offset = state.stream.offset();
                    state.jump(offset);
                    state.eos = false;
                }
                _ => {}
            }
            self.parent_sink_event(event)
        })
    }

    fn src_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "src_event", false, || {
            if event.type_() == gst::EventType::Seek {
                self.quit.reset();
            }
            let key = self.settings().quit_key.clone();
            self.quit.on_key(&*self.obj(), &key, &event) || self.parent_src_event(event)
        })
    }

    fn src_query(&self, query: &mut gst::QueryRef) -> bool {
        panics::guard(self, "src_query", false, || {
            let answered = self.parent_src_query(query);
            if answered
                && let gst::QueryViewMut::Latency(query) = query.view_mut()
                && self.state().live == Some(true)
            {
                // A socket source does not say that it is live. Then sinks would leave no time
                // for decoding, and drop frames as late.
                let (_, min, max) = query.result();
                query.set(true, min, max);
            }
            answered
        })
    }

    fn pre_push_frame(
        &self,
        frame: &mut BaseParseFrame,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        panics::guard(self, "pre_push_frame", Err(gst::FlowError::Error), || {
            // A frame that begins in the same buffer as the one before arrived with it.
            let pts = {
                let state = &mut *self.state();
                let pts = frame.buffer().and_then(gst::BufferRef::pts);
                state.last_pts = pts.or(state.last_pts);
                (state.live == Some(true) && pts.is_none()).then_some(state.last_pts)
            };
            if let (Some(pts), Some(output)) = (pts, frame.buffer_mut()) {
                output.set_pts(pts.or_else(|| self.arrival_time()));
                output.set_dts(None);
            }
            self.parent_pre_push_frame(frame)
        })
    }

    fn handle_frame(
        &self,
        mut frame: BaseParseFrame,
    ) -> Result<(gst::FlowSuccess, u32), gst::FlowError> {
        panics::guard(self, "handle_frame", Err(gst::FlowError::Error), || {
            self.quit.check()?;
            self.query_source();
            let obj = self.obj();
            let end = obj.is_draining();
            loop {
                let input = frame.buffer().expect("GstBaseParse passes a buffer");
                let outcome = {
                    let data = input.map_readable().map_err(|error| {
                        gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                        gst::FlowError::Error
                    })?;
                    self.step(input, &data, frame.offset(), end)
                };
                match outcome {
                    Outcome::Need(len) => {
                        if end {
                            self.conclude()?;
                        }
                        // GstBaseParse would otherwise copy and pass the bytes again with every
                        // buffer that arrives.
                        obj.set_min_frame_size(len.clamp(1, i32::MAX as usize) as u32);
                        return Ok((gst::FlowSuccess::Ok, 0));
                    }
                    Outcome::Skip(len) => {
                        if end && len == input.size() {
                            self.conclude()?;
                        }
                        obj.set_min_frame_size(1);
                        return Ok((gst::FlowSuccess::Ok, len as u32));
                    }
                    Outcome::Bad(fault) => self.report(&fault)?,
                    Outcome::Dropped(fault, len) => {
                        self.report(&fault)?;
                        if end && len == input.size() {
                            self.conclude()?;
                        }
                        obj.set_min_frame_size(1);
                        return Ok((gst::FlowSuccess::Ok, len as u32));
                    }
                    Outcome::Picture {
                        frame: found,
                        buffer,
                        caps,
                    } => {
                        if let Some(caps) = caps {
                            gst::debug!(CAT, imp = self, "The caps are {caps}");
                            obj.src_pad().push_event(gst::event::Caps::new(&caps));
                        }
                        gst::log!(CAT, imp = self, "{} bytes make {buffer:?}", found.len);
                        frame.set_output_buffer(buffer);
                        obj.set_min_frame_size(1);
                        let flow = obj.finish_frame(frame, found.len as u32);
                        if flow == Err(gst::FlowError::Eos) {
                            self.quit.ask();
                        }
                        return Ok((flow?, 0));
                    }
                }
            }
        })
    }
}
