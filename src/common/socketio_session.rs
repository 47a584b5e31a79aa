// SPDX-License-Identifier: MPL-2.0

//! The connection of an element to a Socket.IO server, from its start to its stop: a task that
//! connects, passes messages between the connection and the element, and connects again.

use std::{
    any::Any,
    panic::AssertUnwindSafe,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use b64jpeg_net::{
    backoff::Backoff,
    runtime::Runtime,
    socketio::{
        ConnectError, ConnectErrorKind, Connection, IncomingEvent, LostConnection, Message,
        Progress, Target,
    },
};
use futures_util::FutureExt;
use gst::{prelude::*, subclass::prelude::*};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::common::{
    connection_report::{ConnectionReporter, ConnectionState, PeerName, Problem, ReportCodes},
    panics,
    reconnect_settings::ReconnectSettings,
    socketio_advice as advice,
    socketio_settings::SocketIoSettings,
};

/// How long [`SocketIoConnection::close`] waits for the server to take the Disconnect packet.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(30);

/// What an element does with its connection. The connection's task calls these methods.
pub trait SocketIoElement: ObjectSubclass<Type: IsA<gst::Element> + Send + Sync> {
    /// Whether the element sends. Then a connection works when something was sent, and not
    /// when it was opened.
    const SENDS: bool;

    /// The settings, which may have changed since the start.
    fn settings(&self) -> SocketIoSettings;
    /// Whether to connect again after a failure.
    fn reconnects(&self) -> bool;
    /// A connection was opened, or the connection has ended.
    fn on_connection(&self, connection: Option<&Connection>);
    /// The picture to send now, if there is one.
    fn next_messages(&self) -> Option<Vec<Message>> {
        None
    }
    /// All messages of that picture were sent.
    fn sent(&self) {}
    /// Answers to events, to be sent now. They do not wait for a picture to be sent: the
    /// connection counts them, and stops reading while too many of them wait.
    fn answers(&self) -> Vec<Message> {
        Vec::new()
    }
    /// Takes an event. Returns whether it has a picture for this element.
    fn take(&self, event: &IncomingEvent<'_>) -> bool;
    /// The connection was ended because of what the server sent.
    fn bad_data(&self) {}
    /// There will be no further connection: because of an error that was reported, or
    /// because the server has closed the last one.
    fn ended(&self);
}

/// The connection of an element, from its start to its stop.
pub struct SocketIoConnection {
    reporter: Arc<ConnectionReporter>,
    /// Wakes the task when there may be something to send.
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    /// Closed when the task has ended.
    done: mpsc::Receiver<()>,
    runtime: Runtime,
}

impl SocketIoConnection {
    /// Starts the task that connects.
    ///
    /// # Errors
    ///
    /// If the system cannot start another thread.
    pub fn open<E: SocketIoElement>(
        category: gst::DebugCategory,
        element: &E::Type,
        target: Target,
    ) -> Result<Self, gst::ErrorMessage> {
        let url = target.url.to_string();
        let runtime = Runtime::new("b64jpeg-relay")
            .map_err(|error| gst::error_msg!(gst::ResourceError::Failed, ("{error}")))?;
        let peer = PeerName {
            message: gst::Structure::builder("socketio-connection")
                .field("url", &url)
                .build(),
            display: url,
        };
        let codes = ReportCodes {
            open: gst::ResourceError::OpenReadWrite,
            transfer: gst::ResourceError::OpenReadWrite,
        };
        let reporter = Arc::new(ConnectionReporter::new(category, element, peer, codes));
        let wake = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let (doing, done) = mpsc::channel();
        let session = Session::<E> {
            category,
            element: element.downgrade(),
            reporter: reporter.clone(),
            target,
            wake: wake.clone(),
            stop: stopped,
            connected_before: false,
            backoff: Backoff::default(),
        };
        let element = element.downgrade();
        runtime.handle().spawn(async move {
            // The runtime would swallow a panic.
            let run = AssertUnwindSafe(session.run()).catch_unwind();
            if let Err(panic) = run.await {
                report_panic::<E>(&element, &*panic);
            }
            drop(doing);
        });
        Ok(Self {
            reporter,
            wake,
            stop,
            done,
            runtime,
        })
    }

    /// Makes the task call [`SocketIoElement::next_messages`] and [`SocketIoElement::answers`].
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Reports that the first picture of the connection has arrived.
    pub fn report_streaming(&self) {
        self.reporter.enter(ConnectionState::Streaming, None);
    }

    /// Disconnects, and waits for the server to take that for a short time only.
    pub fn close(mut self) {
        self.stop.send_replace(true);
        // One of the runtime's own threads would wait for itself.
        if Handle::try_current().is_err() {
            let _ = self.done.recv_timeout(2 * CLOSE_TIMEOUT);
        }
        self.runtime.stop();
    }
}

/// The task's state.
struct Session<E: SocketIoElement> {
    category: gst::DebugCategory,
    element: glib::WeakRef<E::Type>,
    reporter: Arc<ConnectionReporter>,
    target: Target,
    wake: Arc<Notify>,
    stop: watch::Receiver<bool>,
    /// Whether there was a connection before.
    connected_before: bool,
    backoff: Backoff,
}

/// What has ended a connection that was open.
struct ConnectionEnd {
    lost: LostConnection,
    /// Whether the server did not even take the first thing that was sent.
    took_nothing: bool,
}

impl<E: SocketIoElement> Session<E> {
    /// Connects again and again, until the element stops or gives up.
    async fn run(mut self) {
        self.reporter.enter(ConnectionState::Connecting, None);
        loop {
            let Some(settings) = with(&self.element, E::settings) else {
                return;
            };
            self.target.timeout = settings.waits.timeout();
            let opened = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return,
                opened = Connection::open(&self.target) => opened,
            };
            let delay = match opened {
                Ok(connection) => match self.serve(connection).await {
                    Some(end) => self.handle_end(&end),
                    None => return,
                },
                Err(error) => self.handle_connect_error(&error),
            };
            let Some(delay) = delay else { return };
            gst::debug!(
                self.category,
                "{}: the next attempt is in {delay:?}",
                self.reporter.peer()
            );
            tokio::select! {
                () = stopped(&mut self.stop) => return,
                () = sleep(delay) => {}
            }
        }
    }

    /// Uses a connection until it ends. Returns nothing if the element stops before.
    async fn serve(&mut self, mut connection: Connection) -> Option<ConnectionEnd> {
        let since = Instant::now();
        self.connected_before = true;
        with(&self.element, |element: &E| {
            element.on_connection(Some(&connection))
        });
        self.reporter.enter(ConnectionState::Connected, None);
        #[cfg(test)]
        if let Some(element) = self.element.upgrade() {
            panics::tests::provoke(element.upcast_ref(), "connection task");
        }
        // After bad data it takes a good message to show that the server has recovered.
        if !E::SENDS && self.reporter.problem() != Some(Problem::BadData) {
            self.report_recovery();
        }

        let mut works = false;
        let mut sending = false;
        let lost = loop {
            let answers = with(&self.element, E::answers).unwrap_or_default();
            if let Err(lost) = connection.reply(answers) {
                break lost;
            }
            if !sending && let Some(messages) = with(&self.element, E::next_messages).flatten() {
                sending = true;
                if let Err(lost) = connection.send(messages) {
                    break lost;
                }
            }
            let element = &self.element;
            let progress = connection.advance(|event| {
                let taken = with(element, |element: &E| element.take(&event));
                taken.unwrap_or_default()
            });
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => {
                    // It is of no importance whether the server takes it.
                    let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
                    with(&self.element, |element: &E| element.on_connection(None));
                    return None;
                }
                progress = progress => {
                    let useful = match progress {
                        Ok(Progress::Sent) if sending => {
                            sending = false;
                            with(element, E::sent);
                            E::SENDS
                        }
                        Ok(Progress::Slow(report)) => {
                            // An element that only sends does not wait for messages.
                            if !E::SENDS {
                                let text = format!(
                                    "{} {report} and no whole message yet; still waiting",
                                    self.reporter.peer()
                                );
                                self.reporter.warn(Problem::Slow, &text);
                                works = false;
                            }
                            false
                        }
                        Ok(progress) => progress == Progress::Received { useful: true },
                        Err(lost) => break lost,
                    };
                    if useful && !std::mem::replace(&mut works, true) {
                        self.report_recovery();
                    }
                }
                () = self.wake.notified() => {}
            }
        };
        with(&self.element, |element: &E| element.on_connection(None));
        // The delay stays long while connections end soon after they were opened.
        if since.elapsed() >= self.waits().delays().1 {
            self.backoff.reset();
        }
        Some(ConnectionEnd {
            lost,
            took_nothing: E::SENDS && sending && !works,
        })
    }

    /// Reports the end of a failure, if one was reported.
    fn report_recovery(&self) {
        let peer = self.reporter.peer();
        self.reporter.recovered(|problem| match problem {
            Problem::Slow => format!("Pictures come from {peer}"),
            _ => format!("{peer} is there again"),
        });
    }

    /// Reports a lost connection. Returns the delay before the next attempt; nothing if there
    /// is to be none.
    fn handle_end(&mut self, end: &ConnectionEnd) -> Option<Duration> {
        let (peer, cause) = (self.reporter.peer(), &advice::describe_lost(&end.lost));
        let text = format!("{peer} is lost: {cause}");
        self.reporter.enter(ConnectionState::Lost, Some(cause));
        if end.lost.is_bad() {
            with(&self.element, E::bad_data);
        }
        if self.reconnects() {
            if end.lost.is_bad() {
                self.reporter
                    .warn(Problem::BadData, &format!("{text}; trying again"));
            } else if end.took_nothing {
                let text = format!("{peer} takes no pictures: {cause}; trying again until it does");
                self.reporter.warn(Problem::Unreachable, &text);
            } else {
                self.reporter.inform_lost(&format!("{text}; trying again"));
            }
            return Some(self.next_delay());
        }
        if end.lost.is_closed() {
            gst::info!(self.category, "{text}");
            with(&self.element, E::ended);
        } else {
            self.fail(gst::ResourceError::Read, &text);
        }
        None
    }

    /// Reports a failed attempt to connect. Returns the delay before the next one; nothing if
    /// there is to be none.
    fn handle_connect_error(&mut self, error: &ConnectError) -> Option<Duration> {
        let peer = self.reporter.peer();
        let cause = advice::describe(error);
        let (text, state, code) = match error.kind() {
            ConnectErrorKind::Unreachable => {
                let text = format!("Cannot reach {peer}: {cause}");
                if self.reconnects() {
                    self.reporter
                        .enter(ConnectionState::Unreachable, Some(&cause));
                    let text = format!("{text}; trying again until it is there");
                    self.reporter.warn(Problem::Unreachable, &text);
                    return Some(self.next_delay());
                }
                let code = gst::ResourceError::OpenReadWrite;
                (text, ConnectionState::Unreachable, code)
            }
            ConnectErrorKind::Unusable => {
                let code = gst::ResourceError::OpenReadWrite;
                let text = format!("{peer}: {cause}");
                (text, ConnectionState::Unreachable, code)
            }
            ConnectErrorKind::Refused => {
                let code = gst::ResourceError::NotAuthorized;
                let text = format!("{peer}: {cause}");
                (text, ConnectionState::Refused, code)
            }
        };
        // A server that could be used before may be repaired.
        if self.connected_before && self.reconnects() {
            self.reporter.enter(state, Some(&cause));
            let text = format!("{text}; trying again from time to time");
            self.reporter.warn(Problem::Unusable, &text);
            let (first, last) = self.waits().delays();
            return Some(first.max(last));
        }
        // The error says that nothing will be tried again: "waiting" would contradict it.
        if state == ConnectionState::Refused {
            self.reporter.enter(state, Some(&cause));
        }
        self.fail(code, &text);
        None
    }

    fn reconnects(&self) -> bool {
        with(&self.element, E::reconnects).unwrap_or_default()
    }

    fn waits(&self) -> ReconnectSettings {
        let settings = with(&self.element, E::settings).unwrap_or_default();
        settings.waits
    }

    fn next_delay(&mut self) -> Duration {
        self.waits().next(&mut self.backoff)
    }

    /// Ends the stream with an error.
    fn fail(&self, code: gst::ResourceError, text: &str) {
        self.reporter.fail(code, text);
        with(&self.element, E::ended);
    }
}

/// Reports a panic of the task, after which there is no connection any more.
fn report_panic<E: SocketIoElement>(element: &glib::WeakRef<E::Type>, panic: &(dyn Any + Send)) {
    let Some(element) = element.upgrade() else {
        return;
    };
    element.post_error_message(panics::message("connection task", panic));
    let (element, imp) = (element.upcast_ref(), E::from_obj(&element));
    // Each call has a guard of its own: if the first one panics again, the second one must
    // still wake the streaming thread.
    panics::guard_element(element, "on_connection", (), || imp.on_connection(None));
    panics::guard_element(element, "ended", (), || imp.ended());
}

/// Calls the element, if it still exists.
fn with<E: SocketIoElement, T>(
    element: &glib::WeakRef<E::Type>,
    call: impl FnOnce(&E) -> T,
) -> Option<T> {
    element.upgrade().map(|element| call(E::from_obj(&element)))
}

/// Returns when the element stops, or is gone.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
