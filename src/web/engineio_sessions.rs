// SPDX-License-Identifier: MPL-2.0

//! The Engine.IO sessions of a server, with limits that engineioxide does not have.
//!
//! A polling session has no connection of its own that could be counted, and a session that
//! watches nothing only costs memory. So the server keeps the last connection of each session,
//! and how many viewers it has; sessions without viewers are ended after a while.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
    time::Duration,
};

use b64jpeg_net::sync::lock;
use tokio::time::Instant;

use super::{
    connection::HttpConnection,
    per_address::{PerAddressLimit, PerAddressPermit},
};

/// A session without viewers is ended after this time. Engine.IO itself ends those that never
/// opened a namespace.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Maximum number of polling sessions at the same time.
const MAX_POLLING: usize = 2000;
/// How often one session may open a namespace. After that the client must connect again.
const MAX_OPENED: u32 = 16;
/// How often one session may be refused. After that all its packets are refused.
const MAX_REFUSED: u32 = 4;

#[derive(Debug)]
struct EngineIoSession {
    /// Its last connection. A session may begin with polling and upgrade to a WebSocket.
    connection: Weak<HttpConnection>,
    /// Current viewers, one for each open namespace.
    viewers: usize,
    /// How often it opened a namespace.
    opened: u32,
    /// How often it was refused.
    refused: u32,
    /// When it last lost a viewer, or was opened.
    idle_since: Instant,
    /// Held by a session that began with polling.
    polling_permit: Option<PerAddressPermit>,
}

/// Why a session cannot be opened. Shown to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionLimitError {
    /// Too many sessions in all.
    Total,
    /// Too many sessions from this address.
    Address,
}

impl fmt::Display for SessionLimitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Total => "There are too many sessions.",
            Self::Address => {
                "There are too many sessions from this address: max-connections-per-address \
                 limits them."
            }
        })
    }
}

impl Error for SessionLimitError {}

/// A session that was idle for too long.
pub struct IdleSession {
    /// Its id.
    pub id: String,
    /// Its last connection, if that is still open.
    pub connection: Option<Arc<HttpConnection>>,
}

/// All Engine.IO sessions of a server, by id.
#[derive(Debug)]
pub struct EngineIoSessions {
    list: Mutex<HashMap<String, EngineIoSession>>,
    polling: Arc<PerAddressLimit>,
    /// engineioxide keeps every session that begins with a WebSocket for [`IDLE_TIMEOUT`], even
    /// if the WebSocket is closed at once.
    websockets: Arc<PerAddressLimit>,
}

impl EngineIoSessions {
    /// Allows up to `max_per_address` sessions of each transport from one address;
    /// 0 = unlimited.
    pub fn new(max_per_address: usize) -> Self {
        Self {
            list: Mutex::default(),
            polling: PerAddressLimit::new(max_per_address),
            websockets: PerAddressLimit::new(max_per_address),
        }
    }

    fn list(&self) -> MutexGuard<'_, HashMap<String, EngineIoSession>> {
        lock(&self.list)
    }

    /// A permit for a polling session.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn reserve_polling(
        &self,
        connection: &HttpConnection,
    ) -> Result<PerAddressPermit, SessionLimitError> {
        let polls = |session: &&EngineIoSession| session.polling_permit.is_some();
        let polling = self.list().values().filter(polls).count();
        if polling >= MAX_POLLING {
            return Err(SessionLimitError::Total);
        }
        let permit = self.polling.try_acquire(connection.address.ip());
        permit.ok_or(SessionLimitError::Address)
    }

    /// A permit for a session that begins with a WebSocket, to be held for [`IDLE_TIMEOUT`].
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn reserve_websocket(
        &self,
        connection: &HttpConnection,
    ) -> Result<PerAddressPermit, SessionLimitError> {
        let permit = self.websockets.try_acquire(connection.address.ip());
        permit.ok_or(SessionLimitError::Address)
    }

    /// Adds a session unless it is known. `polling_permit` is that of a polling session.
    pub fn insert(
        &self,
        id: &str,
        connection: &Arc<HttpConnection>,
        polling_permit: Option<PerAddressPermit>,
    ) {
        let new = EngineIoSession {
            connection: Arc::downgrade(connection),
            viewers: 0,
            opened: 0,
            refused: 0,
            idle_since: Instant::now(),
            polling_permit,
        };
        self.list().entry(id.into()).or_insert(new);
    }

    /// Sets the last connection of a session. A WebSocket stays its connection while it is open,
    /// because any client that knows the id can send a request of that session.
    pub fn set_connection(&self, id: &str, connection: &Arc<HttpConnection>) {
        if let Some(session) = self.list().get_mut(id) {
            let old = session.connection.upgrade();
            if old.is_none_or(|old| !old.is_websocket()) {
                session.connection = Arc::downgrade(connection);
            }
        }
    }

    /// The last connection of a session, if it is open.
    pub fn connection(&self, id: &str) -> Option<Arc<HttpConnection>> {
        self.list().get(id)?.connection.upgrade()
    }

    /// Whether there is such a session.
    pub fn contains(&self, id: &str) -> bool {
        self.list().contains_key(id)
    }

    /// Counts that a session was refused. Returns whether that was once too often.
    pub fn count_refusal(&self, id: &str) -> bool {
        let mut list = self.list();
        let Some(session) = list.get_mut(id) else {
            return true;
        };
        session.refused = session.refused.saturating_add(1);
        session.refused > MAX_REFUSED
    }

    /// Whether a session was refused too often.
    pub fn is_refused(&self, id: &str) -> bool {
        let list = self.list();
        list.get(id)
            .is_some_and(|session| session.refused > MAX_REFUSED)
    }

    /// Counts a viewer of a session until the result is dropped. `None` if the session opened
    /// namespaces too often, or does not exist.
    pub fn add_viewer(self: &Arc<Self>, id: &str) -> Option<SessionViewer> {
        let mut list = self.list();
        let session = list.get_mut(id)?;
        if session.opened >= MAX_OPENED {
            return None;
        }
        session.opened += 1;
        session.viewers += 1;
        Some(SessionViewer {
            sessions: self.clone(),
            id: id.into(),
        })
    }

    /// Removes a session that was closed.
    pub fn remove(&self, id: &str) {
        self.list().remove(id);
    }

    /// Whether the last write to a session waits for its peer.
    pub fn is_write_blocked(&self, id: &str) -> bool {
        let connection = self.connection(id);
        connection.is_some_and(|connection| connection.is_write_blocked())
    }

    /// Number of sessions.
    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Removes and returns the sessions that have had no viewer for [`IDLE_TIMEOUT`].
    pub fn take_idle(&self, now: Instant) -> Vec<IdleSession> {
        let is_idle = |_: &String, session: &mut EngineIoSession| {
            session.viewers == 0
                && now.saturating_duration_since(session.idle_since) >= IDLE_TIMEOUT
        };
        let mut list = self.list();
        let idle = list.extract_if(is_idle);
        idle.map(|(id, session)| IdleSession {
            id,
            connection: session.connection.upgrade(),
        })
        .collect()
    }

    /// The ids of all sessions.
    pub fn ids(&self) -> Vec<String> {
        self.list().keys().cloned().collect()
    }
}

/// A viewer of a session, counted until this is dropped.
#[derive(Debug)]
pub struct SessionViewer {
    sessions: Arc<EngineIoSessions>,
    id: String,
}

impl Drop for SessionViewer {
    fn drop(&mut self) {
        if let Some(session) = self.sessions.list().get_mut(&self.id) {
            session.viewers = session.viewers.saturating_sub(1);
            session.idle_since = Instant::now();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(last: u8) -> Arc<HttpConnection> {
        HttpConnection::new(([192, 0, 2, last], 7).into(), Arc::default())
    }

    fn sessions(max_per_address: usize) -> Arc<EngineIoSessions> {
        Arc::new(EngineIoSessions::new(max_per_address))
    }

    #[test]
    fn sessions_without_viewers_are_taken_after_idle_timeout() {
        let sessions = sessions(0);
        let connection = connection(1);
        for id in ["a", "b", "c"] {
            sessions.insert(id, &connection, None);
        }
        let viewer = sessions.add_viewer("a").expect("a viewer");
        drop(sessions.add_viewer("b").expect("a viewer"));
        let now = Instant::now();
        assert!(sessions.take_idle(now).is_empty());
        let mut taken = sessions.take_idle(now + IDLE_TIMEOUT);
        taken.sort_by(|one, other| one.id.cmp(&other.id));
        let taken: Vec<_> = taken
            .iter()
            .map(|idle| (&*idle.id, idle.connection.is_some()))
            .collect();
        assert_eq!(taken, [("b", true), ("c", true)]);
        assert_eq!(sessions.ids(), ["a"]);
        drop(viewer);
    }

    #[test]
    fn session_opening_namespaces_too_often_gets_no_viewer() {
        let sessions = sessions(0);
        assert!(sessions.add_viewer("a").is_none(), "no such session");
        sessions.insert("a", &connection(1), None);
        let viewers: Vec<_> = (0..MAX_OPENED)
            .map(|_| sessions.add_viewer("a").expect("a viewer"))
            .collect();
        assert!(sessions.add_viewer("a").is_none());
        for _ in 0..MAX_REFUSED {
            assert!(!sessions.count_refusal("a") && !sessions.is_refused("a"));
        }
        assert!(sessions.count_refusal("a") && sessions.is_refused("a"));
        sessions.remove("a");
        assert_eq!(sessions.len(), 0);
        drop(viewers);
    }

    #[test]
    fn polling_sessions_are_limited_per_address_and_in_all() {
        let sessions = sessions(400);
        let open = |id: &str, last| {
            let connection = connection(last);
            let permit = sessions.reserve_polling(&connection)?;
            sessions.insert(id, &connection, Some(permit));
            Ok(())
        };
        for number in 0..400 {
            assert_eq!(open(&number.to_string(), 1), Ok(()));
        }
        assert_eq!(open("one more", 1), Err(SessionLimitError::Address));
        for number in 400..MAX_POLLING {
            assert_eq!(open(&number.to_string(), (number / 300) as u8 + 2), Ok(()));
        }
        assert_eq!(open("one more", 9), Err(SessionLimitError::Total));
        sessions.take_idle(Instant::now() + IDLE_TIMEOUT);
        assert_eq!(open("one more", 1), Ok(()));
    }

    /// Otherwise a request could hide an idle WebSocket, which would then never be closed.
    #[test]
    fn session_with_websocket_request_elsewhere_keeps_its_connection() {
        let sessions = sessions(0);
        let (websocket, other) = (connection(1), connection(2));
        let address = || sessions.connection("a").map(|found| found.address);
        sessions.insert("a", &websocket, None);
        sessions.set_connection("a", &other);
        assert_eq!(address(), Some(other.address));
        websocket.charge_request(true, true);
        sessions.set_connection("a", &websocket);
        sessions.set_connection("a", &other);
        assert_eq!(address(), Some(websocket.address));
        drop(websocket);
        sessions.set_connection("a", &other);
        assert_eq!(address(), Some(other.address));
    }
}
