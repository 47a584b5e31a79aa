// SPDX-License-Identifier: MPL-2.0

//! The viewers of a server, and the elements that observe them.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use b64jpeg_net::sync::lock;
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::refusals::{RefusalCounts, RefusalReason};

/// How a viewer gets its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewerKind {
    /// Socket.IO events that any program can read.
    SocketIo,
    /// The page of this server.
    Page,
    /// Motion JPEG: parts of an HTTP response that does not end.
    Multipart,
}

impl ViewerKind {
    /// Its name in statistics and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SocketIo => "socketio",
            Self::Page => "view",
            Self::Multipart => "mjpeg",
        }
    }
}

/// What a server reports to the elements that share it.
#[derive(Debug)]
pub enum WebServerEvent {
    /// A viewer was added.
    ViewerAdded {
        /// The new viewer.
        viewer: Arc<Viewer>,
        /// Number of viewers afterwards.
        viewers: usize,
    },
    /// A viewer was removed.
    ViewerRemoved {
        /// The former viewer, with its final counts.
        viewer: Arc<Viewer>,
        /// Number of viewers afterwards.
        viewers: usize,
    },
    /// The system cannot accept connections; the server retries. Reported once until a
    /// connection is accepted again.
    AcceptFailed(io::Error),
    /// A task of the server panicked, which is a bug: the error to post.
    TaskPanicked(gst::ErrorMessage),
}

/// Called from a thread of the server with each event, and whether this observer is the first.
pub type WebServerObserver = Arc<dyn Fn(&WebServerEvent, bool) + Send + Sync>;

/// A viewer.
#[derive(Debug)]
pub struct Viewer {
    id: u64,
    /// How it gets its frames.
    pub kind: ViewerKind,
    /// Its address.
    pub address: SocketAddr,
    /// Its Engine.IO session; empty without Socket.IO.
    pub session_id: String,
    /// Whether it has got its first frame, and gets each new one.
    following: AtomicBool,
    frames: AtomicU64,
    dropped: AtomicU64,
}

impl Viewer {
    /// From now on it gets each new frame.
    pub fn set_following(&self) {
        self.following.store(true, Ordering::Relaxed);
    }

    /// Whether it gets each new frame.
    pub fn is_following(&self) -> bool {
        self.following.load(Ordering::Relaxed)
    }

    /// Counts frames that were sent to it.
    pub fn count_sent(&self, frames: u64) {
        self.frames.fetch_add(frames, Ordering::Relaxed);
    }

    /// Counts frames that were dropped for it.
    pub fn count_dropped(&self, frames: u64) {
        self.dropped.fetch_add(frames, Ordering::Relaxed);
    }

    /// Frames sent to it, and frames dropped for it.
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

/// Who gets the events of a server.
#[derive(Default)]
struct Observers {
    list: Vec<(u64, WebServerObserver)>,
    /// The first panic of a task. A task may panic before the first observer is added.
    panic: Option<gst::ErrorMessage>,
}

/// The viewers of a server.
pub struct Viewers {
    /// Maximum number of viewers; 0 = unlimited.
    max: usize,
    list: Mutex<Vec<Arc<Viewer>>>,
    next_id: AtomicU64,
    refusals: RefusalCounts,
    observers: Mutex<Observers>,
    /// Viewers whose removal is not yet reported.
    registered: watch::Sender<usize>,
    /// The task of the server in which a test wants a panic.
    #[cfg(test)]
    pub panic_in: String,
}

impl Viewers {
    /// Accepts up to `max` viewers; 0 = unlimited.
    pub fn new(max: usize) -> Self {
        Self {
            max,
            list: Mutex::default(),
            next_id: AtomicU64::new(0),
            refusals: RefusalCounts::default(),
            observers: Mutex::default(),
            registered: watch::Sender::new(0),
            #[cfg(test)]
            panic_in: String::new(),
        }
    }

    #[cfg(test)]
    pub fn with_panic_in(mut self, task: &str) -> Self {
        self.panic_in = task.into();
        self
    }

    fn list(&self) -> MutexGuard<'_, Vec<Arc<Viewer>>> {
        lock(&self.list)
    }

    fn observers(&self) -> MutexGuard<'_, Observers> {
        lock(&self.observers)
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Number of viewers.
    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// ReconnectSettings until all viewers are removed and their removal is reported.
    pub async fn wait_until_empty(&self) {
        let mut registered = self.registered.subscribe();
        let _ = registered.wait_for(|viewers| *viewers == 0).await;
    }

    /// The viewers of one kind.
    pub fn of_kind(&self, kind: ViewerKind) -> Vec<Arc<Viewer>> {
        let list = self.list();
        let viewers = list.iter().filter(|viewer| viewer.kind == kind);
        viewers.cloned().collect()
    }

    /// Adds a viewer and reports it; `None`, counted as a refusal, if the server is full.
    pub fn register(
        self: &Arc<Self>,
        kind: ViewerKind,
        address: SocketAddr,
        session_id: String,
    ) -> Option<ViewerRegistration> {
        let (registration, viewers) = {
            let mut list = self.list();
            if self.max > 0 && list.len() >= self.max {
                drop(list);
                self.count_refusal(RefusalReason::Full);
                return None;
            }
            let viewer = Arc::new(Viewer {
                id: self.next_id(),
                kind,
                address,
                session_id,
                following: AtomicBool::new(false),
                frames: AtomicU64::new(0),
                dropped: AtomicU64::new(0),
            });
            list.push(viewer.clone());
            self.registered.send_modify(|viewers| *viewers += 1);
            let registration = ViewerRegistration {
                viewers: self.clone(),
                viewer,
            };
            (registration, list.len())
        };
        self.notify(&WebServerEvent::ViewerAdded {
            viewer: registration.viewer.clone(),
            viewers,
        });
        Some(registration)
    }

    /// Counts a refusal of whatever kind.
    pub fn count_refusal(&self, reason: RefusalReason) {
        self.refusals.add(reason);
    }

    /// Reports an event to all observers.
    pub fn notify(&self, event: &WebServerEvent) {
        // An observer may add or remove observers, so they are called without the lock.
        let observers = {
            let observers = &mut *self.observers();
            if let WebServerEvent::TaskPanicked(message) = event {
                observers.panic.get_or_insert_with(|| message.clone());
            }
            observers.list.clone()
        };
        for (index, (_, observer)) in observers.iter().enumerate() {
            observer(event, index == 0);
        }
    }

    /// Adds an observer; returns the id with which it is removed. If a task has panicked already,
    /// the observer is called at once.
    pub fn add_observer(&self, observer: WebServerObserver) -> u64 {
        let id = self.next_id();
        let (panic, first) = {
            let observers = &mut *self.observers();
            observers.list.push((id, observer.clone()));
            (observers.panic.clone(), observers.list.len() == 1)
        };
        if let Some(message) = panic {
            observer(&WebServerEvent::TaskPanicked(message), first);
        }
        id
    }

    /// Removes an observer.
    pub fn remove_observer(&self, id: u64) {
        self.observers().list.retain(|(other, _)| *other != id);
    }

    /// Statistics of each viewer.
    pub fn report(&self) -> Vec<Value> {
        let list = self.list().clone();
        list.iter().map(|viewer| viewer.report()).collect()
    }

    /// Number of refusals, by reason.
    pub fn report_refusals(&self) -> Map<String, Value> {
        self.refusals.report()
    }
}

/// A viewer in the list of its server. Dropping this removes it and reports the removal.
pub struct ViewerRegistration {
    viewers: Arc<Viewers>,
    /// The viewer.
    pub viewer: Arc<Viewer>,
}

impl Drop for ViewerRegistration {
    fn drop(&mut self) {
        let viewer = &self.viewer;
        let viewers = {
            let mut list = self.viewers.list();
            list.retain(|other| other.id != viewer.id);
            list.len()
        };
        self.viewers.notify(&WebServerEvent::ViewerRemoved {
            viewer: viewer.clone(),
            viewers,
        });
        self.viewers.registered.send_modify(|viewers| *viewers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn viewers_added_and_removed_are_counted_and_reported() {
        let viewers = Arc::new(Viewers::new(2));
        let reported = Arc::<Mutex<Vec<_>>>::default();
        let log = reported.clone();
        let first = viewers.add_observer(Arc::new(move |event, first| {
            assert!(first);
            log.lock().unwrap().push(match event {
                WebServerEvent::ViewerAdded { viewers, .. } => ("added", *viewers),
                WebServerEvent::ViewerRemoved { viewers, .. } => ("removed", *viewers),
                event => panic!("{event:?}"),
            });
        }));
        viewers.add_observer(Arc::new(|_, first| assert!(!first)));
        let address = ([127, 0, 0, 1], 7).into();
        let register = |kind| viewers.register(kind, address, String::new());
        let registrations = [ViewerKind::Page, ViewerKind::Multipart].map(register);
        assert!(registrations.iter().all(Option::is_some));
        assert!(register(ViewerKind::SocketIo).is_none());
        assert_eq!(viewers.report_refusals()["full"], 1);
        drop(registrations);
        assert_eq!(viewers.len(), 0);
        assert_eq!(*viewers.registered.borrow(), 0);
        viewers.remove_observer(first);
        assert_eq!(
            *reported.lock().unwrap(),
            [("added", 1), ("added", 2), ("removed", 1), ("removed", 0)]
        );
    }

    #[test]
    fn panic_before_an_observer_is_added_is_reported_to_it() {
        gst::init().expect("GStreamer starts");
        let viewers = Viewers::new(0);
        let message = gst::error_msg!(gst::LibraryError::Failed, ("on purpose"));
        viewers.notify(&WebServerEvent::TaskPanicked(message));
        let reported = Arc::<Mutex<Vec<_>>>::default();
        for _ in 0..2 {
            let log = reported.clone();
            viewers.add_observer(Arc::new(move |event, first| {
                assert!(matches!(event, WebServerEvent::TaskPanicked(_)));
                log.lock().unwrap().push(first);
            }));
        }
        assert_eq!(*reported.lock().unwrap(), [true, false]);
    }
}
