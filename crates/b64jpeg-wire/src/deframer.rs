// SPDX-License-Identifier: MPL-2.0

//! Frames out of bytes that come in pieces, for those who have nowhere to keep them.

use std::io;

use super::{
    base64,
    detect::AcceptedFramings,
    error::{FrameError, WireError},
    header::Payload,
    jpeg,
    parse::FrameLimits,
    stream::{FrameStream, Step},
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
                #[expect(
                    clippy::indexing_slicing,
                    reason = "the length is documented as the caller's duty"
                )]
                out[..payload.len()].copy_from_slice(payload);
                Ok(payload.len())
            }
        }
    }
}

/// How much is read at once: a few pictures of a common size.
const READ: usize = 256 << 10;

/// Turns the pieces of a stream into JPEGs.
///
/// It holds no more than the longest frame allowed, the start of the next one, and
/// one piece. Its memory grows with what has come, whatever length was announced, and
/// shrinks again when frames do.
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
    /// Room that stays: what is held stands at `start..end`, the rest is of no meaning.
    room: Vec<u8>,
    start: usize,
    end: usize,
    need: usize,
    /// The most that had to find room, less with every frame since.
    lately: usize,
    finished: bool,
}

impl Deframer {
    /// A deframer for one stream.
    pub fn new(accept: AcceptedFramings, limits: FrameLimits) -> Self {
        Self {
            stream: FrameStream::new(accept, limits),
            limits,
            room: Vec::new(),
            start: 0,
            end: 0,
            need: 0,
            lately: 0,
            finished: false,
        }
    }

    /// The stream that it follows: framing, place, counts.
    pub fn stream(&self) -> &FrameStream {
        &self.stream
    }

    /// Bytes held back until more come.
    pub fn held(&self) -> usize {
        self.end.saturating_sub(self.start)
    }

    /// The length of the frame of which bytes are held back, with its header, if that
    /// tells.
    pub fn frame_len(&self) -> Option<usize> {
        let held = self.room.get(self.start..self.end).unwrap_or_default();
        self.stream.frame_len(held)
    }

    /// Takes the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        self.room(piece.len()).copy_from_slice(piece);
        self.end = self.end.saturating_add(piece.len());
    }

    /// Takes the next piece from `source` with a single read, and returns its length.
    ///
    /// # Errors
    ///
    /// Those of `source`; nothing was taken then.
    pub fn read_from(&mut self, source: &mut impl io::Read) -> io::Result<usize> {
        let len = source.read(self.room(READ))?;
        // No more than there was room for, whatever the source says.
        self.end = self.end.saturating_add(len).min(self.room.len());
        Ok(len)
    }

    /// Tells that no piece will follow.
    pub fn finish(&mut self) {
        self.finished = true;
    }

    /// Room for `len` bytes behind those that are held.
    #[expect(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        reason = "start <= end <= room.len() always holds, and room is made for end + len; \
                  all sums are a few times what is in memory at most"
    )]
    fn room(&mut self, len: usize) -> &mut [u8] {
        let held = self.held();
        self.lately = self.lately.max(held + len);
        if self.room.len() / 4 > self.lately {
            self.room = self.room[self.start..self.end].to_vec();
            (self.start, self.end) = (0, held);
        }
        if self.room.len() - self.end < len {
            // Never more than have been consumed since the last move.
            if self.start > held {
                self.room.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, held);
            }
            // All that the frame needs, but no more than twice what has come of it.
            let ahead = (self.need + len).min(2 * held);
            let room = self.start + ahead.max(held + len);
            if self.room.len() < room {
                self.room.resize(room, 0);
            }
        }
        &mut self.room[self.end..][..len]
    }

    /// The next JPEG or fault, or `None` until another piece comes.
    ///
    /// After a fault it goes on with the next good frame, unless
    /// [`WireError::is_fatal`].
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

    /// As [`next`](Self::next), for those who know where the JPEG is to go: `decode` gets
    /// the payload, and says so if it is bad.
    pub fn next_with<T>(
        &mut self,
        decode: impl FnOnce(Payload, &[u8]) -> Result<T, WireError>,
    ) -> Option<Result<T, FrameError>> {
        loop {
            let data = self.room.get(self.start..self.end).unwrap_or_default();
            if data.len() < self.need && !self.finished {
                return None;
            }
            match self.stream.step(data, self.finished) {
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
                    // There is no frame without a framing.
                    let kind = self.stream.framing().unwrap_or_default().payload();
                    let payload = data.get(frame.payload.clone()).unwrap_or_default();
                    let jpeg = decode(kind, payload);
                    return Some(match jpeg {
                        Ok(jpeg) => {
                            self.stream.accept(&frame);
                            self.consume(frame.len);
                            self.lately = self.lately.saturating_sub(self.lately / 16);
                            Ok(jpeg)
                        }
                        Err(error) if error.is_of_picture() => {
                            self.consume(frame.len);
                            Err(self.stream.refuse(&frame, error))
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

    /// Has so many bytes at a time, and in between nothing yet.
    struct Source<'a> {
        bytes: &'a [u8],
        pieces: &'a [usize],
        turn: usize,
    }

    impl io::Read for Source<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            self.turn += 1;
            if self.turn.is_multiple_of(2) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            let piece = self.pieces[self.turn / 2 % self.pieces.len()];
            let len = self.bytes.len().min(piece).min(out.len());
            let (piece, rest) = self.bytes.split_at(len);
            out[..len].copy_from_slice(piece);
            self.bytes = rest;
            Ok(len)
        }
    }

    /// JPEGs with so many bytes inside, and the stream of them.
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

    /// Reads once, and takes what frames there are; returns how many.
    fn turn(deframer: &mut Deframer, source: &mut &[u8]) -> usize {
        deframer.read_from(source).expect("it has it all");
        let frames: Result<Vec<_>, _> = std::iter::from_fn(|| deframer.next()).collect();
        frames.expect("good ones").len()
    }

    /// Room is made for it a few times, and never for much more than has come.
    #[test]
    fn a_long_frame_is_not_moved() {
        let (_, stream) = stream(&[1_000, 1_000, 100 * READ, 7]);
        let mut source = &stream[..];
        let mut deframer = deframer();
        assert_eq!(turn(&mut deframer, &mut source), 2);
        let start = deframer.start;
        let mut rooms = vec![];
        while deframer.held() + READ < stream.len() - start {
            assert_eq!(turn(&mut deframer, &mut source), 0);
            assert_eq!(deframer.start, start);
            rooms.push(deframer.room.len());
            assert!(deframer.room.len() <= start + 2 * deframer.held().max(READ));
        }
        rooms.dedup();
        assert!(rooms.len() < 10, "{rooms:?}");
        assert!(deframer.room.len() < stream.len() + READ);
    }

    #[test]
    fn a_length_takes_no_room() {
        let mut deframer = deframer();
        deframer.push(b"\x03\0\0\0/9j/4AAQSkZJRgABAQAA");
        for _ in 0..10 {
            assert_eq!(deframer.next(), None);
            deframer.push(b"AAAA");
        }
        assert!(deframer.room.len() < 200, "{}", deframer.room.len());
    }

    #[test]
    fn what_one_long_frame_took_is_given_back() {
        let lens = [&[50 * READ][..], &[READ / 5; 100]].concat();
        let (_, bytes) = stream(&lens);
        let mut source = &bytes[..];
        let mut deframer = deframer();
        let mut most = 0;
        while turn(&mut deframer, &mut source) > 0 || !source.is_empty() {
            most = most.max(deframer.room.len());
        }
        assert!(most > 50 * READ);
        assert!(deframer.room.len() < 8 * READ, "{}", deframer.room.len());
        assert!(deframer.room.capacity() < 16 * READ);

        // Not if there is one now and then.
        let (_, bytes) = stream(&[&[20 * READ][..], &[100; 9]].concat().repeat(5));
        let mut source = &bytes[..];
        let mut rooms = vec![];
        while turn(&mut deframer, &mut source) > 0 || !source.is_empty() {
            rooms.push(deframer.room.len());
        }
        assert!(rooms.is_sorted(), "{rooms:?}");
    }

    #[test]
    fn what_is_read_is_what_was_sent() {
        let (jpegs, stream) = stream(&[20, READ / 2, 3 * READ, READ, 1_000, 5 * READ / 3, 100, 7]);
        for pieces in [&[usize::MAX][..], &[1_448], &[READ - 1, 3], &[1, 70_000, 9]] {
            let mut source = Source {
                bytes: &stream,
                pieces,
                turn: 0,
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
