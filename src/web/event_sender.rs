// SPDX-License-Identifier: MPL-2.0

//! Sends frames as Socket.IO events that any program can read.
//!
//! Each event is encoded once for all viewers, and dropped for those that have not yet taken
//! the one before.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::Serialize;
use socketioxide::SocketIo;
use tokio::time::{Instant, timeout_at};

use super::{
    cameras::NewestFrame,
    state::ServerState,
    viewers::{Viewer, ViewerKind},
};

/// How long a new frame of one camera waits for new frames of the others, to be sent together.
const GATHER_TIME: Duration = Duration::from_millis(20);

/// The payload of an event: base64, or base64 by camera name.
#[derive(Serialize)]
#[serde(untagged)]
enum FrameEvent<'a> {
    Unnamed(&'a str),
    Named(BTreeMap<&'a str, &'a str>),
}

impl<'a> FrameEvent<'a> {
    fn new(frames: &'a [NewestFrame]) -> Option<Self> {
        match frames {
            [] => None,
            [(camera, frame)] if camera.name.is_empty() => Some(Self::Unnamed(frame.base64())),
            frames => {
                let named = frames
                    .iter()
                    .map(|(camera, frame)| (&*camera.name, frame.base64()));
                Some(Self::Named(named.collect()))
            }
        }
    }
}

/// Sends the newest frames to all viewers by Socket.IO event, until the cameras are dropped.
pub async fn broadcast(io: SocketIo, state: Arc<ServerState>) {
    let mut changes = state.cameras.changes();
    let mut sent = Vec::<NewestFrame>::new();
    loop {
        let changed = tokio::select! {
            changed = changes.changed() => match changed {
                Ok(()) => true,
                Err(_) => return,
            },
            () = state.new_viewers.added() => false,
        };
        let was_sent =
            |(_, frame): &NewestFrame| sent.iter().any(|(_, sent)| Arc::ptr_eq(frame, sent));
        let deadline = Instant::now() + GATHER_TIME;
        while changed && state.cameras.newest().iter().any(was_sent) {
            if !matches!(timeout_at(deadline, changes.changed()).await, Ok(Ok(()))) {
                break;
            }
        }
        let frames = state.cameras.newest();
        let new_viewers = state.new_viewers.take();
        let mut followers = state.viewers.of_kind(ViewerKind::SocketIo);
        followers.retain(|viewer| viewer.is_following());
        new_viewers.iter().for_each(|viewer| viewer.set_following());
        if frames.iter().all(was_sent) {
            followers.clear();
        }
        if let Some(event) = FrameEvent::new(&frames) {
            followers.retain(|viewer| {
                let blocked = state.sessions.is_write_blocked(&viewer.session_id);
                if blocked {
                    viewer.count_dropped(1);
                }
                !blocked
            });
            // Without rooms the event would go to every socket of the namespace.
            if !new_viewers.is_empty() {
                let rooms = rooms_of(&new_viewers);
                let _ = io.within(rooms).emit(&state.event, &event).await;
            }
            if !followers.is_empty() {
                let rooms = io.within(rooms_of(&followers)).volatile();
                let _ = rooms.emit(&state.event, &event).await;
            }
            let served = new_viewers.iter().chain(&followers);
            served.for_each(|viewer| viewer.count_sent(1));
        }
        sent = frames;
    }
}

/// The Socket.IO rooms of these viewers: each is in a room named by its session.
fn rooms_of(viewers: &[Arc<Viewer>]) -> Vec<String> {
    let rooms = viewers.iter().map(|viewer| viewer.session_id.clone());
    rooms.collect()
}
