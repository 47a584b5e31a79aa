// SPDX-License-Identifier: MPL-2.0

//! Markers, and the segments of a JPEG header.

use super::is_jpeg;

pub(super) const SOF0: u8 = 0xc0;
pub(super) const DHT: u8 = 0xc4;
pub(super) const SOI: u8 = 0xd8;
pub(super) const EOI: u8 = 0xd9;
pub(super) const SOS: u8 = 0xda;
pub(super) const COM: u8 = 0xfe;

/// Markers without a segment: TEM and the restart markers.
pub(super) const fn stands_alone(marker: u8) -> bool {
    matches!(marker, 0x01 | 0xd0..=0xd7)
}

/// Frame headers: SOF0 to SOF15 without DHT, JPG and DAC, which share the range.
pub(super) const fn is_sof(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

/// Iterates over the segments from SOI to the first SOS, which is included, as offset of the
/// marker, marker and contents.
///
/// Like decoders, it skips bytes between segments that are not a marker, and a scan in front
/// of the frame header. So it finds whatever a decoder finds.
pub(super) fn segments(jpeg: &[u8]) -> impl Iterator<Item = (usize, u8, &[u8])> {
    let mut rest = match jpeg {
        [_, _, rest @ ..] if is_jpeg(jpeg) => rest,
        _ => &[],
    };
    let mut frame_begun = false;
    std::iter::from_fn(move || {
        loop {
            let [0xff, after_prefix @ ..] = rest else {
                rest = rest.get(memchr::memchr(0xff, rest)?..)?;
                continue;
            };
            let [marker, tail @ ..] = after_prefix else {
                return None;
            };
            match *marker {
                0xff => rest = after_prefix, // A fill byte.
                0 => rest = tail,            // Not a marker.
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
