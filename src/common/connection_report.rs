// SPDX-License-Identifier: MPL-2.0

//! What an element says about its connection: one state machine for every element that
//! connects to a server.
//!
//! ```text
//!  connecting ──► connected ──► streaming
//!      │   ▲          │             │
//!      ▼   └────┐     └──► lost ◄───┘
//!  unreachable ─┘            │ next attempt
//!  or refused   ◄────────────┘
//! ```
//!
//! Applications get each new state once, as an element message. People get each change once,
//! as a warning or an information message on the bus: a failure that repeats is logged at
//! debug level, and its end is reported. With `fail` the element gives up.

use std::sync::Mutex;

use b64jpeg_net::sync::lock;
use gst::prelude::*;

/// A state in an element message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// The first attempt has begun.
    Connecting,
    /// There is a connection, but no frame from it yet.
    Connected,
    /// The first frame of the connection has arrived.
    Streaming,
    /// The connection has ended.
    Lost,
    /// The server cannot be reached or used; the next attempt waits for the retry delay.
    Unreachable,
    /// The server refuses this client.
    #[cfg_attr(
        not(feature = "web"),
        allow(dead_code, reason = "only Socket.IO uses it")
    )]
    Refused,
}

impl ConnectionState {
    /// The name in messages.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Streaming => "streaming",
            Self::Lost => "lost",
            Self::Unreachable => "waiting",
            Self::Refused => "refused",
        }
    }

    /// Whether this state can follow `last`. The first frame is reported by another thread in
    /// some elements, and the connection may have ended meanwhile.
    fn can_follow(self, last: Option<Self>) -> bool {
        match self {
            Self::Streaming => last == Some(Self::Connected),
            _ => last != Some(self),
        }
    }
}

/// A failure that people know about, because it was reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// Bytes arrive, but nothing whole.
    Slow,
    /// The connection was lost.
    Lost,
    /// The connection was ended because of what the server sent.
    #[cfg_attr(
        not(feature = "web"),
        allow(dead_code, reason = "only Socket.IO uses it")
    )]
    BadData,
    /// The server cannot be reached, or sends or takes no frames.
    Unreachable,
    /// The server answers, but cannot be used.
    #[cfg_attr(
        not(feature = "web"),
        allow(dead_code, reason = "only Socket.IO uses it")
    )]
    Unusable,
}

/// The server as messages name it.
#[derive(Debug, Clone)]
pub struct PeerName {
    /// For people: `HOST:PORT` or a URL without secrets.
    pub display: String,
    /// The element message, with the fields that name the server.
    pub message: gst::Structure,
}

/// The error codes of an element's messages: those of sources and sinks differ.
#[derive(Debug, Clone, Copy)]
pub struct ReportCodes {
    /// The server cannot be reached.
    pub open: gst::ResourceError,
    /// The connection was lost, or is slow.
    pub transfer: gst::ResourceError,
}

#[derive(Debug, Default)]
struct State {
    /// The last one in an element message.
    connection: Option<ConnectionState>,
    /// The failure that was reported last, unless its end was reported, too.
    problem: Option<Problem>,
}

/// Reports each change of a connection once, from the start of an element to its stop.
#[derive(Debug)]
pub struct ConnectionReporter {
    category: gst::DebugCategory,
    element: glib::WeakRef<gst::Element>,
    peer: PeerName,
    codes: ReportCodes,
    state: Mutex<State>,
}

impl ConnectionReporter {
    /// A reporter that has reported nothing yet.
    pub fn new(
        category: gst::DebugCategory,
        element: &impl IsA<gst::Element>,
        peer: PeerName,
        codes: ReportCodes,
    ) -> Self {
        Self {
            category,
            element: element.upcast_ref().downgrade(),
            peer,
            codes,
            state: Mutex::default(),
        }
    }

    /// The server, as messages for people name it.
    pub fn peer(&self) -> &str {
        &self.peer.display
    }

    /// The failure that people know about.
    pub fn problem(&self) -> Option<Problem> {
        lock(&self.state).problem
    }

    /// As [`enter`](Self::enter), if there was no state before.
    pub fn enter_first(&self, new: ConnectionState) {
        if lock(&self.state).connection.is_none() {
            self.enter(new, None);
        }
    }

    /// Tells applications about a new state, and what caused it.
    pub fn enter(&self, new: ConnectionState, cause: Option<&str>) {
        {
            let mut state = lock(&self.state);
            if !new.can_follow(state.connection) {
                return;
            }
            state.connection = Some(new);
        }
        let Some(element) = self.element.upgrade() else {
            return;
        };
        gst::info!(
            self.category,
            obj = element,
            "{}: {} {}",
            new.as_str(),
            self.peer.display,
            cause.unwrap_or_default()
        );
        let mut structure = self.peer.message.clone();
        structure.set("state", new.as_str());
        structure.set_if_some("cause", cause);
        let message = gst::message::Element::builder(structure)
            .src(&element)
            .build();
        // This fails where the element has no bus, and so no application listens.
        let _ = element.post_message(message);
    }

    /// Warns about a failure, unless people know it already. If they know that no frames come,
    /// it is no news that none comes in time.
    pub fn warn(&self, problem: Problem, text: &str) {
        let known = {
            let state = &mut *lock(&self.state);
            let last = state.problem;
            let slow_is_known = problem == Problem::Slow && last == Some(Problem::Unreachable);
            if !slow_is_known {
                state.problem = Some(problem);
            }
            slow_is_known || last == Some(problem)
        };
        let Some(element) = self.element.upgrade() else {
            return;
        };
        if known {
            gst::debug!(self.category, obj = element, "{text}");
            return;
        }
        let code = match problem {
            Problem::Slow | Problem::Lost => self.codes.transfer,
            _ => self.codes.open,
        };
        gst::element_warning!(element, code, ("{text}"));
    }

    /// Reports a lost connection that is no reason for a warning.
    pub fn inform_lost(&self, text: &str) {
        self.replace_problem(Some(Problem::Lost));
        self.inform(text);
    }

    /// Reports the end of a failure with the text that `text` makes for it.
    pub fn recovered(&self, text: impl FnOnce(Problem) -> String) {
        if let Some(problem) = self.replace_problem(None) {
            self.inform(&text(problem));
        }
    }

    /// Ends the stream with an error.
    pub fn fail(&self, code: impl gst::MessageErrorDomain, text: &str) {
        if let Some(element) = self.element.upgrade() {
            gst::element_error!(element, code, ("{text}"));
        }
    }

    fn inform(&self, text: &str) {
        if let Some(element) = self.element.upgrade() {
            // The debug text repeats the message, because gst-launch-1.0 prints only that.
            gst::element_info!(element, self.codes.transfer, ("{text}"), ["{text}"]);
        }
    }

    fn replace_problem(&self, problem: Option<Problem>) -> Option<Problem> {
        std::mem::replace(&mut lock(&self.state).problem, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A reporter of an element on a bus, and that bus.
    fn reporter() -> (ConnectionReporter, gst::Element, gst::Bus) {
        gst::init().expect("GStreamer starts");
        let element = gst::Pipeline::new().upcast::<gst::Element>();
        let bus = element.bus().expect("a pipeline has a bus");
        let peer = PeerName {
            display: "camera:9999".into(),
            message: gst::Structure::builder("test-connection")
                .field("host", "camera")
                .build(),
        };
        let codes = ReportCodes {
            open: gst::ResourceError::OpenRead,
            transfer: gst::ResourceError::Read,
        };
        let category = gst::DebugCategory::new(
            "connection-report-test",
            gst::DebugColorFlags::empty(),
            None,
        );
        let reporter = ConnectionReporter::new(category, &element, peer, codes);
        (reporter, element, bus)
    }

    /// What is on the bus, in short.
    fn messages(bus: &gst::Bus) -> Vec<String> {
        let text = |message: gst::Message| match message.view() {
            gst::MessageView::Element(element) => {
                let structure = element.structure().expect("a structure");
                assert_eq!(structure.get::<&str>("host"), Ok("camera"));
                let state = structure.get::<&str>("state").expect("a state");
                let cause = structure.get_optional::<&str>("cause").expect("text");
                format!("state {state} {}", cause.unwrap_or_default())
            }
            gst::MessageView::Warning(warning) => format!("warning {}", warning.error().message()),
            gst::MessageView::Info(info) => format!("info {}", info.error().message()),
            gst::MessageView::Error(error) => format!("error {}", error.error().message()),
            other => format!("{other:?}"),
        };
        std::iter::from_fn(|| bus.pop()).map(text).collect()
    }

    #[test]
    fn state_that_repeats_is_reported_once() {
        let (reporter, _element, bus) = reporter();
        reporter.enter(ConnectionState::Connecting, None);
        for _ in 0..2 {
            reporter.enter(ConnectionState::Unreachable, Some("refused"));
        }
        reporter.enter(ConnectionState::Connected, None);
        reporter.enter(ConnectionState::Streaming, None);
        reporter.enter(ConnectionState::Streaming, None);
        assert_eq!(
            messages(&bus),
            [
                "state connecting ",
                "state waiting refused",
                "state connected ",
                "state streaming "
            ]
        );
    }

    #[test]
    fn streaming_after_the_connection_was_lost_is_ignored() {
        let (reporter, _element, bus) = reporter();
        reporter.enter(ConnectionState::Connected, None);
        reporter.enter(ConnectionState::Lost, Some("reset"));
        reporter.enter(ConnectionState::Streaming, None);
        assert_eq!(messages(&bus), ["state connected ", "state lost reset"]);
    }

    #[test]
    fn problem_that_repeats_is_reported_once_until_it_ends() {
        let (reporter, _element, bus) = reporter();
        let again = |problem| format!("over: {problem:?}");
        reporter.recovered(again);
        for _ in 0..3 {
            reporter.warn(Problem::Unreachable, "no answer");
        }
        reporter.recovered(again);
        reporter.recovered(again);
        reporter.warn(Problem::Unreachable, "no answer");
        reporter.warn(Problem::BadData, "not Socket.IO");
        reporter.inform_lost("reset");
        assert_eq!(
            messages(&bus),
            [
                "warning no answer",
                "info over: Unreachable",
                "warning no answer",
                "warning not Socket.IO",
                "info reset"
            ]
        );
        assert_eq!(reporter.problem(), Some(Problem::Lost));
    }

    #[test]
    fn slow_server_is_no_news_where_none_sends_frames() {
        let (reporter, _element, bus) = reporter();
        reporter.warn(Problem::Unreachable, "no frames");
        reporter.warn(Problem::Slow, "slow");
        assert_eq!(messages(&bus), ["warning no frames"]);
        assert_eq!(reporter.problem(), Some(Problem::Unreachable));
        reporter.recovered(|_| "over".into());
        reporter.warn(Problem::Slow, "slow");
        assert_eq!(messages(&bus), ["info over", "warning slow"]);
    }

    #[test]
    fn element_that_is_gone_is_no_reason_to_fail() {
        let (reporter, element, bus) = reporter();
        drop(element);
        reporter.enter(ConnectionState::Connecting, None);
        reporter.warn(Problem::Slow, "slow");
        reporter.recovered(|_| "over".into());
        reporter.fail(gst::ResourceError::Read, "the end");
        assert_eq!(messages(&bus), [""; 0]);
    }
}
