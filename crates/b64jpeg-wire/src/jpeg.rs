// SPDX-License-Identifier: MPL-2.0

//! The few JPEG markers we read and write (ITU-T T.81, annex B).
//!
//! ```text
//! FF D8 │ FF E0 len … │ FF FE len text │ FF C0 len … │ FF C4 len … │ FF DA len … coded data │ FF D9
//! SOI     APP0          COM              SOF0          DHT           SOS                     EOI
//! ```

use std::borrow::Cow;

use super::{
    error::{FirstBytes, WireError},
    parse::FrameLimits,
};

const SOF0: u8 = 0xc0;
const DHT: u8 = 0xc4;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const COM: u8 = 0xfe;

/// Whether `data` begins as every JPEG does: SOI and the first byte of another marker.
pub fn is_jpeg(data: &[u8]) -> bool {
    data.starts_with(&[0xff, SOI, 0xff])
}

/// Refuses what is no JPEG, as far as its beginning tells: SOI and another marker, which may
/// have fill bytes in front.
///
/// # Errors
///
/// [`WireError::Empty`], [`WireError::NotJpeg`] and [`WireError::NoMarker`].
pub fn check(data: &[u8]) -> Result<(), WireError> {
    match data {
        [] => Err(WireError::Empty),
        [0xff, SOI, 0xff, rest @ ..] if rest.iter().all(|byte| *byte == 0xff) => {
            Err(WireError::NoMarker { len: data.len() })
        }
        data if is_jpeg(data) => Ok(()),
        data => Err(WireError::NotJpeg {
            first: FirstBytes::of(data),
        }),
    }
}

/// Whether `data` ends with EOI, but for what encoders and cameras fill up with,
/// if that is no more than a page.
pub(super) fn ends_with_eoi(data: &[u8]) -> bool {
    let page = data.last_chunk::<4096>().map_or(data, |page| &page[..]);
    let mut bytes = page.iter().rev();
    let last = bytes.find(|byte| !matches!(byte, 0 | b'\r' | b'\n'));
    last == Some(&EOI) && bytes.next() == Some(&0xff)
}

/// Markers without a segment: TEM and the restart markers.
const fn stands_alone(marker: u8) -> bool {
    matches!(marker, 0x01 | 0xd0..=0xd7)
}

/// Frame headers: SOF0 to SOF15 without DHT, JPG and DAC, which share the range.
const fn is_sof(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// The segments between SOI and the first scan, as offset, marker and contents.
///
/// As decoders do, it skips bytes between segments that are no marker, and a scan in front
/// of the frame header: what a decoder finds is found here, too.
fn segments(jpeg: &[u8]) -> impl Iterator<Item = (usize, u8, &[u8])> {
    let mut rest = match jpeg {
        [_, _, rest @ ..] if is_jpeg(jpeg) => rest,
        _ => &[],
    };
    let mut frame_begun = false;
    std::iter::from_fn(move || {
        loop {
            let [0xff, behind @ ..] = rest else {
                rest = rest.get(memchr::memchr(0xff, rest)?..)?;
                continue;
            };
            let [marker, tail @ ..] = behind else {
                return None;
            };
            match *marker {
                0xff => rest = behind, // fill byte
                0 => rest = tail,      // no marker
                marker if stands_alone(marker) => rest = tail,
                SOI | EOI => return None,
                marker => {
                    let len = usize::from(u16::from_be_bytes(*tail.first_chunk()?));
                    let (segment, next) = tail.split_at_checked(len)?;
                    let contents = segment.get(2..)?;
                    let at = jpeg.len().saturating_sub(rest.len());
                    frame_begun |= is_sof(marker);
                    rest = match marker {
                        SOS if frame_begun => &[],
                        _ => next,
                    };
                    return Some((at, marker, contents));
                }
            }
        }
    })
}

/// What a JPEG tells about itself before its first scan.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct JpegInfo {
    /// Width and height in pixels, by the first frame header.
    pub size: Option<(u16, u16)>,
    /// The time of capture in nanoseconds since 1970, if the sender stamped the picture:
    /// a comment segment, `b64jpeg capture-time-unix-ns=` and 1 to 19 digits. The first such
    /// comment counts.
    ///
    /// It is any number that the sender chose: check it against a clock before use.
    pub capture_time: Option<u64>,
    /// Whether a capture-time comment before that one holds something other than 1 to 19
    /// digits.
    pub bad_capture_time: bool,
}

impl JpegInfo {
    /// Reads it.
    ///
    /// ```
    /// use b64jpeg_wire::jpeg::JpegInfo;
    ///
    /// let jpeg = b"\xff\xd8\xff\xc0\0\x0b\x08\x01\xc2\x03\x20\x01\x01\x11\0";
    /// assert_eq!(JpegInfo::of(jpeg).size, Some((800, 450)));
    /// ```
    pub fn of(jpeg: &[u8]) -> Self {
        Self::within(jpeg, u64::MAX).unwrap_or_default()
    }

    /// Reads it from a JPEG that was received.
    ///
    /// Decoders take memory for as many pixels as the header says, however short the picture
    /// is. libjpeg, and with it most of them, goes by the first frame header and refuses a
    /// second one; others go by the last. So none before the first scan may say too much. A
    /// height of zero, to be told behind the scan by DNL, is refused by them all.
    ///
    /// # Errors
    ///
    /// As [`check`], and [`WireError::TooManyPixels`].
    pub fn received(jpeg: &[u8], limits: &FrameLimits) -> Result<Self, WireError> {
        check(jpeg)?;
        Self::within(jpeg, limits.max_pixels)
    }

    fn within(jpeg: &[u8], max: u64) -> Result<Self, WireError> {
        let mut info = Self::default();
        let mut first = true;
        for (_, marker, contents) in segments(jpeg) {
            match contents {
                // Sample precision, lines, samples per line.
                &[_, h1, h0, w1, w0, ..] if is_sof(marker) => {
                    let width = u16::from_be_bytes([w1, w0]);
                    let height = u16::from_be_bytes([h1, h0]);
                    if u64::from(width).saturating_mul(height.into()) > max {
                        return Err(WireError::TooManyPixels { width, height, max });
                    }
                    if std::mem::take(&mut first) {
                        info.size = Some((width, height)).filter(|_| width > 0 && height > 0);
                    }
                }
                text if marker == COM && info.capture_time.is_none() => {
                    if let Some(digits) = text.strip_prefix(STAMP_KEY) {
                        info.capture_time = decimal(digits);
                        info.bad_capture_time |= info.capture_time.is_none();
                    }
                }
                _ => {}
            }
        }
        Ok(info)
    }
}

/// The Huffman tables that a picture without any means (ITU-T T.81, annex K.3): for each,
/// where it belongs, how many codes have 1, 2, … 16 bits, and what they stand for.
#[rustfmt::skip]
const TABLES: [u8; 420] = [
    0xff, DHT, 0x01, 0xa2,
    // Luma, DC: table K.3.
    0x00, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
    // Luma, AC: table K.5.
    0x10, 0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
    0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
    0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28,
    0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
    0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
    0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
    0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
    0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
    0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
    0xf9, 0xfa,
    // Chroma, DC: table K.4.
    0x01, 0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b,
    // Chroma, AC: table K.6.
    0x11, 0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
    0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
    0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26,
    0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
    0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
    0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
    0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
    0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
    0xf9, 0xfa,
];

/// The JPEG, with Huffman tables if it has none.
///
/// Motion JPEG may leave them out, and many USB cameras do. OpenCV, GStreamer, Chromium and
/// Firefox know which ones are meant; Safari and others do not, and show nothing.
pub fn with_tables(jpeg: &[u8]) -> Cow<'_, [u8]> {
    let mut baseline = false;
    for (at, marker, _) in segments(jpeg) {
        match marker {
            DHT => break,
            SOF0 => baseline = true,
            SOS if baseline => {
                let (header, scan) = jpeg.split_at(at);
                return [header, &TABLES, scan].concat().into();
            }
            _ => {}
        }
    }
    jpeg.into()
}

/// The text of a capture-time comment, before the digits.
const STAMP_KEY: &[u8] = b"b64jpeg capture-time-unix-ns=";
const STAMP_DIGITS: usize = 19;
const STAMP_LEN: usize = 2 + 4 + STAMP_KEY.len() + STAMP_DIGITS;

/// SOI and a comment with the time of capture, in nanoseconds since 1970: what
/// replaces the SOI of a stamped picture.
///
/// Decoders skip comments. A multiple of three bytes, so that its base64 needs no
/// padding and the rest of the picture can follow it.
pub(super) fn stamp(unix_ns: u64) -> [u8; STAMP_LEN] {
    const { assert!(STAMP_LEN.is_multiple_of(3)) };
    let mut stamp = [0; STAMP_LEN];
    let segment_len = (STAMP_LEN - 4) as u16;
    stamp[..4].copy_from_slice(&[0xff, SOI, 0xff, COM]);
    stamp[4..6].copy_from_slice(&segment_len.to_be_bytes());
    let (key, digits) = stamp[6..].split_at_mut(STAMP_KEY.len());
    key.copy_from_slice(STAMP_KEY);
    // Nineteen digits last until the year 2286.
    digits.copy_from_slice(format!("{:019}", unix_ns.min(9_999_999_999_999_999_999)).as_bytes());
    stamp
}

/// The number that 1 to 19 ASCII digits say. 19 digits always fit into a `u64`.
fn decimal(digits: &[u8]) -> Option<u64> {
    if !(1..=STAMP_DIGITS).contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

/// The text of an origin comment, before the name.
const ORIGIN_KEY: &str = "b64jpeg origin=";

/// Who sends a picture, as the picture tells: a comment segment, `b64jpeg origin=` and a
/// name of up to 200 bytes without control characters.
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
    /// Bytes of the longest name.
    pub const MAX: usize = 200;

    /// Takes a name, if it can be one.
    pub fn new(name: &str) -> Option<Self> {
        Self::is_name(name).then(|| Self(name.into()))
    }

    /// The name in a JPEG; that in front, if it was sent on under another.
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

/// SOI, and comments with the time of capture, in nanoseconds since 1970, and with who
/// sends the picture: what replaces the SOI of one that is to tell them.
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

/// Where in a JPEG of unknown length the walk to its end stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Walk {
    at: usize,
    entropy: bool,
    sound: usize,
}

impl Walk {
    /// How much was sure to be part of the JPEG when it turned out wrong: where it was
    /// cut off, another one may begin behind that.
    pub(super) fn sound(&self) -> usize {
        self.sound
    }

    /// Walks on and returns the length of the JPEG at the front of `data`, or `None`
    /// while its end is not there. `data` grows from call to call.
    pub(super) fn end(&mut self, data: &[u8]) -> Result<Option<usize>, WireError> {
        loop {
            if self.entropy {
                let Some(ff) = memchr::memchr(0xff, data.get(self.at..).unwrap_or_default()) else {
                    self.at = self.at.max(data.len());
                    return Ok(None);
                };
                self.skip(ff);
                match data.get(self.behind(1)) {
                    None => return Ok(None),
                    Some(0xff) => self.skip(1),
                    Some(&byte) if byte == 0 || stands_alone(byte) => self.skip(2),
                    Some(_) => {
                        self.entropy = false;
                        self.sound = self.at;
                    }
                }
                continue;
            }

            let rest = data.get(self.at..).unwrap_or_default();
            let &[prefix, marker, ref tail @ ..] = rest else {
                return Ok(None);
            };
            let wrong = |offset, byte| Err(WireError::Marker { offset, byte });
            match (prefix, marker) {
                (0xff, 0xff) => self.skip(1),
                (0xff, EOI) => return Ok(Some(self.behind(2))),
                (0xff, SOI) if self.at == 0 => self.at = 2,
                // The sender was cut off, and a new picture begins.
                (0xff, SOI | 0) => return wrong(self.behind(1), marker),
                (0xff, marker) if stands_alone(marker) => self.skip(2),
                (0xff, marker) => {
                    let Some(len @ [high, _]) = tail.first_chunk() else {
                        return Ok(None);
                    };
                    let len = usize::from(u16::from_be_bytes(*len));
                    if len < 2 {
                        return wrong(self.behind(2), *high);
                    }
                    self.sound = self.at;
                    self.skip(2);
                    self.skip(len);
                    self.entropy = marker == SOS;
                }
                _ => return wrong(self.at, prefix),
            }
        }
    }

    /// The place `len` bytes further on.
    fn behind(&self, len: usize) -> usize {
        self.at.saturating_add(len)
    }

    fn skip(&mut self, len: usize) {
        self.at = self.behind(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SOI, an application segment that hides a whole JPEG, SOF0, SOS, data, EOI.
    const JPEG: &[u8] = b"\xff\xd8\xff\xe1\0\x08\xff\xd8\xff\xd9\0\0\
        \xff\xc0\0\x0b\x08\x01\xc2\x03\x20\x01\x01\x11\0\
        \xff\xda\0\x04\0\0\x12\xff\0\x34\xff\xd3\x56\xff\xff\xd9";

    #[test]
    fn start_without_a_whole_marker_is_no_picture() {
        for len in [3, 4, 100] {
            let mut jpeg = vec![0xff; len];
            jpeg[1] = SOI;
            assert_eq!(check(&jpeg), Err(WireError::NoMarker { len }));
            jpeg.push(EOI);
            assert_eq!(check(&jpeg), Ok(()));
        }
        for short in [&b"\xff"[..], b"\xff\xd8"] {
            assert!(matches!(check(short), Err(WireError::NotJpeg { .. })));
        }
    }

    #[test]
    fn size_is_found_behind_other_segments() {
        assert_eq!(JpegInfo::of(JPEG).size, Some((800, 450)));
        for cut in 0..24 {
            assert_eq!(JpegInfo::of(&JPEG[..cut]).size, None, "cut to {cut}");
        }
    }

    /// SOI, and frame headers of these sizes.
    fn frame_headers(sizes: &[(u16, u16)]) -> Vec<u8> {
        let mut jpeg = b"\xff\xd8".to_vec();
        for (width, height) in sizes {
            let [h, w] = [height.to_be_bytes(), width.to_be_bytes()];
            jpeg.extend(b"\xff\xc0\0\x0b\x08");
            jpeg.extend([h[0], h[1], w[0], w[1], 1, 1, 0x11, 0]);
        }
        jpeg
    }

    #[test]
    fn pixels_over_the_limit_are_refused() {
        let scan = &JPEG[25..];
        let received = |header: &[u8], max_pixels| {
            let limits = FrameLimits {
                max_pixels,
                ..FrameLimits::default()
            };
            JpegInfo::received(&[header, scan].concat(), &limits).map(|info| info.size)
        };
        let over = |width, height, max| Err(WireError::TooManyPixels { width, height, max });
        let one = frame_headers(&[(300, 200)]);
        assert_eq!(received(&one, 60_000), Ok(Some((300, 200))));
        assert_eq!(received(&one, 59_999), over(300, 200, 59_999));
        let most = frame_headers(&[(u16::MAX, u16::MAX)]);
        let max = u64::from(u32::MAX);
        assert_eq!(received(&most, max), Ok(Some((u16::MAX, u16::MAX))));
        assert_eq!(received(&most, 1 << 31), over(u16::MAX, u16::MAX, 1 << 31));
        // The height is told behind the scan.
        assert_eq!(received(&frame_headers(&[(300, 0)]), 0), Ok(None));

        // The first one is the size, and each is limited.
        let two = frame_headers(&[(300, 200), (301, 200)]);
        assert_eq!(received(&two, 60_200), Ok(Some((300, 200))));
        assert_eq!(received(&two, 60_000), over(301, 200, 60_000));

        // Where a decoder finds it in spite of what stands before.
        let comment = b"\xff\xfe\0\x02";
        let scan_without_end = &scan[..scan.len() - 2];
        for before in [b"garbage", &b"\xff\0"[..], b"\xff\xd0", scan_without_end] {
            let hidden = [b"\xff\xd8", &comment[..], before, &one[2..]].concat();
            let what = before.escape_ascii();
            assert_eq!(received(&hidden, 1), over(300, 200, 1), "{what}");
        }
    }

    #[test]
    fn tables_stand_before_the_scan_of_a_picture_that_has_none() {
        let (header, scan) = JPEG.split_at(25);
        let complete = [header, &TABLES, scan].concat();
        assert_eq!(with_tables(JPEG), complete);
        assert_eq!(with_tables(&complete), complete);
        assert_eq!(JpegInfo::of(&complete), JpegInfo::of(JPEG));
        assert_eq!(Walk::default().end(&complete), Ok(Some(complete.len())));
    }

    #[test]
    fn what_has_tables_or_would_need_others_stays() {
        let edit = |at: usize, marker: u8| {
            let mut jpeg = JPEG.to_vec();
            jpeg[at] = marker;
            jpeg
        };
        // Tables within an application segment are a thumbnail's.
        assert_ne!(with_tables(&edit(7, DHT)), edit(7, DHT));
        for other in [edit(3, DHT), edit(13, 0xc2), edit(13, 0xc9), edit(13, COM)] {
            assert_eq!(with_tables(&other), other);
        }
        for cut in 0..29 {
            assert_eq!(with_tables(&JPEG[..cut]), &JPEG[..cut], "cut to {cut}");
        }
    }

    #[test]
    fn tables_are_whole() {
        assert_eq!(TABLES[2..4], (TABLES.len() as u16 - 2).to_be_bytes());
        let mut rest = &TABLES[4..];
        for class in [0x00, 0x10, 0x01, 0x11] {
            let (table, tail) = rest.split_at(17);
            let (values, tail) = tail.split_at(table[1..].iter().map(|&n| usize::from(n)).sum());
            assert_eq!(table[0], class);
            let mut sorted = values.to_vec();
            sorted.sort_unstable();
            sorted.dedup();
            assert_eq!(sorted.len(), values.len());
            // The code of nothing but ones stands for nothing.
            let codes = (1..)
                .zip(&table[1..])
                .map(|(bits, &n)| u32::from(n) << (16 - bits));
            assert!(codes.sum::<u32>() < 1 << 16);
            rest = tail;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn the_walk_ends_at_eoi_however_the_data_comes() {
        let mut walk = Walk::default();
        for len in 0..JPEG.len() {
            assert_eq!(walk.end(&JPEG[..len]), Ok(None), "cut to {len}");
        }
        assert_eq!(walk.end(JPEG), Ok(Some(JPEG.len())));
        assert_eq!(Walk::default().end(JPEG), Ok(Some(JPEG.len())));
    }

    #[test]
    fn a_torn_jpeg_is_seen_at_the_next_one() {
        let torn = JPEG.len() - 4;
        let data = [&JPEG[..torn], JPEG].concat();
        let mut walk = Walk::default();
        assert_eq!(
            walk.end(&data),
            Err(WireError::Marker {
                offset: torn + 1,
                byte: SOI
            })
        );
        assert_eq!(walk.sound(), torn);
    }

    #[test]
    fn stamps_are_read_back() {
        let time = 1_795_163_520_123_456_789;
        let stamped = [&stamp(time), &JPEG[2..]].concat();
        assert_eq!(JpegInfo::of(&stamped).capture_time, Some(time));
        assert_eq!(JpegInfo::of(&stamped).size, JpegInfo::of(JPEG).size);
        assert_eq!(Walk::default().end(&stamped), Ok(Some(stamped.len())));
        assert_eq!(JpegInfo::of(JPEG).capture_time, None);
        assert_eq!(JpegInfo::of(&stamp(0)).capture_time, Some(0));
        assert_eq!(
            JpegInfo::of(&stamp(u64::MAX)).capture_time,
            Some(9_999_999_999_999_999_999)
        );
    }

    #[test]
    fn capture_time_other_than_1_to_19_digits_is_not_read() {
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

        // A number behind it is read all the same; what follows a number does not matter.
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
