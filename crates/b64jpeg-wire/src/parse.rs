// SPDX-License-Identifier: MPL-2.0

//! Stateless parsing: the one frame at the front of some bytes.

use std::ops::Range;

use super::{
    base64,
    error::{FirstBytes, WireError},
    header::{Framing, Header, Payload},
    jpeg::{self, EndScan},
};

/// Number of bytes in the longest [`Payload::start`].
pub(super) const START_LEN: usize = 4;

/// The limits that a receiver sets for a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLimits {
    /// Maximum length of a payload on the wire, in bytes.
    pub max_frame: usize,
    /// Maximum number of pixels, width times height, in the header of a JPEG.
    pub max_pixels: u64,
}

impl FrameLimits {
    /// 64 MiB: the base64 text of a JPEG of some 200 megapixels.
    pub const DEFAULT_MAX_FRAME: usize = 64 << 20;
    /// 100 megapixels, for which a decoder needs some 300 MB.
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

/// A whole frame at the front of the parsed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameSpan {
    /// Where the payload is in the parsed bytes.
    pub payload: Range<usize>,
    /// Length of the frame in bytes, with header and line end.
    pub len: usize,
}

/// What is at the front of the parsed bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParseStatus {
    /// An incomplete frame. Parse again with at least this many bytes.
    Need(usize),
    /// This many bytes of filler: zero lengths, empty lines, or fill bytes between JPEGs.
    Skip(usize),
    /// A whole frame. Its base64 is not decoded yet, so it may still be bad.
    Frame(FrameSpan),
}

/// How far the search for the end of a frame without a length has come.
///
/// Start each frame with the default. Headers with a length do not use it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct ParseProgress {
    /// Length of the part of a line that was searched for its line feed.
    line_searched: usize,
    jpeg_end: EndScan,
}

impl ParseProgress {
    /// Number of bytes that certainly belong to the frame. If it is bad, another one may begin
    /// after them.
    pub(super) fn intact(&self) -> usize {
        self.jpeg_end.intact()
    }
}

/// Parses the front of `data`.
///
/// A length is checked against the limits before it is used. A payload that does not begin
/// like a JPEG is an error before its end has arrived. Between calls for the same frame `data`
/// may only grow, and the caller keeps `progress`.
///
/// # Errors
///
/// [`WireError::TooLong`], [`WireError::Digits`], [`WireError::NotJpeg`] and
/// [`WireError::Marker`].
///
/// # Example
///
/// ```
/// use b64jpeg_wire::{FrameLimits, FrameSpan, Framing, ParseProgress, ParseStatus, parse};
///
/// let framing = Framing::default();
/// let limits = FrameLimits::default();
/// let parse = |data| parse(data, framing, &limits, &mut ParseProgress::default());
///
/// assert_eq!(parse(b"\0\0\0"), Ok(ParseStatus::Need(4)));
/// assert_eq!(parse(b"\0\0\0\x08/9j/"), Ok(ParseStatus::Need(12)));
/// let frame = FrameSpan { payload: 4..12, len: 12 };
/// assert_eq!(parse(b"\0\0\0\x08/9j/2Q==\0"), Ok(ParseStatus::Frame(frame)));
/// ```
pub fn parse(
    data: &[u8],
    framing: Framing,
    limits: &FrameLimits,
    progress: &mut ParseProgress,
) -> Result<ParseStatus, WireError> {
    let header = framing.header();
    match header {
        Header::Lines => parse_line(data, framing, limits, &mut progress.line_searched),
        Header::None => parse_bare(data, framing, limits, &mut progress.jpeg_end),
        _ => {
            let Some(len) = header.read(data)? else {
                return Ok(ParseStatus::Need(header.size()));
            };
            if len == 0 {
                return Ok(ParseStatus::Skip(zero_lengths_len(data, header)));
            }
            let len = check_len(len, limits)?;
            let payload = data.get(header.size()..).unwrap_or_default();
            let received = payload.get(..len).unwrap_or(payload);
            if !check_start(received, received.len() == len, framing)? {
                return Ok(ParseStatus::Need(one_more_than(data)));
            }
            let end = header.size().saturating_add(len);
            if data.len() < end {
                return Ok(ParseStatus::Need(end));
            }
            Ok(ParseStatus::Frame(FrameSpan {
                payload: header.size()..end,
                len: end,
            }))
        }
    }
}

/// One byte more than `data` has.
fn one_more_than(data: &[u8]) -> usize {
    data.len().saturating_add(1)
}

/// Converts a length to a size in memory, if it is within the limits.
pub(super) fn check_len(len: u64, limits: &FrameLimits) -> Result<usize, WireError> {
    usize::try_from(len)
        .ok()
        .filter(|&len| len <= limits.max_frame)
        .ok_or(WireError::TooLong {
            len,
            max: limits.max_frame as u64,
        })
}

/// Whether a payload begins like a JPEG. Otherwise it is an error as soon as it is `whole` or
/// has enough bytes for the error message.
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

/// Checks the length of a payload without a length in its header, which may be incomplete.
///
/// The error names one byte more than the limit, because no more bytes were looked at.
fn check_open_len(len: usize, limits: &FrameLimits) -> Result<(), WireError> {
    let over = limits.max_frame.saturating_add(1);
    check_len(len.min(over) as u64, limits).map(|_| ())
}

/// Length of the zero lengths at the front of `data`, where there is at least one.
fn zero_lengths_len(data: &[u8], header: Header) -> usize {
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
) -> Result<ParseStatus, WireError> {
    let breaks = data
        .iter()
        .take_while(|byte| matches!(byte, b'\r' | b'\n'))
        .count();
    if breaks > 0 {
        *searched = 0;
        return Ok(ParseStatus::Skip(breaks));
    }
    // The longest line and its line end.
    let longest = limits.max_frame.saturating_add(2);
    let data = data.get(..longest).unwrap_or(data);
    let end = memchr::memchr(b'\n', data.get(*searched..).unwrap_or_default())
        .map(|found| searched.saturating_add(found));
    let line = end.and_then(|end| data.get(..end)).unwrap_or(data);
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    check_start(text, end.is_some(), framing)?;
    check_open_len(text.len(), limits)?;
    match end {
        Some(end) => Ok(ParseStatus::Frame(FrameSpan {
            payload: 0..text.len(),
            len: end.saturating_add(1),
        })),
        None => {
            *searched = data.len();
            Ok(ParseStatus::Need(one_more_than(data)))
        }
    }
}

fn parse_bare(
    data: &[u8],
    framing: Framing,
    limits: &FrameLimits,
    jpeg_end: &mut EndScan,
) -> Result<ParseStatus, WireError> {
    let fill = data
        .iter()
        .take_while(|byte| matches!(byte, 0 | b'\r' | b'\n'))
        .count();
    if fill > 0 {
        return Ok(ParseStatus::Skip(fill));
    }
    if !check_start(data, false, framing)? {
        return Ok(ParseStatus::Need(one_more_than(data)));
    }
    let longest = limits.max_frame.saturating_add(1);
    let data = data.get(..longest).unwrap_or(data);
    let end = jpeg_end.resume(data)?;
    check_open_len(end.unwrap_or(data.len()), limits)?;
    Ok(match end {
        Some(len) => ParseStatus::Frame(FrameSpan {
            payload: 0..len,
            len,
        }),
        None => ParseStatus::Need(one_more_than(data)),
    })
}

/// Whether the last bytes of a payload are EOI and perhaps fill bytes.
pub(super) fn ends_like_jpeg(payload: &[u8], framing: Framing) -> bool {
    match framing.payload() {
        Payload::Jpeg => jpeg::ends_with_eoi(payload),
        Payload::Base64 => {
            let text = payload.trim_ascii_end();
            // Whole groups from the end: two are nearly always enough, 16 allow for fill bytes.
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
