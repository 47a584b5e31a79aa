// SPDX-License-Identifier: MPL-2.0

//! Checks of a frame that was parsed: whether its length is right, and its payload.

use super::{
    detect,
    error::WireError,
    header::{Framing, Payload},
    parse::{FrameLimits, FrameSpan, START_LEN, ends_like_jpeg},
};

/// Whether the length of a frame is right.
pub(super) enum Confirmation {
    Confirmed,
    Refuted,
    /// This many bytes are needed to decide.
    Pending(usize),
}

/// The framings in which the frame at the front of `data` is the same as in `framing`.
pub(super) fn consistent(
    data: &[u8],
    frame: &FrameSpan,
    framing: Framing,
    framings: &[Framing],
) -> Vec<Framing> {
    let len = Ok(Some(frame.payload.len() as u64));
    let same_frame = |other: &Framing| {
        let header = frame.payload.start.checked_sub(other.header().size());
        other.payload() == framing.payload()
            && header
                .and_then(|at| data.get(at..))
                .is_some_and(|data| other.header().read(data) == len)
    };
    framings
        .iter()
        .filter(|other| **other == framing || same_frame(other))
        .copied()
        .collect()
}

/// Confirms the length of the frame at the front of `data`: its payload ends with EOI, or
/// another frame or the end of the stream follows. A frame without a length is found by its end.
pub(super) fn confirm(
    data: &[u8],
    frame: &FrameSpan,
    framing: Framing,
    limits: &FrameLimits,
    end: bool,
) -> Confirmation {
    let header = framing.header();
    let payload = data.get(frame.payload.clone()).unwrap_or_default();
    if !header.has_length() || ends_like_jpeg(payload, framing) {
        return Confirmation::Confirmed;
    }
    let next = data.get(frame.len..).unwrap_or_default();
    let enough = header.size().saturating_add(START_LEN);
    let follows = matches!(header.read(next), Ok(Some(0)))
        || detect::framings_at(next, header.size(), &[framing], limits)
            .next()
            .is_some();
    match (follows, end) {
        (true, _) => Confirmation::Confirmed,
        (false, true) if next.is_empty() => Confirmation::Confirmed,
        (false, false) if next.len() < enough => {
            Confirmation::Pending(frame.len.saturating_add(enough))
        }
        (false, _) => Confirmation::Refuted,
    }
}

/// The error of decoding a payload, if there is one.
pub(super) fn payload_error(payload: &[u8], framing: Framing) -> Option<WireError> {
    let kind = framing.payload();
    kind.decode(payload, &mut vec![0; kind.decoded_capacity(payload.len())])
        .err()
}

/// The error of decoding the start of a large base64 text up to its first zero byte, which is
/// nearly always in the header of a swallowed frame.
pub(super) fn swallowed_frame(data: &[u8], framing: Framing) -> Option<WireError> {
    let text = data.get(framing.header().size()..)?;
    if framing.payload() != Payload::Base64 {
        return None;
    }
    let zero = memchr::memchr(0, text)?;
    payload_error(text.get(..=zero)?, framing)
}
