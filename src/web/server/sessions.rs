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
    line::Line,
    share::{Share, Shares},
};

/// A session that watches nothing is ended after this time. Engine.IO itself ends those that
/// never did so.
pub const IDLE: Duration = Duration::from_secs(10);
/// Sessions at the same time; one more may not poll.
const MAX_SESSIONS: usize = 2000;
/// How often one session may begin to watch. Whoever comes more often has to connect again.
const MAX_JOINED: u32 = 16;

#[derive(Debug)]
struct Session {
    /// Its last connection: it may begin with polling, and go on with a websocket.
    line: Weak<Line>,
    /// As how many viewers it watches, and how often it began to.
    viewers: usize,
    joined: u32,
    /// Since when it watches nothing.
    idle: Instant,
    /// Of one that has begun with polling.
    _share: Option<Share>,
}

/// Why there is no room for a session that polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// There are as many as there may be.
    Full,
    /// Its address has as many as one may have.
    Share,
}

/// All sessions of a server.
#[derive(Debug)]
pub struct Sessions {
    list: Mutex<HashMap<String, Session>>,
    polling: Arc<Shares>,
}

impl Sessions {
    /// With so many that poll from one address; 0 for any number.
    pub fn new(max_per_address: usize) -> Self {
        Self {
            list: Mutex::default(),
            polling: Shares::new(max_per_address),
        }
    }

    fn list(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for one that polls.
    pub fn reserve(&self, line: &Line) -> Result<Share, NoRoom> {
        if self.len() >= MAX_SESSIONS {
            return Err(NoRoom::Full);
        }
        self.polling.take(line.address.ip()).ok_or(NoRoom::Share)
    }

    /// A session was opened, with the room for one that polls if it does.
    pub fn add(&self, session: &str, line: &Arc<Line>, share: Option<Share>) {
        let new = Session {
            line: Arc::downgrade(line),
            viewers: 0,
            joined: 0,
            idle: Instant::now(),
            _share: share,
        };
        self.list().entry(session.into()).or_insert(new);
    }

    /// A session has sent a request over a connection.
    pub fn moved(&self, session: &str, line: &Arc<Line>) {
        if let Some(session) = self.list().get_mut(session) {
            session.line = Arc::downgrade(line);
        }
    }

    /// A session watches, as one viewer more. Returns whether it may: not when it has come
    /// and gone too often.
    pub fn watches(&self, session: &str) -> bool {
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
    pub fn left(&self, session: &str) {
        if let Some(found) = self.list().get_mut(session) {
            found.viewers = found.viewers.saturating_sub(1);
            found.idle = Instant::now();
        }
    }

    /// A session is over.
    pub fn remove(&self, session: &str) {
        self.list().remove(session);
    }

    /// Whether what was to be sent to a session last is still to be.
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
        assert!(sessions.watches("a") && sessions.watches("b"));
        sessions.left("b");
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
        assert!(!sessions.watches("a"), "there is none");
        sessions.add("a", &line(1), None);
        for _ in 0..MAX_JOINED {
            assert!(sessions.watches("a"));
            sessions.left("a");
        }
        assert!(!sessions.watches("a"));
        sessions.remove("a");
        assert_eq!(sessions.len(), 0);
        sessions.left("a");
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
        assert_eq!(open("one more", 1), Err(NoRoom::Share));
        for number in 400..MAX_SESSIONS {
            assert_eq!(open(&number.to_string(), (number / 300) as u8 + 2), Ok(()));
        }
        assert_eq!(open("one more", 9), Err(NoRoom::Full));
        sessions.take_idle(Instant::now() + IDLE);
        assert_eq!(open("one more", 1), Ok(()));
    }
}
