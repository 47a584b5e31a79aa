// SPDX-License-Identifier: MPL-2.0

//! The search for the next frame, from anywhere.
//!
//! A frame is taken when its payload begins like a JPEG behind a length within the
//! limits, and something vouches for it: its own end (EOI) or the frame behind it.
//! Until then it is a candidate, and several may be in the race, of which one stands
//! inside another: an EXIF thumbnail, or a length that was wrong.

use std::slice;

use super::{
    detect::{self, DETECT_LEN},
    header::Framing,
    parse::{FrameLimits, START_LEN, ends_like_jpeg},
};

/// How much more a search asks for while it waits for the end of a candidate: a frame
/// that is really there ought not to wait for a false one.
const GROWTH: usize = 64 << 10;

/// Candidates that are kept in mind at once.
const MAX_CANDIDATES: usize = 32;

/// What a search has come to.
pub(super) enum Found {
    /// A frame begins there.
    At(usize, Framing),
    /// None begins before `keep`; with nothing to drop it takes `need` bytes to go on.
    Nothing { keep: usize, need: usize },
}

/// A search under way. Positions count from the front of the bytes.
#[derive(Debug, Default, Clone)]
pub(super) struct Search {
    /// Frames begin here or later.
    from: usize,
    /// Payloads that begin before this were looked at.
    scanned: usize,
    /// In the order in which they were seen.
    candidates: Vec<Candidate>,
    found: Option<Candidate>,
    /// Bytes dropped since the search began or was last reported.
    dropped: usize,
}

impl Search {
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

    /// Tells that the first bytes are gone.
    pub fn drop_front(&mut self, len: usize) {
        self.from = self.from.saturating_sub(len);
        self.scanned = self.scanned.saturating_sub(len);
        for candidate in self.candidates.iter_mut().chain(&mut self.found) {
            candidate.at = candidate.at.saturating_sub(len);
            candidate.end = candidate.end.saturating_sub(len);
            candidate.wait = candidate.wait.map(|wait| wait.saturating_sub(len));
        }
        self.dropped = self.dropped.saturating_add(len);
    }

    /// Looks for the next frame in any of `framings`.
    ///
    /// What was found stays found until its front is reached.
    pub fn find(
        &mut self,
        data: &[u8],
        end: bool,
        framings: &[Framing],
        limits: &FrameLimits,
    ) -> Found {
        if self.found.is_none() {
            self.found = self.scan(data, end, framings, limits);
        }
        match &self.found {
            Some(candidate) => Found::At(candidate.at, candidate.framing),
            None if end => Found::Nothing {
                keep: data.len(),
                need: 1,
            },
            None if self.candidates.is_empty() => Found::Nothing {
                keep: data.len().saturating_sub(DETECT_LEN),
                need: data.len().saturating_add(1),
            },
            None => Found::Nothing {
                keep: self.from,
                need: next_event(&self.candidates).min(data.len().saturating_add(GROWTH)),
            },
        }
    }

    /// Sees starts and ends in the order of the bytes, as if those came one by one: what
    /// is found does not depend on the pieces in which they come.
    fn scan(
        &mut self,
        data: &[u8],
        end: bool,
        framings: &[Framing],
        limits: &FrameLimits,
    ) -> Option<Candidate> {
        loop {
            let event = next_event(&self.candidates);
            let seen = data.get(..event).unwrap_or(data);
            let start = detect::starts(seen, self.scanned, framings).next();
            let found = if let Some(start) = start {
                self.scanned = start.saturating_add(1);
                self.enter(seen, start, framings, limits)
            } else if event <= data.len() {
                contest(&mut self.candidates, seen, limits)
            } else {
                let scanned = data.len().saturating_sub(const { START_LEN - 1 });
                self.scanned = self.scanned.max(scanned);
                return end
                    .then(|| std::mem::take(&mut self.candidates))
                    .and_then(|candidates| last(&candidates, data.len()));
            };
            if found.is_some() {
                self.candidates.clear();
                return found;
            }
            // What stands before the first of them may be dropped by now.
            let first = self.candidates.iter().map(|candidate| candidate.at).min();
            self.from = self.from.max(first.unwrap_or(0));
        }
    }

    /// Takes in the frames whose payload may begin at `start`, or returns one without a
    /// length: nothing vouches for that but that no other is likely.
    fn enter(
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
                // Garbage comes first, the next frame behind it.
                self.candidates.remove(0);
            }
        }
        None
    }
}

/// Which of `likely` framings the frame at the front of `data` has, or how many bytes it
/// takes to tell.
pub(super) fn choose(
    data: &[u8],
    end: bool,
    likely: &[Framing],
    limits: &FrameLimits,
) -> Result<Framing, usize> {
    // Nothing vouches for a frame without a length but that no other is likely.
    let mut rivals: Vec<_> = likely
        .iter()
        .filter(|framing| framing.header().has_length())
        .map(|framing| Candidate::new(data, 0, *framing))
        .collect();
    let mut won = None;
    while won.is_none() && rivals.len() > 1 {
        let event = next_event(&rivals);
        if event <= data.len() {
            won = contest(&mut rivals, data.get(..event).unwrap_or(data), limits);
        } else if end {
            won = last(&rivals, data.len());
            break;
        } else {
            return Err(event);
        }
    }
    let chosen = won.as_ref().or(rivals.first());
    let chosen = chosen.map(|candidate| candidate.framing);
    // One without a length, if it is that: some framing is likely.
    Ok(chosen.or(likely.first().copied()).unwrap_or_default())
}

/// Bytes that look like a frame.
#[derive(Debug, Clone)]
struct Candidate {
    framing: Framing,
    at: usize,
    end: usize,
    /// Up to where the bytes have to come until they tell more about it.
    wait: Option<usize>,
    /// It ends with EOI. So does a thumbnail inside another frame.
    ended: bool,
}

impl Candidate {
    /// The frame that `data` says is at `at`, within the limits.
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
            wait: Some(end),
            ended: false,
        }
    }
}

/// Up to where the bytes have to come until they tell more about any of `candidates`.
fn next_event(candidates: &[Candidate]) -> usize {
    let waits = candidates.iter().filter_map(|candidate| candidate.wait);
    waits.min().unwrap_or(usize::MAX)
}

/// Hears those of `candidates` that the end of `data` tells something about, and
/// returns the one that is vouched for now.
fn contest(
    candidates: &mut Vec<Candidate>,
    data: &[u8],
    limits: &FrameLimits,
) -> Option<Candidate> {
    let i = candidates.iter().position(|c| c.wait == Some(data.len()))?;
    let candidate = candidates.get_mut(i)?;
    let (framing, size) = (candidate.framing, candidate.framing.header().size());
    if candidate.wait == Some(candidate.end) {
        let payload = candidate.at.saturating_add(size)..candidate.end;
        let payload = data.get(payload).unwrap_or_default();
        candidate.ended = ends_like_jpeg(payload, framing);
        let next = candidate.end.saturating_add(size);
        candidate.wait = Some(next.saturating_add(START_LEN));
    } else {
        let next = candidate.end.saturating_add(size);
        let mut next = detect::framings_at(data, next, slice::from_ref(&framing), limits);
        if next.next().is_some() {
            // Those that reach into it are none. Those before it are, if any are left.
            let winner = candidate.clone();
            candidates.retain(|c| c.end <= winner.at && c.ended);
            return candidates
                .iter()
                .chain([&winner])
                .min_by_key(|c| c.at)
                .cloned();
        }
        candidate.wait = None;
        if !candidate.ended {
            candidates.remove(i);
        }
    }
    // A thumbnail would stand inside one that begins before.
    let first = candidates.iter().map(|candidate| candidate.at).min()?;
    let vouched = |c: &&Candidate| c.at == first && c.ended;
    candidates.iter().find(vouched).cloned()
}

/// The first of `candidates` that the end of the stream does not cut.
fn last(candidates: &[Candidate], end: usize) -> Option<Candidate> {
    let whole = candidates.iter().filter(|c| c.ended || c.end == end);
    whole.min_by_key(|candidate| candidate.at).cloned()
}
