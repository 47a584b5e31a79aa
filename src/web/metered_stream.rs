// SPDX-License-Identifier: MPL-2.0

//! Charges a peer for its requests, reads and WebSocket frames.
//!
//! Viewers send little: a request, answers to pings, and one short packet for each frame that
//! they have painted. [`ConnectionStream`](super::connection::ConnectionStream) limits how many
//! bytes it reads from a peer, and TCP slows down a peer that sends more. Bytes alone are no
//! sufficient limit: a WebSocket frame may have only six, and a request takes the server more
//! time than its bytes suggest. So each of them costs something besides its bytes.
//!
//! To count WebSocket frames the server must know where they begin, which is where the head of
//! the upgrade request ends. So a read never passes on bytes behind the end of a head:
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

use super::connection::HttpConnection;

/// Maximum number of bytes in one read. Between two reads other tasks run.
const MAX_READ: usize = 1024;

/// A stream that charges its [`HttpConnection`] for what is read from it.
pub struct MeteredStream<S> {
    inner: S,
    connection: Arc<HttpConnection>,
    buffer: Box<[u8; MAX_READ]>,
    /// Bytes that were read and not passed on: `buffer[start..end]`.
    start: usize,
    end: usize,
    /// Whether only carriage returns followed the last line feed.
    at_empty_line: bool,
    frames: WebSocketFrameCounter,
    /// Whether the next read lets other tasks run first.
    must_yield: bool,
}

impl<S> MeteredStream<S> {
    /// A stream that charges `connection` for what is read from `inner`.
    pub fn new(inner: S, connection: Arc<HttpConnection>) -> Self {
        Self {
            inner,
            connection,
            buffer: Box::new([0; MAX_READ]),
            start: 0,
            end: 0,
            at_empty_line: false,
            frames: WebSocketFrameCounter::default(),
            must_yield: false,
        }
    }

    /// How many of the buffered bytes may be passed on now, at most `max`.
    fn passable_len(&mut self, max: usize) -> usize {
        let buffered = &self.buffer[self.start..self.end];
        let buffered = &buffered[..buffered.len().min(max)];
        if self.connection.is_websocket() {
            let frames = self.frames.count(buffered);
            self.connection.charge_packets(frames);
            return buffered.len();
        }
        // A head ends with an empty line. The HTTP parser accepts lines without carriage
        // return, so they may be missing.
        for (index, byte) in buffered.iter().enumerate() {
            match byte {
                b'\r' => {}
                b'\n' if std::mem::take(&mut self.at_empty_line) => return index + 1,
                byte => self.at_empty_line = *byte == b'\n',
            }
        }
        buffered.len()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for MeteredStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if std::mem::take(&mut this.must_yield) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if this.start == this.end {
            let mut read = ReadBuf::new(&mut this.buffer[..]);
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut read))?;
            (this.start, this.end) = (0, read.filled().len());
            this.connection.charge_packets(1);
        }
        let len = this.passable_len(buffer.remaining());
        buffer.put_slice(&this.buffer[this.start..this.start + len]);
        this.start += len;
        this.must_yield = len > 0;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for MeteredStream<S> {
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

/// Counts WebSocket frames in a stream of bytes (RFC 6455, section 5.2).
///
/// ```text
///  │ FIN, opcode │ MASK, length │ length, if it is 126 or 127 │ mask, if MASK │ payload │
///  │      1      │       1      │            2 or 8           │       4      │         │
/// ```
#[derive(Debug, Default)]
struct WebSocketFrameCounter {
    /// Bytes of an unfinished frame header, up to the end of the length.
    header: [u8; 10],
    /// How many of them have arrived.
    header_len: usize,
    /// Bytes until the next header: mask and payload.
    skip: u64,
}

impl WebSocketFrameCounter {
    /// Counts the frames that begin in the next bytes of the stream.
    fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut begun = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let len = usize::try_from(self.skip).unwrap_or(usize::MAX);
                let len = len.min(bytes.len());
                self.skip -= len as u64;
                bytes = &bytes[len..];
                continue;
            }
            begun += u32::from(self.header_len == 0);
            self.header[self.header_len] = bytes[0];
            self.header_len += 1;
            bytes = &bytes[1..];
            if let Some(len) = self.payload_len() {
                let mask = if self.header[1] & 0x80 != 0 { 4 } else { 0 };
                self.skip = len.saturating_add(mask);
                self.header_len = 0;
            }
        }
        begun
    }

    /// Length of the payload, once the header has arrived.
    fn payload_len(&self) -> Option<u64> {
        let header = &self.header[..self.header_len];
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

    /// A frame of a client with `len` bytes of payload.
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
    fn frame_counter_split_anywhere_counts_same() {
        let lens = [0, 1, 125, 126, 65_535, 65_536, 0, 0, 300];
        let stream: Vec<u8> = lens.iter().flat_map(|len| frame(*len)).collect();
        for len in [1, 2, 3, 7, 1000, stream.len()] {
            let mut counter = WebSocketFrameCounter::default();
            let counts = stream.chunks(len).map(|bytes| counter.count(bytes));
            assert_eq!(counts.sum::<u32>(), lens.len() as u32, "in parts of {len}");
        }
    }

    #[test]
    fn frame_counter_with_longest_length_does_not_overflow() {
        let mut counter = WebSocketFrameCounter::default();
        let header = [&[0x82, 0xff][..], &[0xff; 8]].concat();
        assert_eq!(counter.count(&header), 1);
        assert_eq!(counter.count(&[0; 10_000]), 0);
    }

    #[test]
    fn frame_counter_unmasked_frames_are_counted() {
        assert_eq!(
            WebSocketFrameCounter::default().count(&[0x89, 0, 0x89, 1, 5, 0x89]),
            3
        );
    }

    /// Frames are counted from the end of the head, so the stream must find that end wherever
    /// the HTTP parser does.
    #[test]
    fn metered_read_of_request_stops_at_end_of_head() {
        let connection = HttpConnection::new(([127, 0, 0, 1], 7).into(), Arc::default());
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("a runtime");
        for end in ["\r\n\r\n", "\n\n", "\n\r\n", "\r\n\n"] {
            let head = ["GET / HTTP/1.1\r\nHost: a", end].concat();
            let bytes = [head.as_bytes(), b"\x81\x80\0\0\0\0"].concat();
            let mut stream = MeteredStream::new(&bytes[..], connection.clone());
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
