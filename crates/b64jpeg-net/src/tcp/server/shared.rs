// SPDX-License-Identifier: MPL-2.0

//! What the I/O thread and the threads that call the server share.

use std::{
    sync::{
        Condvar, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Instant,
};

use mio::Waker;

use super::ServerStatus;
use crate::{
    sync::lock,
    tcp::backlog::{Backlog, BacklogLimits, QueuedFrame, SentCounts},
};

/// What the server does with its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ServerPhase {
    /// Accepts clients and sends them frames.
    Serving,
    /// Sends clients what is queued for them and closes their connections.
    Draining,
    /// Sends clients the rest of a started frame and closes their connections.
    FinishingFrames,
    /// The same, but closes all connections at this time at the latest.
    Stopping(Instant),
}

/// What to send to a client after the end of a frame.
pub(super) enum NextFrame {
    Frame(QueuedFrame),
    /// Nothing is queued for the client yet.
    None,
    /// The client has everything that it is to get.
    EndOfStream,
}

pub(super) struct SharedState {
    pub(super) backlog: Backlog,
    pub(super) phase: ServerPhase,
    /// Threads in [`Server::wait`](super::Server::wait).
    pub(super) waiting: usize,
    /// Whether a client was removed and the event callback has not returned yet.
    pub(super) reporting_removal: bool,
}

impl SharedState {
    /// Wakes all waiters so that they re-check their condition.
    pub(super) fn wake_waiters(&self, changed: &Condvar) {
        if self.waiting > 0 {
            changed.notify_all();
        }
    }
}

pub(super) struct Shared {
    state: Mutex<SharedState>,
    /// Notified when a [`ServerStatus`] may have changed.
    pub(super) changed: Condvar,
    /// The number of clients in the backlog, for readers without the lock.
    pub(super) clients: AtomicUsize,
    /// Whether the I/O thread has failed. Written under the lock.
    pub(super) failed: AtomicBool,
    waker: Waker,
}

impl Shared {
    pub(super) fn new(limits: BacklogLimits, waker: Waker) -> Self {
        Self {
            state: Mutex::new(SharedState {
                backlog: Backlog::new(limits),
                phase: ServerPhase::Serving,
                waiting: 0,
                reporting_removal: false,
            }),
            changed: Condvar::new(),
            clients: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            waker,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, SharedState> {
        lock(&self.state)
    }

    pub(super) fn status(&self, state: &SharedState) -> ServerStatus {
        ServerStatus {
            clients: state.backlog.clients(),
            backlog_full: state.backlog.is_full(),
            removals_reported: !state.reporting_removal,
            failed: self.failed.load(Ordering::SeqCst),
        }
    }

    /// Publishes the number of clients after it has changed. Returns it.
    pub(super) fn publish_clients(&self, state: &SharedState) -> usize {
        let clients = state.backlog.clients();
        self.clients.store(clients, Ordering::SeqCst);
        clients
    }

    /// Wakes the I/O thread so that it looks at the backlog and the phase.
    pub(super) fn wake_event_loop(&self) {
        // Fails only if the thread has not handled a very large number of earlier calls.
        let _ = self.waker.wake();
    }

    /// Counts what was sent to a client and returns what to send next.
    pub(super) fn next_frame(&self, slot: usize, sent: &mut SentCounts) -> NextFrame {
        let mut state = self.state();
        state.backlog.add_sent(slot, std::mem::take(sent));
        match state.phase {
            ServerPhase::Serving => match state.backlog.next_frame(slot) {
                Some(frame) => NextFrame::Frame(frame),
                None => NextFrame::None,
            },
            ServerPhase::Draining => match state.backlog.next_frame(slot) {
                Some(frame) => NextFrame::Frame(frame),
                None => NextFrame::EndOfStream,
            },
            ServerPhase::FinishingFrames | ServerPhase::Stopping(_) => NextFrame::EndOfStream,
        }
    }

    /// Records that the first bytes of a client's next frame were sent.
    pub(super) fn start_frame(&self, slot: usize) {
        let mut state = self.state();
        state.backlog.start_frame(slot);
        state.wake_waiters(&self.changed);
    }

    /// Changes the phase, unless the server is stopping, which is final.
    pub(super) fn enter(&self, phase: ServerPhase) {
        let mut state = self.state();
        if state.phase != phase && !matches!(state.phase, ServerPhase::Stopping(_)) {
            state.phase = phase;
            drop(state);
            self.wake_event_loop();
        }
    }
}
