// SPDX-License-Identifier: MPL-2.0

//! The newest frames of a stream, and how far each client has come.
//!
//! ```text
//!             push()           backlog                next()
//!  newest frame ───► 29 28 27 26 … 7 6 5  ───► client that has come to 29
//!                                         ───► client that has come to 5
//! ```
//!
//! Every frame stands here once, with a number, and a client is a number. So a new frame
//! costs the same for any number of clients, and nothing grows when one of them stalls.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc};

/// The bytes of a whole frame, which clients share.
pub type Frame = Arc<Vec<u8>>;

/// What a client loses that lags by more frames than may wait for it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The oldest frames.
    #[default]
    Oldest,
    /// All but the newest.
    Newest,
}

/// What clients may do.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Clients at the same time; 0 for any number.
    pub max_clients: usize,
    /// Frames that may wait for a client.
    pub queue_frames: usize,
}

/// One client, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub address: SocketAddr,
    /// Whole frames sent.
    pub frames: u64,
    /// Bytes sent, up to the end of the last frame.
    pub bytes: u64,
    /// Frames that it lost because it lagged.
    pub dropped: u64,
    /// Frames that wait for it.
    pub queued: usize,
}

/// Counts since the start.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Totals {
    pub clients: u64,
    pub refused: u64,
    pub bytes: u64,
    pub dropped: u64,
}

/// What has been sent to a client since it was counted last.
#[derive(Debug, Default)]
pub struct Sent {
    pub frames: u64,
    pub bytes: u64,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Backlog {
    frames: Frames,
    max_clients: usize,
    /// Of each client, by the number of its slot.
    places: Vec<Option<Place>>,
    clients: usize,
    totals: Totals,
    /// Memory of a frame that everybody has.
    spare: Vec<u8>,
}

impl Backlog {
    pub fn new(limits: Limits) -> Self {
        Self {
            frames: Frames {
                frames: VecDeque::new(),
                end: 0,
                capacity: limits.queue_frames,
                overflow: Overflow::default(),
            },
            max_clients: limits.max_clients,
            places: Vec::new(),
            clients: 0,
            totals: Totals::default(),
            spare: Vec::new(),
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.max_clients = limits.max_clients;
        self.frames.capacity = limits.queue_frames;
    }

    pub fn set_overflow(&mut self, overflow: Overflow) {
        self.frames.overflow = overflow;
    }

    /// An empty buffer for a frame, with the memory of an earlier one.
    pub fn buffer(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.clear();
        buffer
    }

    /// Takes a frame; returns whether there is anybody to send it to.
    pub fn push(&mut self, frame: Vec<u8>) -> bool {
        if self.clients == 0 {
            self.spare = frame;
            return false;
        }
        self.frames.push(frame);
        true
    }

    /// The next frame of a client, if it is there already. Until it has begun to get it,
    /// a newer one may take its place.
    pub fn next(&mut self, slot: usize) -> Option<Frame> {
        let place = self.places.get_mut(slot)?.as_mut()?;
        let lost = self.frames.lost(place.next);
        place.next += lost;
        place.dropped += lost;
        self.totals.dropped += lost;
        self.frames.get(place.next).cloned()
    }

    /// A client has begun to get its next frame, and will get all of it.
    pub fn begin(&mut self, slot: usize) {
        if let Some(Some(place)) = self.places.get_mut(slot) {
            place.next += 1;
        }
    }

    /// Counts what a client was sent.
    pub fn count(&mut self, slot: usize, sent: Sent) {
        self.totals.bytes += sent.bytes;
        if let Some(Some(place)) = self.places.get_mut(slot) {
            place.frames += sent.frames;
            place.bytes += sent.bytes;
        }
    }

    /// Forgets the frames that everybody has.
    pub fn trim(&mut self) {
        let end = self.frames.end;
        if !self.places.iter().flatten().all(|place| place.next == end) {
            return;
        }
        for frame in self.frames.frames.drain(..) {
            // Not if it is under way.
            if let Some(frame) = Arc::into_inner(frame) {
                self.spare = frame;
            }
        }
    }

    /// Takes a client, which begins with the next frame, unless there are enough.
    pub fn add(&mut self, slot: usize, address: SocketAddr) -> bool {
        if self.max_clients > 0 && self.clients >= self.max_clients {
            return false;
        }
        if self.places.len() <= slot {
            self.places.resize_with(slot + 1, || None);
        }
        self.places[slot] = Some(Place {
            address,
            next: self.frames.end,
            frames: 0,
            bytes: 0,
            dropped: 0,
        });
        self.clients += 1;
        self.totals.clients += 1;
        true
    }

    /// Forgets a client, if it is there.
    pub fn remove(&mut self, slot: usize) -> Option<Peer> {
        let place = self.places.get_mut(slot)?.take()?;
        self.clients -= 1;
        self.totals.dropped += self.frames.lost(place.next);
        Some(place.seen(&self.frames))
    }

    /// Forgets all clients, and the frames that wait for them.
    pub fn clear(&mut self) {
        for slot in 0..self.places.len() {
            self.remove(slot);
        }
        self.frames.frames.clear();
        self.spare = Vec::new();
    }

    /// Counts a client that was turned away.
    pub fn refuse(&mut self) {
        self.totals.refused += 1;
    }

    pub fn clients(&self) -> usize {
        self.clients
    }

    /// Frames that wait for the client that lags most.
    fn queued(&self) -> usize {
        let places = self.places.iter().flatten();
        let queued = places.map(|place| self.frames.queued(place.next));
        queued.max().unwrap_or(0)
    }

    /// Whether the only client that there may be ought to take a frame before there is
    /// another, if it is to lose none.
    pub fn is_full(&self) -> bool {
        self.max_clients == 1 && self.queued() >= self.frames.capacity
    }

    /// The counts since the start, and each client.
    pub fn stats(&self) -> (Totals, Vec<Peer>) {
        let mut totals = self.totals.clone();
        let mut peers = Vec::with_capacity(self.clients);
        for place in self.places.iter().flatten() {
            // What a client has lost since it took its last frame is not counted yet.
            totals.dropped += self.frames.lost(place.next);
            peers.push(place.seen(&self.frames));
        }
        (totals, peers)
    }
}

/// The newest frames, numbered since the start.
#[derive(Debug)]
struct Frames {
    frames: VecDeque<Frame>,
    /// The number of the frame that comes next.
    end: u64,
    capacity: usize,
    overflow: Overflow,
}

impl Frames {
    fn push(&mut self, frame: Vec<u8>) {
        self.frames.push_back(Arc::new(frame));
        self.end += 1;
        let too_many = self.frames.len().saturating_sub(self.capacity.max(1));
        self.frames.drain(..too_many);
    }

    /// The frame of this number, if it is there.
    fn get(&self, number: u64) -> Option<&Frame> {
        let behind = usize::try_from(self.end.checked_sub(number)?).ok()?;
        self.frames.get(self.frames.len().checked_sub(behind)?)
    }

    /// Frames that a client has lost that has come to `next`.
    fn lost(&self, next: u64) -> u64 {
        let begin = self.end - self.frames.len() as u64;
        match self.overflow {
            _ if next >= begin => 0,
            Overflow::Oldest => begin - next,
            Overflow::Newest => self.end - 1 - next,
        }
    }

    /// Frames that wait for a client that has come to `next`.
    fn queued(&self, next: u64) -> usize {
        (self.end - next - self.lost(next)) as usize
    }
}

/// How far a client has come.
#[derive(Debug)]
struct Place {
    address: SocketAddr,
    /// The number of the frame that it gets next.
    next: u64,
    frames: u64,
    bytes: u64,
    dropped: u64,
}

impl Place {
    fn seen(&self, frames: &Frames) -> Peer {
        Peer {
            address: self.address,
            frames: self.frames,
            bytes: self.bytes,
            dropped: self.dropped + frames.lost(self.next),
            queued: frames.queued(self.next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backlog(max_clients: usize, queue_frames: usize, clients: usize) -> Backlog {
        let mut backlog = Backlog::new(Limits {
            max_clients,
            queue_frames,
        });
        for slot in 0..clients {
            assert!(backlog.add(slot, ([127, 0, 0, 1], slot as u16).into()));
        }
        backlog
    }

    /// Frames that wait for a client, by their only byte.
    fn take(backlog: &mut Backlog, slot: usize) -> Vec<u8> {
        std::iter::from_fn(|| {
            let frame = backlog.next(slot)?;
            backlog.begin(slot);
            Some(frame[0])
        })
        .collect()
    }

    #[test]
    fn nobody_begins_with_the_past() {
        let mut backlog = backlog(0, 3, 0);
        assert!(!backlog.push(vec![1]));
        backlog.add(0, ([127, 0, 0, 1], 1).into());
        assert!(backlog.push(vec![2]));
        backlog.add(1, ([127, 0, 0, 1], 2).into());
        assert!(backlog.push(vec![3]));
        assert_eq!(take(&mut backlog, 0), [2, 3]);
        assert_eq!(take(&mut backlog, 1), [3]);
        assert!(take(&mut backlog, 2).is_empty());
    }

    #[test]
    fn who_lags_loses_some() {
        for (overflow, expected) in [(Overflow::Oldest, vec![3, 4]), (Overflow::Newest, vec![4])] {
            let mut backlog = backlog(0, 2, 2);
            backlog.set_overflow(overflow);
            for byte in 1..=4 {
                backlog.push(vec![byte]);
                assert_eq!(take(&mut backlog, 1), [byte]);
            }
            let lost = 4 - expected.len() as u64;
            let (totals, peers) = backlog.stats();
            assert_eq!(totals.dropped, lost, "known before it takes any");
            assert_eq!((peers[0].dropped, peers[0].queued), (lost, expected.len()));
            assert_eq!((peers[1].dropped, peers[1].queued), (0, 0));
            assert_eq!(backlog.queued(), expected.len());

            assert_eq!(take(&mut backlog, 0), expected, "{overflow:?}");
            assert_eq!(backlog.stats().0.dropped, lost);
            assert_eq!(backlog.remove(0).unwrap().dropped, lost);
            assert_eq!(backlog.stats().0.dropped, lost);
        }
    }

    #[test]
    fn a_frame_that_is_not_begun_may_get_old() {
        let mut backlog = backlog(0, 1, 1);
        backlog.push(vec![1]);
        assert_eq!(*backlog.next(0).unwrap(), [1]);
        assert_eq!(backlog.queued(), 1, "there is no room for another");
        backlog.push(vec![2]);
        assert_eq!(*backlog.next(0).unwrap(), [2]);
        assert_eq!(backlog.stats().0.dropped, 1);
        // It is begun, whatever comes meanwhile.
        backlog.push(vec![3]);
        backlog.begin(0);
        assert_eq!(take(&mut backlog, 0), [3]);
        assert_eq!(backlog.stats().0.dropped, 1);
    }

    #[test]
    fn what_everybody_has_is_forgotten() {
        let mut backlog = backlog(0, 3, 2);
        let mut frame = Vec::with_capacity(1000);
        frame.push(1);
        let memory = frame.as_ptr();
        backlog.push(frame);
        take(&mut backlog, 0);
        backlog.trim();
        assert_eq!(take(&mut backlog, 1), [1], "not everybody had it");
        backlog.trim();
        let buffer = backlog.buffer();
        assert!(buffer.is_empty());
        assert_eq!(buffer.as_ptr(), memory);
        assert_eq!(backlog.buffer().capacity(), 0, "it was given away");
    }

    #[test]
    fn only_so_many_are_let_in() {
        let mut backlog = backlog(2, 3, 2);
        let address = ([127, 0, 0, 1], 9).into();
        assert!(!backlog.add(2, address));
        backlog.remove(0);
        assert_eq!(backlog.remove(0), None);
        assert!(backlog.add(0, address));
        assert_eq!(backlog.clients(), 2);
        backlog.set_limits(Limits {
            max_clients: 0,
            queue_frames: 1,
        });
        assert!(backlog.add(2, address));
        backlog.push(vec![1]);
        backlog.push(vec![2]);
        assert_eq!(take(&mut backlog, 0), [2]);
        assert_eq!(backlog.stats().0.clients, 4);
    }

    #[test]
    fn everything_sent_is_counted() {
        let mut backlog = backlog(0, 3, 2);
        for slot in [0, 1, 1] {
            let sent = Sent {
                frames: 1,
                bytes: 10,
            };
            backlog.count(slot, sent);
        }
        let (totals, peers) = backlog.stats();
        assert_eq!(totals.bytes, 30);
        assert_eq!((peers[0].frames, peers[0].bytes), (1, 10));
        assert_eq!((peers[1].frames, peers[1].bytes), (2, 20));
    }
}
