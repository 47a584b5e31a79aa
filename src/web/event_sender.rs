// SPDX-License-Identifier: MPL-2.0

//! Pictures as events for the programs that were there before us: they take what comes.
//!
//! Each event is written once for all of them, and left out for those who have not taken the
//! one before.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use socketioxide::SocketIo;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    Shared,
    cameras::Newest,
    viewers::{Kind, Viewer},
};

/// Pictures of several cameras go together: one is held up for the others for so long.
const GATHER: Duration = Duration::from_millis(20);

/// What these programs take: base64, or base64 by the names of the cameras.
#[derive(Serialize)]
#[serde(untagged)]
enum Event<'a> {
    Bare(&'a str),
    Named(BTreeMap<&'a str, &'a str>),
}

impl<'a> Event<'a> {
    fn of(frames: &'a [Newest]) -> Option<Self> {
        match frames {
            [] => None,
            [(camera, frame)] if camera.name.is_empty() => Some(Self::Bare(frame.text())),
            frames => {
                let named = frames
                    .iter()
                    .map(|(camera, frame)| (&*camera.name, frame.text()));
                Some(Self::Named(named.collect()))
            }
        }
    }
}

/// Programs that have joined and got no picture yet.
///
/// All events are sent by one task, [`broadcast`]: if the first one were sent where a program
/// joins, it might be sent twice.
#[derive(Debug, Default)]
pub struct Newcomers {
    list: Mutex<Vec<Arc<Viewer>>>,
    came: Notify,
}

impl Newcomers {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Viewer>>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, viewer: Arc<Viewer>) {
        self.list().push(viewer);
        self.came.notify_one();
    }

    fn take(&self) -> Vec<Arc<Viewer>> {
        std::mem::take(&mut *self.list())
    }
}

/// Sends what is newest to all who take what comes.
pub async fn broadcast(io: SocketIo, shared: Arc<Shared>) {
    let mut changes = shared.cameras.changes();
    let mut sent = Vec::<Newest>::new();
    loop {
        let changed = tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            () = shared.newcomers.came.notified() => false,
        };
        let was_sent = |(_, frame): &Newest| sent.iter().any(|(_, sent)| Arc::ptr_eq(frame, sent));
        let deadline = Instant::now() + GATHER;
        while changed && shared.cameras.newest().iter().any(was_sent) {
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                break;
            }
        }
        let frames = shared.cameras.newest();
        let newcomers = shared.newcomers.take();
        let mut followers = shared.viewers.of(Kind::SocketIo);
        followers.retain(|viewer| viewer.follows());
        newcomers.iter().for_each(|viewer| viewer.follow());
        if frames.iter().all(was_sent) {
            followers.clear();
        }
        if let Some(event) = Event::of(&frames) {
            followers.retain(|viewer| {
                let ready = !shared.sessions.is_busy(&viewer.session);
                if !ready {
                    viewer.dropped(1);
                }
                ready
            });
            // Who has gone meanwhile gets nothing.
            if !newcomers.is_empty() {
                let rooms = rooms_of(&newcomers);
                let _ = io.within(rooms).emit(&shared.event, &event).await;
            }
            if !followers.is_empty() {
                let rooms = io.within(rooms_of(&followers)).volatile();
                let _ = rooms.emit(&shared.event, &event).await;
            }
            let served = newcomers.iter().chain(&followers);
            served.for_each(|viewer| viewer.sent(1));
        }
        sent = frames;
    }
}

/// Each viewer is in a room that is called like its session.
fn rooms_of(viewers: &[Arc<Viewer>]) -> Vec<String> {
    let rooms = viewers.iter().map(|viewer| viewer.session.clone());
    rooms.collect()
}
