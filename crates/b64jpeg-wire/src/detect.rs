// SPDX-License-Identifier: MPL-2.0

//! Detection of the framing, or of another protocol, from bytes.
//!
//! Every payload begins with the same few bytes ([`Payload::start`]): `FF D8 FF`, or their
//! base64 text `/9j/`. Detection looks for these, and then reads the bytes in front of them in
//! each accepted framing. The framing is possible if they are a length above zero and within
//! the limits ([`framings_at`]). At the start of a stream the payload begins after 0, 4, 8 or 16
//! bytes ([`framings_at_front`]); a search tries every offset ([`payload_starts`]). Several
//! framings may remain, since `00 02 01 00` is a length in both byte orders: 131,328 or 66,048
//! bytes. Which of them it is, the end of the frame decides: see `search`. If no framing
//! remains, [`foreign`] compares the first bytes with those of protocols that people send by
//! mistake, so that the error can name them.

use super::{
    error::{FirstBytes, ForeignProtocol, WireError},
    header::{Framing, Header, Payload},
    parse::{FrameLimits, check_len},
};

/// Number of bytes that are enough to detect a framing: more than the longest header and the
/// start of a payload.
pub const DETECT_LEN: usize = 24;

/// The framings that a receiver accepts. What is `None` is detected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct AcceptedFramings {
    /// The only header to accept.
    pub header: Option<Header>,
    /// The only payload to accept.
    pub payload: Option<Payload>,
}

impl From<Framing> for AcceptedFramings {
    fn from(framing: Framing) -> Self {
        Self {
            header: Some(framing.header()),
            payload: Some(framing.payload()),
        }
    }
}

impl AcceptedFramings {
    /// The accepted framings, preferred ones first. None if header and payload cannot be
    /// combined.
    pub fn framings(self) -> impl Iterator<Item = Framing> {
        Framing::all().filter(move |framing| {
            self.header.is_none_or(|header| header == framing.header())
                && self
                    .payload
                    .is_none_or(|payload| payload == framing.payload())
        })
    }
}

/// The offsets, from `from` on, at which a payload of any of `framings` may begin.
pub(super) fn payload_starts(
    data: &[u8],
    from: usize,
    framings: &[Framing],
) -> impl Iterator<Item = usize> {
    // One pass for both kinds of payload. With a pass for each, every match of one kind would
    // cost a scan of all bytes for the other.
    memchr::memchr2_iter(b'/', 0xff, data.get(from..).unwrap_or_default())
        .map(move |found| from.saturating_add(found))
        .filter(move |&at| {
            let mut payloads = framings.iter().map(|framing| framing.payload().start());
            let payload = data.get(at..).unwrap_or_default();
            payloads.any(|start| payload.starts_with(start))
        })
}

/// The framings in which `data` can have a frame whose payload begins at `at`.
///
/// A length has to be above zero and within the limits; a line has to be at the front of `data`
/// or follow a line feed.
pub(super) fn framings_at(
    data: &[u8],
    at: usize,
    framings: &[Framing],
    limits: &FrameLimits,
) -> impl Iterator<Item = Framing> {
    framings.iter().copied().filter(move |framing| {
        let header = framing.header();
        let (Some(start), Some(payload)) = (at.checked_sub(header.size()), data.get(at..)) else {
            return false;
        };
        payload.starts_with(framing.payload().start())
            && match header {
                Header::None => true,
                Header::Lines => match start.checked_sub(1) {
                    Some(before) => data.get(before) == Some(&b'\n'),
                    None => true,
                },
                _ => is_length(data.get(start..).unwrap_or_default(), header, limits),
            }
    })
}

fn is_length(data: &[u8], header: Header, limits: &FrameLimits) -> bool {
    matches!(
        header.read(data),
        Ok(Some(len)) if len > 0 && check_len(len, limits).is_ok()
    )
}

/// The framings in which `data` can begin with a frame.
pub(super) fn framings_at_front(
    data: &[u8],
    framings: &[Framing],
    limits: &FrameLimits,
) -> Vec<Framing> {
    framings
        .iter()
        .copied()
        .filter(|&framing| {
            let at = framing.header().size();
            framings_at(data, at, &[framing], limits).next().is_some()
        })
        .collect()
}

/// Recognises a framed stream by its first [`DETECT_LEN`] bytes, and returns the preferred one
/// of its possible framings.
///
/// JPEGs without a header are not recognised, since they begin like any JPEG file.
///
/// ```
/// use b64jpeg_wire::{Framing, recognise};
///
/// assert_eq!(recognise(b"\0\x01\xe2\x40/9j/4AAQSkZJRgABAQAA"), Some(Framing::default()));
/// assert_eq!(recognise(b"\xff\xd8\xff\xe0\0\x10JFIF"), None);
/// ```
pub fn recognise(data: &[u8]) -> Option<Framing> {
    let framings: Vec<_> = Framing::all()
        .filter(|framing| framing.header() != Header::None)
        .collect();
    framings_at_front(data, &framings, &FrameLimits::default())
        .into_iter()
        .find(|framing| {
            framing.payload() != Payload::Base64
                || data.iter().skip(framing.header().size()).all(|&byte| {
                    byte.is_ascii_alphanumeric()
                        || matches!(byte, b'+' | b'/' | b'=' | b'\r' | b'\n')
                })
        })
}

/// Length of the filler at the front of `data`, in which no frame can begin. `at_start` of a
/// stream there have to be enough zeros for a length.
pub(super) fn filler_len(data: &[u8], at_start: bool) -> Option<usize> {
    if Header::Ascii16.read(data) == Ok(Some(0)) {
        return Some(Header::Ascii16.size());
    }
    let fill = data
        .iter()
        .take_while(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    match fill.count() {
        0 => None,
        1..4 if at_start && data.first() == Some(&0) => None,
        // The last zeros may belong to a length.
        fill => Some(fill.saturating_sub(DETECT_LEN).max(1)),
    }
}

/// Why a stream that begins with `data` is in none of `framings`.
pub(super) fn error_at_front(data: &[u8], framings: &[Framing], limits: &FrameLimits) -> WireError {
    if let Some(foreign) = foreign(data) {
        return WireError::Foreign(foreign);
    }
    // A JPEG after a length over the limit: the smallest length is the likeliest.
    framings
        .iter()
        .filter(|framing| framing.header().has_length())
        .filter(|framing| {
            data.get(framing.header().size()..)
                .is_some_and(|payload| payload.starts_with(framing.payload().start()))
        })
        .filter_map(|framing| framing.header().read(data).ok().flatten())
        .filter_map(|len| check_len(len, limits).err().map(|error| (len, error)))
        .min_by_key(|(len, _)| *len)
        .map_or_else(
            || WireError::Unrecognised {
                first: FirstBytes::of(data),
            },
            |(_, error)| error,
        )
}

/// Recognises, by the first bytes of a stream, what senders send instead of frames.
///
/// ```
/// use b64jpeg_wire::{ForeignProtocol, foreign};
///
/// assert_eq!(foreign(b"HTTP/1.0 200 OK\r\n"), Some(ForeignProtocol::Http));
/// // struct.pack("Q", len(pickled)) + pickled
/// assert_eq!(foreign(b"\x20\x03\0\0\0\0\0\0\x80\x04\x95"), Some(ForeignProtocol::Pickle));
/// ```
pub fn foreign(data: &[u8]) -> Option<ForeignProtocol> {
    let bare: [(&[u8], ForeignProtocol); 10] = [
        (b"HTTP/", ForeignProtocol::Http),
        (b"GET ", ForeignProtocol::Http),
        (b"POST ", ForeignProtocol::Http),
        (b"RTSP/", ForeignProtocol::Rtsp),
        (b"OPTIONS ", ForeignProtocol::Rtsp),
        (b"SSH-", ForeignProtocol::Ssh),
        (b"\x16\x03", ForeignProtocol::Tls),
        (b"\r\n--", ForeignProtocol::Multipart),
        (b"--", ForeignProtocol::Multipart),
        (b"Content-Type:", ForeignProtocol::Multipart),
    ];
    if let Some((_, foreign)) = bare.iter().find(|(start, _)| data.starts_with(start)) {
        return Some(*foreign);
    }

    [0, 4, 8, 16]
        .into_iter()
        .filter_map(|at| data.get(at..))
        .find_map(foreign_payload)
}

fn foreign_payload(payload: &[u8]) -> Option<ForeignProtocol> {
    match payload {
        // PROTO and a version, then FRAME (4 and 5) or a printable opcode (2 and 3).
        [0x80, 4 | 5, 0x95, ..] => Some(ForeignProtocol::Pickle),
        [0x80, 2..=5, opcode, ..] if opcode.is_ascii_graphic() => Some(ForeignProtocol::Pickle),
        [b'\x93', b'N', b'U', b'M', b'P', b'Y', ..] => Some(ForeignProtocol::Numpy),
        [b'd', b'a', b't', b'a', b':', ..] => Some(ForeignProtocol::DataUrl),
        [0x89, b'P', b'N', b'G', ..] => Some(ForeignProtocol::Png),
        _ if payload.starts_with(b"iVBORw0K") => Some(ForeignProtocol::Png),
        _ if payload.starts_with(b"cnumpy") => Some(ForeignProtocol::Pickle),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at_start(data: &[u8]) -> Vec<String> {
        let framings: Vec<_> = Framing::all().collect();
        framings_at_front(data, &framings, &FrameLimits::default())
            .iter()
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn framings_at_front_distinct_length_is_unambiguous() {
        assert_eq!(at_start(b"\0\x01\xe2\x40/9j/"), ["be32 base64"]);
        assert_eq!(at_start(b"\x40\xe2\x01\0\xff\xd8\xff"), ["le32 jpeg"]);
        assert_eq!(at_start(b"\0\0\0\0\0\x01\xe2\x40/9j/"), ["be64 base64"]);
        assert_eq!(
            at_start(b"\x40\xe2\x01\0\0\0\0\0\xff\xd8\xff"),
            ["le64 jpeg"]
        );
        assert_eq!(at_start(b"123456          /9j/"), ["ascii16 base64"]);
        assert_eq!(at_start(b"/9j/4AAQ"), ["lines base64"]);
        assert_eq!(at_start(b"\xff\xd8\xff\xe0"), ["none jpeg"]);
    }

    #[test]
    fn framings_at_front_length_in_both_byte_orders_is_ambiguous() {
        assert_eq!(
            at_start(b"\0\x02\x01\0/9j/"),
            ["be32 base64", "le32 base64"]
        );
    }

    #[test]
    fn error_at_front_length_over_limit_is_named() {
        let framings: Vec<_> = Framing::all().collect();
        assert_eq!(
            error_at_front(b"\xff\xff\xff\xff/9j/", &framings, &FrameLimits::default()),
            WireError::TooLong {
                len: u32::MAX.into(),
                max: 64 << 20
            }
        );
    }

    #[test]
    fn foreign_first_bytes_are_recognised() {
        for (data, name) in [
            (&b"\x80\x04\x95\x10"[..], ForeignProtocol::Pickle),
            (b"\0\0\x10\0\x80\x03cnumpy", ForeignProtocol::Pickle),
            (b"4096            \x80\x04\x95", ForeignProtocol::Pickle),
            (b"\x93NUMPY\x01\0", ForeignProtocol::Numpy),
            (
                b"--frame\r\nContent-Type: image/jpeg",
                ForeignProtocol::Multipart,
            ),
            (
                b"\0\0\x10\0data:image/jpeg;base64,/9j/",
                ForeignProtocol::DataUrl,
            ),
            (b"SSH-2.0-OpenSSH_9.2", ForeignProtocol::Ssh),
            (b"\x16\x03\x01\x02\0\x01", ForeignProtocol::Tls),
            (b"\0\0\x10\0iVBORw0KGgo", ForeignProtocol::Png),
        ] {
            assert_eq!(foreign(data), Some(name), "{}", data.escape_ascii());
        }
        assert_eq!(foreign(b"\0\0\x10\0/9j/4AAQ"), None);
        assert_eq!(foreign(b""), None);
    }
}
