// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegclientsrc
//!
//! Connects to a program that sends JPEG pictures over TCP as Python/OpenCV programs do
//! (a length, then one JPEG as base64 text) and gives whole JPEGs, timed by their arrival.
//!
//! A server that is not there yet, goes away or falls silent is tried again until it is
//! there. Each change is told once: as a warning or an information message for people, and
//! as the element message `b64jpeg-connection` with `host`, `port`, if there is one `cause`,
//! and `state`:
//!
//! - `connecting`, once at the start;
//! - `waiting`: it cannot be reached, and is tried again and again;
//! - `connected`;
//! - `streaming`: the first picture of a connection is there;
//! - `lost`: the connection is.
//!
//! With `reconnect=false` the stream ends with its server: with EOS if that closed the
//! connection behind a whole picture, and with an error otherwise.
//!
//! A server that sends bytes, but no whole picture for longer than six times `timeout` (a
//! minute by default), is reported with a warning, once for each connection, and again only
//! after pictures have come in time; never with `timeout=0`. The connection stays.
//!
//! Bad frames are reported and skipped as by `b64jpegdepay`.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 b64jpegclientsrc host=localhost port=9999 ! jpegdec ! videoconvert ! autovideosink
//! ```
//!
//! Players take it as a URI:
//!
//! ```bash
//! gst-play-1.0 b64jpeg://localhost:9999
//! ```

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use b64jpeg_net::{
    backoff::Backoff,
    host::{self, DEFAULT_PORT},
    slow_peer::{self, SlowPeerDetector, SlowReport},
    tcp::client::{Interrupter, Interruption, TcpClient, TcpClientError},
};
use b64jpeg_wire::{AcceptedFramings, Deframer, FrameError, FrameLimits, jpeg};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_src::CreateSuccess, prelude::*},
};
use once_cell::sync::Lazy;

use crate::common::{
    capture::{self, Delays},
    faults::{Faults, Verdict},
    framing::{self, HeaderOrAuto, PayloadOrAuto},
    panics, picture,
    quit::{self, Quit},
    receiver::Format,
    stats::{self, Stats},
    uri::{self, Uri},
    waits::Waits,
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "b64jpegclientsrc",
        gst::DebugColorFlags::empty(),
        Some("Base64 JPEG client"),
    )
});

const DEFAULT_HOST: &str = "localhost";
const DEFAULT_RECONNECT: bool = true;

#[derive(Debug, Clone)]
struct Settings {
    host: String,
    port: u16,
    /// Why the URI that was set last is none, if so.
    bad_uri: Option<String>,
    format: Format,
    waits: Waits,
    reconnect: bool,
    quit_key: String,
    stats_interval: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: DEFAULT_HOST.into(),
            port: DEFAULT_PORT,
            bad_uri: None,
            format: Format::default(),
            waits: Waits::default(),
            reconnect: DEFAULT_RECONNECT,
            quit_key: String::new(),
            stats_interval: stats::DEFAULT_INTERVAL,
        }
    }
}

impl Settings {
    /// The URI that makes these settings out of the default ones.
    fn uri(&self) -> Uri {
        Uri {
            host: host::bare_host(&self.host).into(),
            port: self.port,
            header: Some(self.format.header).filter(|header| *header != HeaderOrAuto::Auto),
            payload: Some(self.format.payload).filter(|payload| *payload != PayloadOrAuto::Auto),
            reconnect: Some(self.reconnect).filter(|reconnect| *reconnect != DEFAULT_RECONNECT),
        }
    }

    /// Takes what a URI says, and leaves what it does not say.
    fn set_uri(&mut self, uri: Uri) {
        self.host = uri.host;
        self.port = uri.port;
        self.bad_uri = None;
        self.format.header = uri.header.unwrap_or(self.format.header);
        self.format.payload = uri.payload.unwrap_or(self.format.payload);
        self.reconnect = uri.reconnect.unwrap_or(self.reconnect);
    }
}

/// What was told about the server last.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Told {
    /// Nothing, or that its pictures come.
    Well,
    /// That it sends bytes, but no whole picture.
    Slow,
    /// That its stream was lost.
    Lost,
    /// That it cannot be reached, or gives no pictures.
    Unreachable,
}

/// How a connection has ended.
struct End {
    cause: String,
    /// Whether the server closed it.
    closed: bool,
    /// A frame that was cut off, or what else there was behind the last one.
    torn: Option<FrameError>,
}

/// What the streaming thread has, from start to stop.
struct Session {
    host: String,
    port: u16,
    accept: AcceptedFramings,
    limits: FrameLimits,
    client: TcpClient,
    backoff: Backoff,
    /// Not before it is there another try.
    next_try: Option<Instant>,
    /// While there is a connection.
    deframer: Option<Deframer>,
    /// Nothing more comes from it, but there may be frames in what came.
    end: Option<End>,
    faults: Faults,
    slow: SlowPeerDetector,
    told: Told,
    /// The last state in an element message.
    state: &'static str,
    /// Width and height of the last picture, as in the caps downstream.
    size: Option<Option<(u16, u16)>>,
    discont: bool,
    stats_told: stats::Told,
}

impl Session {
    fn new(settings: &Settings, client: TcpClient) -> Self {
        Self {
            host: settings.host.clone(),
            port: settings.port,
            accept: settings.format.accept(AcceptedFramings::default()),
            limits: settings.format.tolerance.limits(),
            client,
            backoff: Backoff::default(),
            next_try: None,
            deframer: None,
            end: None,
            faults: Faults::default(),
            slow: SlowPeerDetector::default(),
            told: Told::Well,
            state: "",
            size: None,
            discont: true,
            stats_told: stats::Told::default(),
        }
    }

    /// Who is at the other end, for messages.
    fn peer(&self) -> String {
        host::host_and_port(&self.host, self.port)
    }

    /// Pictures that have come over this connection.
    fn frames(&self) -> u64 {
        self.deframer.as_ref().map_or(0, |d| d.stream().frames())
    }
}

/// What others may ask at any time.
#[derive(Debug, Default)]
struct Counts {
    stats: Stats,
    delays: Delays,
    connected: bool,
    connections: u64,
    /// Those of the connections before this one.
    resyncs: u64,
}

impl Counts {
    /// As users read them.
    fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        stats.set("connected", self.connected);
        stats.set("connections", self.connections);
        self.delays.tell(&mut stats);
        stats
    }
}

#[derive(Default)]
pub struct B64JpegClientSrc {
    settings: Mutex<Settings>,
    /// The streaming thread takes it out while it is at work.
    session: Mutex<Option<Box<Session>>>,
    counts: Mutex<Counts>,
    interrupt: Arc<Interrupter>,
}

impl B64JpegClientSrc {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> MutexGuard<'_, Option<Box<Session>>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses settings that make no sense. Not in `start`, where GstBaseSrc would post
    /// another error, which says nothing.
    fn check_settings(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings();
        if let Some(error) = &settings.bad_uri {
            return Err(gst::error_msg!(gst::ResourceError::Settings, ("{error}")));
        }
        host::check_host(&settings.host).map_err(|error| {
            let advice =
                "`host` is a name or an address alone; there are `port` and `uri` for the rest";
            gst::error_msg!(gst::ResourceError::Settings, ("{error}; {advice}"))
        })?;
        settings.format.check(AcceptedFramings::default()).map(drop)
    }

    /// The next picture, however long it takes and however many connections.
    fn next(&self, session: &mut Session) -> Result<gst::Buffer, gst::FlowError> {
        loop {
            match self.interrupt.take() {
                None => {}
                Some(Interruption::Stop) => return Err(gst::FlowError::Flushing),
                Some(Interruption::Pause) => {
                    gst::debug!(CAT, imp = self, "Paused");
                    self.obj().wait_playing()?;
                }
            }
            let Some(deframer) = &mut session.deframer else {
                self.connect(session)?;
                continue;
            };
            let decode = |kind, payload: &[u8]| picture::decode(kind, payload, &session.limits);
            match deframer.next_with(decode) {
                Some(Ok((buffer, info))) => return Ok(self.take(session, buffer, info)),
                Some(Err(fault)) => self.report(session, fault)?,
                None => match session.end.take() {
                    Some(end) => self.leave(session, end)?,
                    None => self.read(session)?,
                },
            }
        }
    }

    /// Tries to connect, when it is time to.
    fn connect(&self, session: &mut Session) -> Result<(), gst::FlowError> {
        if let Some(time) = session.next_try {
            match session.client.wait_until(time) {
                Ok(()) => session.next_try = None,
                Err(TcpClientError::Interrupted) => return Ok(()),
                Err(error) => {
                    return Err(self.fail(session, gst::ResourceError::Failed, &error.to_string()));
                }
            }
        }
        if session.state.is_empty() {
            self.tell(session, "connecting", None);
        }
        let (timeout, reconnect) = {
            let settings = self.settings();
            (settings.waits.timeout(), settings.reconnect)
        };
        let connected = session.client.connect(&session.host, session.port, timeout);
        let error = match connected {
            Ok(()) => {
                self.begin(session);
                return Ok(());
            }
            Err(TcpClientError::Interrupted) => return Ok(()),
            Err(error) => error,
        };
        let text = format!("Cannot reach {}: {error}", session.peer());
        if !reconnect {
            let kind = match &error {
                TcpClientError::UnknownHost(_) => gst::ResourceError::NotFound,
                _ => gst::ResourceError::OpenRead,
            };
            return Err(self.fail(session, kind, &text));
        }
        self.tell(session, "waiting", Some(&error.to_string()));
        self.warn_unreachable(session, &format!("{text}; trying again until it is there"));
        self.put_off(session);
        Ok(())
    }

    /// A new stream.
    fn begin(&self, session: &mut Session) {
        {
            let counts = &mut *self.counts();
            counts.connected = true;
            counts.connections += 1;
            counts.resyncs = counts.stats.resyncs;
        }
        session.deframer = Some(Deframer::new(session.accept, session.limits));
        session.faults.begin();
        session.slow = SlowPeerDetector::default();
        self.tell(session, "connected", None);
    }

    /// Has the next try wait for a while.
    fn put_off(&self, session: &mut Session) {
        let wait = self.settings().waits.next(&mut session.backoff);
        gst::debug!(CAT, imp = self, "Next try in {wait:?}");
        session.next_try = Instant::now().checked_add(wait);
    }

    /// Reads once.
    fn read(&self, session: &mut Session) -> Result<(), gst::FlowError> {
        let timeout = self.settings().waits.timeout();
        if let Some(report) = session.slow.report(slow_peer::limit(timeout)) {
            self.warn_slow(session, report);
        }
        let Some(deframer) = &mut session.deframer else {
            return Ok(());
        };
        let start = Instant::now();
        let read = session
            .client
            .read(|mut stream| deframer.read_from(&mut stream), timeout);
        let (cause, closed) = match read {
            Ok(0) => ("the server closed the connection".into(), true),
            Ok(len) => {
                gst::trace!(CAT, imp = self, "{len} bytes came");
                self.counts().stats.bytes_in += len as u64;
                session.slow.add(len as u64, start.elapsed());
                return Ok(());
            }
            Err(TcpClientError::Interrupted) => return Ok(()),
            Err(error) => (error.to_string(), false),
        };
        gst::debug!(CAT, imp = self, "The end: {cause}");
        deframer.finish();
        session.end = Some(End {
            cause,
            closed,
            torn: None,
        });
        Ok(())
    }

    /// A picture as it goes out.
    fn take(
        &self,
        session: &mut Session,
        mut buffer: gst::Buffer,
        info: jpeg::JpegInfo,
    ) -> gst::Buffer {
        if session.size != Some(info.size) {
            let caps = picture::caps(info.size, None);
            gst::debug!(CAT, imp = self, "Pictures are {caps}");
            // A pad that is flushing takes none.
            let set = self.obj().set_caps(&caps).is_ok();
            session.size = set.then_some(info.size);
        }
        let output = buffer.get_mut().expect("nobody else has it yet");
        if std::mem::take(&mut session.discont) {
            output.set_flags(gst::BufferFlags::DISCONT);
        }
        {
            let counts = &mut *self.counts();
            if let Some(time) = counts.delays.judge(&info) {
                capture::add_meta(output, time);
                counts.delays.add(time, capture::now());
            }
            // What came in was counted when it was read.
            counts.stats.frame(0, output.size());
            self.follow(session, counts);
        }
        let rest = session.deframer.as_ref().map_or(0, Deframer::held);
        let timeout = self.settings().waits.timeout();
        session
            .slow
            .complete(rest as u64, slow_peer::limit(timeout));
        session.backoff.reset();
        session.faults.good();
        self.tell(session, "streaming", None);
        if std::mem::replace(&mut session.told, Told::Well) != Told::Well {
            self.inform(&format!("Pictures come from {}", session.peer()));
        }
        gst::log!(CAT, imp = self, "{buffer:?}");
        buffer
    }

    /// Counts what the stream does.
    fn follow(&self, session: &Session, counts: &mut Counts) {
        let Some(stream) = session.deframer.as_ref().map(Deframer::stream) else {
            return;
        };
        counts.stats.resyncs = counts.resyncs + stream.resyncs();
        if counts.stats.framing != stream.framing() {
            counts.stats.framing = stream.framing();
            if let Some(framing) = stream.framing() {
                gst::info!(CAT, imp = self, "The framing is {framing}");
            }
        }
    }

    /// Reports a bad frame; an error if the stream ends with it.
    fn report(&self, session: &mut Session, fault: FrameError) -> Result<(), gst::FlowError> {
        let (max_errors, reconnect) = {
            let settings = self.settings();
            (settings.format.tolerance.max_errors, settings.reconnect)
        };
        session.discont = true;
        {
            let counts = &mut *self.counts();
            counts.stats.errors += 1;
            self.follow(session, counts);
        }
        match session.faults.judge(&fault, max_errors) {
            Verdict::Foreign(text) if !session.faults.any_good() => {
                let text = format!("{}: {text}", session.peer());
                Err(self.fail(session, gst::StreamError::WrongType, &text))
            }
            Verdict::Foreign(text) | Verdict::TooMany(text) => {
                if !reconnect {
                    let text = format!("{}: {text}", session.peer());
                    return Err(self.fail(session, gst::StreamError::Decode, &text));
                }
                let end = End {
                    cause: text,
                    closed: false,
                    torn: None,
                };
                self.leave(session, end)
            }
            Verdict::Forgiven(text) => {
                match (&mut session.end, text) {
                    // To be told with the end.
                    (Some(end), _) => {
                        end.torn.get_or_insert(fault);
                    }
                    (None, Some(text)) if session.told != Told::Unreachable => {
                        gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}"));
                    }
                    _ => gst::debug!(CAT, imp = self, "{fault}"),
                }
                Ok(())
            }
        }
    }

    /// Leaves a connection from which nothing more will come.
    fn leave(&self, session: &mut Session, end: End) -> Result<(), gst::FlowError> {
        let peer = session.peer();
        let frames = session.frames();
        self.disconnect(session);
        self.tell(session, "lost", Some(&end.cause));

        let cause = match &end.torn {
            Some(fault) => format!("{}; {fault}", end.cause),
            None => end.cause,
        };
        if self.settings().reconnect {
            self.put_off(session);
            if frames == 0 {
                let text = format!("{peer} gives no pictures: {cause}; trying again until it does");
                self.warn_unreachable(session, &text);
                return Ok(());
            }
            session.told = Told::Lost;
            let text = format!("{peer} is lost after {frames} pictures: {cause}; trying again");
            if end.torn.is_some() {
                gst::element_imp_warning!(self, gst::ResourceError::Read, ("{text}"));
            } else {
                self.inform(&text);
            }
            return Ok(());
        }

        if !end.closed || end.torn.is_some() && session.faults.any_good() {
            let text = format!("{peer} is lost after {frames} pictures: {cause}");
            return Err(self.fail(session, gst::ResourceError::Read, &text));
        }
        if let Some(text) = session.faults.conclude() {
            let text = format!("{peer}: {text}");
            return Err(self.fail(session, gst::StreamError::WrongType, &text));
        }
        gst::info!(CAT, imp = self, "{peer} ends after {frames} pictures");
        Err(gst::FlowError::Eos)
    }

    fn disconnect(&self, session: &mut Session) {
        session.client.disconnect();
        session.deframer = None;
        session.end = None;
        session.discont = true;
        self.counts().connected = false;
    }

    /// Warns that there are no pictures, unless that is known.
    fn warn_unreachable(&self, session: &mut Session, text: &str) {
        match std::mem::replace(&mut session.told, Told::Unreachable) {
            Told::Unreachable => gst::debug!(CAT, imp = self, "{text}"),
            _ => gst::element_imp_warning!(self, gst::ResourceError::OpenRead, ("{text}")),
        }
    }

    /// Warns that bytes come, but no whole picture, unless it is known that none comes.
    fn warn_slow(&self, session: &mut Session, report: SlowReport) {
        let Some(deframer) = &session.deframer else {
            return;
        };
        let have = deframer.held();
        let here = match deframer.frame_len() {
            Some(len) => format!("{have} of {len} bytes are here"),
            None => format!("{have} bytes are here"),
        };
        let (frame, offset) = (deframer.stream().frames(), deframer.stream().offset());
        let text = format!(
            "{} {report} and no whole picture yet (frame {frame} at byte {offset}, {here}); \
             still waiting",
            session.peer()
        );
        if session.told == Told::Unreachable {
            gst::debug!(CAT, imp = self, "{text}");
        } else {
            session.told = Told::Slow;
            gst::element_imp_warning!(self, gst::ResourceError::Read, ("{text}"));
        }
    }

    fn inform(&self, text: &str) {
        // Twice, because gst-launch-1.0 prints no more than the second.
        gst::element_imp_info!(self, gst::ResourceError::Read, ("{text}"), ["{text}"]);
    }

    /// Ends the stream with an error.
    fn fail(
        &self,
        session: &mut Session,
        kind: impl gst::MessageErrorDomain,
        text: &str,
    ) -> gst::FlowError {
        self.disconnect(session);
        gst::element_imp_error!(self, kind, ("{text}"));
        // For an error GstBaseSrc would post another one, which says nothing.
        gst::FlowError::Eos
    }

    /// Tells applications about the connection, if something has changed.
    fn tell(&self, session: &mut Session, state: &'static str, cause: Option<&str>) {
        if std::mem::replace(&mut session.state, state) == state {
            return;
        }
        gst::info!(
            CAT,
            imp = self,
            "{state}: {} {}",
            session.peer(),
            cause.unwrap_or("")
        );
        let structure = gst::Structure::builder("b64jpeg-connection")
            .field("state", state)
            .field("host", &session.host)
            .field("port", i32::from(session.port))
            .field_if_some("cause", cause)
            .build();
        let obj = self.obj();
        let message = gst::message::Element::builder(structure).src(&*obj).build();
        // Without a bus nobody listens.
        let _ = obj.post_message(message);
    }

    /// Tells the counts, when it is time to.
    fn tell_stats(&self, session: &mut Session) {
        if session.stats_told.again(self.settings().stats_interval) {
            self.obj().notify("stats");
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for B64JpegClientSrc {
    const NAME: &'static str = "GstB64JpegClientSrc";
    type Type = super::B64JpegClientSrc;
    type ParentType = gst_base::PushSrc;
    type Interfaces = (gst::URIHandler,);
}

impl ObjectImpl for B64JpegClientSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            let mut properties = vec![
                glib::ParamSpecString::builder("host")
                    .nick("Host")
                    .blurb("Name or address of the server")
                    .default_value(Some(DEFAULT_HOST))
                    .mutable_ready()
                    .build(),
                glib::ParamSpecInt::builder("port")
                    .nick("Port")
                    .blurb("TCP port of the server")
                    .minimum(1)
                    .maximum(u16::MAX.into())
                    .default_value(DEFAULT_PORT.into())
                    .mutable_ready()
                    .build(),
                glib::ParamSpecString::builder("uri")
                    .nick("URI")
                    .blurb(
                        "Host, port and more in one: \
                         b64jpeg://HOST[:PORT][?header=…&payload=…&reconnect=true|false]",
                    )
                    .default_value(Settings::default().uri().to_string().as_str())
                    .mutable_ready()
                    .build(),
                glib::ParamSpecBoolean::builder("reconnect")
                    .nick("Reconnect")
                    .blurb(
                        "Try a server that is not there, goes away or falls silent again \
                         until it is there; otherwise the stream ends with it",
                    )
                    .default_value(DEFAULT_RECONNECT)
                    .mutable_playing()
                    .build(),
                quit::key_property(),
                stats::property(),
                stats::interval_property(),
            ];
            properties.extend(Waits::properties(
                "the server has to answer, and then to send something; after six times as \
                 long without a whole picture there is a warning",
                "that brings no picture",
            ));
            properties.extend(Format::properties(
                "after one more the server is tried anew, or the stream ends with an error",
            ));
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            const OF_TYPE: &str = "GObject checks the type";
            fn text(value: &glib::Value) -> String {
                value.get::<Option<_>>().expect(OF_TYPE).unwrap_or_default()
            }
            let mut settings = self.settings();
            match pspec.name() {
                "host" => settings.host = text(value),
                "port" => {
                    let port: i32 = value.get().expect(OF_TYPE);
                    settings.port = port as u16;
                }
                "uri" => match text(value).parse::<Uri>() {
                    Ok(uri) => settings.set_uri(uri),
                    // Said when it starts: here there is nobody to say it to.
                    Err(error) => settings.bad_uri = Some(error.message().into()),
                },
                "reconnect" => settings.reconnect = value.get().expect(OF_TYPE),
                "quit-key" => settings.quit_key = text(value),
                "stats-interval" => {
                    let time = value.get().expect(OF_TYPE);
                    settings.stats_interval = gst::ClockTime::from_nseconds(time);
                }
                name @ ("timeout" | "reconnect-delay" | "reconnect-delay-max") => {
                    settings.waits.set(name, value);
                }
                name => settings.format.set(name, value),
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            if pspec.name() == "stats" {
                return self.counts().structure().to_value();
            }
            let settings = self.settings();
            match pspec.name() {
                "host" => settings.host.to_value(),
                "port" => i32::from(settings.port).to_value(),
                "uri" => settings.uri().to_string().to_value(),
                "reconnect" => settings.reconnect.to_value(),
                "quit-key" => settings.quit_key.to_value(),
                "stats-interval" => settings.stats_interval.nseconds().to_value(),
                name @ ("timeout" | "reconnect-delay" | "reconnect-delay-max") => {
                    settings.waits.get(name)
                }
                name => settings.format.get(name),
            }
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        obj.set_live(true);
        obj.set_format(gst::Format::Time);
        obj.set_do_timestamp(true);
    }
}

impl GstObjectImpl for B64JpegClientSrc {}

impl ElementImpl for B64JpegClientSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Base64 JPEG client",
                "Source/Network",
                "Receives JPEG pictures over TCP as Python/OpenCV programs send them: \
                 length and base64 text",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![framing::always_template(
                "src",
                gst::PadDirection::Src,
                &picture::CAPS,
            )]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        if transition == gst::StateChange::ReadyToPaused {
            let checked = panics::catch(self, "check_settings", || self.check_settings());
            checked.flatten().map_err(|message| {
                self.post_error_message(message);
                gst::StateChangeError
            })?;
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PlayingToPaused {
            // Silence ought not to count, nor tries to be made, while nobody listens.
            panics::guard(self, "pause", (), || self.interrupt.pause());
        }
        Ok(success)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "send_event", false, || {
            // GstBaseSrc would flush before it finds out that there is nowhere to go.
            event.type_() != gst::EventType::Seek && self.parent_send_event(event)
        })
    }
}

impl URIHandlerImpl for B64JpegClientSrc {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

    fn protocols() -> &'static [&'static str] {
        &[uri::SCHEME]
    }

    fn uri(&self) -> Option<String> {
        panics::guard(self, "uri", None, || {
            Some(self.settings().uri().to_string())
        })
    }

    fn set_uri(&self, uri: &str) -> Result<(), glib::Error> {
        let failure = glib::Error::new(gst::URIError::BadReference, "an internal error");
        panics::guard(self, "set_uri", Err(failure), || {
            if self.obj().current_state() > gst::State::Ready {
                let what = "the URI can be set in NULL and READY only";
                return Err(glib::Error::new(gst::URIError::BadState, what));
            }
            let uri = uri.parse()?;
            self.settings().set_uri(uri);
            Ok(())
        })
    }
}

impl BaseSrcImpl for B64JpegClientSrc {
    fn start(&self) -> Result<(), gst::ErrorMessage> {
        panics::catch(self, "start", || {
            let settings = self.settings().clone();
            let client = TcpClient::new(self.interrupt.clone())
                .map_err(|error| gst::error_msg!(gst::ResourceError::Failed, ("{error}")))?;
            self.interrupt.resume();
            *self.counts() = Counts::default();
            *self.session() = Some(Box::new(Session::new(&settings, client)));
            Ok(())
        })?
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "stop", Ok(()), || {
            self.session().take();
            self.counts().connected = false;
            Ok(())
        })
    }

    fn is_seekable(&self) -> bool {
        false
    }

    fn negotiate(&self) -> Result<(), gst::LoggableError> {
        // The caps come with the first picture.
        Ok(())
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock", Ok(()), || {
            self.interrupt.stop();
            Ok(())
        })
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock_stop", Ok(()), || {
            self.interrupt.resume();
            Ok(())
        })
    }

    fn event(&self, event: &gst::Event) -> bool {
        panics::guard(self, "event", false, || {
            let key = self.settings().quit_key.clone();
            // The end that comes of it interrupts whatever is under way.
            Quit::default().on_key(&*self.obj(), &key, event) || self.parent_event(event)
        })
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        panics::guard(self, "query", false, || {
            if let gst::QueryViewMut::Latency(query) = query.view_mut() {
                // A picture is timed when it is there.
                query.set(true, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                return true;
            }
            BaseSrcImplExt::parent_query(self, query)
        })
    }
}

impl PushSrcImpl for B64JpegClientSrc {
    fn create(
        &self,
        _buffer: Option<&mut gst::BufferRef>,
    ) -> Result<CreateSuccess, gst::FlowError> {
        let mut session = self.session().take().ok_or(gst::FlowError::Flushing)?;
        let created = panics::catch(self, "create", || {
            let buffer = self.next(&mut session)?;
            self.tell_stats(&mut session);
            Ok(CreateSuccess::NewBuffer(buffer))
        });
        let created = created.unwrap_or_else(|message| {
            // Whatever state the connection was in, it ends here.
            self.disconnect(&mut session);
            self.post_error_message(message);
            // For an error GstBaseSrc would post another one, which says nothing.
            Err(gst::FlowError::Eos)
        });
        *self.session() = Some(session);
        created
    }
}
