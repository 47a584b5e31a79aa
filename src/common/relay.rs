// SPDX-License-Identifier: MPL-2.0

//! What elements have in common that are clients of a relay: their properties, and the
//! connection that is made again and again.

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
        Progress, Target, Url,
    },
    tls,
};
use b64jpeg_wire::socketio::{self as protocol, Json, PictureEvent};
use futures_util::FutureExt;
use gst::{prelude::*, subclass::prelude::*};
use tokio::{
    runtime::Handle,
    sync::{Notify, watch},
    time::{sleep, timeout},
};

use crate::common::{panics, socketio_advice as advice, waits::Waits};

const DEFAULT_URL: &str = "http://localhost:5000";
const DEFAULT_EVENT: &str = "stream";

/// How long taking leave of a server may take.
const GOODBYE: Duration = Duration::from_millis(30);

/// Names of events that Socket.IO keeps for itself.
const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Where a relay is, and how to talk to it: the properties that say so.
#[derive(Debug, Clone)]
pub struct Settings {
    url: String,
    namespace: String,
    pub event: String,
    pub camera: String,
    auth: String,
    ca_file: String,
    waits: Waits,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: DEFAULT_URL.into(),
            namespace: protocol::ROOT.into(),
            event: DEFAULT_EVENT.into(),
            camera: String::new(),
            auth: String::new(),
            ca_file: String::new(),
            waits: Waits::default(),
        }
    }
}

impl Settings {
    /// `camera` is what that property does.
    pub fn properties(camera: &str) -> Vec<glib::ParamSpec> {
        let text = |name: &str, nick: &str, blurb: &str, default: &str| {
            glib::ParamSpecString::builder(name)
                .nick(nick)
                .blurb(blurb)
                .default_value(Some(default))
                .mutable_ready()
                .build()
        };
        let mut properties = vec![
            text(
                "url",
                "URL",
                "Address of the relay: http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY]; \
                 ws and wss are the same. The path is that of Socket.IO, /socket.io/ if there \
                 is none",
                DEFAULT_URL,
            ),
            text(
                "namespace",
                "Namespace",
                "Namespace of the relay",
                protocol::ROOT,
            ),
            text(
                "event",
                "Event",
                "Event that carries the pictures",
                DEFAULT_EVENT,
            ),
            text("camera", "Camera", camera, ""),
            text(
                "auth",
                "Authentication",
                "What the relay is told at the start: a JSON object, such as \
                 {\"token\": \"…\"}; empty for nothing",
                "",
            ),
            text(
                "ca-file",
                "CA file",
                "File (PEM) with certificates to trust, besides those that this machine does",
                "",
            ),
        ];
        properties.extend(Waits::properties(
            "the relay has to answer, and to take at least a part of what is sent",
            "in vain",
        ));
        properties
    }

    /// Sets one of these properties.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const OF_TYPE: &str = "GObject checks the type";
        let text = || value.get::<Option<_>>().expect(OF_TYPE).unwrap_or_default();
        match name {
            "url" => self.url = text(),
            "namespace" => self.namespace = text(),
            "event" => self.event = text(),
            "camera" => self.camera = text(),
            "auth" => self.auth = text(),
            "ca-file" => self.ca_file = text(),
            name => self.waits.set(name, value),
        }
    }

    /// The value of one of these properties.
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "url" => self.url.to_value(),
            "namespace" => self.namespace.to_value(),
            "event" => self.event.to_value(),
            "camera" => self.camera.to_value(),
            "auth" => self.auth.to_value(),
            "ca-file" => self.ca_file.to_value(),
            name => self.waits.get(name),
        }
    }

    /// The name of the camera, if there is one.
    pub fn camera(&self) -> Option<&str> {
        Some(&*self.camera).filter(|camera| !camera.is_empty())
    }

    /// The namespace; no name is that of the one that everybody has.
    fn namespace(&self) -> &str {
        match &*self.namespace {
            "" => protocol::ROOT,
            namespace => namespace,
        }
    }

    /// The event that a picture makes.
    pub fn picture_event(&self) -> PictureEvent {
        PictureEvent::new(self.namespace(), &self.event, self.camera())
    }

    /// Where to connect to, if the settings make sense.
    pub fn target(&self, max_picture: usize, listens: bool) -> Result<Target, gst::ErrorMessage> {
        let wrong = |error: String| gst::error_msg!(gst::ResourceError::Settings, ("{error}"));
        let url = self.url.parse::<Url>();
        let url = url.map_err(|error| wrong(advice::describe_url(&error)))?;
        protocol::check_namespace(self.namespace())
            .map_err(|error| wrong(format!("`namespace` {:?}: {error}", self.namespace)))?;
        if self.event.is_empty() {
            return Err(wrong(
                "`event` is empty: pictures need the name of one".into(),
            ));
        }
        if RESERVED.contains(&&*self.event) {
            return Err(wrong(format!(
                "`event` {:?} is a name that Socket.IO keeps for itself",
                self.event
            )));
        }
        let auth = match &*self.auth {
            "" => None,
            // It is not repeated: a log is no place for a token.
            text => match Json::parse(text) {
                Ok(object @ Json::Object(_)) => Some(object.into_owned()),
                Ok(_) => {
                    return Err(wrong(
                        "`auth` is JSON, but no object, such as {\"token\": \"…\"}".into(),
                    ));
                }
                Err(error) => return Err(wrong(format!("`auth`: {error}"))),
            },
        };
        let tls = url
            .tls
            .then(|| tls::client_config(&self.ca_file))
            .transpose();
        Ok(Target {
            tls: tls.map_err(|error| wrong(advice::describe_ca_file(&error)))?,
            url,
            namespace: self.namespace().into(),
            auth,
            timeout: self.waits.timeout(),
            max_frame_size: max_picture,
            wants_events: listens,
        })
    }
}

/// What an element does with its connection. All of it in the runtime's thread.
pub trait Client: ObjectSubclass<Type: IsA<gst::Element> + Send + Sync> {
    /// Whether all is well only when something was sent, and not when it can be.
    const SENDS: bool;

    /// Those that may have changed since the start.
    fn settings(&self) -> Settings;
    /// Whether to connect again when that has not worked, or the connection is lost.
    fn reconnects(&self) -> bool;
    /// There is a connection, or none any more.
    fn on_connection(&self, connection: Option<&Connection>);
    /// The picture to send now, if there is one.
    fn next(&self) -> Option<Vec<Message>> {
        None
    }
    /// All of that was sent.
    fn sent(&self) {}
    /// Answers to events, to be sent now. They do not wait until a picture is sent: the
    /// connection counts them, and reads nothing more while there are too many.
    fn answers(&self) -> Vec<Message> {
        Vec::new()
    }
    /// An event came; whether it is of use.
    fn take(&self, event: &IncomingEvent<'_>) -> bool;
    /// The connection was lost because of what came.
    fn spoiled(&self) {}
    /// There will be no connection any more: because of an error, which has been told, or
    /// because the server has closed it.
    fn ended(&self);
}

/// The connection of an element, from its start to its stop.
pub struct Line {
    url: String,
    /// There may be something to send.
    wake: Arc<Notify>,
    stop: watch::Sender<bool>,
    /// Ends with the connection.
    done: mpsc::Receiver<()>,
    runtime: Runtime,
}

impl Line {
    /// Begins to connect.
    pub fn open<C: Client>(
        category: gst::DebugCategory,
        element: &C::Type,
        target: Target,
    ) -> Result<Self, gst::ErrorMessage> {
        let url = target.url.to_string();
        let runtime = Runtime::new("b64jpeg-relay")
            .map_err(|error| gst::error_msg!(gst::ResourceError::Failed, ("{error}")))?;
        let wake = Arc::new(Notify::new());
        let (stop, stopped) = watch::channel(false);
        let (doing, done) = mpsc::channel();
        let session = Session::<C> {
            category,
            element: element.downgrade(),
            target,
            wake: wake.clone(),
            stop: stopped,
            ever: false,
            backoff: Backoff::default(),
            told: Told::Well,
            state: "",
        };
        let element = element.downgrade();
        runtime.handle().spawn(async move {
            // The runtime would swallow a panic.
            let run = AssertUnwindSafe(session.run()).catch_unwind();
            if let Err(panic) = run.await {
                report_panic::<C>(&element, &*panic);
            }
            drop(doing);
        });
        Ok(Self {
            url,
            wake,
            stop,
            done,
            runtime,
        })
    }

    /// Has [`Client::next`] and [`Client::answers`] be asked.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// The relay, as messages name it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Takes leave of the relay, if that does not take long.
    pub fn close(mut self) {
        self.stop.send_replace(true);
        // In one of its own threads it would wait for itself.
        if Handle::try_current().is_err() {
            let _ = self.done.recv_timeout(2 * GOODBYE);
        }
        self.runtime.stop();
    }
}

/// What was told about the relay last.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// Nothing, or that there is a connection.
    Well,
    /// That bytes come, but no whole message.
    Slow,
    /// That the connection was lost.
    Lost,
    /// That it was lost because of what came.
    Bad,
    /// That it cannot be reached.
    Unreachable,
    /// That it is none, or does not let us in.
    Wrong,
}

/// Connects an element to its relay, however often.
struct Session<C: Client> {
    category: gst::DebugCategory,
    element: glib::WeakRef<C::Type>,
    target: Target,
    wake: Arc<Notify>,
    stop: watch::Receiver<bool>,
    /// Whether there was a connection before.
    ever: bool,
    backoff: Backoff,
    told: Told,
    /// The last state in an element message.
    state: &'static str,
}

impl<C: Client> Session<C> {
    /// Does it, until the line is stopped or there is no use in it.
    async fn run(mut self) {
        self.tell("connecting", None);
        loop {
            let Some(settings) = with(&self.element, C::settings) else {
                return;
            };
            self.target.timeout = settings.waits.timeout();
            let opened = tokio::select! {
                biased;
                () = stopped(&mut self.stop) => return,
                opened = Connection::open(&self.target) => opened,
            };
            let wait = match opened {
                Ok(connection) => match self.serve(connection).await {
                    Some((lost, in_vain)) => self.lose(&lost, in_vain),
                    None => return,
                },
                Err(error) => self.put_off(error),
            };
            let Some(wait) = wait else { return };
            gst::debug!(self.category, "{}: next try in {wait:?}", self.target.url);
            tokio::select! {
                () = stopped(&mut self.stop) => return,
                () = sleep(wait) => {}
            }
        }
    }

    /// Uses a connection until it is lost; how, and whether it has not even taken the first
    /// thing to send. Nothing if the line was stopped before.
    async fn serve(&mut self, mut connection: Connection) -> Option<(LostConnection, bool)> {
        let since = Instant::now();
        self.ever = true;
        with(&self.element, |client: &C| {
            client.on_connection(Some(&connection))
        });
        self.tell("connected", None);
        #[cfg(test)]
        if let Some(element) = self.element.upgrade() {
            panics::tests::provoke(element.upcast_ref(), "connection task");
        }
        let mut worked = false;
        if !C::SENDS && self.told != Told::Bad {
            self.tell_well();
        }

        let mut sending = false;
        let lost = loop {
            let answers = with(&self.element, C::answers).unwrap_or_default();
            if let Err(lost) = connection.reply(answers) {
                break lost;
            }
            if !sending && let Some(messages) = with(&self.element, C::next).flatten() {
                sending = true;
                if let Err(lost) = connection.send(messages) {
                    break lost;
                }
            }
            let element = &self.element;
            let turn = connection.advance(|event| {
                let taken = with(element, |client: &C| client.take(&event));
                taken.unwrap_or_default()
            });
            tokio::select! {
                biased;
                () = stopped(&mut self.stop) => {
                    // Whether it hears us or not.
                    let _ = timeout(GOODBYE, connection.close()).await;
                    with(&self.element, |client: &C| client.on_connection(None));
                    return None;
                }
                turn = turn => {
                    let works = match turn {
                        Ok(Progress::Sent) if sending => {
                            sending = false;
                            with(element, C::sent);
                            C::SENDS
                        }
                        Ok(Progress::Slow(report)) => {
                            // Who sends only does not wait for messages.
                            if !C::SENDS {
                                let text = format!(
                                    "{} {report} and no whole message yet; still waiting",
                                    self.target.url
                                );
                                self.warn(Told::Slow, &text);
                                worked = false;
                            }
                            false
                        }
                        Ok(turn) => turn == Progress::Received { useful: true },
                        Err(lost) => break lost,
                    };
                    if works && !std::mem::replace(&mut worked, true) {
                        self.tell_well();
                    }
                }
                () = self.wake.notified() => {}
            }
        };
        with(&self.element, |client: &C| client.on_connection(None));
        // One that does not last is no better than none.
        if since.elapsed() >= self.waits().delays().1 {
            self.backoff.reset();
        }
        Some((lost, C::SENDS && sending && !worked))
    }

    /// All is well; said if something was not.
    fn tell_well(&mut self) {
        match std::mem::replace(&mut self.told, Told::Well) {
            Told::Well => {}
            Told::Slow => self.inform(&format!("Pictures come from {}", self.target.url)),
            _ => self.inform(&format!("{} is there again", self.target.url)),
        }
    }

    /// A connection was lost: how long to wait before the next one, if there is to be one.
    fn lose(&mut self, lost: &LostConnection, in_vain: bool) -> Option<Duration> {
        let (url, cause) = (&self.target.url, &advice::describe_lost(lost));
        let text = format!("{url} is lost: {cause}");
        let vain = format!("{url} takes no pictures: {cause}; trying again until it does");
        self.tell("lost", Some(cause));
        if lost.is_bad() {
            with(&self.element, C::spoiled);
        }
        if self.reconnects() {
            if lost.is_bad() {
                self.warn(Told::Bad, &format!("{text}; trying again"));
            } else if in_vain {
                self.warn(Told::Unreachable, &vain);
            } else {
                self.told = Told::Lost;
                self.inform(&format!("{text}; trying again"));
            }
            return Some(self.wait());
        }
        if lost.is_closed() {
            gst::info!(self.category, "{text}");
            with(&self.element, C::ended);
        } else {
            self.fail(gst::ResourceError::Read, &text);
        }
        None
    }

    /// There is no connection: how long to wait before the next try, if there is to be one.
    fn put_off(&mut self, error: ConnectError) -> Option<Duration> {
        let url = &self.target.url;
        let cause = advice::describe(&error);
        let (text, cause, state, kind) = match error.kind() {
            ConnectErrorKind::Unreachable => {
                let text = format!("Cannot reach {url}: {cause}");
                if self.reconnects() {
                    self.tell("waiting", Some(&cause));
                    let text = format!("{text}; trying again until it is there");
                    self.warn(Told::Unreachable, &text);
                    return Some(self.wait());
                }
                (text, cause, "waiting", gst::ResourceError::OpenReadWrite)
            }
            ConnectErrorKind::Unusable => {
                let text = format!("{url}: {cause}");
                (text, cause, "waiting", gst::ResourceError::OpenReadWrite)
            }
            ConnectErrorKind::Refused => {
                let text = format!("{url}: {cause}");
                (text, cause, "refused", gst::ResourceError::NotAuthorized)
            }
        };
        if self.ever && self.reconnects() {
            // It may be a mistake that somebody mends.
            self.tell(state, Some(&cause));
            let text = format!("{text}; trying again from time to time");
            self.warn(Told::Wrong, &text);
            let (first, last) = self.waits().delays();
            return Some(first.max(last));
        }
        // No state but this one is worth telling when there is an error.
        if state == "refused" {
            self.tell(state, Some(&cause));
        }
        self.fail(kind, &text);
        None
    }

    fn reconnects(&self) -> bool {
        with(&self.element, C::reconnects).unwrap_or_default()
    }

    fn waits(&self) -> Waits {
        let settings = with(&self.element, C::settings).unwrap_or_default();
        settings.waits
    }

    fn wait(&mut self) -> Duration {
        self.waits().next(&mut self.backoff)
    }

    /// Ends it all with an error.
    fn fail(&self, kind: gst::ResourceError, text: &str) {
        let Some(element) = self.element.upgrade() else {
            return;
        };
        gst::element_error!(element, kind, ("{text}"));
        C::from_obj(&element).ended();
    }

    /// Warns, unless that is known.
    fn warn(&mut self, what: Told, text: &str) {
        let known = std::mem::replace(&mut self.told, what) == what;
        match self.element.upgrade() {
            Some(element) if !known => {
                gst::element_warning!(element, gst::ResourceError::OpenReadWrite, ("{text}"));
            }
            _ => gst::debug!(self.category, "{text}"),
        }
    }

    fn inform(&self, text: &str) {
        if let Some(element) = self.element.upgrade() {
            // Twice, because gst-launch-1.0 prints no more than the second.
            gst::element_info!(
                element,
                gst::ResourceError::OpenReadWrite,
                ("{text}"),
                ["{text}"]
            );
        }
    }

    /// Tells applications about the connection, if something has changed.
    fn tell(&mut self, state: &'static str, cause: Option<&str>) {
        if std::mem::replace(&mut self.state, state) == state {
            return;
        }
        let Some(element) = self.element.upgrade() else {
            return;
        };
        gst::info!(
            self.category,
            obj = element,
            "{state}: {} {}",
            self.target.url,
            cause.unwrap_or_default()
        );
        post(
            element.upcast_ref(),
            state,
            &self.target.url.to_string(),
            cause,
        );
    }
}

/// Tells applications of a state of the connection.
pub fn post(element: &gst::Element, state: &str, url: &str, cause: Option<&str>) {
    let structure = gst::Structure::builder("socketio-connection")
        .field("state", state)
        .field("url", url)
        .field_if_some("cause", cause)
        .build();
    let message = gst::message::Element::builder(structure)
        .src(element)
        .build();
    // Without a bus nobody listens.
    let _ = element.post_message(message);
}

/// Reports a panic of the connection's task, after which there is no connection any more.
fn report_panic<C: Client>(element: &glib::WeakRef<C::Type>, panic: &(dyn Any + Send)) {
    let Some(element) = element.upgrade() else {
        return;
    };
    element.post_error_message(panics::message("connection task", panic));
    let (element, client) = (element.upcast_ref(), C::from_obj(&element));
    // One by one: whoever waits has to be woken even if the first one panics again.
    panics::guard_element(element, "on_connection", (), || client.on_connection(None));
    panics::guard_element(element, "ended", (), || client.ended());
}

/// Calls the element, if it is still there.
fn with<C: Client, T>(element: &glib::WeakRef<C::Type>, call: impl FnOnce(&C) -> T) -> Option<T> {
    element.upgrade().map(|element| call(C::from_obj(&element)))
}

/// Returns when that is wanted, or nobody is left to want anything.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}
