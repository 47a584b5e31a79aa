// SPDX-License-Identifier: MPL-2.0

//! A [`FrameStream`] that keeps the bytes.

use std::io;

use super::{
    base64,
    detect::AcceptedFramings,
    error::{FrameError, WireError},
    header::Payload,
    jpeg,
    parse::FrameLimits,
    stream::{FrameStream, StreamStep},
};

impl Payload {
    /// Length of the buffer that [`decode`](Self::decode) needs for a payload of `len` bytes.
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
                #[expect(
                    clippy::indexing_slicing,
                    reason = "documented: the caller provides a buffer that is long enough"
                )]
                out[..payload.len()].copy_from_slice(payload);
                Ok(payload.len())
            }
        }
    }
}

/// Number of bytes to read at once: a few JPEGs of a common size.
const READ_LEN: usize = 256 << 10;

/// Turns a stream, in pieces of any length, into JPEGs.
///
/// It holds at most the longest frame that the limits allow, the start of the next one, and one
/// piece. Its memory grows with the bytes received, not with the length in a header, and shrinks
/// when the frames become shorter.
///
/// ```
/// use b64jpeg_wire::{AcceptedFramings, Deframer, FrameLimits};
///
/// let mut deframer = Deframer::new(AcceptedFramings::default(), FrameLimits::default());
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
    stream: FrameStream,
    limits: FrameLimits,
    /// The bytes that are held are at `start..end`; the others are unused.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Number of bytes that the next step needs.
    need: usize,
    /// Maximum length of the buffer needed recently. It decays with every frame.
    recent_len: usize,
    finished: bool,
}

impl Deframer {
    /// Begins a stream.
    pub fn new(accept: AcceptedFramings, limits: FrameLimits) -> Self {
        Self {
            stream: FrameStream::new(accept, limits),
            limits,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            need: 0,
            recent_len: 0,
            finished: false,
        }
    }

    /// The state of the stream: framing, offset, counts.
    pub fn stream(&self) -> &FrameStream {
        &self.stream
    }

    /// Number of bytes held until more arrive.
    pub fn held(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// Length of the frame whose first bytes are held, with its header, if the header contains
    /// it.
    pub fn frame_len(&self) -> Option<usize> {
        let held = self.buffer.get(self.start..self.end).unwrap_or_default();
        self.stream.frame_len(held)
    }

    /// Appends the next piece of the stream.
    pub fn push(&mut self, piece: &[u8]) {
        self.space(piece.len()).copy_from_slice(piece);
        self.end = self.end.saturating_add(piece.len());
    }

    /// Appends the next piece with a single read from `source`, and returns its length.
    ///
    /// # Errors
    ///
    /// Those of `source`. Nothing is appended then.
    pub fn read_from(&mut self, source: &mut impl io::Read) -> io::Result<usize> {
        let len = source.read(self.space(READ_LEN))?;
        // A source may return a length that is too long.
        self.end = self.end.saturating_add(len).min(self.buffer.len());
        Ok(len)
    }

    /// Ends the stream: no piece follows.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Returns space for `len` bytes after those that are held.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "start <= end <= buffer.len() always holds, and the buffer grows to end + len; \
                  all sums are at most a few times what is in memory"
    )]
    fn space(&mut self, len: usize) -> &mut [u8] {
        let held = self.held();
        self.recent_len = self.recent_len.max(held + len);
        if self.buffer.len() / 4 > self.recent_len {
            self.buffer = self.buffer[self.start..self.end].to_vec();
            (self.start, self.end) = (0, held);
        }
        if self.buffer.len() - self.end < len {
            // Moves fewer bytes than were consumed since the last move.
            if self.start > held {
                self.buffer.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, held);
            }
            // Enough for the frame, but no more than twice what has arrived of it.
            let expected = (self.need + len).min(2 * held);
            let buffer_len = self.start + expected.max(held + len);
            if self.buffer.len() < buffer_len {
                self.buffer.resize(buffer_len, 0);
            }
        }
        &mut self.buffer[self.end..][..len]
    }

    /// Returns the next JPEG or error, or `None` until another piece arrives.
    ///
    /// After an error it continues with the next good frame, unless the error
    /// [`is_fatal`](WireError::is_fatal).
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would end at the first None"
    )]
    pub fn next(&mut self) -> Option<Result<Vec<u8>, FrameError>> {
        let limits = self.limits;
        self.next_with(|kind, payload| {
            let mut jpeg = vec![0; kind.decoded_capacity(payload.len())];
            let len = kind.decode(payload, &mut jpeg)?;
            jpeg.truncate(len);
            jpeg::JpegInfo::received(&jpeg, &limits)?;
            Ok(jpeg)
        })
    }

    /// Like [`next`](Self::next), but lets the caller decide where the JPEG is written: `decode`
    /// gets the payload and returns an error if it is bad.
    pub fn next_with<T>(
        &mut self,
        decode: impl FnOnce(Payload, &[u8]) -> Result<T, WireError>,
    ) -> Option<Result<T, FrameError>> {
        loop {
            let data = self.buffer.get(self.start..self.end).unwrap_or_default();
            if data.len() < self.need && !self.finished {
                return None;
            }
            match self.stream.step(data, self.finished) {
                StreamStep::Need(need) => {
                    self.need = need;
                    return None;
                }
                StreamStep::Skip(len) => self.consume(len),
                StreamStep::Bad(error) => {
                    self.need = 0;
                    return Some(Err(error));
                }
                StreamStep::Frame(frame) => {
                    // The framing of a frame is always known.
                    let kind = self.stream.framing().unwrap_or_default().payload();
                    let payload = data.get(frame.payload.clone()).unwrap_or_default();
                    let jpeg = decode(kind, payload);
                    return Some(match jpeg {
                        Ok(jpeg) => {
                            self.stream.accept(&frame);
                            self.consume(frame.len);
                            self.recent_len = self.recent_len.saturating_sub(self.recent_len / 16);
                            Ok(jpeg)
                        }
                        Err(error) if error.is_picture_error() => {
                            self.consume(frame.len);
                            Err(self.stream.discard(&frame, error))
                        }
                        Err(error) => Err(self.stream.reject(error)),
                    });
                }
            }
        }
    }

    fn consume(&mut self, len: usize) {
        self.start = self.start.saturating_add(len).min(self.end);
        self.need = 0;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Framing, OutgoingFrame},
        *,
    };

    /// Gives pieces of these lengths, and `WouldBlock` between them.
    struct Source<'a> {
        bytes: &'a [u8],
        pieces: &'a [usize],
        reads: usize,
    }

    impl io::Read for Source<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.reads += 1;
            if self.reads.is_multiple_of(2) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let piece = self.pieces[self.reads / 2 % self.pieces.len()];
            let len = self.bytes.len().min(piece).min(out.len());
            let (piece, rest) = self.bytes.split_at(len);
            out[..len].copy_from_slice(piece);
            self.bytes = rest;
            Ok(len)
        }
    }

    /// JPEGs with contents of these lengths, and a stream of them.
    fn stream(lens: &[usize]) -> (Vec<Vec<u8>>, Vec<u8>) {
        let framing = Framing::default();
        let mut jpegs = vec![];
        let mut stream = vec![];
        for &len in lens {
            let jpeg = [b"\xff\xd8\xff", &vec![len as u8; len][..], b"\xff\xd9"].concat();
            let picture = OutgoingFrame::new(&jpeg).expect("a JPEG");
            let at = stream.len();
            stream.resize(at + picture.wire_len(framing).expect("it is short"), 0);
            picture.encode(framing, &mut stream[at..]);
            jpegs.push(jpeg);
        }
        (jpegs, stream)
    }

    fn deframer() -> Deframer {
        Deframer::new(AcceptedFramings::default(), FrameLimits::default())
    }

    /// Reads once and returns the number of frames.
    fn read_frames(deframer: &mut Deframer, source: &mut &[u8]) -> usize {
        deframer.read_from(source).expect("it has it all");
        let frames: Result<Vec<_>, _> = std::iter::from_fn(|| deframer.next()).collect();
        frames.expect("good ones").len()
    }

    /// The buffer grows a few times, and never to much more than has arrived.
    #[test]
    fn deframer_long_frame_is_not_moved() {
        let (_, stream) = stream(&[1_000, 1_000, 100 * READ_LEN, 7]);
        let mut source = &stream[..];
        let mut deframer = deframer();
        assert_eq!(read_frames(&mut deframer, &mut source), 2);
        let start = deframer.start;
        let mut buffer_lens = vec![];
        while deframer.held() + READ_LEN < stream.len() - start {
            assert_eq!(read_frames(&mut deframer, &mut source), 0);
            assert_eq!(deframer.start, start);
            buffer_lens.push(deframer.buffer.len());
            assert!(deframer.buffer.len() <= start + 2 * deframer.held().max(READ_LEN));
        }
        buffer_lens.dedup();
        assert!(buffer_lens.len() < 10, "{buffer_lens:?}");
        assert!(deframer.buffer.len() < stream.len() + READ_LEN);
    }

    #[test]
    fn deframer_length_alone_allocates_nothing() {
        let mut deframer = deframer();
        deframer.push(b"\x03\0\0\0/9j/4AAQSkZJRgABAQAA");
        for _ in 0..10 {
            assert_eq!(deframer.next(), None);
            deframer.push(b"AAAA");
        }
        assert!(deframer.buffer.len() < 200, "{}", deframer.buffer.len());
    }

    #[test]
    fn deframer_buffer_shrinks_after_one_long_frame() {
        let lens = [&[50 * READ_LEN][..], &[READ_LEN / 5; 100]].concat();
        let (_, bytes) = stream(&lens);
        let mut source = &bytes[..];
        let mut deframer = deframer();
        let mut most = 0;
        while read_frames(&mut deframer, &mut source) > 0 || !source.is_empty() {
            most = most.max(deframer.buffer.len());
        }
        assert!(most > 50 * READ_LEN);
        assert!(
            deframer.buffer.len() < 8 * READ_LEN,
            "{}",
            deframer.buffer.len()
        );
        assert!(deframer.buffer.capacity() < 16 * READ_LEN);

        // It does not shrink while long frames recur.
        let (_, bytes) = stream(&[&[20 * READ_LEN][..], &[100; 9]].concat().repeat(5));
        let mut source = &bytes[..];
        let mut buffer_lens = vec![];
        while read_frames(&mut deframer, &mut source) > 0 || !source.is_empty() {
            buffer_lens.push(deframer.buffer.len());
        }
        assert!(buffer_lens.is_sorted(), "{buffer_lens:?}");
    }

    #[test]
    fn deframer_any_reads_give_the_jpegs_sent() {
        let (jpegs, stream) = stream(&[
            20,
            READ_LEN / 2,
            3 * READ_LEN,
            READ_LEN,
            1_000,
            5 * READ_LEN / 3,
            100,
            7,
        ]);
        for pieces in [
            &[usize::MAX][..],
            &[1_448],
            &[READ_LEN - 1, 3],
            &[1, 70_000, 9],
        ] {
            let mut source = Source {
                bytes: &stream,
                pieces,
                reads: 0,
            };
            let mut deframer = deframer();
            let mut received = vec![];
            loop {
                match deframer.read_from(&mut source) {
                    Ok(0) => deframer.finish(),
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                received.extend(std::iter::from_fn(|| deframer.next()));
                if deframer.finished {
                    break;
                }
            }
            let received: Result<Vec<_>, _> = received.into_iter().collect();
            assert!(received.as_ref() == Ok(&jpegs), "in pieces of {pieces:?}");
            assert_eq!(deframer.held(), 0);
        }
    }
}
