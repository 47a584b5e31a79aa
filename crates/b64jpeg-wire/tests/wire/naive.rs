// SPDX-License-Identifier: MPL-2.0

//! A model of the framings: slow, short, and independent of the crate but for its type names.
//!
//! It reads a whole stream, frame by frame, as the scripts in the wild do, and stops at the first
//! error. The properties say what happens after that.

use b64jpeg_wire::{FirstBytes, FrameError, FrameLimits, Framing, Header, Payload, WireError};
use base64::{
    Engine,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

/// Encodes a frame like Python.
pub fn encode(framing: Framing, jpeg: &[u8]) -> Vec<u8> {
    wrap(framing.header(), &payload(framing.payload(), jpeg))
}

pub fn payload(payload: Payload, jpeg: &[u8]) -> Vec<u8> {
    match payload {
        Payload::Base64 => base64::prelude::BASE64_STANDARD.encode(jpeg).into_bytes(),
        Payload::Jpeg => jpeg.to_vec(),
    }
}

pub fn wrap(header: Header, payload: &[u8]) -> Vec<u8> {
    let end: &[u8] = if header == Header::Lines { b"\n" } else { b"" };
    [&length(header, payload.len() as u64), payload, end].concat()
}

/// The header for a payload of `len` bytes.
pub fn length(header: Header, len: u64) -> Vec<u8> {
    let big_endian = |size: u32| (0..size).rev().map(|i| (len >> (8 * i)) as u8);
    match header {
        Header::Be32 => big_endian(4).collect(),
        Header::Le32 => big_endian(4).rev().collect(),
        Header::Be64 => big_endian(8).collect(),
        Header::Le64 => big_endian(8).rev().collect(),
        Header::Ascii16 => format!("{len:<16}").into_bytes(),
        Header::Lines | Header::None => vec![],
    }
}

/// Decodes base64 as leniently as the crate promises.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut digits = vec![];
    let mut padding = 0;
    for (offset, &byte) in text.iter().enumerate() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'=' if !digits.len().is_multiple_of(4) && padding < 2 => padding += 1,
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' if padding == 0 => {
                digits.push(byte);
            }
            _ => {
                let byte = Some(byte);
                return Err(WireError::Base64 { offset, byte });
            }
        }
    }
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, config)
        .decode(digits)
        .map_err(|_| WireError::Base64 {
            offset: text.len(),
            byte: None,
        })
}

/// The JPEGs of a stream up to the first error, and the error.
pub fn read(
    stream: &[u8],
    framing: Framing,
    limits: &FrameLimits,
) -> (Vec<Vec<u8>>, Option<FrameError>) {
    let max_frame = limits.max_frame;
    let mut jpegs = vec![];
    let mut offset = 0;
    while offset < stream.len() {
        let item = match framing.header() {
            Header::Lines => read_line(&stream[offset..], max_frame),
            Header::None => read_bare(&stream[offset..], max_frame),
            _ => read_counted(&stream[offset..], framing, max_frame),
        };
        let item = item.and_then(|(len, jpeg)| {
            let error = jpeg
                .as_ref()
                .and_then(|jpeg| picture_error(jpeg, limits.max_pixels));
            error.map_or(Ok((len, jpeg)), Err)
        });
        match item {
            Ok((len, jpeg)) => {
                offset += len;
                jpegs.extend(jpeg);
            }
            Err(error) => {
                let error = FrameError {
                    frame: jpegs.len() as u64,
                    offset: offset as u64,
                    error,
                };
                return (jpegs, Some(error));
            }
        }
    }
    (jpegs, None)
}

/// The error of a JPEG: no whole marker after SOI, or a frame header before the first scan with
/// too many pixels.
fn picture_error(jpeg: &[u8], max_pixels: u64) -> Option<WireError> {
    if jpeg[2..].iter().all(|byte| *byte == 0xff) {
        return Some(WireError::NoMarker { len: jpeg.len() });
    }
    let mut at = 2;
    let mut frame_begun = false;
    while at + 4 <= jpeg.len() {
        let (marker, len) = match jpeg[at..at + 4] {
            [0xff, 0x01 | 0xd0..=0xd7 | 0, ..] => {
                at += 2;
                continue;
            }
            [0xff, 0xd8 | 0xd9, ..] => return None,
            [0xff, marker @ ..=0xfe, high, low] => {
                (marker, usize::from(high) * 256 + usize::from(low))
            }
            _ => {
                at += 1;
                continue;
            }
        };
        let segment = jpeg.get(at + 4..at + 2 + len)?;
        if (0xc0..=0xcf).contains(&marker) && ![0xc4, 0xc8, 0xcc].contains(&marker) {
            frame_begun = true;
            let number = |at: usize| {
                Some(u16::from(*segment.get(at)?) * 256 + u16::from(*segment.get(at + 1)?))
            };
            if let (Some(height), Some(width)) = (number(1), number(3))
                && u64::from(width) * u64::from(height) > max_pixels
            {
                let max = max_pixels;
                return Some(WireError::TooManyPixels { width, height, max });
            }
        }
        if marker == 0xda && frame_begun {
            return None;
        }
        at += 2 + len;
    }
    None
}

/// The length of a frame and its JPEG, or of filler.
type Item = (usize, Option<Vec<u8>>);

fn read_counted(data: &[u8], framing: Framing, max_frame: usize) -> Result<Item, WireError> {
    let header = framing.header();
    let truncated = |want| WireError::Truncated {
        have: data.len(),
        want,
    };
    let size = length(header, 0).len();
    let Some(bytes) = data.get(..size) else {
        return Err(truncated(None));
    };
    let len = value(header, bytes)?;
    if len == 0 {
        return Ok((size, None));
    }
    if len > max_frame as u128 {
        return Err(WireError::TooLong {
            len: len as u64,
            max: max_frame as u64,
        });
    }
    let (len, body) = (len as usize, &data[size..]);
    let body = &body[..len.min(body.len())];
    check_start(body, body.len() == len, framing.payload())?;
    if body.len() < len {
        return Err(truncated(Some(size + len)));
    }
    let jpeg = match framing.payload() {
        Payload::Base64 => decode(body)?,
        Payload::Jpeg => body.to_vec(),
    };
    Ok((size + len, Some(jpeg)))
}

/// The length of the frame that `data` seems to begin with, if any.
pub fn likely_len(data: &[u8], framing: Framing) -> Option<usize> {
    let (header, body) = data.split_at_checked(framing.header().size())?;
    if header.is_empty() || !body.starts_with(framing.payload().start()) {
        return None;
    }
    let len = value(framing.header(), header).ok()?;
    header.len().checked_add(usize::try_from(len).ok()?)
}

/// The length in a header.
pub fn value(header: Header, bytes: &[u8]) -> Result<u128, WireError> {
    let fold = |value, byte: &u8| value * 256 + u128::from(*byte);
    match header {
        Header::Be32 | Header::Be64 => Ok(bytes.iter().fold(0, fold)),
        Header::Le32 | Header::Le64 => Ok(bytes.iter().rev().fold(0, fold)),
        _ => decimal(bytes),
    }
}

fn decimal(bytes: &[u8]) -> Result<u128, WireError> {
    let space = |byte: &u8| byte.is_ascii_whitespace();
    let first = bytes.iter().position(|byte| !space(byte)).unwrap_or(0);
    let last = bytes.iter().rposition(|byte| !space(byte)).unwrap_or(0);
    match (first..=last).find(|&i| !bytes[i].is_ascii_digit()) {
        Some(offset) => Err(WireError::Digits {
            offset,
            byte: bytes[offset],
        }),
        None => Ok(std::str::from_utf8(&bytes[first..=last])
            .unwrap()
            .parse()
            .unwrap()),
    }
}

/// Refuses what does not begin like a JPEG, as soon as it has eight bytes or is `whole`.
fn check_start(body: &[u8], whole: bool, payload: Payload) -> Result<(), WireError> {
    if body.starts_with(payload.start()) || body.len() < 8 && !whole {
        return Ok(());
    }
    Err(WireError::NotJpeg {
        first: FirstBytes::of(body),
    })
}

fn read_line(data: &[u8], max_frame: usize) -> Result<Item, WireError> {
    if matches!(data[0], b'\r' | b'\n') {
        return Ok((1, None));
    }
    let end = data.iter().position(|byte| *byte == b'\n');
    let line = &data[..end.unwrap_or(data.len())];
    let text = line.strip_suffix(b"\r").unwrap_or(line);
    check_start(text, end.is_some(), Payload::Base64)?;
    if text.len() > max_frame {
        // No more bytes are read than that.
        return Err(WireError::TooLong {
            len: max_frame as u64 + 1,
            max: max_frame as u64,
        });
    }
    if end.is_none() && !ends_with_eoi(text) {
        return Err(WireError::Truncated {
            have: data.len(),
            want: None,
        });
    }
    Ok((end.map_or(data.len(), |end| end + 1), Some(decode(text)?)))
}

/// Whether the last groups of `text` are EOI and perhaps fill bytes.
fn ends_with_eoi(text: &[u8]) -> bool {
    let tail = text.chunks(4).rev().take(16).collect::<Vec<_>>();
    let tail = tail
        .into_iter()
        .rev()
        .flatten()
        .copied()
        .collect::<Vec<_>>();
    decode(&tail).is_ok_and(|bytes| without_fill(&bytes).ends_with(b"\xff\xd9"))
}

/// A JPEG without the fill bytes that cameras add at its end.
pub fn without_fill(jpeg: &[u8]) -> &[u8] {
    let last = jpeg.iter().rposition(|byte| !b"\0\r\n".contains(byte));
    &jpeg[..last.map_or(0, |last| last + 1)]
}

fn read_bare(data: &[u8], max_frame: usize) -> Result<Item, WireError> {
    if b"\0\r\n".contains(&data[0]) {
        return Ok((1, None));
    }
    check_start(data, false, Payload::Jpeg)?;
    // Too few bytes to report them as something other than a JPEG.
    if data.len() < FirstBytes::MAX && !data.starts_with(b"\xff\xd8\xff") {
        return Err(WireError::Truncated {
            have: data.len(),
            want: None,
        });
    }
    // The search for the end looks at no more bytes.
    let seen = &data[..data.len().min(max_frame + 1)];
    let len = bare_len(seen)?;
    match len {
        Some(len) if len <= max_frame => Ok((len, Some(data[..len].to_vec()))),
        None if seen.len() <= max_frame => Err(WireError::Truncated {
            have: data.len(),
            want: None,
        }),
        _ => Err(WireError::TooLong {
            len: max_frame as u64 + 1,
            max: max_frame as u64,
        }),
    }
}

/// The length of the JPEG at the front, if it has an end.
fn bare_len(data: &[u8]) -> Result<Option<usize>, WireError> {
    let mut at = 2;
    let mut scan = false;
    while at + 1 < data.len() {
        let wrong = |offset: usize| WireError::Marker {
            offset,
            byte: data[offset],
        };
        at += match (data[at], data[at + 1]) {
            (0xff, 0xff) => 1,
            (0xff, 0) if scan => 2,
            (0xff, 0x01 | 0xd0..=0xd7) => 2,
            (0xff, 0xd9) => return Ok(Some(at + 2)),
            (0xff, 0 | 0xd8) => return Err(wrong(at + 1)),
            (0xff, marker) => {
                if at + 3 >= data.len() {
                    return Ok(None);
                }
                let len = usize::from(data[at + 2]) * 256 + usize::from(data[at + 3]);
                if len < 2 {
                    return Err(wrong(at + 2));
                }
                scan = marker == 0xda;
                2 + len
            }
            _ if scan => 1,
            _ => return Err(wrong(at)),
        };
    }
    Ok(None)
}
