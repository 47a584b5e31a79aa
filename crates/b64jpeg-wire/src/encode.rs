// SPDX-License-Identifier: MPL-2.0

//! Encoding: from a JPEG to the bytes of its frame.

use std::borrow::Cow;

use super::{
    base64,
    error::WireError,
    header::{Framing, Payload},
    jpeg::{self, JpegHeader, JpegInfo},
};

/// A JPEG to send.
///
/// Its header is parsed once, by [`new`](Self::new); [`info`](Self::info) holds what it says.
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
    info: JpegInfo,
    /// The capture time to send, in nanoseconds since 1970.
    capture_time: Option<u64>,
}

impl<'a> OutgoingFrame<'a> {
    /// Takes a whole JPEG, and adds [Huffman tables](jpeg::with_tables) if it has none.
    ///
    /// # Errors
    ///
    /// Those of [`jpeg::check`].
    pub fn new(jpeg: &'a [u8]) -> Result<Self, WireError> {
        jpeg::check(jpeg)?;
        let header = JpegHeader::read(jpeg);
        Ok(Self {
            jpeg: jpeg::insert_tables(jpeg, header.missing_tables),
            info: header.info,
            capture_time: None,
        })
    }

    /// Stamps the JPEG with its capture time, in nanoseconds since 1970.
    ///
    /// The receiver reads it as [`JpegInfo::capture_time`].
    pub fn captured_at(mut self, unix_ns: u64) -> Self {
        self.capture_time = Some(unix_ns);
        self
    }

    /// The JPEG, with Huffman tables and without the stamp of
    /// [`captured_at`](Self::captured_at).
    pub fn jpeg(&self) -> &[u8] {
        &self.jpeg
    }

    /// What the header of [`jpeg`](Self::jpeg) says.
    pub fn info(&self) -> &JpegInfo {
        &self.info
    }

    /// The bytes that follow a stamp, which contains an SOI of its own.
    fn without_soi(&self) -> &[u8] {
        self.jpeg.get(2..).unwrap_or_default()
    }

    /// Length of the payload in bytes.
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

    /// Length of the whole frame in bytes.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`] if the payload is longer than the header can express.
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
    /// If `out` is shorter than [`wire_len`](Self::wire_len).
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "documented: the caller provides a buffer that is long enough"
    )]
    pub fn encode(&self, framing: Framing, out: &mut [u8]) {
        let (header, payload) = (framing.header(), framing.payload());
        header.write(self.payload_len(payload) as u64, out);

        let end = header.size() + self.encode_payload(payload, &mut out[header.size()..]);
        if header.trailer_len() > 0 {
            out[end] = b'\n';
        }
    }

    /// Writes the payload, without a header, to the front of `out` and returns its length.
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`payload_len`](Self::payload_len).
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "documented: the caller provides a buffer that is long enough"
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
    fn outgoing_frame_other_than_jpeg_is_refused() {
        assert_eq!(OutgoingFrame::new(b"").unwrap_err(), WireError::Empty);
        assert_eq!(
            OutgoingFrame::new(b"\x89PNG").unwrap_err(),
            WireError::NotJpeg {
                first: FirstBytes::of(b"\x89PNG")
            }
        );
    }

    #[test]
    fn outgoing_frame_stamp_keeps_rest_of_payload() {
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
            assert_eq!(JpegInfo::of(&stamped).capture_time, Some(42), "{framing}");
            assert!(stamped.ends_with(&jpeg[2..]), "{framing}");
        }
    }

    #[test]
    fn outgoing_frame_lines_end_with_line_feed() {
        let framing = Framing::new(Header::Lines, Payload::Base64).unwrap();
        let picture = OutgoingFrame::new(b"\xff\xd8\xff\xd9").unwrap();
        let mut frame = vec![0; picture.wire_len(framing).unwrap()];
        picture.encode(framing, &mut frame);
        assert_eq!(frame, b"/9j/2Q==\n");
    }

    #[test]
    fn outgoing_frame_info_equals_that_of_its_jpeg() {
        let frame_header = b"\xff\xc0\0\x0b\x08\x01\xc2\x03\x20\x01\x01\x11\0";
        let scan = b"\xff\xda\0\x04\0\0\x12\xff\xd9";
        let stamp = jpeg::stamp(42);
        for soi in [&b"\xff\xd8"[..], &stamp] {
            let jpeg = [soi, frame_header, scan].concat();
            let frame = OutgoingFrame::new(&jpeg).unwrap().captured_at(7);
            assert_eq!(*frame.info(), JpegInfo::of(frame.jpeg()));
            assert_eq!(*frame.info(), JpegInfo::of(&jpeg));
            assert_eq!(frame.info().size, Some((800, 450)));
            assert_eq!(frame.jpeg(), &*jpeg::with_tables(&jpeg));
            assert_ne!(frame.jpeg(), jpeg, "tables were added");
        }
    }
}
