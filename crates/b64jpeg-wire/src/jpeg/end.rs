// SPDX-License-Identifier: MPL-2.0

//! The end of a JPEG whose length is unknown.

use super::segments::{EOI, SOI, SOS, stands_alone};
use crate::error::WireError;

/// Whether `data` ends with EOI and up to a page of fill bytes, which some encoders and
/// cameras add.
pub(crate) fn ends_with_eoi(data: &[u8]) -> bool {
    let page = data.last_chunk::<4096>().map_or(data, |page| &page[..]);
    let mut bytes = page.iter().rev();
    let last = bytes.find(|byte| !matches!(byte, 0 | b'\r' | b'\n'));
    last == Some(&EOI) && bytes.next() == Some(&0xff)
}

/// A search for the EOI of a JPEG, from marker to marker, that resumes where it stopped.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EndScan {
    /// Offset of the next byte to look at.
    at: usize,
    /// Whether that byte is in the coded data of a scan.
    in_scan: bool,
    /// See [`intact`](Self::intact).
    intact: usize,
}

impl EndScan {
    /// Number of bytes that certainly belong to the JPEG. If it was cut off, another one may
    /// begin after them.
    pub(crate) fn intact(&self) -> usize {
        self.intact
    }

    /// Returns the length of the JPEG at the front of `data`, or `None` if its end has not
    /// arrived. Between calls `data` may only grow.
    ///
    /// # Errors
    ///
    /// [`WireError::Marker`].
    pub(crate) fn resume(&mut self, data: &[u8]) -> Result<Option<usize>, WireError> {
        loop {
            if self.in_scan {
                let Some(ff) = memchr::memchr(0xff, data.get(self.at..).unwrap_or_default()) else {
                    self.at = self.at.max(data.len());
                    return Ok(None);
                };
                self.skip(ff);
                match data.get(self.ahead(1)) {
                    None => return Ok(None),
                    Some(0xff) => self.skip(1),
                    Some(&byte) if byte == 0 || stands_alone(byte) => self.skip(2),
                    Some(_) => {
                        self.in_scan = false;
                        self.intact = self.at;
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
                (0xff, EOI) => return Ok(Some(self.ahead(2))),
                (0xff, SOI) if self.at == 0 => self.at = 2,
                // The JPEG was cut off, and another one begins.
                (0xff, SOI | 0) => return wrong(self.ahead(1), marker),
                (0xff, marker) if stands_alone(marker) => self.skip(2),
                (0xff, marker) => {
                    let Some(len @ [high, _]) = tail.first_chunk() else {
                        return Ok(None);
                    };
                    let len = usize::from(u16::from_be_bytes(*len));
                    if len < 2 {
                        return wrong(self.ahead(2), *high);
                    }
                    self.intact = self.at;
                    self.skip(2);
                    self.skip(len);
                    self.in_scan = marker == SOS;
                }
                _ => return wrong(self.at, prefix),
            }
        }
    }

    /// The offset `len` bytes ahead.
    fn ahead(&self, len: usize) -> usize {
        self.at.saturating_add(len)
    }

    fn skip(&mut self, len: usize) {
        self.at = self.ahead(len);
    }
}

#[cfg(test)]
mod tests {
    use super::{super::JPEG, *};

    #[test]
    fn end_scan_in_any_pieces_stops_at_eoi() {
        let mut end = EndScan::default();
        for len in 0..JPEG.len() {
            assert_eq!(end.resume(&JPEG[..len]), Ok(None), "cut to {len}");
        }
        assert_eq!(end.resume(JPEG), Ok(Some(JPEG.len())));
        assert_eq!(EndScan::default().resume(JPEG), Ok(Some(JPEG.len())));
    }

    #[test]
    fn end_scan_torn_jpeg_fails_at_next_soi() {
        let torn = JPEG.len() - 4;
        let data = [&JPEG[..torn], JPEG].concat();
        let mut end = EndScan::default();
        assert_eq!(
            end.resume(&data),
            Err(WireError::Marker {
                offset: torn + 1,
                byte: SOI
            })
        );
        assert_eq!(end.intact(), torn);
    }
}
