// SPDX-License-Identifier: MPL-2.0

//! Who watches, who was refused, and who is told of it.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// How somebody watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The event of programs that were there before us.
    SocketIo,
    /// Our page.
    View,
    /// Parts of an HTTP answer without an end.
    Multipart,
}

impl Kind {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SocketIo => "socketio",
            Self::View => "view",
            Self::Multipart => "mjpeg",
        }
    }
}

/// Why somebody was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub enum Refusal {
    /// As many viewers as are allowed are there.
    Full,
    /// The token is wrong, or there is none.
    Token,
    /// A page of another site asks.
    Origin,
    /// There are too many connections.
    Connections,
    /// There are too many connections of one address.
    Address,
    /// It does not speak TLS, or not in time.
    Tls,
    /// It does not speak HTTP, too much of it, or too slowly.
    Request,
}

impl Refusal {
    const ALL: [Self; 7] = [
        Self::Full,
        Self::Token,
        Self::Origin,
        Self::Connections,
        Self::Address,
        Self::Tls,
        Self::Request,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Token => "token",
            Self::Origin => "origin",
            Self::Connections => "connections",
            Self::Address => "address",
            Self::Tls => "tls",
            Self::Request => "request",
        }
    }
}

/// What those who serve are told; with a viewer, how many there are now.
#[derive(Debug)]
pub enum Event {
    Added(Arc<Viewer>, usize),
    Removed(Arc<Viewer>, usize),
    /// The system could not accept a connection; it is tried again from time to time.
    CannotAccept(String),
    /// A part of the server has panicked, which is a bug of ours: the error to post.
    Panicked(gst::ErrorMessage),
}

/// Somebody who is told, from a thread of the server; and whether as the first one.
pub type Observer = Arc<dyn Fn(&Event, bool) + Send + Sync>;

/// Somebody who watches.
#[derive(Debug)]
pub struct Viewer {
    id: u64,
    pub kind: Kind,
    pub address: SocketAddr,
    /// Of Socket.IO; empty without it.
    pub session: String,
    /// Whether it has its first picture, and gets each new one.
    follows: AtomicBool,
    frames: AtomicU64,
    dropped: AtomicU64,
}

impl Viewer {
    /// From now on it gets what comes.
    pub fn follow(&self) {
        self.follows.store(true, Ordering::Relaxed);
    }

    /// Whether it gets what comes.
    pub fn follows(&self) -> bool {
        self.follows.load(Ordering::Relaxed)
    }

    pub fn sent(&self, frames: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
    }

    pub fn dropped(&self, frames: u64) {
        self.dropped.fetch_add(frames, Ordering::Relaxed);
    }

    /// How many pictures it was sent, and how many it was not.
    pub fn counts(&self) -> (u64, u64) {
        let frames = self.frames.load(Ordering::Relaxed);
        (frames, self.dropped.load(Ordering::Relaxed))
    }

    fn report(&self) -> Value {
        let (frames, dropped) = self.counts();
        json!({
            "address": self.address.to_string(),
            "kind": self.kind.as_str(),
            "frames": frames,
            "dropped": dropped,
        })
    }
}

/// All who watch.
pub struct Viewers {
    /// 0 for any number.
    max: usize,
    list: Mutex<Vec<Arc<Viewer>>>,
    next: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
    observers: Mutex<Vec<(u64, Observer)>>,
    /// As many as were given, but for those whose end was told.
    seats: watch::Sender<usize>,
    /// The part of the server in which a test wants a panic.
    #[cfg(test)]
    pub panic_in: String,
}

impl Viewers {
    pub fn new(max: usize) -> Self {
        Self {
            max,
            list: Mutex::default(),
            next: AtomicU64::new(0),
            refused: Default::default(),
            observers: Mutex::default(),
            seats: watch::Sender::new(0),
            #[cfg(test)]
            panic_in: String::new(),
        }
    }

    #[cfg(test)]
    pub fn with_panic_in(mut self, part: &str) -> Self {
        self.panic_in = part.into();
        self
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Viewer>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn observers(&self) -> MutexGuard<'_, Vec<(u64, Observer)>> {
        self.observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Waits until nobody is there, and it was told.
    pub async fn are_gone(&self) {
        let mut seats = self.seats.subscribe();
        let _ = seats.wait_for(|seats| *seats == 0).await;
    }

    /// Those who watch in one way.
    pub fn of(&self, kind: Kind) -> Vec<Arc<Viewer>> {
        let list = self.list();
        let viewers = list.iter().filter(|viewer| viewer.kind == kind);
        viewers.cloned().collect()
    }

    /// Lets somebody in, if there is room; until the seat is left.
    pub fn admit(
        self: &Arc<Self>,
        kind: Kind,
        address: SocketAddr,
        session: String,
    ) -> Option<Seat> {
        let (viewer, viewers) = {
            let mut list = self.list();
            if self.max > 0 && list.len() >= self.max {
                drop(list);
                self.refuse(Refusal::Full);
                return None;
            }
            let viewer = Arc::new(Viewer {
                id: self.next(),
                kind,
                address,
                session,
                follows: AtomicBool::new(false),
                frames: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
            });
            list.push(viewer.clone());
            self.seats.send_modify(|seats| *seats += 1);
            (viewer, list.len())
        };
        self.tell(&Event::Added(viewer.clone(), viewers));
        Some(Seat {
            viewers: self.clone(),
            viewer,
        })
    }

    /// Counts somebody who was refused.
    pub fn refuse(&self, why: Refusal) {
        self.refused[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub fn tell(&self, event: &Event) {
        // They are told without the lock.
        let observers = self.observers().clone();
        for (index, (_, observer)) in observers.iter().enumerate() {
            observer(event, index == 0);
        }
    }

    /// Tells somebody of every event, from now on; until it is forgotten by its number.
    pub fn observe(&self, observer: Observer) -> u64 {
        let number = self.next();
        self.observers().push((number, observer));
        number
    }

    pub fn forget(&self, number: u64) {
        self.observers().retain(|(other, _)| *other != number);
    }

    /// What is told of those who are there.
    pub fn report(&self) -> Vec<Value> {
        let list = self.list().clone();
        list.iter().map(|viewer| viewer.report()).collect()
    }

    /// How many were refused, by why.
    pub fn report_refused(&self) -> Map<String, Value> {
        let count = |why: Refusal| self.refused[why as usize].load(Ordering::Relaxed);
        let counts = Refusal::ALL.map(|why| (why.as_str().into(), count(why).into()));
        Map::from_iter(counts)
    }
}

/// The place of somebody who watches. It is free again when this is dropped.
pub struct Seat {
    viewers: Arc<Viewers>,
    pub viewer: Arc<Viewer>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let viewer = &self.viewer;
        let viewers = {
            let mut list = self.viewers.list();
            list.retain(|other| other.id != viewer.id);
            list.len()
        };
        self.viewers.tell(&Event::Removed(viewer.clone(), viewers));
        self.viewers.seats.send_modify(|seats| *seats -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_counted_and_told_of() {
        let viewers = Arc::new(Viewers::new(2));
        let told = Arc::<Mutex<Vec<_>>>::default();
        let log = told.clone();
        let first = viewers.observe(Arc::new(move |event, first| {
            assert!(first);
            log.lock().unwrap().push(format!("{event:?}"));
        }));
        viewers.observe(Arc::new(|_, first| assert!(!first)));
        let address = ([127, 0, 0, 1], 7).into();
        let admit = |kind| viewers.admit(kind, address, String::new());
        let seats = [Kind::View, Kind::Multipart].map(admit);
        assert!(seats.iter().all(Option::is_some));
        assert!(admit(Kind::SocketIo).is_none());
        assert_eq!(viewers.report_refused()["full"], 1);
        drop(seats);
        assert_eq!(viewers.len(), 0);
        assert_eq!(*viewers.seats.borrow(), 0);
        viewers.forget(first);
        let told = told.lock().unwrap();
        let counts: Vec<_> = told
            .iter()
            .map(|event| (event.starts_with("Added"), event.ends_with("1)")))
            .collect();
        assert_eq!(
            counts,
            [(true, true), (true, false), (false, true), (false, false)]
        );
    }
}
