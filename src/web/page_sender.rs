// SPDX-License-Identifier: MPL-2.0

//! Pictures for our page, which tells when it has shown what it got, and gets what is newest
//! then: it is never behind, however slow it is.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use serde::{Serialize, de::IgnoredAny};
use socketioxide::extract::SocketRef;

use super::{Shared, cameras::Newest, viewers::Viewer};

/// Pictures on their way to a page that it has not shown yet. With one the line would be
/// idle while the page shows it.
const IN_FLIGHT: usize = 2;
/// Pictures in one event: Socket.IO in browsers takes no more.
const AT_ONCE: usize = 10;
/// A page may rest for as long as it likes.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A picture as our page gets it.
#[derive(Serialize)]
struct Shown<'a> {
    camera: &'a str,
    number: u64,
    /// Milliseconds since 1970.
    captured: f64,
    jpeg: &'a Bytes,
}

#[derive(Serialize)]
struct Hello<'a> {
    cameras: &'a [String],
    name: &'a str,
    version: &'a str,
}

/// Milliseconds since 1970, as pages count.
pub fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// Shows the newest pictures to a page whenever it has shown those before.
pub async fn show(socket: SocketRef, shared: Arc<Shared>, viewer: Arc<Viewer>) {
    let mut names = shared.cameras.names();
    names.mark_changed();
    let mut changes = shared.cameras.changes();
    changes.mark_changed();
    let mut shown = HashMap::<String, Newest>::new();
    let mut in_flight = FuturesUnordered::new();
    loop {
        tokio::select! {
            biased;
            Ok(()) = names.changed() => {
                let names = names.borrow_and_update().clone();
                let hello = Hello {
                    cameras: &names,
                    name: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                };
                if socket.emit("hello", &hello).is_err() {
                    return;
                }
            }
            Some(_) = in_flight.next(), if !in_flight.is_empty() => {}
            Ok(()) = changes.changed(), if in_flight.len() < IN_FLIGHT => {
                let mut frames = shared.cameras.newest();
                frames.retain(|(camera, frame)| {
                    let before = shown.get(&camera.name);
                    !before.is_some_and(|(_, before)| Arc::ptr_eq(before, frame))
                });
                if frames.is_empty() {
                    continue;
                }
                if frames.len() > AT_ONCE {
                    frames.truncate(AT_ONCE);
                    changes.mark_changed();
                }
                let parts = frames.iter().map(|(camera, frame)| Shown {
                    camera: &camera.name,
                    number: frame.number,
                    captured: milliseconds(frame.captured),
                    jpeg: &frame.jpeg,
                });
                let parts: Vec<_> = parts.collect();
                // A tuple would be spread, an array in one is not.
                let sent = socket.timeout(FOREVER).emit_with_ack::<_, IgnoredAny>("frames", &(parts,));
                let Ok(ack) = sent else { return };
                in_flight.push(ack);
                viewer.sent(frames.len() as u64);
                for (camera, frame) in frames {
                    let before = shown.insert(camera.name.clone(), (camera.clone(), frame.clone()));
                    if let Some((same, before)) = before && Arc::ptr_eq(&same, &camera) {
                        viewer.dropped((frame.number - before.number).saturating_sub(1));
                    }
                }
            }
            else => return,
        }
    }
}
