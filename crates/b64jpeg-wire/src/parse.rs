// SPDX-License-Identifier: MPL-2.0

//! One frame at the front of some bytes.

use std::ops::Range;

use super::{
    base64,
    error::{FirstBytes, WireError},
    header::{Framing, Header, Payload},
    jpeg::{self, EndScan},
};

/// Bytes in which every payload of a kind begins alike.
pub(super) const START_LEN: usize = 4;

/// What a receiver puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// The longest payload, in bytes on the wire.
    pub max_frame: usize,
    /// The most pixels, width times height, that the header of a picture may say.
    pub max_pixels: u64,
}

impl FrameLimits {
    /// 64 MiB, as base64 the JPEG of some 200 megapixels.
    pub const DEFAULT_MAX_FRAME: usize = 64 << 20;
    /// 100 megapixels, for which a decoder takes some 300 MB.
    pub const DEFAULT_MAX_PIXELS: u64 = 100_000_000;
}

impl Default for FrameLimits {
    fn default() -> Self {
        Self {
            max_frame: Self::DEFAULT_MAX_FRAME,
            max_pixels: Self::DEFAULT_MAX_PIXELS,
        }
    }
}

/// A whole frame, as places in the bytes that were parsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSpan {
    /// The payload.
    pub payload: Range<usize>,
    /// Bytes of the frame with header and line end.
    pub len: usize,
}

/// What stands at the front of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Nothing whole yet; ask again with at least so many bytes.
    Need(usize),
    /// So many bytes that mean nothing: zero lengths, empty lines, fill between pictures.
    Skip(usize),
    /// A frame. Its base64 is not decoded yet, so it may still turn out bad.
    Frame(FrameSpan),
}

/// How far into a frame without a length the search for its end has come.
///
/// A new frame begins with the default; headers with a length do not use it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    line: usize,
    walk: EndScan,
}

impl Progress {
    /// Bytes of the frame behind which, if it turns out wrong, another may begin.
    pub(super) fn sound(&self) -> usize {
        self.walk.intact()
    }
}

/// Parses what stands at the front of `data`.
///
/// Limits are checked before a length is used, and a payload that does not begin
/// like a JPEG is refused without waiting for its end. Between calls for the same
/// frame `data` may only grow, and the caller keeps `progress`.
///
/// # Errors
///
/// [`WireError::TooLong`], [`WireError::Digits`], [`WireError::NotJpeg`] and
/// [`WireError::Marker`].
///
/// # Example
///
/// ```
/// use b64jpeg_wire::{FrameSpan, Framing, FrameLimits, Progress, Status, parse};
///
/// let framing = Framing::default();
/// let mut parse = |data| parse(data, framing, &FrameLimits::default(), &mut Progress::default());
///
/// assert_eq!(parse(b"\0\0\0"), Ok(Status::Need(4)));
/// assert_eq!(parse(b"\0\0\0\x08/9j/"), Ok(Status::Need(12)));
/// let frame = FrameSpan { payload: 4..12, len: 12 };
/// assert_eq!(parse(b"\0\0\0\x08/9j/2Q==\0"), Ok(Status::Frame(frame)));
/// ```
pub fn parse(
    data: &[u8],
    framing: Framing,
    limits: &FrameLimits,
    progress: &mut Progress,
) -> Result<Status, WireError> {
    let header = framing.header();
    match header {
        Header::Lines => parse_line(data, framing, limits, &mut progress.line),
        Header::None => parse_bare(data, framing, limits, &mut progress.walk),
        _ => {
            let Some(len) = header.read(data)? else {
                return Ok(Status::Need(header.size()));
            };
            if len == 0 {
                return Ok(Status::Skip(zero_lengths(data, header)));
            }
            let len = check_len(len, limits)?;
            let payload = data.get(header.size()..).unwrap_or_default();
            let there = payload.get(..len).unwrap_or(payload);
            if !check_start(there, there.len() == len, framing)? {
                return Ok(Status::Need(more_than(data)));
            }
            let end = header.size().saturating_add(len);
            if data.len() < end {
                return Ok(Status::Need(end));
            }
            Ok(Status::Frame(FrameSpan {
                payload: header.size()..end,
                len: end,
            }))
        }
    }
}

/// One byte more than there is.
fn more_than(data: &[u8]) -> usize {
    data.len().saturating_add(1)
}

/// The length as a size in memory, if it is within the limits.
pub(super) fn check_len(len: u64, limits: &FrameLimits) -> Result<usize, WireError> {
    usize::try_from(len)
        .ok()
        .filter(|&len| len <= limits.max_frame)
        .ok_or(WireError::TooLong {
            len,
            max: limits.max_frame as u64,
        })
}

/// Whether a payload begins like a JPEG. What does not is refused once there are enough
/// bytes, or the `whole` of it, to say what it is in its place.
fn check_start(payload: &[u8], whole: bool, framing: Framing) -> Result<bool, WireError> {
    if payload.starts_with(framing.payload().start()) {
        Ok(true)
    } else if payload.len() < FirstBytes::MAX && !whole {
        Ok(false)
    } else {
        Err(WireError::NotJpeg {
            first: FirstBytes::of(payload),
        })
    }
}

/// The length of a payload without one, or at least of what is there of it.
///
/// Over the limit it is told as one more than the limit: nothing behind counts.
fn check_open_len(len: usize, limits: &FrameLimits) -> Result<(), WireError> {
    let over = limits.max_frame.saturating_add(1);
    check_len(len.min(over) as u64, limits).map(|_| ())
}

/// Bytes of the headers at the front of `data` that say zero; at least one does.
fn zero_lengths(data: &[u8], header: Header) -> usize {
    data.chunks_exact(header.size())
        .take_while(|chunk| header.read(chunk) == Ok(Some(0)))
        .map(<[u8]>::len)
        .sum()
}

fn parse_line(
    data: &[u8],
    framing: Framing,
    limits: &FrameLimits,
    searched: &mut usize,
) -> Result<Status, WireError> {
    let breaks = data
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    if breaks > 0 {
        *searched = 0;
        return Ok(Status::Skip(breaks));
    }
    // The longest line and its end.
    let longest = limits.max_frame.saturating_add(2);
    let data = data.get(..longest).unwrap_or(data);
    let end = memchr::memchr(b'\n', data.get(*searched..).unwrap_or_default())
        .map(|found| searched.saturating_add(found));
    let line = end.and_then(|end| data.get(..end)).unwrap_or(data);
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    check_start(text, end.is_some(), framing)?;
    check_open_len(text.len(), limits)?;
    match end {
        Some(end) => Ok(Status::Frame(FrameSpan {
            payload: 0..text.len(),
            len: end.saturating_add(1),
        })),
        None => {
            *searched = data.len();
            Ok(Status::Need(more_than(data)))
        }
    }
}

fn parse_bare(
    data: &[u8],
    framing: Framing,
    limits: &FrameLimits,
    walk: &mut EndScan,
) -> Result<Status, WireError> {
    let fill = data
        .iter()
        .take_while(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        .count();
    if fill > 0 {
        return Ok(Status::Skip(fill));
    }
    if !check_start(data, false, framing)? {
        return Ok(Status::Need(more_than(data)));
    }
    let longest = limits.max_frame.saturating_add(1);
    let data = data.get(..longest).unwrap_or(data);
    let end = walk.resume(data)?;
    check_open_len(end.unwrap_or(data.len()), limits)?;
    Ok(match end {
        Some(len) => Status::Frame(FrameSpan {
            payload: 0..len,
            len,
        }),
        None => Status::Need(more_than(data)),
    })
}

/// Whether a payload ends with EOI, as far as its last bytes tell.
pub(super) fn ends_like_jpeg(payload: &[u8], framing: Framing) -> bool {
    match framing.payload() {
        Payload::Jpeg => jpeg::ends_with_eoi(payload),
        Payload::Base64 => {
            let text = payload.trim_ascii_end();
            // Whole groups from the end: nearly always two are enough, the more for fill.
            [8, 64].into_iter().any(|len| {
                let from = text.len().saturating_sub(len) & !3;
                let tail = text.get(from..).unwrap_or_default();
                let mut bytes = [0; base64::decoded_capacity(67)];
                base64::decode(tail, &mut bytes)
                    .is_ok_and(|len| jpeg::ends_with_eoi(bytes.get(..len).unwrap_or_default()))
            })
        }
    }
}
