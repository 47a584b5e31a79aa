// SPDX-License-Identifier: MPL-2.0

//! The Engine.IO sessions that there are, as far as the server has to know of them.
//!
//! A session that polls has no connection that could be counted, and one that nobody watches
//! from is of no use. So each is known by its peer, its connection, if it has one, and by how
//! often it watches; and those that watch nothing for a while are ended.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    connection::Line,
    per_address::{Share, Shares},
};

/// A session that watches nothing is ended after this time. Engine.IO itself ends those that
/// never did so.
pub const IDLE: Duration = Duration::from_secs(10);
/// Sessions that poll at the same time.
const MAX_SESSIONS: usize = 2000;
/// How often one session may begin to watch. Whoever comes more often has to connect again.
const MAX_JOINED: u32 = 16;
/// How often one session may be refused. Nothing that it asks for counts after that.
const MAX_REFUSED: u32 = 4;

#[derive(Debug)]
struct Session {
    /// Its last connection: it may begin with polling, and go on with a websocket.
    line: Weak<Line>,
    /// As how many viewers it watches, how often it began to, and how often it was refused.
    viewers: usize,
    joined: u32,
    refused: u32,
    /// Since when it watches nothing.
    idle: Instant,
    /// Of one that has begun with polling.
    share: Option<Share>,
}

/// Why one session more may not poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionsFull {
    /// There are as many as there may be.
    All,
    /// Its address has as many as one may have.
    Address,
}

/// All sessions of a server.
#[derive(Debug)]
pub struct Sessions {
    list: Mutex<HashMap<String, Session>>,
    polling: Arc<Shares>,
    /// Engine.IO keeps every session that begins with a websocket for [`IDLE`], even if the
    /// websocket is gone at once.
    websockets: Arc<Shares>,
}

impl Sessions {
    /// `max_per_address` limits those of one address; 0 for any number.
    pub fn new(max_per_address: usize) -> Self {
        Self {
            list: Mutex::default(),
            polling: Shares::new(max_per_address),
            websockets: Shares::new(max_per_address),
        }
    }

    fn list(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one that polls.
    pub fn reserve(&self, line: &Line) -> Result<Share, SessionsFull> {
        let polls = |session: &&Session| session.share.is_some();
        let polling = self.list().values().filter(polls).count();
        if polling >= MAX_SESSIONS {
            return Err(SessionsFull::All);
        }
        let share = self.polling.take(line.address.ip());
        share.ok_or(SessionsFull::Address)
    }

    /// Room for one that begins with a websocket, to be kept for [`IDLE`].
    pub fn reserve_websocket(&self, line: &Line) -> Result<Share, SessionsFull> {
        let share = self.websockets.take(line.address.ip());
        share.ok_or(SessionsFull::Address)
    }

    /// A session was opened, with the room for one that polls if it does.
    pub fn add(&self, session: &str, line: &Arc<Line>, share: Option<Share>) {
        let new = Session {
            line: Arc::downgrade(line),
            viewers: 0,
            joined: 0,
            refused: 0,
            idle: Instant::now(),
            share,
        };
        self.list().entry(session.into()).or_insert(new);
    }

    /// A request of a session has come over a connection, which is its own now, unless it has
    /// a websocket: anybody who knows the session may send a request.
    pub fn set_line(&self, session: &str, line: &Arc<Line>) {
        if let Some(session) = self.list().get_mut(session) {
            let websocket = session.line.upgrade().filter(|line| line.is_websocket());
            if websocket.is_none() {
                session.line = Arc::downgrade(line);
            }
        }
    }

    /// The connection of a session.
    pub fn line(&self, session: &str) -> Option<Arc<Line>> {
        self.list().get(session)?.line.upgrade()
    }

    /// Whether there is such a session.
    pub fn contains(&self, session: &str) -> bool {
        self.list().contains_key(session)
    }

    /// Counts that a session was refused. Returns whether that was once too often.
    pub fn refuse(&self, session: &str) -> bool {
        let mut list = self.list();
        let Some(found) = list.get_mut(session) else {
            return true;
        };
        found.refused = found.refused.saturating_add(1);
        found.refused > MAX_REFUSED
    }

    /// Whether a session was refused too often.
    pub fn is_refused(&self, session: &str) -> bool {
        let list = self.list();
        list.get(session)
            .is_some_and(|found| found.refused > MAX_REFUSED)
    }

    /// A session watches, as one viewer more. Returns whether it may: not when it has come
    /// and gone too often.
    pub fn begin_watching(&self, session: &str) -> bool {
        let mut list = self.list();
        let Some(found) = list.get_mut(session) else {
            return false;
        };
        let may = found.joined < MAX_JOINED;
        if may {
            found.joined += 1;
            found.viewers += 1;
        }
        may
    }

    /// A viewer of a session has left.
    pub fn end_watching(&self, session: &str) {
        if let Some(found) = self.list().get_mut(session) {
            found.viewers = found.viewers.saturating_sub(1);
            found.idle = Instant::now();
        }
    }

    /// A session is over.
    pub fn remove(&self, session: &str) {
        self.list().remove(session);
    }

    /// Whether what was sent to a session last still waits for it.
    pub fn is_busy(&self, session: &str) -> bool {
        let line = self
            .list()
            .get(session)
            .and_then(|found| found.line.upgrade());
        line.is_some_and(|line| line.is_busy())
    }

    pub fn len(&self) -> usize {
        self.list().len()
    }

    /// Forgets the sessions that have watched nothing for too long, and returns them, with
    /// their connections.
    pub fn take_idle(&self, now: Instant) -> Vec<(String, Option<Arc<Line>>)> {
        let is_idle = |_: &String, session: &mut Session| {
            session.viewers == 0 && now.saturating_duration_since(session.idle) >= IDLE
        };
        let mut list = self.list();
        let idle = list.extract_if(is_idle);
        idle.map(|(session, found)| (session, found.line.upgrade()))
            .collect()
    }

    /// The names of all.
    pub fn all(&self) -> Vec<String> {
        self.list().keys().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(last: u8) -> Arc<Line> {
        Line::new(([192, 0, 2, last], 7).into(), Arc::default())
    }

    #[test]
    fn sessions_that_watch_nothing_are_taken() {
        let sessions = Sessions::new(0);
        let line = line(1);
        for session in ["a", "b", "c"] {
            sessions.add(session, &line, None);
        }
        assert!(sessions.begin_watching("a") && sessions.begin_watching("b"));
        sessions.end_watching("b");
        let now = Instant::now();
        assert!(sessions.take_idle(now).is_empty());
        let mut taken: Vec<_> = sessions.take_idle(now + IDLE).into_iter().collect();
        taken.sort_by(|one, other| one.0.cmp(&other.0));
        let names: Vec<_> = taken
            .iter()
            .map(|(name, line)| (&**name, line.is_some()))
            .collect();
        assert_eq!(names, [("b", true), ("c", true)]);
        assert_eq!(sessions.all(), ["a"]);
    }

    #[test]
    fn session_that_comes_and_goes_too_often_may_not_watch() {
        let sessions = Sessions::new(0);
        assert!(!sessions.begin_watching("a"), "there is none");
        sessions.add("a", &line(1), None);
        for _ in 0..MAX_JOINED {
            assert!(sessions.begin_watching("a"));
            sessions.end_watching("a");
        }
        assert!(!sessions.begin_watching("a"));
        for _ in 0..MAX_REFUSED {
            assert!(!sessions.refuse("a") && !sessions.is_refused("a"));
        }
        assert!(sessions.refuse("a") && sessions.is_refused("a"));
        sessions.remove("a");
        assert_eq!(sessions.len(), 0);
        sessions.end_watching("a");
    }

    #[test]
    fn polling_sessions_are_limited_per_address_and_in_all() {
        let sessions = Sessions::new(400);
        let open = |name: &str, last| {
            let line = line(last);
            let share = sessions.reserve(&line)?;
            sessions.add(name, &line, Some(share));
            Ok(())
        };
        for number in 0..400 {
            assert_eq!(open(&number.to_string(), 1), Ok(()));
        }
        assert_eq!(open("one more", 1), Err(SessionsFull::Address));
        for number in 400..MAX_SESSIONS {
            assert_eq!(open(&number.to_string(), (number / 300) as u8 + 2), Ok(()));
        }
        assert_eq!(open("one more", 9), Err(SessionsFull::All));
        sessions.take_idle(Instant::now() + IDLE);
        assert_eq!(open("one more", 1), Ok(()));
    }

    /// Otherwise a request would hide an idle websocket from those who end it.
    #[test]
    fn request_beside_a_websocket_does_not_take_its_place() {
        let sessions = Sessions::new(0);
        let (websocket, other) = (line(1), line(2));
        sessions.add("a", &websocket, None);
        sessions.set_line("a", &other);
        assert_eq!(
            sessions.line("a").map(|line| line.address),
            Some(other.address)
        );
        websocket.spend_request(true, true);
        sessions.set_line("a", &websocket);
        sessions.set_line("a", &other);
        assert_eq!(
            sessions.line("a").map(|line| line.address),
            Some(websocket.address)
        );
        drop(websocket);
        sessions.set_line("a", &other);
        assert_eq!(
            sessions.line("a").map(|line| line.address),
            Some(other.address)
        );
    }
}
