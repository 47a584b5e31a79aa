// SPDX-License-Identifier: MPL-2.0

//! Sends frames to the page, which acknowledges those that it has painted and then gets the
//! newest ones. However slow a page is, its frames are never old.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Serialize, de::IgnoredAny};
use socketioxide::extract::SocketRef;

use super::{cameras::NewestFrame, state::ServerState, viewers::Viewer};

/// Events that may be unacknowledged. With one, the connection would be idle while the page
/// paints.
const MAX_UNACKNOWLEDGED: usize = 2;
/// Maximum number of frames in one event: the Socket.IO client for browsers accepts no more
/// attachments.
const MAX_FRAMES: usize = 10;
/// Effectively no timeout: a page may be paused for as long as it likes.
const ACK_TIMEOUT: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A frame in the event `frames`.
#[derive(Serialize)]
struct PageFrame<'a> {
    camera: &'a str,
    number: u64,
    /// Milliseconds since 1970.
    captured: f64,
    jpeg: &'a Bytes,
}

/// The event `hello`.
#[derive(Serialize)]
struct Hello<'a> {
    cameras: &'a [String],
    name: &'a str,
    version: &'a str,
}

/// The frame of each camera that a page got last, by name.
#[derive(Default)]
struct SentFrames(HashMap<String, NewestFrame>);

impl SentFrames {
    fn contains(&self, (camera, frame): &NewestFrame) -> bool {
        let sent = self.0.get(&camera.name);
        sent.is_some_and(|(_, sent)| Arc::ptr_eq(sent, frame))
    }

    /// Remembers a frame; returns how many frames of its camera were dropped before it.
    fn insert(&mut self, newest: &NewestFrame) -> u64 {
        let (camera, frame) = newest;
        match self.0.insert(camera.name.clone(), newest.clone()) {
            Some((same, before)) if Arc::ptr_eq(&same, camera) => {
                (frame.number - before.number).saturating_sub(1)
            }
            _ => 0,
        }
    }

    /// Forgets cameras that were removed. Otherwise each name that was ever used would keep a
    /// JPEG for as long as the page is open.
    fn retain(&mut self, names: &[String]) {
        self.0.retain(|name, _| names.contains(name));
    }
}

/// Milliseconds since 1970, as JavaScript counts.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Sends the newest frames to a page whenever it has painted those before. Returns when the
/// socket is closed.
pub async fn send_frames(socket: SocketRef, state: Arc<ServerState>, viewer: Arc<Viewer>) {
    let mut names = state.cameras.names();
    names.mark_changed();
    let mut changes = state.cameras.changes();
    changes.mark_changed();
    let mut sent = SentFrames::default();
    let mut unacknowledged = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Ok(()) = names.changed() => {
                let names = names.borrow_and_update().clone();
                sent.retain(&names);
                let hello = Hello {
                    cameras: &names,
                    name: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                };
                if socket.emit("hello", &hello).is_err() {
                    return;
                }
            }
            Some(_) = unacknowledged.next(), if !unacknowledged.is_empty() => {}
            Ok(()) = changes.changed(), if unacknowledged.len() < MAX_UNACKNOWLEDGED => {
                let mut frames = state.cameras.newest();
                frames.retain(|newest| !sent.contains(newest));
                if frames.is_empty() {
                    continue;
                }
                if frames.len() > MAX_FRAMES {
                    frames.truncate(MAX_FRAMES);
                    changes.mark_changed();
                }
                let event = frames.iter().map(|(camera, frame)| PageFrame {
                    camera: &camera.name,
                    number: frame.number,
                    captured: milliseconds(frame.captured),
                    jpeg: &frame.jpeg,
                });
                let event: Vec<_> = event.collect();
                // Socket.IO spreads a tuple over the arguments, but not an array inside one.
                let socket = socket.timeout(ACK_TIMEOUT);
                let ack = socket.emit_with_ack::<_, IgnoredAny>("frames", &(event,));
                let Ok(ack) = ack else { return };
                unacknowledged.push(ack);
                viewer.count_sent(frames.len() as u64);
                for newest in &frames {
                    viewer.count_dropped(sent.insert(newest));
                }
            }
            else => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::cameras::Cameras;

    #[test]
    fn sent_frames_of_removed_camera_are_freed() {
        let cameras = Cameras::default();
        let mut sent = SentFrames::default();
        let frames = ["a", "b", "c"].map(|name| {
            let camera = cameras.add(name).expect("another name");
            for _ in 0..3 {
                camera.show(Bytes::from_static(b"\xff\xd8"), None, 0);
            }
            let newest = (camera.clone(), camera.newest().expect("a frame"));
            assert_eq!(sent.insert(&newest), 0);
            assert!(sent.contains(&newest));
            cameras.remove(&camera);
            sent.retain(&cameras.names().borrow());
            Arc::downgrade(&newest.1)
        });
        assert!(frames.iter().all(|frame| frame.upgrade().is_none()));
        assert!(sent.0.is_empty());
    }

    #[test]
    fn sent_frames_after_gap_count_dropped_frames() {
        let cameras = Cameras::default();
        let camera = cameras.add("").expect("the only camera");
        let mut sent = SentFrames::default();
        let mut insert = |shown| {
            for _ in 0..shown {
                camera.show(Bytes::from_static(b"\xff\xd8"), None, 0);
            }
            sent.insert(&(camera.clone(), camera.newest().expect("a frame")))
        };
        assert_eq!([5, 1, 3, 0].map(&mut insert), [0, 0, 2, 0]);
    }
}
