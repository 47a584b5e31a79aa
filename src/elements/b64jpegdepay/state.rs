// SPDX-License-Identifier: MPL-2.0

//! The parser's state, and what one step of it can find.

use b64jpeg_wire::{AcceptedFramings, FrameError, FrameLimits, FrameSpan, FrameStream, jpeg};

use super::settings::Settings;
use crate::common::{
    capture_time::{self, Delays},
    error_policy::ErrorPolicy,
    jpeg_buffer,
    stats::Stats,
};

/// What one step of the parser has found.
pub enum Outcome {
    /// Nothing whole: the parser needs at least so many bytes.
    Need(usize),
    /// So many bytes that are no part of a frame.
    Skip(usize),
    /// A good frame, its buffer, and new caps if they have changed.
    Picture {
        frame: FrameSpan,
        buffer: gst::Buffer,
        caps: Option<gst::Caps>,
    },
    /// A bad frame. The parser looks for the next good one.
    Bad(FrameError),
    /// A whole frame, of so many bytes, whose picture is dropped.
    Dropped(FrameError, usize),
}

/// The parser, and what is known about the stream.
pub struct State {
    pub stream: FrameStream,
    pub limits: FrameLimits,
    /// The framing in the caps from upstream.
    pub caps: AcceptedFramings,
    /// The frame rate in the caps or, for a file, that of the property.
    pub framerate: Option<gst::Fraction>,
    /// Whether a frame's timestamp is that of its bytes, and not computed from the frame
    /// rate. `None` until the source was asked.
    pub live: Option<bool>,
    /// Whether upstream has sent EOS.
    pub eos: bool,
    /// Width and height of the last frame, as in the caps downstream.
    pub size: Option<Option<(u16, u16)>>,
    pub faults: ErrorPolicy,
    pub discont: bool,
    /// Whether bytes between frames were skipped, which GstBaseParse takes for a
    /// discontinuity.
    pub skipped: bool,
    /// The last timestamp from upstream.
    pub last_pts: Option<gst::ClockTime>,
    pub stats: Stats,
    delays: Delays,
}

impl State {
    pub fn new(settings: &Settings) -> Self {
        let limits = settings.format.tolerance.limits();
        Self {
            stream: FrameStream::new(settings.format.accept(AcceptedFramings::default()), limits),
            limits,
            caps: AcceptedFramings::default(),
            framerate: None,
            live: None,
            eos: false,
            size: None,
            faults: ErrorPolicy::default(),
            discont: false,
            skipped: false,
            last_pts: None,
            stats: Stats::default(),
            delays: Delays::default(),
        }
    }

    /// The counts as users read them.
    pub fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        self.delays.tell(&mut stats);
        stats
    }

    /// The bytes that follow stand at `offset` and do not continue those before.
    pub fn jump(&mut self, offset: u64) {
        self.stream.jump(offset);
        self.discont = true;
        self.last_pts = None;
    }

    /// Counts a good frame, and prepares its buffer for downstream. `input` is the buffer that
    /// the frame was found in.
    pub fn accept(
        &mut self,
        input: &gst::BufferRef,
        frame: FrameSpan,
        mut buffer: gst::Buffer,
        info: &jpeg::JpegInfo,
    ) -> Outcome {
        let output = buffer
            .get_mut()
            .expect("the buffer is new, so it is not shared");
        if let Some(time) = self.delays.judge(info) {
            capture_time::add_meta(output, time);
            if self.live == Some(true) {
                self.delays.add(time, capture_time::now());
            }
        }
        // GstBaseParse has set the timestamps of the bytes, and does not copy them.
        output.set_pts(input.pts());
        output.set_dts(input.dts());
        output.set_duration(input.duration());
        let jumped = input.flags().contains(gst::BufferFlags::DISCONT);
        let skipped = std::mem::take(&mut self.skipped);
        if std::mem::take(&mut self.discont) || jumped && !skipped {
            output.set_flags(gst::BufferFlags::DISCONT);
        }

        let caps =
            (self.size != Some(info.size)).then(|| jpeg_buffer::caps(info.size, self.framerate));
        self.size = Some(info.size);
        self.faults.good();
        self.stream.accept(&frame);
        self.stats.frame(frame.len, output.size());
        Outcome::Picture {
            frame,
            buffer,
            caps,
        }
    }
}
