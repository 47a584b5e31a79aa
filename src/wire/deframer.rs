// SPDX-License-Identifier: MPL-2.0

//! Frames out of bytes that come in pieces, for those who have nowhere to keep them.

use super::{
    base64,
    detect::Accept,
    error::{Fault, WireError},
    header::Payload,
    parse::Limits,
    stream::{Step, Stream},
};

impl Payload {
    /// Room that [`decode`](Self::decode) wants for a payload of `len` bytes.
    pub const fn decoded_capacity(self, len: usize) -> usize {
        match self {
            Self::Base64 => base64::decoded_capacity(len),
            Self::Jpeg => len,
        }
    }

    /// Writes the JPEG of `payload` to the front of `out` and returns its length.
    ///
    /// # Errors
    ///
    /// [`WireError::Base64`].
    ///
    /// # Panics
    ///
    /// If `out` is shorter than [`decoded_capacity`](Self::decoded_capacity).
    pub fn decode(self, payload: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
        match self {
            Self::Base64 => base64::decode(payload, out),
            Self::Jpeg => {
                out[..payload.len()].copy_from_slice(payload);
                Ok(payload.len())
            }
        }
    }
}

/// Turns the pieces of a stream into JPEGs.
///
/// It holds no more than the longest frame allowed, the start of the next one, and
/// one piece.
///
/// ```
/// use gstb64jpeg::wire::{Accept, Deframer, Limits};
///
/// let mut deframer = Deframer::new(Accept::default(), Limits::default());
/// deframer.push(b"\0\0\0\x10/9j/4AAQAAAA");
/// assert_eq!(deframer.next(), None);
/// deframer.push(b"/9k=");
/// deframer.finish();
/// assert_eq!(
///     deframer.next(),
///     Some(Ok(b"\xff\xd8\xff\xe0\0\x10\0\0\0\xff\xd9".to_vec()))
/// );
/// assert_eq!(deframer.next(), None);
/// ```
#[derive(Debug, Clone)]
pub struct Deframer {
    stream: Stream,
    bytes: Vec<u8>,
    start: usize,
    need: usize,
    end: bool,
}

impl Deframer {
    /// A deframer for one stream.
    pub fn new(accept: Accept, limits: Limits) -> Self {
        Self {
            stream: Stream::new(accept, limits),
            bytes: Vec::new(),
            start: 0,
            need: 0,
            end: false,
        }
    }

    /// The stream that it follows: framing, place, counts.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Bytes held back until more come.
    pub fn held(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(piece);
    }

    /// Tells that no piece will follow.
    pub fn finish(&mut self) {
        self.end = true;
    }

    /// The next JPEG or fault, or `None` until another piece comes.
    ///
    /// After a fault it goes on with the next good frame, unless
    /// [`WireError::is_fatal`].
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at the first None"
    )]
    pub fn next(&mut self) -> Option<Result<Vec<u8>, Fault>> {
        loop {
            let data = &self.bytes[self.start..];
            if data.len() < self.need && !self.end {
                return None;
            }
            match self.stream.step(data, self.end) {
                Step::Need(need) => {
                    self.need = need;
                    return None;
                }
                Step::Skip(len) => self.consume(len),
                Step::Bad(fault) => {
                    self.need = 0;
                    return Some(Err(fault));
                }
                Step::Frame(frame) => {
                    let payload = self.stream.framing().expect("a frame has one").payload();
                    let mut jpeg = vec![0; payload.decoded_capacity(frame.payload.len())];
                    match payload.decode(&data[frame.payload.clone()], &mut jpeg) {
                        Ok(len) => {
                            jpeg.truncate(len);
                            self.stream.accept(&frame);
                            self.consume(frame.len);
                            return Some(Ok(jpeg));
                        }
                        Err(error) => return Some(Err(self.stream.reject(error))),
                    }
                }
            }
        }
    }

    fn consume(&mut self, len: usize) {
        self.start += len;
        self.need = 0;
    }
}
