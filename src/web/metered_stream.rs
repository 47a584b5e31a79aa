// SPDX-License-Identifier: MPL-2.0

//! Counts what a peer says on a connection: requests, reads and websocket frames.
//!
//! Viewers have little to say: a request, answers to pings, and one short packet for each
//! picture that they have shown. [`Stream`](super::connection::Stream) reads no more bytes than a
//! budget allows, and whoever sends more is slowed down, by TCP as well. Bytes alone would not
//! do: a websocket frame has as few as six, and to read a request takes as long as its answer.
//! So each of them costs something besides its bytes.
//!
//! To count frames it has to be known where they begin, and that is where the head of the
//! request for the websocket ends. So nothing is passed on beyond the end of a head before that
//! head was looked at:
//!
//! ```text
//!   GET /socket.io/… CRLF … CRLF CRLF │ 81 8d … │ 81 82 … │ …
//!   ──────── first read ─────────────►│── further reads: frames are counted ──►
//! ```

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Line;

/// Bytes of one read. Between two of them others have their turn.
const PIECE: usize = 1024;

/// A stream that counts on its [`Line`] what is read from it.
pub struct Metered<S> {
    inner: S,
    line: Arc<Line>,
    piece: Box<[u8; PIECE]>,
    /// What was read and not passed on: `piece[start..end]`.
    start: usize,
    end: usize,
    /// Whether nothing but a carriage return came since the last line feed.
    empty_line: bool,
    frames: FrameCounter,
    /// Whether a piece was passed on since others had their turn.
    had_turn: bool,
}

impl<S> Metered<S> {
    pub fn new(inner: S, line: Arc<Line>) -> Self {
        Self {
            inner,
            line,
            piece: Box::new([0; PIECE]),
            start: 0,
            end: 0,
            empty_line: false,
            frames: FrameCounter::default(),
            had_turn: false,
        }
    }

    /// How much of what was read may be passed on now, of `room` bytes at most.
    fn passes(&mut self, room: usize) -> usize {
        let held = &self.piece[self.start..self.end];
        let held = &held[..held.len().min(room)];
        if self.line.is_websocket() {
            let frames = self.frames.count(held);
            self.line.spend_packets(frames);
            return held.len();
        }
        // A head ends with an empty line. Carriage returns may be missing: the HTTP parser
        // takes lines without.
        for (index, byte) in held.iter().enumerate() {
            match byte {
                b'\r' => {}
                b'\n' if std::mem::take(&mut self.empty_line) => return index + 1,
                byte => self.empty_line = *byte == b'\n',
            }
        }
        held.len()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if std::mem::take(&mut this.had_turn) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.start == this.end {
            let mut piece = ReadBuf::new(&mut this.piece[..]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut piece))?;
            (this.start, this.end) = (0, piece.filled().len());
            this.line.spend_packets(1);
        }
        let len = this.passes(buffer.remaining());
        buffer.put_slice(&this.piece[this.start..this.start + len]);
        this.start += len;
        this.had_turn = len > 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Counts the frames of a websocket as their bytes pass (RFC 6455, section 5.2).
///
/// ```text
///  │ FIN, opcode │ MASK, length │ length, if it is 126 or 127 │ key, if MASK │ payload │
///  │      1      │       1      │            2 or 8           │       4      │         │
/// ```
#[derive(Debug, Default)]
struct FrameCounter {
    /// Bytes of the header of a frame that has begun, up to where the length ends.
    header: [u8; 10],
    have: usize,
    /// Bytes up to the next header.
    rest: u64,
}

impl FrameCounter {
    /// How many frames begin in the next bytes of the stream.
    fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.rest > 0 {
                let len = usize::try_from(self.rest).unwrap_or(usize::MAX);
                let len = len.min(bytes.len());
                self.rest -= len as u64;
                bytes = &bytes[len..];
                continue;
            }
            begun += u32::from(self.have == 0);
            self.header[self.have] = bytes[0];
            self.have += 1;
            bytes = &bytes[1..];
            if let Some(len) = self.payload() {
                let key = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
                self.rest = len.saturating_add(key);
                self.have = 0;
            }
        }
        begun
    }

    /// The length of the payload, once its last byte is there.
    fn payload(&self) -> Option<u64> {
        let header = &self.header[..self.have];
        let (short, long) = header.get(1..)?.split_first()?;
        match short & 0x7f {
            126 => Some(u16::from_be_bytes(*long.first_chunk()?).into()),
            127 => Some(u64::from_be_bytes(*long.first_chunk()?)),
            len => Some(len.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;

    use super::*;

    /// A frame of a client with so many bytes of payload.
    fn frame(len: usize) -> Vec<u8> {
        let mut frame = vec![0x81];
        match len {
            0..126 => frame.push(0x80 | len as u8),
            126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend((len as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend((len as u64).to_be_bytes());
            }
        }
        frame.extend([7; 4]);
        frame.extend(vec![0x81; len]);
        frame
    }

    #[test]
    fn frame_counter_any_pieces_same_count() {
        let lens = [0, 1, 125, 126, 65_535, 65_536, 0, 0, 300];
        let stream: Vec<u8> = lens.iter().flat_map(|len| frame(*len)).collect();
        for piece in [1, 2, 3, 7, 1000, stream.len()] {
            let mut counter = FrameCounter::default();
            let counts = stream.chunks(piece).map(|bytes| counter.count(bytes));
            assert_eq!(
                counts.sum::<u32>(),
                lens.len() as u32,
                "in pieces of {piece}"
            );
        }
    }

    #[test]
    fn frame_counter_longest_length_is_no_overflow() {
        let mut counter = FrameCounter::default();
        let header = [&[0x82, 0xff][..], &[0xff; 8]].concat();
        assert_eq!(counter.count(&header), 1);
        assert_eq!(counter.count(&[0; 10_000]), 0);
    }

    #[test]
    fn frame_counter_without_mask_counts_as_well() {
        assert_eq!(
            FrameCounter::default().count(&[0x89, 0, 0x89, 1, 5, 0x89]),
            3
        );
    }

    /// Frames are counted from the end of the head, so that has to be found wherever the HTTP
    /// parser finds it.
    #[test]
    fn metered_read_ends_with_the_head() {
        let line = Line::new(([127, 0, 0, 1], 7).into(), Arc::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("enough of everything");
        for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
            let head = ["GET / HTTP/1.1\r\nHost: a", end].concat();
            let bytes = [head.as_bytes(), b"\x81\x80\0\0\0\0"].concat();
            let mut stream = Metered::new(&bytes[..], line.clone());
            let mut read = [0; 100];
            let mut read = || {
                let len = runtime.block_on(stream.read(&mut read)).expect("bytes");
                read[..len].to_vec()
            };
            assert_eq!(read(), head.as_bytes(), "{end:?}");
            assert_eq!(read(), b"\x81\x80\0\0\0\0");
        }
    }
}
