// SPDX-License-Identifier: MPL-2.0

//! The search for the next frame in bytes that may begin anywhere.
//!
//! Bytes that look like the start of a frame make a [`Candidate`]: a length within the limits,
//! and after it the start of a payload. The candidate says where its frame would end. It is
//! *confirmed* or *refuted* at up to two checkpoints, which are offsets up to which the bytes
//! have to arrive:
//!
//! 1. The end of the frame. If the payload ends with EOI, the candidate is *complete*, and
//!    confirmed, unless another candidate begins before it: a complete candidate inside another
//!    one may be an EXIF thumbnail.
//! 2. The start of a next payload after that. If a header and a payload in the same framing
//!    follow, the candidate is confirmed, complete or not, and with it the complete candidates
//!    before it; all that overlap it are discarded. If not, a candidate that is not complete
//!    is refuted.
//!
//! Starts and checkpoints are handled in the order of their offsets, as if the bytes arrived one
//! at a time. So the result does not depend on the pieces in which they arrive. A search ends
//! with the first confirmed candidate, and looks at each byte once, however many there are.
//!
//! `stream` has a worked example.

use std::slice;

use super::{
    detect::{self, DETECT_LEN},
    header::Framing,
    parse::{FrameLimits, START_LEN, ends_like_jpeg},
};

/// How many more bytes a search requests at once while it waits for a checkpoint. A real frame
/// should not have to wait for the end of a long candidate that is none.
const GROWTH: usize = 64 << 10;

/// Maximum number of candidates to keep.
const MAX_CANDIDATES: usize = 32;

/// The result of [`FrameSearch::find`]. Offsets count from the front of the bytes.
pub(super) enum SearchResult {
    /// A frame begins there.
    FrameAt(usize, Framing),
    /// No frame begins before `keep`. If that is zero, the search needs `need` bytes to go on.
    NotFound { keep: usize, need: usize },
}

/// A search in progress. Offsets count from the front of the bytes.
#[derive(Debug, Default, Clone)]
pub(super) struct FrameSearch {
    /// No frame begins before this.
    from: usize,
    /// No payload that begins before this has to be looked at any more.
    scanned: usize,
    /// The undecided candidates, in the order of their payloads.
    candidates: Vec<Candidate>,
    confirmed: Option<Candidate>,
    /// Number of bytes dropped since the search began or was last reported.
    dropped: usize,
}

impl FrameSearch {
    /// A search for a frame that begins at `from` or later.
    pub fn from(from: usize) -> Self {
        Self {
            from,
            scanned: from,
            ..Self::default()
        }
    }

    pub fn dropped(&self) -> usize {
        self.dropped
    }

    pub fn take_dropped(&mut self) -> usize {
        std::mem::take(&mut self.dropped)
    }

    /// Accounts for the caller dropping `len` bytes from the front.
    pub fn drop_front(&mut self, len: usize) {
        self.from = self.from.saturating_sub(len);
        self.scanned = self.scanned.saturating_sub(len);
        for candidate in self.candidates.iter_mut().chain(&mut self.confirmed) {
            candidate.at = candidate.at.saturating_sub(len);
            candidate.end = candidate.end.saturating_sub(len);
            candidate.checkpoint = candidate.checkpoint.map(|at| at.saturating_sub(len));
        }
        self.dropped = self.dropped.saturating_add(len);
    }

    /// Searches for the next frame in any of `framings`.
    ///
    /// The result stays the same until the caller has dropped the bytes in front of the frame.
    pub fn find(
        &mut self,
        data: &[u8],
        end: bool,
        framings: &[Framing],
        limits: &FrameLimits,
    ) -> SearchResult {
        if self.confirmed.is_none() {
            self.confirmed = self.scan(data, end, framings, limits);
        }
        match &self.confirmed {
            Some(candidate) => SearchResult::FrameAt(candidate.at, candidate.framing),
            None if end => SearchResult::NotFound {
                keep: data.len(),
                need: 1,
            },
            None if self.candidates.is_empty() => SearchResult::NotFound {
                keep: data.len().saturating_sub(DETECT_LEN),
                need: data.len().saturating_add(1),
            },
            None => SearchResult::NotFound {
                keep: self.from,
                need: next_checkpoint(&self.candidates).min(data.len().saturating_add(GROWTH)),
            },
        }
    }

    /// Handles starts and checkpoints in the order of their offsets, up to the first confirmed
    /// candidate.
    fn scan(
        &mut self,
        data: &[u8],
        end: bool,
        framings: &[Framing],
        limits: &FrameLimits,
    ) -> Option<Candidate> {
        loop {
            let checkpoint = next_checkpoint(&self.candidates);
            let seen = data.get(..checkpoint).unwrap_or(data);
            let start = detect::payload_starts(seen, self.scanned, framings).next();
            let confirmed = if let Some(start) = start {
                self.scanned = start.saturating_add(1);
                self.add_candidates(seen, start, framings, limits)
            } else if checkpoint <= data.len() {
                check_candidate(&mut self.candidates, seen, limits)
            } else {
                let scanned = data.len().saturating_sub(const { START_LEN - 1 });
                self.scanned = self.scanned.max(scanned);
                return end
                    .then(|| std::mem::take(&mut self.candidates))
                    .and_then(|candidates| first_at_end_of_stream(&candidates, data.len()));
            };
            if confirmed.is_some() {
                self.candidates.clear();
                return confirmed;
            }
            // The bytes in front of the first candidate may be dropped now.
            let first = self.candidates.iter().map(|candidate| candidate.at).min();
            self.from = self.from.max(first.unwrap_or(0));
        }
    }

    /// Adds the candidates whose payload begins at `start`.
    ///
    /// A frame without a length has no checkpoints. It is returned, as confirmed, if there are
    /// no other candidates.
    fn add_candidates(
        &mut self,
        data: &[u8],
        start: usize,
        framings: &[Framing],
        limits: &FrameLimits,
    ) -> Option<Candidate> {
        for framing in detect::framings_at(data, start, framings, limits) {
            let at = start.checked_sub(framing.header().size());
            let Some(at) = at.filter(|at| *at >= self.from) else {
                continue;
            };
            let candidate = Candidate::new(data, at, framing);
            if !framing.header().has_length() {
                return Some(candidate).filter(|_| self.candidates.is_empty());
            }
            self.candidates.push(candidate);
            if self.candidates.len() > MAX_CANDIDATES {
                // Garbage comes first, and the next frame after it.
                self.candidates.remove(0);
            }
        }
        None
    }
}

/// Decides which of the `possible` framings the frame at the front of `data` has. The error is
/// the number of bytes that are needed to decide.
pub(super) fn choose_framing(
    data: &[u8],
    end: bool,
    possible: &[Framing],
    limits: &FrameLimits,
) -> Result<Framing, usize> {
    let mut candidates: Vec<_> = possible
        .iter()
        .filter(|framing| framing.header().has_length())
        .map(|framing| Candidate::new(data, 0, *framing))
        .collect();
    let mut confirmed = None;
    while confirmed.is_none() && candidates.len() > 1 {
        let checkpoint = next_checkpoint(&candidates);
        if checkpoint <= data.len() {
            let seen = data.get(..checkpoint).unwrap_or(data);
            confirmed = check_candidate(&mut candidates, seen, limits);
        } else if end {
            confirmed = first_at_end_of_stream(&candidates, data.len());
            break;
        } else {
            return Err(checkpoint);
        }
    }
    let chosen = confirmed.as_ref().or(candidates.first());
    let chosen = chosen.map(|candidate| candidate.framing);
    // A framing without a length has no candidate. It is chosen if there is no other.
    Ok(chosen.or(possible.first().copied()).unwrap_or_default())
}

/// Bytes that look like the start of a frame.
#[derive(Debug, Clone)]
struct Candidate {
    framing: Framing,
    /// Offset of its header.
    at: usize,
    /// Offset of its end, which its length says.
    end: usize,
    /// Up to which offset the bytes have to arrive for the next check. `None` after both checks.
    checkpoint: Option<usize>,
    /// Whether its payload ends with EOI.
    complete: bool,
}

impl Candidate {
    /// The frame at offset `at` of `data`, whose length is within the limits.
    fn new(data: &[u8], at: usize, framing: Framing) -> Self {
        let header = framing.header();
        let start = data.get(at..).unwrap_or_default();
        let len = header.read(start).ok().flatten().unwrap_or(0);
        let end = at
            .saturating_add(header.size())
            .saturating_add(len as usize);
        Self {
            framing,
            at,
            end,
            checkpoint: Some(end),
            complete: false,
        }
    }
}

/// The first checkpoint of any of `candidates`.
fn next_checkpoint(candidates: &[Candidate]) -> usize {
    let checkpoints = candidates
        .iter()
        .filter_map(|candidate| candidate.checkpoint);
    checkpoints.min().unwrap_or(usize::MAX)
}

/// Checks the first candidate whose checkpoint is the end of `data`. Returns a candidate that
/// is confirmed by that; removes those that are refuted.
fn check_candidate(
    candidates: &mut Vec<Candidate>,
    data: &[u8],
    limits: &FrameLimits,
) -> Option<Candidate> {
    let checked = |candidate: &Candidate| candidate.checkpoint == Some(data.len());
    let i = candidates.iter().position(checked)?;
    let candidate = candidates.get_mut(i)?;
    let (framing, size) = (candidate.framing, candidate.framing.header().size());
    let next_payload = candidate.end.saturating_add(size);
    if candidate.checkpoint == Some(candidate.end) {
        let payload = candidate.at.saturating_add(size)..candidate.end;
        let payload = data.get(payload).unwrap_or_default();
        candidate.complete = ends_like_jpeg(payload, framing);
        candidate.checkpoint = Some(next_payload.saturating_add(START_LEN));
    } else {
        let framing = slice::from_ref(&framing);
        let mut next = detect::framings_at(data, next_payload, framing, limits);
        if next.next().is_some() {
            let confirmed = candidate.clone();
            candidates.retain(|other| other.end <= confirmed.at && other.complete);
            return candidates
                .iter()
                .chain([&confirmed])
                .min_by_key(|candidate| candidate.at)
                .cloned();
        }
        candidate.checkpoint = None;
        if !candidate.complete {
            candidates.remove(i);
        }
    }
    let first = candidates.iter().map(|candidate| candidate.at).min()?;
    let confirmed = |candidate: &&Candidate| candidate.at == first && candidate.complete;
    candidates.iter().find(confirmed).cloned()
}

/// The first candidate that is whole at the end of the stream: it is complete, or ends there.
fn first_at_end_of_stream(candidates: &[Candidate], end: usize) -> Option<Candidate> {
    candidates
        .iter()
        .filter(|candidate| candidate.complete || candidate.end == end)
        .min_by_key(|candidate| candidate.at)
        .cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::example;

    /// Offset in the stream, whether it is complete, and its checkpoint.
    type Row = (usize, bool, Option<usize>);

    /// The candidates of a search for the frame after the torn frame at offset 16, when bytes up
    /// to `end` of the stream have arrived.
    fn candidates(end: usize) -> Result<usize, Vec<Row>> {
        const TORN: usize = 16;
        // The payload of the torn frame is bad, so the search begins after its header.
        let mut search = FrameSearch::from(4);
        let framings = [Framing::default()];
        let data = &example::STREAM[TORN..end];
        match search.find(data, false, &framings, &FrameLimits::default()) {
            SearchResult::FrameAt(at, _) => Ok(TORN + at),
            SearchResult::NotFound { .. } => Err(search
                .candidates
                .iter()
                .map(|c| (TORN + c.at, c.complete, c.checkpoint.map(|at| TORN + at)))
                .collect()),
        }
    }

    #[test]
    fn search_worked_example_checks_candidates_at_checkpoints() {
        assert_eq!(candidates(33), Err(vec![]));
        let first = (26, false, Some(42));
        assert_eq!(candidates(34), Err(vec![first]));
        let second = (34, false, Some(50));
        assert_eq!(candidates(41), Err(vec![first]));
        // At 42 the payload of the first candidate turns out not to end with EOI.
        let incomplete = (26, false, Some(50));
        assert_eq!(candidates(42), Err(vec![incomplete, second]));
        assert_eq!(candidates(49), Err(vec![incomplete, second]));
        // At 50 no payload begins at 46, which refutes the first; the second is complete.
        assert_eq!(candidates(50), Ok(34));
    }
}
