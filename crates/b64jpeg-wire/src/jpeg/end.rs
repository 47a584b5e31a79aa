// SPDX-License-Identifier: MPL-2.0

//! The end of a JPEG of unknown length.

use super::segments::{EOI, SOI, SOS, stands_alone};
use crate::error::WireError;

/// Whether `data` ends with EOI, but for what encoders and cameras fill up with,
/// if that is no more than a page.
pub(crate) fn ends_with_eoi(data: &[u8]) -> bool {
    let page = data.last_chunk::<4096>().map_or(data, |page| &page[..]);
    let mut bytes = page.iter().rev();
    let last = bytes.find(|byte| !matches!(byte, 0 | b'\r' | b'\n'));
    last == Some(&EOI) && bytes.next() == Some(&0xff)
}

/// Where in a JPEG of unknown length the walk to its end stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndScan {
    at: usize,
    entropy: bool,
    sound: usize,
}

impl EndScan {
    /// How much was sure to be part of the JPEG when it turned out wrong: where it was
    /// cut off, another one may begin behind that.
    pub(crate) fn sound(&self) -> usize {
        self.sound
    }

    /// EndScans on and returns the length of the JPEG at the front of `data`, or `None`
    /// while its end is not there. `data` grows from call to call.
    pub(crate) fn end(&mut self, data: &[u8]) -> Result<Option<usize>, WireError> {
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
    use super::{super::JPEG, *};

    #[test]
    fn the_walk_ends_at_eoi_however_the_data_comes() {
        let mut walk = EndScan::default();
        for len in 0..JPEG.len() {
            assert_eq!(walk.end(&JPEG[..len]), Ok(None), "cut to {len}");
        }
        assert_eq!(walk.end(JPEG), Ok(Some(JPEG.len())));
        assert_eq!(EndScan::default().end(JPEG), Ok(Some(JPEG.len())));
    }

    #[test]
    fn a_torn_jpeg_is_seen_at_the_next_one() {
        let torn = JPEG.len() - 4;
        let data = [&JPEG[..torn], JPEG].concat();
        let mut walk = EndScan::default();
        assert_eq!(
            walk.end(&data),
            Err(WireError::Marker {
                offset: torn + 1,
                byte: SOI
            })
        );
        assert_eq!(walk.sound(), torn);
    }
}
