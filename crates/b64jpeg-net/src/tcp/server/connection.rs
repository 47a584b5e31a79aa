// SPDX-License-Identifier: MPL-2.0

//! One client.

use std::{
    io::{ErrorKind, Read, Write},
    time::Instant,
};

use mio::net::TcpStream;

use super::{Next, Reason, Shared};
use crate::tcp::backlog::{Frame, Sent};

/// Bytes written and bytes read before it is somebody else's turn.
const WRITTEN_A_TURN: usize = 256 << 10;
const READS_A_TURN: usize = 4;
const READ_LEN: usize = 16 << 10;

pub(super) struct Client {
    pub(super) stream: TcpStream,
    /// The frame under way, and how much of it was sent.
    pub(super) frame: Option<Frame>,
    offset: usize,
    pub(super) sent: Sent,
    /// Whether it may take more, and may have sent something: the poll tells only changes.
    pub(super) writable: bool,
    pub(super) readable: bool,
    /// Whether it has closed its direction, and maybe ours, too: nobody knows before
    /// something is sent.
    closed: bool,
    /// Whether it has taken something since it was looked at.
    pub(super) moved: bool,
    /// Whether it is in the list of those that are ready.
    pub(super) ready: bool,
    /// By when it ought to have closed, once it was told the end.
    pub(super) leaves: Option<Instant>,
}

/// What is to be done after a client had its turn.
pub(super) enum Turn {
    /// Nothing until something changes.
    Wait,
    Again,
    /// It has everything.
    End,
}

impl Client {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            frame: None,
            offset: 0,
            sent: Sent::default(),
            writable: true,
            readable: true,
            closed: false,
            moved: false,
            ready: false,
            leaves: None,
        }
    }

    /// Reads and sends as much as one may at a time.
    pub(super) fn turn(&mut self, slot: usize, shared: &Shared) -> Result<Turn, Reason> {
        self.read()?;
        if self.leaves.is_none() {
            match self.write(slot, shared)? {
                Turn::Wait => {}
                other => return Ok(other),
            }
        }
        // One that has only fallen silent has got the rest of its frame.
        if self.closed && self.frame.is_none() {
            return Err(Reason::Left);
        }
        Ok(if self.readable {
            Turn::Again
        } else {
            Turn::Wait
        })
    }

    /// Throws away what the client says.
    pub(super) fn read(&mut self) -> Result<(), Reason> {
        if !self.readable {
            return Ok(());
        }
        let mut nowhere = [0; READ_LEN];
        for _ in 0..READS_A_TURN {
            match self.stream.read(&mut nowhere) {
                Ok(0) => {
                    self.closed = true;
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

    /// Sends as much as it takes, and as one may at a time.
    fn write(&mut self, slot: usize, shared: &Shared) -> Result<Turn, Reason> {
        let mut written = 0;
        while self.writable {
            if written >= WRITTEN_A_TURN {
                return Ok(Turn::Again);
            }
            let frame = match &self.frame {
                Some(frame) => frame,
                None if self.closed => break,
                None => match shared.next(slot, &mut self.sent) {
                    Next::Frame(frame) => {
                        self.offset = 0;
                        self.frame.insert(frame)
                    }
                    Next::Nothing => break,
                    Next::End => return Ok(Turn::End),
                },
            };
            match self.stream.write(&frame[self.offset..]) {
                Ok(len) => {
                    if self.offset == 0 {
                        shared.begin(slot);
                    }
                    written += len;
                    self.moved = true;
                    self.offset += len;
                    self.sent.bytes += len as u64;
                    if self.offset == frame.len() {
                        self.sent.frames += 1;
                        self.frame = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    if self.offset == 0 {
                        self.frame = None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Turn::Wait)
    }
}
