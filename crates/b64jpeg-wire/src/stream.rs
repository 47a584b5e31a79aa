// SPDX-License-Identifier: MPL-2.0

//! The frames of a whole stream: detection of the framing, and resynchronisation.
//!
//! # Positions
//!
//! A [`FrameStream`] holds no bytes, only its [`Position`]: what it knows about the front of the
//! bytes that its caller keeps. Each [`step`](FrameStream::step) looks at these bytes and
//! returns what to do with them.
//!
//! - **Stream start.** The framing is not known. `detect` lists the framings that are possible
//!   for the first bytes. If there are several, as for a length that is valid in both byte
//!   orders, `search` decides at the end of the frame, as below. If there are none, filler is
//!   skipped, and anything else is an error.
//! - **Frame start.** The frame is parsed in the current framing. Since its length may be wrong, it
//!   has to be *confirmed*: its payload ends with EOI, or another frame, a zero length or the end
//!   of the stream follows it. A frame that cannot be parsed or confirmed is bad.
//! - **Unknown.** After a bad frame or a jump, `search` looks for the next confirmed frame.
//!
//! A detected framing is not final at once: the first frame may be valid in another one, too.
//! From the second frame in a row on, each accepted frame rules out the framings that would have
//! read it in another way. While several framings remain, a bad frame starts detection again.
//!
//! # Resynchronisation, by example
//!
//! The framing is `be32 base64`. The sender was interrupted twice, and began with a new frame
//! each time:
//!
//! ```text
//! offset  header       payload
//!      0  00 00 00 0c  /9j/4AAC/9k=
//!     16  00 00 00 0c  /9j/4A            torn: 6 of 12 bytes
//!     26  00 00 00 0c  /9j/              torn: 4 of 12 bytes
//!     34  00 00 00 0c  /9j/4AAC/9k=
//!     50
//! ```
//!
//! 1. The frame at 0 ends with EOI (`/9k=`), so it is confirmed: [`StreamStep::Frame`].
//! 2. The frame at 16 seems to end at 32, inside the header and payload of others. Its last
//!    group of four, `00 0c` and `/9`, is not base64, so it does not end with EOI. Nor does a
//!    frame follow at 32: as soon as the bytes up to 40 have arrived, it is known that they are
//!    not a length and the start of a payload. So the frame is bad, because its payload has a
//!    `00` after `/9j/4A`: [`StreamStep::Bad`]. The search begins at 20, after the header of the
//!    bad frame.
//! 3. Payloads may begin at 30 and 38. Their headers make two candidates: one from 26 to 42, and
//!    one from 34 to 50.
//! 4. The first checkpoint of the first candidate is its end, 42. Its payload is `/9j/`,
//!    `00 00 00 0c`, `/9j/`, which does not end with EOI. Its second checkpoint is 50, where the
//!    first bytes of the next payload would end.
//! 5. At 50 no payload begins at 46, so the first candidate is refuted. The second candidate ends
//!    there with EOI, and no other one begins before it any more: it is confirmed. It does not
//!    have to wait for the frame after it.
//! 6. The caller skips the bytes up to 34 ([`StreamStep::Skip`]) and gets the frame there.
//!
//! Two torn frames cost one error, and no whole frame is lost:
//!
//! ```
//! use b64jpeg_wire::{Deframer, FrameError, FrameLimits, Framing, WireError};
//!
//! let stream = [
//!     &b"\0\0\0\x0c/9j/4AAC/9k="[..],
//!     b"\0\0\0\x0c/9j/4A",
//!     b"\0\0\0\x0c/9j/",
//!     b"\0\0\0\x0c/9j/4AAC/9k=",
//! ];
//! let mut deframer = Deframer::new(Framing::default().into(), FrameLimits::default());
//! deframer.push(&stream.concat());
//!
//! let jpeg = b"\xff\xd8\xff\xe0\0\x02\xff\xd9".to_vec();
//! assert_eq!(deframer.next(), Some(Ok(jpeg.clone())));
//! let torn = FrameError {
//!     frame: 1,
//!     offset: 16,
//!     error: WireError::Base64 { offset: 6, byte: Some(0) },
//! };
//! assert_eq!(deframer.next(), Some(Err(torn)));
//! assert_eq!(deframer.next(), Some(Ok(jpeg)));
//! assert_eq!(deframer.next(), None);
//! assert_eq!(deframer.stream().resyncs(), 1);
//! ```
//!
//! # Bounds
//!
//! A search never requests more bytes than the longest frame and the start of the next one have.
//! It reports [`WireError::Lost`] whenever it has dropped more bytes than a frame may have. A frame of more than
//! [`LARGE`] bytes is checked while it arrives, so that a wrong length does not delay the video
//! until all of it is there.

use super::{
    confirm::{Confirmation, confirm, consistent, payload_error, swallowed_frame},
    detect::{self, AcceptedFramings, DETECT_LEN},
    error::{FrameError, WireError},
    header::{Framing, Header},
    parse::{FrameLimits, FrameSpan, ParseProgress, ParseStatus, ends_like_jpeg, parse},
    search::{self, FrameSearch, SearchResult},
};

/// Maximum number of bytes that one step skips, so that the caller regains control.
const MAX_SKIP: usize = 1 << 20;

/// A frame longer than this is checked while it arrives. Otherwise one wrong length could
/// swallow a second of video before it is noticed.
const LARGE: usize = 256 << 10;

/// A frame without a length is parsed with every piece up to this length, and then less often,
/// because the caller may have to copy its pieces together for each try. The end of a longer
/// frame may be noticed only when the next one begins.
const LONG_OPEN: usize = 512 << 10;

/// What to do next with the bytes of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamStep {
    /// Step again with at least this many bytes. At the end of the stream, no bytes are left.
    Need(usize),
    /// Drop this many bytes from the front and step again.
    Skip(usize),
    /// A frame. Decode it, then [`accept`](FrameStream::accept),
    /// [`reject`](FrameStream::reject) or [`discard`](FrameStream::discard) it.
    Frame(FrameSpan),
    /// An error. Report it and step again with the same bytes.
    Bad(FrameError),
}

/// Finds the frames of a stream without holding any of its bytes.
///
/// The caller keeps the bytes and lets [`step`](Self::step) look at them. The framing, if it is
/// not given, is detected from the first bytes and confirmed by the second frame. After a bad
/// frame, the stream is searched for the next length within the limits whose payload begins like
/// a JPEG, and that is confirmed by the EOI of the payload or by the frame after it. No step
/// requests more bytes than the longest frame and the start of the next one. The result does not
/// depend on the pieces in which the bytes arrive.
///
/// [`Deframer`](crate::Deframer) does the same and keeps the bytes.
#[derive(Debug, Clone)]
pub struct FrameStream {
    limits: FrameLimits,
    position: Position,
    /// Framings still consistent with every frame since two in a row agreed.
    possible: Vec<Framing>,
    /// Framings consistent with the last frame.
    consistent: Vec<Framing>,
    framing: Option<Framing>,
    /// Number of frames accepted in a row in `framing`.
    streak: u64,
    offset: u64,
    frames: u64,
    resyncs: u64,
}

/// What is known about the front of the bytes.
#[derive(Debug, Clone)]
enum Position {
    /// A stream of unknown framing begins.
    StreamStart,
    /// A frame begins.
    FrameStart(Framing, ParseProgress),
    /// Nothing: a search for the next frame is in progress.
    Unknown(FrameSearch),
}

impl FrameStream {
    /// Begins a stream.
    ///
    /// If `accept` allows no framing ([`AcceptedFramings::framings`]), no frame is ever found.
    pub fn new(accept: AcceptedFramings, limits: FrameLimits) -> Self {
        Self {
            limits,
            position: Position::StreamStart,
            possible: accept.framings().collect(),
            consistent: Vec::new(),
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

    /// Offset in the stream of the front of the bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Number of accepted frames.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Length of the frame at the front of `data`, with its header, if the header contains it.
    pub fn frame_len(&self, data: &[u8]) -> Option<usize> {
        let Position::FrameStart(framing, _) = &self.position else {
            return None;
        };
        let header = framing.header();
        let len = header.read(data).ok().flatten()?;
        header.size().checked_add(usize::try_from(len).ok()?)
    }

    /// Number of searches that found a frame.
    pub fn resyncs(&self) -> u64 {
        self.resyncs
    }

    /// Sets the accepted framings of the bytes from here on.
    pub fn set_accepted(&mut self, accept: AcceptedFramings) {
        self.possible = accept.framings().collect();
        self.consistent.clear();
        self.framing = None;
        self.streak = 0;
        self.position = Position::StreamStart;
    }

    /// Goes to another offset in the stream, as after a seek.
    ///
    /// The next bytes may begin anywhere in a frame.
    pub fn jump(&mut self, offset: u64) {
        self.offset = offset;
        self.streak = 0;
        self.position = if offset == 0 && self.framing.is_none() {
            Position::StreamStart
        } else {
            Position::Unknown(FrameSearch::from(0))
        };
    }

    /// Accepts a frame that [`step`](Self::step) found. The caller drops its bytes.
    pub fn accept(&mut self, frame: &FrameSpan) {
        self.pass(frame);
        self.frames = self.frames.saturating_add(1);
        self.streak = self.streak.saturating_add(1);
        if self.streak > 1 && self.possible.len() > 1 {
            let consistent = &self.consistent;
            self.possible.retain(|framing| consistent.contains(framing));
        }
    }

    /// Rejects a frame that [`step`](Self::step) found, because its payload is bad. The caller
    /// keeps its bytes: another frame may begin in them.
    pub fn reject(&mut self, error: WireError) -> FrameError {
        let size = self.framing.map_or(0, |framing| framing.header().size());
        self.start_search(error, size.max(1))
    }

    /// Discards a whole frame that [`step`](Self::step) found, because its picture is bad
    /// ([`WireError::is_picture_error`]). The caller drops its bytes.
    pub fn discard(&mut self, frame: &FrameSpan, error: WireError) -> FrameError {
        let error = self.error_here(error);
        self.pass(frame);
        error
    }

    /// Moves to the end of a frame.
    fn pass(&mut self, frame: &FrameSpan) {
        self.offset = self.offset.saturating_add(frame.len as u64);
        if let Position::FrameStart(_, progress) = &mut self.position {
            *progress = ParseProgress::default();
        }
    }

    /// Returns what to do with `data`, the bytes from [`offset`](Self::offset) on. `end` says
    /// that they are the last ones of the stream.
    pub fn step(&mut self, data: &[u8], end: bool) -> StreamStep {
        loop {
            // Each returns `None` after a change of the position.
            let step = match self.position {
                Position::StreamStart => self.detect(data, end),
                Position::FrameStart(..) => self.parse(data, end),
                Position::Unknown(_) => self.search(data, end),
            };
            if let Some(step) = step {
                if let StreamStep::Skip(len) = step {
                    self.offset = self.offset.saturating_add(len as u64);
                }
                return step;
            }
        }
    }

    fn detect(&mut self, data: &[u8], end: bool) -> Option<StreamStep> {
        if let [framing] = self.possible[..] {
            self.set_framing(framing);
            return None;
        }
        if data.is_empty() || data.len() < DETECT_LEN && !end {
            return Some(StreamStep::Need(DETECT_LEN));
        }
        let possible = detect::framings_at_front(data, &self.possible, &self.limits);
        if possible.is_empty() {
            let error = detect::error_at_front(data, &self.possible, &self.limits);
            let filler = detect::filler_len(data, self.offset == 0);
            return Some(match (error, filler) {
                // A frame may follow the filler.
                (WireError::Unrecognised { .. }, Some(len)) => StreamStep::Skip(len.min(MAX_SKIP)),
                (error, _) => StreamStep::Bad(self.start_search(error, 1)),
            });
        }
        self.choose_framing(data, end, &possible)
    }

    /// Decides which of the `possible` framings the frame at the front of `data` has.
    fn choose_framing(
        &mut self,
        data: &[u8],
        end: bool,
        possible: &[Framing],
    ) -> Option<StreamStep> {
        match search::choose_framing(data, end, possible, &self.limits) {
            Ok(framing) => {
                self.set_framing(framing);
                None
            }
            Err(need) => Some(StreamStep::Need(need)),
        }
    }

    fn set_framing(&mut self, framing: Framing) {
        self.framing = Some(framing);
        self.streak = 0;
        self.position = Position::FrameStart(framing, ParseProgress::default());
    }

    fn parse(&mut self, data: &[u8], end: bool) -> Option<StreamStep> {
        let Position::FrameStart(framing, progress) = &mut self.position else {
            unreachable!("only called at the start of a frame");
        };
        let framing = *framing;
        Some(match parse(data, framing, &self.limits, progress) {
            Ok(ParseStatus::Frame(frame)) => {
                if self.possible.len() > 1 {
                    self.consistent = consistent(data, &frame, framing, &self.possible);
                }
                match confirm(data, &frame, framing, &self.limits, end) {
                    Confirmation::Confirmed => StreamStep::Frame(frame),
                    Confirmation::Pending(len) => StreamStep::Need(len),
                    Confirmation::Refuted => {
                        let payload = data.get(frame.payload).unwrap_or_default();
                        let error = payload_error(payload, framing);
                        return self.bad_frame(
                            data,
                            end,
                            framing,
                            error.unwrap_or(WireError::NoEnd),
                        );
                    }
                }
            }
            Ok(ParseStatus::Skip(len)) if framing.header().has_length() => {
                self.skip_zero_lengths(data, end, framing, len)
            }
            Ok(ParseStatus::Skip(len)) => StreamStep::Skip(len.min(MAX_SKIP)),
            Ok(ParseStatus::Need(len)) => {
                // Checked at doubling lengths: the total cost stays proportional to the frame,
                // and the result does not depend on the pieces in which it arrives.
                let checked = (data.len() / LARGE)
                    .checked_ilog2()
                    .map_or(0, |doublings| LARGE << doublings);
                let start = data.get(..checked).unwrap_or(data);
                if let Some(error) = swallowed_frame(start, framing) {
                    return self.bad_frame(data, end, framing, error);
                }
                if end && !data.is_empty() {
                    return Some(self.truncated_frame(data, framing));
                }
                let need = match framing.header().has_length() {
                    true => len,
                    false => len
                        .saturating_add(data.len().saturating_sub(LONG_OPEN) / 8)
                        .min(self.limits.max_frame.saturating_add(2))
                        .max(len),
                };
                StreamStep::Need(need.min(LARGE.max(checked.saturating_mul(2))))
            }
            Err(error) => return self.bad_frame(data, end, framing, error),
        })
    }

    /// Skips `len` bytes of zero lengths. The last one is kept until it is known whether it
    /// belongs to the next header, in another framing.
    fn skip_zero_lengths(
        &mut self,
        data: &[u8],
        end: bool,
        framing: Framing,
        len: usize,
    ) -> StreamStep {
        let size = framing.header().size();
        if let Some(more) = len.checked_sub(size).filter(|more| *more > 0) {
            return StreamStep::Skip(more.min(MAX_SKIP));
        }
        let next = data.get(size..).unwrap_or_default();
        if next.len() < DETECT_LEN && !end {
            return StreamStep::Need(size.saturating_add(DETECT_LEN));
        }
        let other_framing = self.possible.len() > 1
            && !detect::framings_at_front(next, &self.possible, &self.limits).is_empty();
        match parse(next, framing, &self.limits, &mut ParseProgress::default()) {
            Err(error) if !other_framing => {
                let mut error = self.start_search(error, 1);
                error.offset = error.offset.saturating_add(size as u64);
                StreamStep::Bad(error)
            }
            _ => StreamStep::Skip(size),
        }
    }

    /// Handles a frame in which the stream ends.
    fn truncated_frame(&mut self, data: &[u8], framing: Framing) -> StreamStep {
        let header = framing.header();
        if header == Header::Lines && ends_like_jpeg(data, framing) {
            // Only the line feed is missing.
            return StreamStep::Frame(FrameSpan {
                payload: 0..data.len(),
                len: data.len(),
            });
        }
        let len = header.read(data).ok().flatten();
        let error = WireError::Truncated {
            have: data.len(),
            want: len.map(|len| header.size().saturating_add(len as usize)),
        };
        // A wrong length may have swallowed frames. Without a length there is nothing to find
        // in the frame but perhaps a thumbnail.
        let from = if header.has_length() { 1 } else { data.len() };
        StreamStep::Bad(self.start_search(error, from))
    }

    /// Handles a bad frame at the front.
    fn bad_frame(
        &mut self,
        data: &[u8],
        end: bool,
        framing: Framing,
        error: WireError,
    ) -> Option<StreamStep> {
        let first = self.offset == 0 && self.frames == 0;
        let uncertain = self.possible.len() > 1 && self.streak > 0;
        if (first || uncertain) && data.len() < DETECT_LEN && !end {
            return Some(StreamStep::Need(DETECT_LEN));
        }
        if uncertain {
            // The framing may be wrong, although the frames before could be read in it.
            let possible = detect::framings_at_front(data, &self.possible, &self.limits);
            if !possible.is_empty() {
                return self.choose_framing(data, end, &possible);
            }
        }
        let error = match detect::foreign(data) {
            Some(foreign) if first => WireError::Foreign(foreign),
            _ => error,
        };
        let from = match (&error, &self.position) {
            // There is no end in these bytes.
            (WireError::TooLong { .. }, _) if !framing.header().has_length() => {
                self.limits.max_frame.max(1)
            }
            // The payload is bad, so this header is not worth another try.
            (WireError::Base64 { .. }, _) => framing.header().size().max(1),
            (_, Position::FrameStart(_, progress)) => progress.intact().max(1),
            _ => 1,
        };
        Some(StreamStep::Bad(self.start_search(error, from)))
    }

    /// Begins a search for a frame `from` bytes after the front or later.
    fn start_search(&mut self, error: WireError, from: usize) -> FrameError {
        self.position = Position::Unknown(FrameSearch::from(from));
        self.error_here(error)
    }

    fn error_here(&self, error: WireError) -> FrameError {
        FrameError {
            frame: self.frames,
            offset: self.offset,
            error,
        }
    }

    fn search(&mut self, data: &[u8], end: bool) -> Option<StreamStep> {
        let Position::Unknown(search) = &mut self.position else {
            unreachable!("only called during a search");
        };
        let mut search = std::mem::take(search);
        let (keep, need) = match search.find(data, end, &self.possible, &self.limits) {
            SearchResult::FrameAt(0, framing) => {
                self.resyncs = self.resyncs.saturating_add(1);
                self.set_framing(framing);
                return None;
            }
            SearchResult::FrameAt(at, _) => (at, 0),
            SearchResult::NotFound { keep, need } => (keep, need),
        };

        let longest = self.limits.max_frame.saturating_add(1);
        let until_lost = longest.saturating_sub(search.dropped());
        let step = if keep > 0 && until_lost == 0 {
            let scanned = search.take_dropped();
            StreamStep::Bad(self.error_here(WireError::Lost { scanned }))
        } else if keep > 0 {
            let len = keep.min(MAX_SKIP).min(until_lost);
            search.drop_front(len);
            StreamStep::Skip(len)
        } else {
            StreamStep::Need(need)
        };
        self.position = Position::Unknown(search);
        Some(step)
    }
}

/// The stream of the worked example in the module documentation.
#[cfg(test)]
pub(super) mod example {
    pub const STREAM: &[u8] = b"\0\0\0\x0c/9j/4AAC/9k=\
        \0\0\0\x0c/9j/4A\
        \0\0\0\x0c/9j/\
        \0\0\0\x0c/9j/4AAC/9k=";
}

#[cfg(test)]
mod tests;
