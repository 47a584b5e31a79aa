// SPDX-License-Identifier: MPL-2.0

//! What the header of a JPEG says.

use super::{
    check,
    comments::{STAMP_KEY, decimal},
    segments::{COM, DHT, SOF0, SOS, is_sof, segments},
};
use crate::{error::WireError, parse::FrameLimits};

/// What the header of a JPEG says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct JpegInfo {
    /// Width and height in pixels, from the first frame header.
    pub size: Option<(u16, u16)>,
    /// The capture time in nanoseconds since 1970, if the sender has stamped the picture: a
    /// comment segment with `b64jpeg capture-time-unix-ns=` and 1 to 19 digits. The first
    /// such comment counts.
    ///
    /// The sender can write any number: check it against a clock before use.
    pub capture_time: Option<u64>,
    /// Whether a capture-time comment in front of that one holds something other than 1 to 19
    /// digits.
    pub bad_capture_time: bool,
}

impl JpegInfo {
    /// Reads the header of `jpeg`, as far as it goes.
    ///
    /// ```
    /// use b64jpeg_wire::jpeg::JpegInfo;
    ///
    /// let jpeg = b"\xff\xd8\xff\xc0\0\x0b\x08\x01\xc2\x03\x20\x01\x01\x11\0";
    /// assert_eq!(JpegInfo::of(jpeg).size, Some((800, 450)));
    /// ```
    pub fn of(jpeg: &[u8]) -> Self {
        JpegHeader::read(jpeg).info
    }

    /// Reads the header of a JPEG from the network, and checks its size.
    ///
    /// A decoder allocates memory for as many pixels as a frame header says, however short the
    /// picture is. libjpeg, and most decoders with it, uses the first frame header and refuses
    /// a second one; others use the last. So every frame header before the first scan has to
    /// be within the limit. A height of zero, which a DNL segment after the scan would
    /// replace, is refused by all of them.
    ///
    /// # Errors
    ///
    /// Those of [`check`], and [`WireError::TooManyPixels`].
    pub fn received(jpeg: &[u8], limits: &FrameLimits) -> Result<Self, WireError> {
        check(jpeg)?;
        Ok(JpegHeader::read_limited(jpeg, limits.max_pixels)?.info)
    }
}

/// All that is of use in the header of a JPEG, found in a single walk over its segments.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JpegHeader {
    pub info: JpegInfo,
    /// The offset at which the Huffman tables have to be inserted, if the picture is baseline
    /// and has none.
    pub missing_tables: Option<usize>,
}

impl JpegHeader {
    pub fn read(jpeg: &[u8]) -> Self {
        // No two sides of 16 bits have that many pixels.
        Self::read_limited(jpeg, u64::MAX).unwrap_or_default()
    }

    fn read_limited(jpeg: &[u8], max: u64) -> Result<Self, WireError> {
        let Self {
            mut info,
            mut missing_tables,
        } = Self::default();
        let mut size_read = false;
        let (mut is_baseline, mut has_tables) = (false, false);
        for (at, marker, contents) in segments(jpeg) {
            match marker {
                SOF0 => is_baseline = true,
                DHT => has_tables = true,
                SOS if is_baseline && !has_tables => missing_tables = Some(at),
                _ => {}
            }
            match contents {
                // Sample precision, lines, samples per line.
                &[_, h1, h0, w1, w0, ..] if is_sof(marker) => {
                    let width = u16::from_be_bytes([w1, w0]);
                    let height = u16::from_be_bytes([h1, h0]);
                    if u64::from(width).saturating_mul(height.into()) > max {
                        return Err(WireError::TooManyPixels { width, height, max });
                    }
                    if !size_read {
                        info.size = Some((width, height)).filter(|_| width > 0 && height > 0);
                        size_read = true;
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
        Ok(Self {
            info,
            missing_tables,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{super::JPEG, *};

    #[test]
    fn info_size_after_other_segments_is_read() {
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
    fn received_too_many_pixels_are_refused() {
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
        // A DNL segment after the scan would say the height.
        assert_eq!(received(&frame_headers(&[(300, 0)]), 0), Ok(None));

        // The first frame header is the size, and each one is limited.
        let two = frame_headers(&[(300, 200), (301, 200)]);
        assert_eq!(received(&two, 60_200), Ok(Some((300, 200))));
        assert_eq!(received(&two, 60_000), over(301, 200, 60_000));

        // Decoders find a frame header after these, too.
        let comment = b"\xff\xfe\0\x02";
        let scan_without_end = &scan[..scan.len() - 2];
        for before in [b"garbage", &b"\xff\0"[..], b"\xff\xd0", scan_without_end] {
            let hidden = [b"\xff\xd8", &comment[..], before, &one[2..]].concat();
            let what = before.escape_ascii();
            assert_eq!(received(&hidden, 1), over(300, 200, 1), "{what}");
        }
    }
}
