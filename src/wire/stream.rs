// SPDX-License-Identifier: MPL-2.0

//! The frames of one stream, however it begins and whatever comes between them.

use super::{
    base64,
    detect::{self, Accept, DETECT_LEN},
    error::{Fault, WireError},
    header::{Framing, Header, Payload},
    jpeg,
    parse::{Frame, Limits, Progress, Status, parse},
};

/// How much one step skips at the most, so that no caller has to skip without end.
const MAX_SKIP: usize = 1 << 20;

/// A frame longer than this is looked at while it grows: one wrong length ought not to
/// swallow a second of video before it is noticed.
const LARGE: usize = 256 << 10;

/// How much more a search asks for while it waits for the end of a likely frame:
/// a frame that is really there ought not to wait for a false one.
const SEARCH_GROWTH: usize = 64 << 10;

/// Bytes in which every payload of a kind begins alike.
const START_LEN: usize = 4;

/// Likely frames a search keeps in mind at once.
const MAX_PENDING: usize = 8;

/// What to do next with the bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Come again with at least so many bytes. At the end of the stream: nothing is left.
    Need(usize),
    /// Drop so many bytes from the front and come again.
    Skip(usize),
    /// A frame: decode it, then [`accept`](Stream::accept) or [`reject`](Stream::reject) it.
    Frame(Frame),
    /// Something is wrong; report it and come again with the same bytes.
    Bad(Fault),
}

/// Follows the frames of a stream without holding any of its bytes.
///
/// The caller keeps the bytes and asks [`step`](Self::step) what to do with them.
/// A framing that is not given is found out from the first bytes and confirmed by
/// the second frame. After a bad frame the stream is searched for the next header
/// whose payload begins like a JPEG and that is vouched for by its own end (EOI) or
/// by the frame behind it. No step asks for more bytes than the longest frame and
/// its successor's start have.
#[derive(Debug, Clone)]
pub struct Stream {
    framings: Vec<Framing>,
    limits: Limits,
    mode: Mode,
    framing: Option<Framing>,
    /// Whether two frames in a row agreed on it.
    confirmed: bool,
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

/// The search for the next frame. Positions count from the front of the bytes.
#[derive(Debug, Default, Clone)]
struct Search {
    /// Frames begin here or later.
    from: usize,
    /// Payloads that begin before this were looked at.
    scanned: usize,
    /// Likely frames whose end is not there yet.
    pending: Vec<(usize, Framing)>,
    /// Bytes dropped since the search began or was last reported.
    dropped: usize,
}

impl Search {
    fn from(from: usize) -> Mode {
        Mode::Search(Self {
            from,
            ..Self::default()
        })
    }

    /// Begins anew at `from`.
    fn restart(&mut self, from: usize) {
        self.from = from;
        self.scanned = from;
        self.pending.clear();
    }

    fn drop_front(&mut self, len: usize) {
        self.from = self.from.saturating_sub(len);
        self.scanned = self.scanned.saturating_sub(len);
        for (at, _) in &mut self.pending {
            *at -= len;
        }
        self.dropped += len;
    }
}

/// What a search came to.
enum Found {
    At(usize, Framing),
    /// It takes so many bytes to tell more.
    Nothing {
        wait: usize,
    },
}

/// Whether a likely frame is one.
enum Verdict {
    Yes,
    No,
    /// It takes so many bytes to tell.
    Wait(usize),
}

impl Stream {
    /// A stream of which no byte was seen yet.
    ///
    /// If no framing fits `accept` ([`Accept::framings`]), nothing is ever recognised.
    pub fn new(accept: Accept, limits: Limits) -> Self {
        Self {
            framings: accept.framings().collect(),
            limits,
            mode: Mode::Begin,
            framing: None,
            confirmed: false,
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

    /// How often a search found the next frame.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
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
            Search::from(0)
        };
    }

    /// Takes a frame that [`step`](Self::step) found; the caller drops its bytes.
    pub fn accept(&mut self, frame: &Frame) {
        self.offset += frame.len as u64;
        self.frames += 1;
        self.streak += 1;
        self.confirmed |= self.streak > 1;
        if let Mode::Follow(_, progress) = &mut self.mode {
            *progress = Progress::default();
        }
    }

    /// Refuses a frame that [`step`](Self::step) found, because of what its payload
    /// turned out to be. The caller keeps its bytes: another frame may begin in them.
    pub fn reject(&mut self, error: WireError) -> Fault {
        self.fail(error, 1)
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
                    self.offset += len as u64;
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
            // Zero lengths of four or eight bytes tell nothing yet.
            let zeros = data.chunks_exact(4).take_while(|c| *c == [0; 4]).count() * 4;
            return Some(match error {
                WireError::Unrecognised { .. } if zeros > 0 => Step::Skip(zeros.min(MAX_SKIP)),
                error => Step::Bad(self.fail(error, 1)),
            });
        }
        self.choose(data, end, &likely)
    }

    /// Settles on one of the framings that this frame may have.
    fn choose(&mut self, data: &[u8], end: bool, likely: &[Framing]) -> Option<Step> {
        let mut waiting = Vec::new();
        if let [_, _, ..] = likely {
            for &framing in likely {
                match self.judge(data, 0, framing, end) {
                    Verdict::Yes => {
                        self.settle(framing);
                        return None;
                    }
                    Verdict::No => {}
                    Verdict::Wait(len) => waiting.push((len, framing)),
                }
            }
        }
        match waiting[..] {
            [] => self.settle(likely[0]),
            [(_, framing)] => self.settle(framing),
            _ => return waiting.iter().map(|(len, _)| *len).min().map(Step::Need),
        }
        None
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
            Ok(Status::Frame(frame)) => match vouch(data, &frame, framing, &self.limits, end) {
                Verdict::Yes => Step::Frame(frame),
                Verdict::Wait(len) => Step::Need(len),
                Verdict::No => {
                    let error = payload_error(&data[frame.payload], framing);
                    return self.bad(data, end, error.unwrap_or(WireError::NoEnd));
                }
            },
            Ok(Status::Skip(len)) => Step::Skip(len.min(MAX_SKIP)),
            Ok(Status::Need(len)) => {
                // In doubling steps: looking costs no more than the frame, and what is
                // seen does not depend on the pieces in which it comes.
                let looked = (data.len() / LARGE)
                    .checked_ilog2()
                    .map_or(0, |doublings| LARGE << doublings);
                if let Some(error) = swallowed(&data[..looked], framing) {
                    return self.bad(data, end, error);
                }
                if end && !data.is_empty() {
                    return Some(self.cut(data, framing));
                }
                Step::Need(len.min(LARGE.max(2 * looked)))
            }
            Err(error) => return self.bad(data, end, error),
        })
    }

    /// The stream ends inside a frame.
    fn cut(&mut self, data: &[u8], framing: Framing) -> Step {
        let header = framing.header();
        if header == Header::Lines && ends_like_jpeg(data, framing) {
            // Only the line feed is missing.
            return Step::Frame(Frame {
                payload: 0..data.len(),
                len: data.len(),
            });
        }
        let len = header.read(data).ok().flatten();
        let error = WireError::Truncated {
            have: data.len(),
            want: len.map(|len| header.size() + len as usize),
        };
        // A wrong length may have swallowed frames. Without lengths there is nothing
        // in it but, perhaps, a thumbnail.
        let from = if header.has_length() { 1 } else { data.len() };
        Step::Bad(self.fail(error, from))
    }

    /// The frame at the front is not one.
    fn bad(&mut self, data: &[u8], end: bool, error: WireError) -> Option<Step> {
        let first = self.offset == 0 && self.frames == 0;
        let guessed = self.framings.len() > 1 && self.streak == 1 && !self.confirmed;
        if (first || guessed) && data.len() < DETECT_LEN && !end {
            return Some(Step::Need(DETECT_LEN));
        }
        if guessed {
            // The first frame may have been read in the wrong framing: the second tells.
            let likely = detect::framings_at_start(data, &self.framings, &self.limits);
            if !likely.is_empty() {
                return self.choose(data, end, &likely);
            }
        }
        let error = match detect::foreign(data) {
            Some(foreign) if first => WireError::Foreign(foreign),
            _ => error,
        };
        let from = match &self.mode {
            Mode::Follow(_, progress) => progress.sound().max(1),
            _ => 1,
        };
        Some(Step::Bad(self.fail(error, from)))
    }

    fn fail(&mut self, error: WireError, from: usize) -> Fault {
        self.mode = Search::from(from);
        Fault {
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
        let (keep, wait) = match self.find(&mut search, data, end) {
            Found::At(0, framing) => {
                self.resyncs += 1;
                self.settle(framing);
                return None;
            }
            Found::At(at, _) => {
                // It is found again when it stands in front.
                search.restart(at);
                (at, 0)
            }
            Found::Nothing { wait } => match search.pending.iter().map(|(at, _)| *at).min() {
                Some(at) => (at, wait),
                None if end => (data.len(), 1),
                None => (data.len().saturating_sub(DETECT_LEN), data.len() + 1),
            },
        };

        let step = if search.dropped > self.limits.max_frame {
            Step::Bad(Fault {
                frame: self.frames,
                offset: self.offset,
                error: WireError::Lost {
                    scanned: std::mem::take(&mut search.dropped),
                },
            })
        } else if keep > 0 {
            let len = keep.min(MAX_SKIP);
            search.drop_front(len);
            Step::Skip(len)
        } else {
            Step::Need(wait.min(data.len() + SEARCH_GROWTH))
        };
        self.mode = Mode::Search(search);
        Some(step)
    }

    /// Looks for the first frame that something vouches for.
    fn find(&self, search: &mut Search, data: &[u8], end: bool) -> Found {
        let mut wait = usize::MAX;
        let mut vouched = None;
        search
            .pending
            .retain(|&(at, framing)| match self.judge(data, at, framing, end) {
                Verdict::Yes => {
                    vouched = vouched.or(Some((at, framing)));
                    true
                }
                Verdict::No => false,
                Verdict::Wait(len) => {
                    wait = wait.min(len);
                    true
                }
            });
        if let Some((at, framing)) = vouched {
            return Found::At(at, framing);
        }

        // Once two frames agreed on the framing it does not change any more.
        let settled = self.framing.filter(|_| self.confirmed);
        let framings = settled.as_slice();
        let framings = if framings.is_empty() {
            &self.framings
        } else {
            framings
        };

        while let Some(start) = detect::next_start(data, search.scanned, framings) {
            search.scanned = start + 1;
            let mut has_length = false;
            for framing in detect::framings_at(data, start, framings, &self.limits) {
                let at = start - framing.header().size();
                if at < search.from {
                    continue;
                }
                if !framing.header().has_length() {
                    // Nothing vouches for a start without a length but the lack of one.
                    if has_length {
                        continue;
                    }
                    return Found::At(at, framing);
                }
                has_length = true;
                match self.judge(data, at, framing, end) {
                    Verdict::Yes => return Found::At(at, framing),
                    Verdict::No => {}
                    Verdict::Wait(len) if search.pending.len() < MAX_PENDING => {
                        search.pending.push((at, framing));
                        wait = wait.min(len);
                    }
                    Verdict::Wait(_) => {}
                }
            }
        }
        search.scanned = search.scanned.max(data.len().saturating_sub(START_LEN - 1));
        Found::Nothing { wait }
    }

    /// Whether the bytes at `at`, which look like a frame, are one.
    fn judge(&self, data: &[u8], at: usize, framing: Framing, end: bool) -> Verdict {
        let data = &data[at..];
        match parse(data, framing, &self.limits, &mut Progress::default()) {
            Ok(Status::Frame(frame)) => match vouch(data, &frame, framing, &self.limits, end) {
                Verdict::Wait(len) => Verdict::Wait(at + len),
                verdict => verdict,
            },
            Ok(Status::Need(len)) if !end => Verdict::Wait(at + len),
            Ok(Status::Need(_) | Status::Skip(_)) | Err(_) => Verdict::No,
        }
    }
}

/// Whether the frame at the front of `data` is whole: it ends like a JPEG, or another
/// frame or nothing follows it. Without a length it is found by its end anyway.
fn vouch(data: &[u8], frame: &Frame, framing: Framing, limits: &Limits, end: bool) -> Verdict {
    let header = framing.header();
    if !header.has_length() || ends_like_jpeg(&data[frame.payload.clone()], framing) {
        return Verdict::Yes;
    }
    let next = &data[frame.len..];
    let enough = header.size() + START_LEN;
    let follows = matches!(header.read(next), Ok(Some(0)))
        || detect::framings_at(next, header.size(), &[framing], limits)
            .next()
            .is_some();
    match (follows, end) {
        (true, _) => Verdict::Yes,
        (false, true) if next.is_empty() => Verdict::Yes,
        (false, false) if next.len() < enough => Verdict::Wait(frame.len + enough),
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
    payload_error(&text[..=zero], framing)
}

/// Whether a payload ends with EOI, as far as its last bytes tell.
fn ends_like_jpeg(payload: &[u8], framing: Framing) -> bool {
    match framing.payload() {
        Payload::Jpeg => jpeg::ends_with_eoi(payload),
        Payload::Base64 => {
            // Whole groups from the end: enough for EOI and some fill.
            let text = payload.trim_ascii_end();
            let tail = &text[text.len().saturating_sub(64) / 4 * 4..];
            let mut bytes = [0; base64::decoded_capacity(64 + 3)];
            base64::decode(tail, &mut bytes).is_ok_and(|len| jpeg::ends_with_eoi(&bytes[..len]))
        }
    }
}
