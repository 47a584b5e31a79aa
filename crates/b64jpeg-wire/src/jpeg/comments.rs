// SPDX-License-Identifier: MPL-2.0

//! Comment segments with the capture time and the origin of a picture.
//!
//! Decoders skip comments, so a picture that has them stays a plain JPEG.

use super::segments::{COM, SOI, segments};

/// The text of a capture-time comment in front of the digits.
pub(super) const STAMP_KEY: &[u8] = b"b64jpeg capture-time-unix-ns=";
const STAMP_DIGITS: usize = 19;
const STAMP_LEN: usize = 2 + 4 + STAMP_KEY.len() + STAMP_DIGITS;

/// Returns SOI and a comment with the capture time in nanoseconds since 1970, which replace
/// the SOI of a picture.
///
/// They have a multiple of three bytes, so that their base64 text needs no padding and the
/// text of the rest of the picture can follow.
pub(crate) fn stamp(unix_ns: u64) -> [u8; STAMP_LEN] {
    const { assert!(STAMP_LEN.is_multiple_of(3)) };
    let mut stamp = [0; STAMP_LEN];
    let segment_len = (STAMP_LEN - 4) as u16;
    stamp[..4].copy_from_slice(&[0xff, SOI, 0xff, COM]);
    stamp[4..6].copy_from_slice(&segment_len.to_be_bytes());
    let (key, digits) = stamp[6..].split_at_mut(STAMP_KEY.len());
    key.copy_from_slice(STAMP_KEY);
    // Nineteen digits are enough until the year 2286.
    digits.copy_from_slice(format!("{:019}", unix_ns.min(9_999_999_999_999_999_999)).as_bytes());
    stamp
}

/// Reads 1 to 19 ASCII digits, which always fit into a `u64`.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if !(1..=STAMP_DIGITS).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The text of an origin comment in front of the name.
const ORIGIN_KEY: &str = "b64jpeg origin=";

/// The name of a picture's sender: up to 200 bytes without control characters.
///
/// A picture carries it in a comment segment, after `b64jpeg origin=`.
///
/// ```
/// use b64jpeg_wire::jpeg::{Origin, stamps};
///
/// let hall = Origin::new("hall").expect("a name");
/// let stamped = [&stamps(None, Some(&hall)), &b"\xff\xd9"[..]].concat();
/// assert_eq!(stamped, *b"\xff\xd8\xff\xfe\0\x15b64jpeg origin=hall\xff\xd9");
/// assert_eq!(Origin::of(&stamped), Some("hall"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin(String);

impl Origin {
    /// Length of the longest name in bytes.
    pub const MAX: usize = 200;

    /// Returns `None` if the name is empty, too long, or has control characters.
    pub fn new(name: &str) -> Option<Self> {
        Self::is_name(name).then(|| Self(name.into()))
    }

    /// Reads the first name in the header of `jpeg`: the last sender puts its own in front.
    pub fn of(jpeg: &[u8]) -> Option<&str> {
        segments(jpeg)
            .filter(|(_, marker, _)| *marker == COM)
            .filter_map(|(_, _, text)| std::str::from_utf8(text).ok()?.strip_prefix(ORIGIN_KEY))
            .find(|name| Self::is_name(name))
    }

    fn is_name(name: &str) -> bool {
        (1..=Self::MAX).contains(&name.len()) && !name.contains(char::is_control)
    }
}

/// Returns SOI and comments with the capture time in nanoseconds since 1970 and with the
/// sender, which replace the SOI of a picture.
pub fn stamps(capture_time: Option<u64>, origin: Option<&Origin>) -> Vec<u8> {
    let mut stamps = match capture_time {
        Some(time) => stamp(time).to_vec(),
        None => vec![0xff, SOI],
    };
    if let Some(Origin(name)) = origin {
        // No name is longer than `Origin::MAX`.
        let segment_len = ORIGIN_KEY
            .len()
            .saturating_add(2)
            .saturating_add(name.len()) as u16;
        stamps.extend([0xff, COM]);
        stamps.extend(segment_len.to_be_bytes());
        stamps.extend(ORIGIN_KEY.as_bytes());
        stamps.extend(name.as_bytes());
    }
    stamps
}

#[cfg(test)]
mod tests {
    use super::{
        super::{EndScan, JPEG, JpegInfo},
        *,
    };

    #[test]
    fn info_stamp_is_read_back() {
        let time = 1_795_163_520_123_456_789;
        let stamped = [&stamp(time), &JPEG[2..]].concat();
        assert_eq!(JpegInfo::of(&stamped).capture_time, Some(time));
        assert_eq!(JpegInfo::of(&stamped).size, JpegInfo::of(JPEG).size);
        assert_eq!(EndScan::default().resume(&stamped), Ok(Some(stamped.len())));
        assert_eq!(JpegInfo::of(JPEG).capture_time, None);
        assert_eq!(JpegInfo::of(&stamp(0)).capture_time, Some(0));
        assert_eq!(
            JpegInfo::of(&stamp(u64::MAX)).capture_time,
            Some(9_999_999_999_999_999_999)
        );
    }

    #[test]
    fn info_capture_time_other_than_1_to_19_digits_is_not_read() {
        let commented = |text: &[u8]| {
            let text = [STAMP_KEY, text].concat();
            let len = (text.len() as u16 + 2).to_be_bytes();
            [b"\xff\xd8\xff\xfe", &len[..], &text].concat()
        };
        let read = |text: &[u8]| {
            let info = JpegInfo::of(&[&commented(text), &JPEG[2..]].concat());
            assert_eq!(info.size, Some((800, 450)));
            (info.capture_time, info.bad_capture_time)
        };
        assert_eq!(read(b"5"), (Some(5), false));
        assert_eq!(
            read(b"9999999999999999999"),
            (Some(9_999_999_999_999_999_999), false)
        );
        for text in [
            &b""[..],
            b"+5",
            b"-5",
            b" 5",
            b"5 ",
            b"5\n",
            b"5\0",
            b"0x5",
            b"5.0",
            b"18446744073709551615",
            b"00000000000000000005",
            b"\xff\xfe5",
            "\u{665}".as_bytes(),
        ] {
            assert_eq!(read(text), (None, true), "{}", text.escape_ascii());
        }

        // A number after a bad one is read; a bad one after a number is ignored.
        let both = |first, second| {
            let jpeg = [&commented(first), &commented(second)[2..], &JPEG[2..]].concat();
            let info = JpegInfo::of(&jpeg);
            (info.capture_time, info.bad_capture_time)
        };
        assert_eq!(both(b"+5", b"7"), (Some(7), true));
        assert_eq!(both(b"7", b"+5"), (Some(7), false));
        assert_eq!(both(b"7", b"8"), (Some(7), false));
    }
}
