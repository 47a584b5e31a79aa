// SPDX-License-Identifier: MPL-2.0

//! The newest frames of a stream, and how far each client has come in them.
//!
//! Every frame is stored once and has a number; a client is a cursor, the number of its next
//! frame. So a new frame costs the same for any number of clients, and a client that stalls
//! costs no memory.
//!
//! With `queue_frames` = 4, after frame 8 was pushed:
//!
//! ```text
//!   dropped      window, at most 4 frames
//!  ┌───────┐   ┌───────────────────────────┐
//!   3     4     5      6      7      8        9
//!   ▲           ▲             ▲               ▲
//!   client A    oldest        client B        client C, and where a new client starts
//! ```
//!
//! - B has two frames queued, 7 and 8; C has received everything.
//! - A is behind the window: frames 3 and 4 are gone. When A is ready for its next frame, it
//!   skips to 5 with [`Overflow::Oldest`], which costs it two frames, or to 8 with
//!   [`Overflow::Newest`], which costs it five. What A skips is counted as dropped for A only.
//! - `push` adds frame 9. The window moves to 6 … 9, and frame 5 is dropped for every client
//!   that has not started it. A frame that is being sent is never dropped: the connection holds
//!   its own reference, and its cursor already points behind it.
//! - When every cursor is at the end, the window is emptied and the memory of one frame is kept
//!   for the next.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

/// The bytes of a whole frame on the wire, shared by all clients.
pub type QueuedFrame = Arc<Vec<u8>>;

/// What a client loses if more frames are queued for it than the limit allows.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest frames, down to the limit. For files.
    #[default]
    Oldest,
    /// All frames but the newest. For live streams.
    Newest,
}

/// Limits of a [`Backlog`].
#[derive(Debug, Clone, Copy)]
pub struct BacklogLimits {
    /// Clients at the same time; 0 for any number.
    pub max_clients: usize,
    /// Frames queued for a client; 0 counts as 1.
    pub queue_frames: usize,
}

/// The counts of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientStats {
    pub address: SocketAddr,
    /// Whole frames sent.
    pub frames: u64,
    /// Bytes sent, up to the end of the last whole frame.
    pub bytes: u64,
    /// Frames lost because the client was too slow.
    pub dropped: u64,
    /// Frames queued for the client.
    pub queued: usize,
}

/// The counts of all clients since the server was opened.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ServerTotals {
    /// Clients accepted.
    pub clients: u64,
    /// Connections refused, because of the limit or at the end of the stream.
    pub refused: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Frames lost by clients that were too slow.
    pub dropped: u64,
}

/// What was sent to a client since it was last counted.
#[derive(Debug, Default)]
pub struct SentCounts {
    /// Whole frames.
    pub frames: u64,
    pub bytes: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Backlog {
    window: FrameWindow,
    max_clients: usize,
    /// By slot, which is the caller's number of a connection.
    cursors: Vec<Option<ClientCursor>>,
    clients: usize,
    totals: ServerTotals,
    /// The memory of a frame that every client has, for the next frame.
    spare: Vec<u8>,
}

impl Backlog {
    pub fn new(limits: BacklogLimits) -> Self {
        Self {
            window: FrameWindow {
                frames: VecDeque::new(),
                end: 0,
                capacity: limits.queue_frames,
                overflow: Overflow::default(),
            },
            max_clients: limits.max_clients,
            cursors: Vec::new(),
            clients: 0,
            totals: ServerTotals::default(),
            spare: Vec::new(),
        }
    }

    /// Changes the limits. They apply to the next client and the next frame.
    pub fn set_limits(&mut self, limits: BacklogLimits) {
        self.max_clients = limits.max_clients;
        self.window.capacity = limits.queue_frames;
    }

    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.window.overflow = overflow;
    }

    /// Takes an empty buffer for a frame, with the memory of an earlier frame if there is one.
    pub fn take_buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.clear();
        buffer
    }

    /// Queues a frame for all clients. Returns whether there are any.
    pub fn push(&mut self, frame: Vec<u8>) -> bool {
        if self.clients == 0 {
            self.spare = frame;
            return false;
        }
        self.window.push(frame);
        true
    }

    /// The next frame of a client, if one is queued. The cursor stays before it until
    /// [`start_frame`](Self::start_frame), so a newer frame may still replace it.
    pub fn next_frame(&mut self, slot: usize) -> Option<QueuedFrame> {
        let cursor = self.cursors.get_mut(slot)?.as_mut()?;
        let lost = self.window.lost(cursor.next);
        cursor.next += lost;
        cursor.dropped += lost;
        self.totals.dropped += lost;
        self.window.get(cursor.next).cloned()
    }

    /// Moves the cursor of a client behind its next frame, which will be sent whole.
    pub fn start_frame(&mut self, slot: usize) {
        if let Some(Some(cursor)) = self.cursors.get_mut(slot) {
            cursor.next += 1;
        }
    }

    /// Adds what was sent to a client to its counts and to the totals.
    pub fn add_sent(&mut self, slot: usize, sent: SentCounts) {
        self.totals.bytes += sent.bytes;
        if let Some(Some(cursor)) = self.cursors.get_mut(slot) {
            cursor.frames += sent.frames;
            cursor.bytes += sent.bytes;
        }
    }

    /// Releases the frames if every client has started the last one, or if there are no
    /// clients.
    pub fn release_sent_frames(&mut self) {
        let end = self.window.end;
        if !self
            .cursors
            .iter()
            .flatten()
            .all(|cursor| cursor.next == end)
        {
            return;
        }
        for frame in self.window.frames.drain(..) {
            // A connection that is still sending the frame has another reference.
            if let Some(frame) = Arc::into_inner(frame) {
                self.spare = frame;
            }
        }
    }

    /// Adds a client, which starts with the next frame. Returns false if there are as many
    /// clients as are allowed.
    pub fn add_client(&mut self, slot: usize, address: SocketAddr) -> bool {
        if self.max_clients > 0 && self.clients >= self.max_clients {
            return false;
        }
        if self.cursors.len() <= slot {
            self.cursors.resize_with(slot + 1, || None);
        }
        self.cursors[slot] = Some(ClientCursor {
            address,
            next: self.window.end,
            frames: 0,
            bytes: 0,
            dropped: 0,
        });
        self.clients += 1;
        self.totals.clients += 1;
        true
    }

    /// Removes a client and the frames that were queued for it alone. Returns its final counts
    /// if there was a client.
    pub fn remove_client(&mut self, slot: usize) -> Option<ClientStats> {
        let cursor = self.cursors.get_mut(slot)?.take()?;
        self.clients -= 1;
        self.totals.dropped += self.window.lost(cursor.next);
        let stats = cursor.stats(&self.window);
        self.release_sent_frames();
        Some(stats)
    }

    /// Removes all clients and all frames.
    pub fn clear(&mut self) {
        for slot in 0..self.cursors.len() {
            self.remove_client(slot);
        }
        self.window.frames.clear();
        self.spare = Vec::new();
    }

    /// Counts a refused connection.
    pub fn count_refused(&mut self) {
        self.totals.refused += 1;
    }

    /// The number of clients.
    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Frames queued for the slowest client.
    fn longest_queue(&self) -> usize {
        let cursors = self.cursors.iter().flatten();
        let queued = cursors.map(|cursor| self.window.queued(cursor.next));
        queued.max().unwrap_or(0)
    }

    /// Whether the next frame would cost the client one, if only one client is allowed. With
    /// several clients no frame ever waits for one of them, so this is false.
    pub fn is_full(&self) -> bool {
        self.max_clients == 1 && self.longest_queue() >= self.window.capacity
    }

    /// The totals, and the counts of each client.
    pub fn stats(&self) -> (ServerTotals, Vec<ClientStats>) {
        let mut totals = self.totals.clone();
        let mut clients = Vec::with_capacity(self.clients);
        for cursor in self.cursors.iter().flatten() {
            // A client's own count follows only when it takes its next frame.
            totals.dropped += self.window.lost(cursor.next);
            clients.push(cursor.stats(&self.window));
        }
        (totals, clients)
    }
}

/// The newest frames, numbered from 0 since the server was opened.
#[derive(Debug)]
struct FrameWindow {
    frames: VecDeque<QueuedFrame>,
    /// The number of the next frame to be pushed.
    end: u64,
    capacity: usize,
    overflow: Overflow,
}

impl FrameWindow {
    fn push(&mut self, frame: Vec<u8>) {
        self.frames.push_back(Arc::new(frame));
        self.end += 1;
        let excess = self.frames.len().saturating_sub(self.capacity.max(1));
        self.frames.drain(..excess);
    }

    /// The frame with this number, if it is in the window.
    fn get(&self, number: u64) -> Option<&QueuedFrame> {
        let behind = usize::try_from(self.end.checked_sub(number)?).ok()?;
        self.frames.get(self.frames.len().checked_sub(behind)?)
    }

    /// Frames that a client whose cursor is at `next` has lost and not skipped yet.
    fn lost(&self, next: u64) -> u64 {
        let begin = self.end - self.frames.len() as u64;
        match self.overflow {
            _ if next >= begin => 0,
            Overflow::Oldest => begin - next,
            Overflow::Newest => self.end - 1 - next,
        }
    }

    /// Frames queued for a client whose cursor is at `next`.
    fn queued(&self, next: u64) -> usize {
        (self.end - next - self.lost(next)) as usize
    }
}

/// How far a client has come, and its counts so far.
#[derive(Debug)]
struct ClientCursor {
    address: SocketAddr,
    /// The number of its next frame.
    next: u64,
    frames: u64,
    bytes: u64,
    dropped: u64,
}

impl ClientCursor {
    fn stats(&self, window: &FrameWindow) -> ClientStats {
        ClientStats {
            address: self.address,
            frames: self.frames,
            bytes: self.bytes,
            dropped: self.dropped + window.lost(self.next),
            queued: window.queued(self.next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(max_clients: usize, queue_frames: usize, clients: usize) -> Backlog {
        let mut backlog = Backlog::new(BacklogLimits {
            max_clients,
            queue_frames,
        });
        for slot in 0..clients {
            assert!(backlog.add_client(slot, ([127, 0, 0, 1], slot as u16).into()));
        }
        backlog
    }

    /// Takes all frames that are queued for a client; returns the only byte of each.
    fn take(backlog: &mut Backlog, slot: usize) -> Vec<u8> {
        std::iter::from_fn(|| {
            let frame = backlog.next_frame(slot)?;
            backlog.start_frame(slot);
            Some(frame[0])
        })
        .collect()
    }

    #[test]
    fn backlog_new_client_starts_at_next_frame() {
        let mut backlog = backlog(0, 3, 0);
        assert!(!backlog.push(vec![1]));
        backlog.add_client(0, ([127, 0, 0, 1], 1).into());
        assert!(backlog.push(vec![2]));
        backlog.add_client(1, ([127, 0, 0, 1], 2).into());
        assert!(backlog.push(vec![3]));
        assert_eq!(take(&mut backlog, 0), [2, 3]);
        assert_eq!(take(&mut backlog, 1), [3]);
        assert!(take(&mut backlog, 2).is_empty());
    }

    #[test]
    fn backlog_slow_client_loses_frames_by_overflow() {
        for (overflow, expected) in [(Overflow::Oldest, vec![3, 4]), (Overflow::Newest, vec![4])] {
            let mut backlog = backlog(0, 2, 2);
            backlog.set_overflow(overflow);
            for byte in 1..=4 {
                backlog.push(vec![byte]);
                assert_eq!(take(&mut backlog, 1), [byte]);
            }
            let lost = 4 - expected.len() as u64;
            let (totals, clients) = backlog.stats();
            assert_eq!(
                totals.dropped, lost,
                "counted before the client takes a frame"
            );
            assert_eq!(
                (clients[0].dropped, clients[0].queued),
                (lost, expected.len())
            );
            assert_eq!((clients[1].dropped, clients[1].queued), (0, 0));
            assert_eq!(backlog.longest_queue(), expected.len());

            assert_eq!(take(&mut backlog, 0), expected, "{overflow:?}");
            assert_eq!(backlog.stats().0.dropped, lost);
            assert_eq!(backlog.remove_client(0).unwrap().dropped, lost);
            assert_eq!(backlog.stats().0.dropped, lost);
        }
    }

    #[test]
    fn backlog_frame_not_started_can_be_replaced() {
        let mut backlog = backlog(0, 1, 1);
        backlog.push(vec![1]);
        assert_eq!(*backlog.next_frame(0).unwrap(), [1]);
        assert_eq!(backlog.longest_queue(), 1, "the queue is full");
        backlog.push(vec![2]);
        assert_eq!(*backlog.next_frame(0).unwrap(), [2]);
        assert_eq!(backlog.stats().0.dropped, 1);
        // A started frame stays, whatever is pushed meanwhile.
        backlog.push(vec![3]);
        backlog.start_frame(0);
        assert_eq!(take(&mut backlog, 0), [3]);
        assert_eq!(backlog.stats().0.dropped, 1);
    }

    #[test]
    fn backlog_frame_of_all_clients_is_released() {
        let mut backlog = backlog(0, 3, 2);
        let mut frame = Vec::with_capacity(1000);
        frame.push(1);
        let memory = frame.as_ptr();
        backlog.push(frame);
        take(&mut backlog, 0);
        backlog.release_sent_frames();
        assert_eq!(take(&mut backlog, 1), [1], "one client had not started it");
        backlog.release_sent_frames();
        let buffer = backlog.take_buffer();
        assert!(buffer.is_empty());
        assert_eq!(buffer.as_ptr(), memory);
        assert_eq!(backlog.take_buffer().capacity(), 0, "the buffer was taken");
    }

    #[test]
    fn backlog_max_clients_limits_clients() {
        let mut backlog = backlog(2, 3, 2);
        let address = ([127, 0, 0, 1], 9).into();
        assert!(!backlog.add_client(2, address));
        backlog.remove_client(0);
        assert_eq!(backlog.remove_client(0), None);
        assert!(backlog.add_client(0, address));
        assert_eq!(backlog.clients(), 2);
        backlog.set_limits(BacklogLimits {
            max_clients: 0,
            queue_frames: 1,
        });
        assert!(backlog.add_client(2, address));
        backlog.push(vec![1]);
        backlog.push(vec![2]);
        assert_eq!(take(&mut backlog, 0), [2]);
        assert_eq!(backlog.stats().0.clients, 4);
    }

    #[test]
    fn backlog_sent_counts_add_up() {
        let mut backlog = backlog(0, 3, 2);
        for slot in [0, 1, 1] {
            let sent = SentCounts {
                frames: 1,
                bytes: 10,
            };
            backlog.add_sent(slot, sent);
        }
        let (totals, clients) = backlog.stats();
        assert_eq!(totals.bytes, 30);
        assert_eq!((clients[0].frames, clients[0].bytes), (1, 10));
        assert_eq!((clients[1].frames, clients[1].bytes), (2, 20));
    }

    /// A slow client is what keeps frames in the window: without it they must go.
    #[test]
    fn backlog_removed_client_releases_its_frames() {
        let mut backlog = backlog(0, 3, 2);
        let frame = |byte| {
            let mut frame = Vec::with_capacity(1000);
            frame.push(byte);
            frame
        };
        backlog.push(frame(1));
        backlog.push(frame(2));
        take(&mut backlog, 1);
        let queued = Arc::downgrade(&backlog.next_frame(0).unwrap());
        backlog.remove_client(1);
        assert!(queued.upgrade().is_some(), "client 0 has not started it");
        backlog.remove_client(0);
        assert!(queued.upgrade().is_none());
        assert!(backlog.take_buffer().capacity() >= 1000);
        assert_eq!(backlog.stats().0.dropped, 0);
    }
}
