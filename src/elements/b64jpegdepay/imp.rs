// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegdepay
//!
//! Reads the frames that Python/OpenCV programs send (a length, then one JPEG as base64
//! text) and gives whole JPEGs, however the bytes come.
//!
//! Without caps and properties it recognises the framing from the first bytes. A bad
//! frame is reported with its number and place, and the stream goes on with the next
//! good one; more than `max-errors` bad ones in a row end it.
//!
//! A recorded stream has a duration and can be seeked in; its frames are timed by
//! `framerate`. Live ones keep the times that their source gives them, or else get the
//! time of their arrival.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 tcpclientsrc host=localhost port=9999 ! b64jpegdepay ! jpegdec ! videoconvert ! autovideosink
//! ```

use std::sync::{Mutex, MutexGuard};

use b64jpeg_net::sync::lock;
use b64jpeg_wire::{
    AcceptedFramings, FrameError, FrameLimits, FrameSpan, FrameStream, Payload, StreamStep,
    WireError, jpeg,
};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{BaseParseFrame, prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::settings::{PROPERTIES, Settings};
use crate::common::{
    capture::{self, Delays},
    clock,
    faults::{Faults, Verdict, with_advice},
    framing::{self, CAPS},
    panics, picture,
    quit::Quit,
    stats::Stats,
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "b64jpegdepay",
        gst::DebugColorFlags::empty(),
        Some("Base64 JPEG depayloader"),
    )
});

struct State {
    stream: FrameStream,
    limits: FrameLimits,
    /// The framing that caps told.
    caps: AcceptedFramings,
    /// The frame rate that caps told, or, for a file, the property.
    framerate: Option<gst::Fraction>,
    /// Whether the frames are as old as their bytes, rather than timed by the frame rate;
    /// once that is known.
    live: Option<bool>,
    /// Whether the source has come to its end.
    eos: bool,
    /// Width and height of the last frame, as in the caps downstream.
    size: Option<Option<(u16, u16)>>,
    faults: Faults,
    discont: bool,
    /// Whether bytes that mean nothing were skipped, which BaseParse takes for a
    /// discontinuity.
    skipped: bool,
    /// The last time that the source gave.
    last_pts: Option<gst::ClockTime>,
    stats: Stats,
    delays: Delays,
}

impl State {
    fn new(settings: &Settings) -> Self {
        let limits = settings.format.tolerance.limits();
        Self {
            stream: FrameStream::new(settings.format.accept(AcceptedFramings::default()), limits),
            limits,
            caps: AcceptedFramings::default(),
            framerate: None,
            live: None,
            eos: false,
            size: None,
            faults: Faults::default(),
            discont: false,
            skipped: false,
            last_pts: None,
            stats: Stats::default(),
            delays: Delays::default(),
        }
    }

    /// The counts as users read them.
    fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        self.delays.tell(&mut stats);
        stats
    }

    /// What comes next does not continue what was there.
    fn jump(&mut self, offset: u64) {
        self.stream.jump(offset);
        self.discont = true;
        self.last_pts = None;
    }
}

pub struct B64JpegDepay {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    quit: Quit,
}

impl Default for B64JpegDepay {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            state: Mutex::new(State::new(&settings)),
            settings: Mutex::new(settings),
            quit: Quit::default(),
        }
    }
}

/// What comes out of one look at the bytes.
enum Outcome {
    Need(usize),
    Skip(usize),
    Picture {
        frame: FrameSpan,
        buffer: gst::Buffer,
        caps: Option<gst::Caps>,
    },
    Bad(FrameError),
    /// A whole frame, of so many bytes, whose picture is refused.
    Refused(FrameError, usize),
}

impl B64JpegDepay {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Takes a look at the bytes that are there, which stand at `offset` in the stream.
    fn look(&self, input: &gst::BufferRef, data: &[u8], offset: u64, end: bool) -> Outcome {
        let (frame, framing, limits) = {
            let state = &mut *self.state();
            if state.stream.offset() != offset {
                gst::debug!(CAT, imp = self, "Going on at byte {offset}");
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
        // Without the lock: it may take a while.
        match picture(input, data, &frame, framing.payload(), &limits) {
            Ok((buffer, info)) => take(&mut self.state(), input, frame, buffer, info),
            Err(error) if error.is_picture_error() => {
                let fault = self.state().stream.discard(&frame, error);
                Outcome::Refused(fault, frame.len)
            }
            Err(error) => Outcome::Bad(self.state().stream.reject(error)),
        }
    }

    /// Reports a bad frame; an error if the stream ends with it.
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

    /// An error was posted: the bytes that are still to come, if only because the end
    /// drains them, are of no interest.
    fn fail(&self) -> gst::FlowError {
        self.quit.ask();
        gst::FlowError::Error
    }

    /// At the end of a stream in which nothing was right, says why. Applications may
    /// not show warnings, and BaseParse does not know.
    fn conclude(&self) -> Result<(), gst::FlowError> {
        let pull = self.obj().sink_pad().mode() == gst::PadMode::Pull;
        let text = {
            let state = &mut *self.state();
            // A discontinuity drains, too.
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

    /// Finds out whether this is a file, and has BaseParse time its frames.
    fn ask_source(&self) {
        if self.state().live.is_some() {
            return;
        }
        let obj = self.obj();
        let sink_pad = obj.sink_pad();
        // In another format the bytes of a file may be those of something else, out of
        // which the stream was taken.
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
        // Times made up from a rate would make a live sink wait, and the delay grow.
        obj.set_infer_ts(timed);
        obj.set_pts_interpolation(timed);
        if is_file {
            // An estimate with every frame, so that there is one in PAUSED already.
            obj.set_duration(gst::ClockTime::NONE, 1);
        }
        if !timed {
            // Only now is it known what to answer.
            let _ = obj.post_message(gst::message::Latency::builder().src(&*obj).build());
        }
    }

    /// The time on a live stream that says none: now.
    fn arrival_time(&self) -> Option<gst::ClockTime> {
        let obj = self.obj();
        // Before the first frame has prerolled the sinks, time stands still.
        let now = clock::running_time(&*obj).or_else(|| obj.start_time())?;
        let segment = obj.segment().downcast::<gst::ClockTime>().ok()?;
        segment.position_from_running_time(now)
    }
}

/// Takes a good frame.
fn take(
    state: &mut State,
    input: &gst::BufferRef,
    frame: FrameSpan,
    mut buffer: gst::Buffer,
    info: jpeg::JpegInfo,
) -> Outcome {
    let output = buffer.get_mut().expect("nobody else has it yet");
    if let Some(time) = state.delays.judge(&info) {
        capture::add_meta(output, time);
        if state.live == Some(true) {
            state.delays.add(time, capture::now());
        }
    }
    // BaseParse timed the bytes; it does not see what they became.
    output.set_pts(input.pts());
    output.set_dts(input.dts());
    output.set_duration(input.duration());
    let jumped = input.flags().contains(gst::BufferFlags::DISCONT);
    let skipped = std::mem::take(&mut state.skipped);
    if std::mem::take(&mut state.discont) || jumped && !skipped {
        output.set_flags(gst::BufferFlags::DISCONT);
    }

    let caps = (state.size != Some(info.size)).then(|| picture::caps(info.size, state.framerate));
    state.size = Some(info.size);
    state.faults.good();
    state.stream.accept(&frame);
    state.stats.frame(frame.len, output.size());
    Outcome::Picture {
        frame,
        buffer,
        caps,
    }
}

/// A buffer with the JPEG of a frame, a view of the input or what its base64 says, and
/// what the JPEG tells about itself.
fn picture(
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
    picture::decode(payload, text, limits)
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
                // As a demuxer with one pad it is connected before it starts: an autoplugger
                // that does so later finds that frames were pushed to nowhere.
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
                framing::always_template("sink", gst::PadDirection::Sink, &CAPS),
                framing::always_template("src", gst::PadDirection::Src, &picture::CAPS),
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
                let told = framing::from_caps(caps)
                    .map_err(|error| gst::error_msg!(gst::StreamError::Format, ("{caps}: {error}")))
                    .and_then(|told| Ok((told, format.check(told)?)));
                let (told, accept) = match told {
                    Ok(told) => told,
                    Err(message) => {
                        self.post_error_message(message);
                        return Err(gst::loggable_error!(CAT, "{caps} make no framing"));
                    }
                };
                let state = &mut *self.state();
                if told != state.caps {
                    gst::debug!(CAT, imp = self, "Another framing by {caps}");
                    state.stream.set_accepted(accept);
                    state.caps = told;
                }
                state.framerate = caps
                    .structure(0)
                    .and_then(|s| s.get::<gst::Fraction>("framerate").ok())
                    .filter(|rate| rate.numer() > 0);
                // The rate may have changed, and with it our caps.
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
                // BaseParse would take a gap for the end of the frame that is under way.
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
                // A socket does not say so, but its frames cannot come earlier: sinks leave
                // time for decoding then, instead of dropping what is a little late.
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
            // What begins in the same buffer as the frame before arrived with it.
            let told = {
                let state = &mut *self.state();
                let pts = frame.buffer().and_then(gst::BufferRef::pts);
                state.last_pts = pts.or(state.last_pts);
                (state.live == Some(true) && pts.is_none()).then_some(state.last_pts)
            };
            if let (Some(told), Some(output)) = (told, frame.buffer_mut()) {
                output.set_pts(told.or_else(|| self.arrival_time()));
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
            self.ask_source();
            let obj = self.obj();
            let end = obj.is_draining();
            loop {
                let input = frame.buffer().expect("BaseParse gives one");
                let outcome = {
                    let data = input.map_readable().map_err(|error| {
                        gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                        gst::FlowError::Error
                    })?;
                    self.look(input, &data, frame.offset(), end)
                };
                match outcome {
                    Outcome::Need(len) => {
                        if end {
                            self.conclude()?;
                        }
                        // Without it BaseParse comes, and copies, with every piece.
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
                    Outcome::Refused(fault, len) => {
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
                            gst::debug!(CAT, imp = self, "Pictures are {caps}");
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
