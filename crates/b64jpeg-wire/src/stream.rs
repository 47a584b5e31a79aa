// SPDX-License-Identifier: MPL-2.0

//! The frames of one stream, however it begins and whatever comes between them.

use super::{
    detect::{self, AcceptedFramings, DETECT_LEN},
    error::{FrameError, WireError},
    header::{Framing, Header, Payload},
    parse::{FrameLimits, FrameSpan, Progress, START_LEN, Status, ends_like_jpeg, parse},
    search::{self, Found, Search},
};

/// How much one step skips at the most, so that no caller has to skip without end.
const MAX_SKIP: usize = 1 << 20;

/// A frame longer than this is looked at while it grows: one wrong length ought not to
/// swallow a second of video before it is noticed.
const LARGE: usize = 256 << 10;

/// A frame without a length is looked at with every piece up to here, and then only
/// after so and so many: whoever has to join the pieces to look does not do so forever.
/// The price is that a longer one may be seen only when the next begins.
const LONG_OPEN: usize = 512 << 10;

/// What to do next with the bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Come again with at least so many bytes. At the end of the stream: nothing is left.
    Need(usize),
    /// Drop so many bytes from the front and come again.
    Skip(usize),
    /// A frame: decode it, then [`accept`](FrameStream::accept), [`reject`](FrameStream::reject) or
    /// [`refuse`](FrameStream::refuse) it.
    Frame(FrameSpan),
    /// Something is wrong; report it and come again with the same bytes.
    Bad(FrameError),
}

/// Follows the frames of a stream without holding any of its bytes.
///
/// The caller keeps the bytes and asks [`step`](Self::step) what to do with them.
/// A framing that is not given is found out from the first bytes and confirmed by
/// the second frame. After a bad frame the stream is searched for the next header
/// whose payload begins like a JPEG and that is vouched for by its own end (EOI) or
/// by the frame behind it. No step asks for more bytes than the longest frame and
/// its successor's start have. In how many pieces the bytes come makes no difference.
#[derive(Debug, Clone)]
pub struct FrameStream {
    limits: FrameLimits,
    mode: Mode,
    /// Those that can be it: all that read every frame alike since two in a row agreed.
    framings: Vec<Framing>,
    /// Those that read the last frame alike.
    alike: Vec<Framing>,
    framing: Option<Framing>,
    /// Frames since it was found.
    streak: u64,
    offset: u64,
    frames: u64,
    resyncs: u64,
}

#[derive(Debug, Clone)]
enum Mode {
    /// At the start of a stream.
    Begin,
    /// At the start of a frame.
    Follow(Framing, Progress),
    /// Anywhere.
    Search(Search),
}

/// Whether a frame is one.
enum Verdict {
    Yes,
    No,
    /// It takes so many bytes to tell.
    Wait(usize),
}

impl FrameStream {
    /// A stream of which no byte was seen yet.
    ///
    /// If no framing fits `accept` ([`AcceptedFramings::framings`]), nothing is ever recognised.
    pub fn new(accept: AcceptedFramings, limits: FrameLimits) -> Self {
        Self {
            limits,
            mode: Mode::Begin,
            framings: accept.framings().collect(),
            alike: Vec::new(),
            framing: None,
            streak: 0,
            offset: 0,
            frames: 0,
            resyncs: 0,
        }
    }

    /// The framing, once it is known.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// Bytes behind us: the place in the stream of the front of the bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Frames accepted.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The length of the frame at the front of `data`, with its header, if that tells.
    pub fn frame_len(&self, data: &[u8]) -> Option<usize> {
        let Mode::Follow(framing, _) = &self.mode else {
            return None;
        };
        let header = framing.header();
        let len = header.read(data).ok().flatten()?;
        header.size().checked_add(usize::try_from(len).ok()?)
    }

    /// How often a search found the next frame.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// Tells that from here on other framings are accepted.
    pub fn reframe(&mut self, accept: AcceptedFramings) {
        self.framings = accept.framings().collect();
        self.alike.clear();
        self.framing = None;
        self.streak = 0;
        self.mode = Mode::Begin;
    }

    /// Tells that the bytes from here on do not continue those before, as after a seek.
    ///
    /// They may begin anywhere in a frame.
    pub fn jump(&mut self, offset: u64) {
        self.offset = offset;
        self.streak = 0;
        self.mode = if offset == 0 && self.framing.is_none() {
            Mode::Begin
        } else {
            Mode::Search(Search::from(0))
        };
    }

    /// Takes a frame that [`step`](Self::step) found; the caller drops its bytes.
    pub fn accept(&mut self, frame: &FrameSpan) {
        self.pass(frame);
        self.frames = self.frames.saturating_add(1);
        self.streak = self.streak.saturating_add(1);
        if self.streak > 1 && self.framings.len() > 1 {
            let alike = &self.alike;
            self.framings.retain(|framing| alike.contains(framing));
        }
    }

    /// Refuses a frame that [`step`](Self::step) found, because of what its payload
    /// turned out to be. The caller keeps its bytes: another frame may begin in them.
    pub fn reject(&mut self, error: WireError) -> FrameError {
        let size = self.framing.map_or(0, |framing| framing.header().size());
        self.fail(error, size.max(1))
    }

    /// Drops a frame that [`step`](Self::step) found and that is whole, because of its picture:
    /// [`WireError::is_of_picture`]. The caller drops its bytes.
    pub fn refuse(&mut self, frame: &FrameSpan, error: WireError) -> FrameError {
        let fault = FrameError {
            frame: self.frames,
            offset: self.offset,
            error,
        };
        self.pass(frame);
        fault
    }

    /// Goes to the end of a frame.
    fn pass(&mut self, frame: &FrameSpan) {
        self.offset = self.offset.saturating_add(frame.len as u64);
        if let Mode::Follow(_, progress) = &mut self.mode {
            *progress = Progress::default();
        }
    }

    /// Says what to do with `data`, the bytes from [`offset`](Self::offset) on.
    ///
    /// With `end` they are the last ones.
    pub fn step(&mut self, data: &[u8], end: bool) -> Step {
        loop {
            // Each returns nothing when the mode has changed.
            let step = match self.mode {
                Mode::Begin => self.begin(data, end),
                Mode::Follow(..) => self.follow(data, end),
                Mode::Search(_) => self.search(data, end),
            };
            if let Some(step) = step {
                if let Step::Skip(len) = step {
                    self.offset = self.offset.saturating_add(len as u64);
                }
                return step;
            }
        }
    }

    fn begin(&mut self, data: &[u8], end: bool) -> Option<Step> {
        if let [framing] = self.framings[..] {
            self.settle(framing);
            return None;
        }
        if data.is_empty() || data.len() < DETECT_LEN && !end {
            return Some(Step::Need(DETECT_LEN));
        }
        let likely = detect::framings_at_start(data, &self.framings, &self.limits);
        if likely.is_empty() {
            let error = detect::explain(data, &self.framings, &self.limits);
            // Fill and zero lengths tell nothing yet.
            let nothing = detect::nothing(data, self.offset == 0);
            return Some(match (error, nothing) {
                (WireError::Unrecognised { .. }, Some(len)) => Step::Skip(len.min(MAX_SKIP)),
                (error, _) => Step::Bad(self.fail(error, 1)),
            });
        }
        self.choose(data, end, &likely)
    }

    /// Settles on one of the framings that this frame may have.
    fn choose(&mut self, data: &[u8], end: bool, likely: &[Framing]) -> Option<Step> {
        match search::choose(data, end, likely, &self.limits) {
            Ok(framing) => {
                self.settle(framing);
                None
            }
            Err(need) => Some(Step::Need(need)),
        }
    }

    fn settle(&mut self, framing: Framing) {
        self.framing = Some(framing);
        self.streak = 0;
        self.mode = Mode::Follow(framing, Progress::default());
    }

    fn follow(&mut self, data: &[u8], end: bool) -> Option<Step> {
        let Mode::Follow(framing, progress) = &mut self.mode else {
            unreachable!("only called in this mode");
        };
        let framing = *framing;
        Some(match parse(data, framing, &self.limits, progress) {
            Ok(Status::Frame(frame)) => {
                if self.framings.len() > 1 {
                    self.alike = alike(data, &frame, framing, &self.framings);
                }
                match vouch(data, &frame, framing, &self.limits, end) {
                    Verdict::Yes => Step::Frame(frame),
                    Verdict::Wait(len) => Step::Need(len),
                    Verdict::No => {
                        let payload = data.get(frame.payload).unwrap_or_default();
                        let error = payload_error(payload, framing);
                        return self.bad(data, end, framing, error.unwrap_or(WireError::NoEnd));
                    }
                }
            }
            Ok(Status::Skip(len)) if framing.header().has_length() => {
                self.skip_zeros(data, end, framing, len)
            }
            Ok(Status::Skip(len)) => Step::Skip(len.min(MAX_SKIP)),
            Ok(Status::Need(len)) => {
                // In doubling steps: looking costs no more than the frame, and what is
                // seen does not depend on the pieces in which it comes.
                let looked = (data.len() / LARGE)
                    .checked_ilog2()
                    .map_or(0, |doublings| LARGE << doublings);
                let start = data.get(..looked).unwrap_or(data);
                if let Some(error) = swallowed(start, framing) {
                    return self.bad(data, end, framing, error);
                }
                if end && !data.is_empty() {
                    return Some(self.cut(data, framing));
                }
                let patient = match framing.header().has_length() {
                    true => len,
                    false => len
                        .saturating_add(data.len().saturating_sub(LONG_OPEN) / 8)
                        .min(self.limits.max_frame.saturating_add(2))
                        .max(len),
                };
                Step::Need(patient.min(LARGE.max(looked.saturating_mul(2))))
            }
            Err(error) => return self.bad(data, end, framing, error),
        })
    }

    /// Skips `len` bytes of zero lengths. The last one may not be one but the fill before
    /// a header: it is kept until that is known.
    fn skip_zeros(&mut self, data: &[u8], end: bool, framing: Framing, len: usize) -> Step {
        let size = framing.header().size();
        if let Some(more) = len.checked_sub(size).filter(|more| *more > 0) {
            return Step::Skip(more.min(MAX_SKIP));
        }
        let next = data.get(size..).unwrap_or_default();
        if next.len() < DETECT_LEN && !end {
            return Step::Need(size.saturating_add(DETECT_LEN));
        }
        let other = self.framings.len() > 1
            && !detect::framings_at_start(next, &self.framings, &self.limits).is_empty();
        match parse(next, framing, &self.limits, &mut Progress::default()) {
            Err(error) if !other => {
                let mut fault = self.fail(error, 1);
                fault.offset = fault.offset.saturating_add(size as u64);
                Step::Bad(fault)
            }
            _ => Step::Skip(size),
        }
    }

    /// The stream ends inside a frame.
    fn cut(&mut self, data: &[u8], framing: Framing) -> Step {
        let header = framing.header();
        if header == Header::Lines && ends_like_jpeg(data, framing) {
            // Only the line feed is missing.
            return Step::Frame(FrameSpan {
                payload: 0..data.len(),
                len: data.len(),
            });
        }
        let len = header.read(data).ok().flatten();
        let error = WireError::Truncated {
            have: data.len(),
            want: len.map(|len| header.size().saturating_add(len as usize)),
        };
        // A wrong length may have swallowed frames. Without lengths there is nothing
        // in it but, perhaps, a thumbnail.
        let from = if header.has_length() { 1 } else { data.len() };
        Step::Bad(self.fail(error, from))
    }

    /// The frame at the front is not one.
    fn bad(&mut self, data: &[u8], end: bool, framing: Framing, error: WireError) -> Option<Step> {
        let first = self.offset == 0 && self.frames == 0;
        let guessed = self.framings.len() > 1 && self.streak > 0;
        if (first || guessed) && data.len() < DETECT_LEN && !end {
            return Some(Step::Need(DETECT_LEN));
        }
        if guessed {
            // Those before it may have been read in the wrong framing: this one tells.
            let likely = detect::framings_at_start(data, &self.framings, &self.limits);
            if !likely.is_empty() {
                return self.choose(data, end, &likely);
            }
        }
        let error = match detect::foreign(data) {
            Some(foreign) if first => WireError::Foreign(foreign),
            _ => error,
        };
        let from = match (&error, &self.mode) {
            // Its end was looked for so far.
            (WireError::TooLong { .. }, _) if !framing.header().has_length() => {
                self.limits.max_frame.max(1)
            }
            // It is this payload that is bad, whatever header stands before it.
            (WireError::Base64 { .. }, _) => framing.header().size().max(1),
            (_, Mode::Follow(_, progress)) => progress.sound().max(1),
            _ => 1,
        };
        Some(Step::Bad(self.fail(error, from)))
    }

    fn fail(&mut self, error: WireError, from: usize) -> FrameError {
        self.mode = Mode::Search(Search::from(from));
        FrameError {
            frame: self.frames,
            offset: self.offset,
            error,
        }
    }

    fn search(&mut self, data: &[u8], end: bool) -> Option<Step> {
        let Mode::Search(search) = &mut self.mode else {
            unreachable!("only called in this mode");
        };
        let mut search = std::mem::take(search);
        let (keep, need) = match search.find(data, end, &self.framings, &self.limits) {
            Found::At(0, framing) => {
                self.resyncs = self.resyncs.saturating_add(1);
                self.settle(framing);
                return None;
            }
            Found::At(at, _) => (at, 0),
            Found::Nothing { keep, need } => (keep, need),
        };

        let longest = self.limits.max_frame.saturating_add(1);
        let bearable = longest.saturating_sub(search.dropped());
        let step = if keep > 0 && bearable == 0 {
            Step::Bad(FrameError {
                frame: self.frames,
                offset: self.offset,
                error: WireError::Lost {
                    scanned: search.take_dropped(),
                },
            })
        } else if keep > 0 {
            let len = keep.min(MAX_SKIP).min(bearable);
            search.drop_front(len);
            Step::Skip(len)
        } else {
            Step::Need(need)
        };
        self.mode = Mode::Search(search);
        Some(step)
    }
}

/// Those of `framings` that read the frame at the front of `data` as `framing` does.
fn alike(data: &[u8], frame: &FrameSpan, framing: Framing, framings: &[Framing]) -> Vec<Framing> {
    let len = Ok(Some(frame.payload.len() as u64));
    let reads_alike = |other: &Framing| {
        let header = frame.payload.start.checked_sub(other.header().size());
        other.payload() == framing.payload()
            && header
                .and_then(|at| data.get(at..))
                .is_some_and(|data| other.header().read(data) == len)
    };
    let others = framings.iter().copied();
    others.filter(|f| *f == framing || reads_alike(f)).collect()
}

/// Whether the frame at the front of `data` is whole: it ends like a JPEG, or another
/// frame or nothing follows it. Without a length it is found by its end anyway.
fn vouch(
    data: &[u8],
    frame: &FrameSpan,
    framing: Framing,
    limits: &FrameLimits,
    end: bool,
) -> Verdict {
    let header = framing.header();
    let payload = data.get(frame.payload.clone()).unwrap_or_default();
    if !header.has_length() || ends_like_jpeg(payload, framing) {
        return Verdict::Yes;
    }
    let next = data.get(frame.len..).unwrap_or_default();
    let enough = header.size().saturating_add(START_LEN);
    let follows = matches!(header.read(next), Ok(Some(0)))
        || detect::framings_at(next, header.size(), &[framing], limits)
            .next()
            .is_some();
    match (follows, end) {
        (true, _) => Verdict::Yes,
        (false, true) if next.is_empty() => Verdict::Yes,
        (false, false) if next.len() < enough => Verdict::Wait(frame.len.saturating_add(enough)),
        (false, _) => Verdict::No,
    }
}

/// What is wrong with the base64 of a payload, if anything is.
fn payload_error(payload: &[u8], framing: Framing) -> Option<WireError> {
    let kind = framing.payload();
    kind.decode(payload, &mut vec![0; kind.decoded_capacity(payload.len())])
        .err()
}

/// What is wrong with the beginning of a large text that has a zero byte in it: nearly
/// always the length of another frame.
fn swallowed(data: &[u8], framing: Framing) -> Option<WireError> {
    let text = data.get(framing.header().size()..)?;
    if framing.payload() != Payload::Base64 {
        return None;
    }
    let zero = memchr::memchr(0, text)?;
    payload_error(text.get(..=zero)?, framing)
}
