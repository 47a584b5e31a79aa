// SPDX-License-Identifier: MPL-2.0

//! From a JPEG to the bytes of its frame.

use std::borrow::Cow;

use super::{
    base64,
    error::WireError,
    header::{Framing, Payload},
    jpeg,
};

/// A JPEG on its way to the wire.
///
/// ```
/// use b64jpeg_wire::{Framing, OutgoingFrame};
///
/// let jpeg = b"\xff\xd8\xff\xd9";
/// let picture = OutgoingFrame::new(jpeg)?;
/// let framing = Framing::default();
/// let mut frame = vec![0; picture.wire_len(framing)?];
/// picture.encode(framing, &mut frame);
/// assert_eq!(frame, *b"\0\0\0\x08/9j/2Q==");
/// # Ok::<(), b64jpeg_wire::WireError>(())
/// ```
#[derive(Debug, Clone)]
pub struct OutgoingFrame<'a> {
    jpeg: Cow<'a, [u8]>,
    capture_time: Option<u64>,
}

impl<'a> OutgoingFrame<'a> {
    /// Takes a whole JPEG. One without Huffman tables is [given](jpeg::with_tables) some.
    ///
    /// # Errors
    ///
    /// [`WireError::Empty`], [`WireError::NotJpeg`] and [`WireError::NoMarker`].
    pub fn new(jpeg: &'a [u8]) -> Result<Self, WireError> {
        jpeg::check(jpeg)?;
        Ok(Self {
            jpeg: jpeg::with_tables(jpeg),
            capture_time: None,
        })
    }

    /// Stamps the picture with its time of capture, in nanoseconds since 1970.
    /// [`jpeg::JpegInfo`] has it back.
    pub fn captured_at(mut self, unix_ns: u64) -> Self {
        self.capture_time = Some(unix_ns);
        self
    }

    /// The JPEG itself, with Huffman tables.
    pub fn jpeg(&self) -> &[u8] {
        &self.jpeg
    }

    /// All that a stamp goes in front of.
    fn without_soi(&self) -> &[u8] {
        self.jpeg.get(2..).unwrap_or_default()
    }

    /// Bytes of the payload, without a header.
    pub fn payload_len(&self, payload: Payload) -> usize {
        let jpeg_len = match self.capture_time {
            Some(time) => {
                let stamp = jpeg::stamp(time).len();
                stamp.saturating_add(self.without_soi().len())
            }
            None => self.jpeg.len(),
        };
        match payload {
            Payload::Base64 => base64::encoded_len(jpeg_len),
            Payload::Jpeg => jpeg_len,
        }
    }

    /// Bytes of the whole frame.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] if the header cannot say so much.
    pub fn wire_len(&self, framing: Framing) -> Result<usize, WireError> {
        let (header, len) = (framing.header(), self.payload_len(framing.payload()));
        if len as u64 > header.max_payload() {
            return Err(WireError::TooLong {
                len: len as u64,
                max: header.max_payload(),
            });
        }
        let around = header.size().saturating_add(header.trailer_len());
        Ok(len.saturating_add(around))
    }

    /// Writes the frame to the front of `out`.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`wire_len`](Self::wire_len), which the caller has asked.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the length is documented as the caller's duty"
    )]
    pub fn encode(&self, framing: Framing, out: &mut [u8]) {
        let (header, payload) = (framing.header(), framing.payload());
        header.write(self.payload_len(payload) as u64, out);

        let end = header.size() + self.encode_payload(payload, &mut out[header.size()..]);
        if header.trailer_len() > 0 {
            out[end] = b'\n';
        }
    }

    /// Writes the payload, without a header, to the front of `out`. Returns its length.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`payload_len`](Self::payload_len).
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "the length is documented as the caller's duty"
    )]
    pub fn encode_payload(&self, payload: Payload, out: &mut [u8]) -> usize {
        let mut at = 0;
        let mut put = |part: &[u8]| {
            at += match payload {
                Payload::Base64 => base64::encode(part, &mut out[at..]),
                Payload::Jpeg => {
                    out[at..at + part.len()].copy_from_slice(part);
                    part.len()
                }
            }
        };
        match self.capture_time {
            Some(time) => {
                put(&jpeg::stamp(time));
                put(self.without_soi());
            }
            None => put(&self.jpeg),
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FirstBytes, Header};

    #[test]
    fn what_is_no_picture_is_refused() {
        assert_eq!(OutgoingFrame::new(b"").unwrap_err(), WireError::Empty);
        assert_eq!(
            OutgoingFrame::new(b"\x89PNG").unwrap_err(),
            WireError::NotJpeg {
                first: FirstBytes::of(b"\x89PNG")
            }
        );
    }

    #[test]
    fn a_stamp_does_not_disturb_the_text() {
        let jpeg = b"\xff\xd8\xff\xe0\0\x04\x01\x02\xff\xd9";
        let picture = OutgoingFrame::new(jpeg).unwrap().captured_at(42);
        for framing in Framing::all() {
            let mut frame = vec![0; picture.wire_len(framing).unwrap()];
            picture.encode(framing, &mut frame);
            let header = framing.header();
            let text = &frame[header.size()..frame.len() - header.trailer_len()];
            let stamped = match framing.payload() {
                Payload::Base64 => {
                    let mut out = vec![0; base64::decoded_capacity(text.len())];
                    let len = base64::decode(text, &mut out).unwrap();
                    out.truncate(len);
                    out
                }
                Payload::Jpeg => text.to_vec(),
            };
            assert_eq!(
                jpeg::JpegInfo::of(&stamped).capture_time,
                Some(42),
                "{framing}"
            );
            assert!(stamped.ends_with(&jpeg[2..]), "{framing}");
        }
    }

    #[test]
    fn lines_end_with_a_line_feed() {
        let framing = Framing::new(Header::Lines, Payload::Base64).unwrap();
        let picture = OutgoingFrame::new(b"\xff\xd8\xff\xd9").unwrap();
        let mut frame = vec![0; picture.wire_len(framing).unwrap()];
        picture.encode(framing, &mut frame);
        assert_eq!(frame, b"/9j/2Q==\n");
    }
}
