// SPDX-License-Identifier: MPL-2.0

//! The connection to one client: sends it frames and discards what it sends.

use std::{
    io::{ErrorKind, Read, Write},
    time::Instant,
};

use mio::net::TcpStream;

use super::{
    RemovalReason,
    shared::{NextFrame, Shared},
};
use crate::tcp::backlog::{QueuedFrame, SentCounts};

/// Bytes written to one client before the others are served.
const MAX_WRITTEN_PER_STEP: usize = 256 << 10;
/// Reads from one client before the others are served, and bytes per read.
const MAX_READS_PER_STEP: usize = 4;
const READ_LEN: usize = 16 << 10;

/// What the event loop has to do with a connection next.
pub(super) enum NextStep {
    /// Wait until the socket is ready or a frame is queued.
    Wait,
    /// Serve this connection again after the other connections.
    ServeAgain,
    /// Close this connection: the client has received every frame.
    Close,
}

pub(super) struct Connection {
    pub(super) stream: TcpStream,
    /// The frame that is being sent, and how many of its bytes were sent.
    pub(super) frame: Option<QueuedFrame>,
    offset: usize,
    /// What was sent since the backlog counted it last.
    pub(super) sent: SentCounts,
    /// Whether the socket may take or have bytes. The poll is edge-triggered: it reports
    /// readiness only when it changes.
    pub(super) writable: bool,
    pub(super) readable: bool,
    /// Whether the client has shut down its sending direction. It may have closed the whole
    /// connection, which only the next write shows.
    peer_closed: bool,
    /// Whether bytes were sent since the last check for dead clients.
    pub(super) progressed: bool,
    /// Whether the event loop has scheduled it.
    pub(super) scheduled: bool,
    /// When it is closed even if the client has not closed it; set once it is shut down.
    pub(super) close_deadline: Option<Instant>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            frame: None,
            offset: 0,
            sent: SentCounts::default(),
            writable: true,
            readable: true,
            peer_closed: false,
            progressed: false,
            scheduled: false,
            close_deadline: None,
        }
    }

    /// Reads and writes as much as the socket and the limits per step allow.
    ///
    /// # Errors
    ///
    /// The reason if the client has to be removed.
    pub(super) fn serve(
        &mut self,
        slot: usize,
        shared: &Shared,
    ) -> Result<NextStep, RemovalReason> {
        self.discard_input()?;
        if self.close_deadline.is_none() {
            match self.write_frames(slot, shared)? {
                NextStep::Wait => {}
                other => return Ok(other),
            }
        }
        // A client that has shut down only its sending direction still reads the rest of its
        // frame.
        if self.peer_closed && self.frame.is_none() {
            return Err(RemovalReason::Left);
        }
        Ok(if self.readable {
            NextStep::ServeAgain
        } else {
            NextStep::Wait
        })
    }

    /// Reads and discards what the client sends, and notices if it closes.
    pub(super) fn discard_input(&mut self) -> Result<(), RemovalReason> {
        if !self.readable {
            return Ok(());
        }
        let mut discarded = [0; READ_LEN];
        for _ in 0..MAX_READS_PER_STEP {
            match self.stream.read(&mut discarded) {
                Ok(0) => {
                    self.peer_closed = true;
                    self.readable = false;
                    break;
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.readable = false;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_frames(&mut self, slot: usize, shared: &Shared) -> Result<NextStep, RemovalReason> {
        let mut written = 0;
        while self.writable {
            if written >= MAX_WRITTEN_PER_STEP {
                return Ok(NextStep::ServeAgain);
            }
            let frame = match &self.frame {
                Some(frame) => frame,
                None if self.peer_closed => break,
                None => match shared.next_frame(slot, &mut self.sent) {
                    NextFrame::Frame(frame) => {
                        self.offset = 0;
                        self.frame.insert(frame)
                    }
                    NextFrame::None => break,
                    NextFrame::EndOfStream => return Ok(NextStep::Close),
                },
            };
            match self.stream.write(&frame[self.offset..]) {
                Ok(len) => {
                    if self.offset == 0 {
                        shared.start_frame(slot);
                    }
                    written += len;
                    self.progressed = true;
                    self.offset += len;
                    self.sent.bytes += len as u64;
                    if self.offset == frame.len() {
                        self.sent.frames += 1;
                        self.frame = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    // Not started: when the socket is writable, a newer frame may be next.
                    if self.offset == 0 {
                        self.frame = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(NextStep::Wait)
    }
}
