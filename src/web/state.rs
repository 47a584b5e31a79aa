// SPDX-License-Identifier: MPL-2.0

//! The state that all request handlers and tasks of a server share.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use serde_json::{Map, Value};

use super::{
    access_control::AccessControl, cameras::Cameras, engineio_sessions::EngineIoSessions,
    new_viewers::NewViewers, viewers::Viewers,
};

/// The state that all request handlers and tasks of a server share.
pub struct ServerState {
    /// Name of the Socket.IO event with the frames.
    pub event: String,
    /// The cameras, with their newest frames.
    pub cameras: Cameras,
    /// The viewers.
    pub viewers: Arc<Viewers>,
    /// Viewers by Socket.IO event that wait for their first frame.
    pub new_viewers: NewViewers,
    /// The Engine.IO sessions.
    pub sessions: Arc<EngineIoSessions>,
    /// Checks tokens and origins.
    pub access: AccessControl,
    /// Bytes sent over all connections since the start.
    pub bytes_served: Arc<AtomicU64>,
}

impl ServerState {
    /// Statistics of the server, as in `/stats`.
    pub fn report(&self) -> Map<String, Value> {
        let bytes = self.bytes_served.load(Ordering::Relaxed);
        Map::from_iter([
            ("cameras".into(), self.cameras.report().into()),
            ("viewers".into(), self.viewers.report().into()),
            ("refused".into(), self.viewers.report_refusals().into()),
            ("sessions".into(), self.sessions.len().into()),
            ("bytes-served".into(), bytes.into()),
        ])
    }
}
