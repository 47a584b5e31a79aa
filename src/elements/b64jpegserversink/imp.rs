// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegserversink
//!
//! Serves JPEGs over TCP to everybody who connects, in the framing that Python/OpenCV
//! programs read: a length and the picture as base64 text.
//!
//! A client begins with the next frame and is never left inside one. One that lags loses
//! whole frames, and the others do not notice. With `wait-for-client` a file begins with
//! its first client; with `max-clients=1` it waits for that client at every frame, as a
//! program with one socket does. At the end everybody gets what is still queued, and
//! nobody is let in any more unless the stream is moved back.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! b64jpegserversink host=0.0.0.0 port=9999
//! ```
//!
//! ## Signals and messages
//!
//! `client-added` (address) and `client-removed` (address, reason), from the server's
//! thread. The same as element messages `b64jpeg-client-added` (address, clients) and
//! `b64jpeg-client-removed` (address, clients, reason, frames, dropped). The reason is
//! `left`, `reset` (it left without having read everything), `timeout` (it has
//! answered nothing for a minute), `ended` (the stream has) or `error` and which.
//! `b64jpeg-waiting` (host, port) tells that the wait for the first client begins.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use b64jpeg_net::{
    host::DEFAULT_PORT,
    listen::resolve,
    tcp::{
        backlog::{Limits, Overflow, Peer, Totals},
        server::{Event, Failure, Server},
    },
};
use b64jpeg_wire::{Framing, OutgoingFrame, WireError};
use glib::subclass::Signal;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use crate::common::{
    capture, clock,
    framing::{self, JPEG_CAPS},
    panics,
    quit::Quit,
    sender::{Format, Refused, cannot_listen},
    stats::{self, Stats},
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "b64jpegserversink",
        gst::DebugColorFlags::empty(),
        Some("Base64 JPEG server"),
    )
});

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_WAIT_FOR_CLIENT: bool = false;
const DEFAULT_MAX_CLIENTS: u32 = 0;
const DEFAULT_QUEUE_FRAMES: u32 = 25;
const DEFAULT_DRAIN_ON_EOS: bool = true;
const DEFAULT_DRAIN_TIMEOUT: Option<gst::ClockTime> = Some(gst::ClockTime::from_seconds(10));
const DEFAULT_LOOP: bool = false;

#[derive(Debug, Clone)]
struct Settings {
    format: Format,
    host: String,
    port: i32,
    wait_for_client: bool,
    max_clients: u32,
    queue_frames: u32,
    drain_on_eos: bool,
    /// None for any time it takes.
    drain_timeout: Option<gst::ClockTime>,
    loops: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: Format::default(),
            host: DEFAULT_HOST.into(),
            port: DEFAULT_PORT.into(),
            wait_for_client: DEFAULT_WAIT_FOR_CLIENT,
            max_clients: DEFAULT_MAX_CLIENTS,
            queue_frames: DEFAULT_QUEUE_FRAMES,
            drain_on_eos: DEFAULT_DRAIN_ON_EOS,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            loops: DEFAULT_LOOP,
        }
    }
}

impl Settings {
    fn limits(&self) -> Limits {
        Limits {
            max_clients: self.max_clients as usize,
            queue_frames: self.queue_frames as usize,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    framing: Framing,
    capture_time: bool,
    stats: Stats,
    /// Whether the stream has begun, for those who are there.
    begun: bool,
    /// Whether it will not before somebody is there.
    waiting: bool,
    /// Whether upstream is live; once that is known.
    live: Option<bool>,
    /// The timestamp of the end of the last picture since the stream was begun or
    /// rewound, once there was one; if it has any.
    last: Option<Option<gst::ClockTime>>,
    /// The seek that rewinds, once there was one.
    rewind: Option<gst::Seqnum>,
    /// The end that was asked for, once it has come.
    asked_end: Option<gst::Seqnum>,
    /// What the wait for the first client has taken of the running time.
    shift: gst::ClockTimeDiff,
    /// What the server has counted, once it is closed.
    totals: Totals,
}

#[derive(Default)]
pub struct B64JpegServerSink {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    server: Mutex<Option<Arc<Server>>>,
    quit: Quit,
    /// Whether BaseSink wants the streaming thread back, and how often it has.
    unlocked: AtomicBool,
    unlocks: AtomicU64,
    /// This element and bins around it, as far as they are no sources by themselves.
    posing: Mutex<Vec<glib::WeakRef<gst::Element>>>,
}

impl B64JpegServerSink {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn posing(&self) -> MutexGuard<'_, Vec<glib::WeakRef<gst::Element>>> {
        self.posing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the end of a pipeline, as by `gst-launch-1.0 -e`, reach a stream that waits for a
    /// client: it is sent to sources, and to bins that have some.
    fn pose_as_source(&self) {
        let mut next = Some(self.obj().clone().upcast::<gst::Element>());
        while let Some(element) = next {
            next = element.parent().and_downcast();
            if !element.element_flags().contains(gst::ElementFlags::SOURCE) {
                element.set_element_flags(gst::ElementFlags::SOURCE);
                self.posing().push(element.downgrade());
            }
        }
    }

    /// The server, between start and stop.
    fn server(&self) -> Option<Arc<Server>> {
        let server = self.server.lock();
        server.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The server, if it can serve.
    fn running_server(&self) -> Result<Arc<Server>, gst::FlowError> {
        let server = self.server().ok_or(gst::FlowError::Flushing)?;
        check(&server)?;
        Ok(server)
    }

    /// Has whoever waits look again.
    fn nudge(&self) {
        if let Some(server) = self.server() {
            server.nudge();
        }
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let framing = settings.format.check()?;
        let port = u16::try_from(settings.port).expect("GObject checks the range");
        let host = &settings.host;
        let addresses =
            resolve(host, port).map_err(|error| cannot_listen(host, port, None, &error))?;
        let element = self.obj().downgrade();
        let on_event = move |event| {
            if let Some(element) = element.upgrade() {
                #[cfg(test)]
                panics::tests::provoke_once(element.upcast_ref(), "I/O thread");
                let imp = element.imp();
                panics::guard(imp, "on_event", (), || imp.on_event(event));
            }
        };
        let server = Server::open(&addresses, settings.limits(), on_event)
            .map_err(|error| cannot_listen(host, port, Some(&addresses), &error))?;
        gst::info!(
            CAT,
            imp = self,
            "Serving {framing} on port {}",
            server.port()
        );
        self.quit.reset();
        self.unlocked.store(false, Ordering::SeqCst);
        *self.state() = State {
            framing,
            capture_time: settings.format.capture_time,
            stats: Stats::new(Some(framing)),
            ..State::default()
        };
        *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(server));
        self.obj().notify("current-port");
        Ok(())
    }

    fn close(&self) {
        let server = self.server.lock();
        let server = server.unwrap_or_else(PoisonError::into_inner).take();
        if let Some(server) = server {
            server.stop();
            {
                let state = &mut *self.state();
                state.totals = server.stats().0;
                state.waiting = false;
            }
            self.undo_catch_up();
            self.obj().notify("current-port");
        }
    }

    /// Something happened to the server. In its thread.
    fn on_event(&self, event: Event) {
        let obj = self.obj();
        match event {
            Event::Added { address, clients } => {
                gst::info!(CAT, imp = self, "{address} came, that makes {clients}");
                let address = address.to_string();
                obj.emit_by_name::<()>("client-added", &[&address]);
                obj.notify("clients");
                self.post(
                    gst::Structure::builder("b64jpeg-client-added")
                        .field("address", address)
                        .field("clients", clients as u32)
                        .build(),
                );
            }
            Event::Removed {
                peer,
                reason,
                clients,
            } => {
                let reason = reason.to_string();
                gst::info!(CAT, imp = self, "{reason}: {peer:?}; {clients} are there");
                let address = peer.address.to_string();
                obj.emit_by_name::<()>("client-removed", &[&address, &reason]);
                obj.notify("clients");
                self.post(
                    gst::Structure::builder("b64jpeg-client-removed")
                        .field("address", address)
                        .field("clients", clients as u32)
                        .field("reason", reason)
                        .field("frames", peer.frames)
                        .field("dropped", peer.dropped)
                        .build(),
                );
            }
            Event::NoRoom(error) => gst::element_imp_warning!(
                self,
                gst::ResourceError::NoSpaceLeft,
                ("There is no room for another client: {error}; trying again until there is")
            ),
            Event::Failed(Failure::Panic(panic)) => {
                self.post_error_message(panics::message("I/O thread", &*panic));
            }
            Event::Failed(Failure::Io(error)) => gst::element_imp_error!(
                self,
                gst::ResourceError::Failed,
                ("The server cannot wait for its clients: {error}")
            ),
        }
    }

    fn post(&self, structure: gst::Structure) {
        let obj = self.obj();
        let message = gst::message::Element::builder(structure).src(&*obj).build();
        // Nobody listens while there is no bus.
        let _ = obj.post_message(message);
    }

    /// Before a buffer enters the sink. BaseSink holds no lock yet, and the sink has not
    /// prerolled: while the buffer waits here, so does the clock of a pipeline.
    fn enter(&self, pad: &gst::Pad, pts: Option<gst::ClockTime>) -> Result<(), gst::FlowError> {
        self.quit.check()?;
        let server = self.running_server()?;
        let known = {
            let state = self.state();
            (state.live, state.begun)
        };
        if let (Some(_), true) = known {
            return Ok(());
        }
        let live = known.0.unwrap_or_else(|| self.find_live(pad, &server));
        let (wait, host) = {
            let settings = self.settings();
            (settings.wait_for_client, settings.host.clone())
        };
        if wait && !known.1 && server.clients() == 0 {
            // A seek has it begin to wait again.
            if !std::mem::replace(&mut self.state().waiting, true) {
                gst::info!(CAT, imp = self, "Waiting for a client");
                self.post(
                    gst::Structure::builder("b64jpeg-waiting")
                        .field("host", host)
                        .field("port", i32::from(server.port()))
                        .build(),
                );
            }
            if !live {
                self.wait_for_client(pad, &server)?;
                self.catch_up(pad, pts);
            }
        }
        self.state().begun = true;
        Ok(())
    }

    /// Waits until a client is there, or the stream ends before.
    fn wait_for_client(&self, pad: &gst::Pad, server: &Server) -> Result<(), gst::FlowError> {
        loop {
            let unlocks = self.unlocks.load(Ordering::SeqCst);
            // After the count: a pad is flushing before it unlocks the sink.
            if pad.pad_flags().contains(gst::PadFlags::FLUSHING) {
                return Err(gst::FlowError::Flushing);
            }
            self.quit.check()?;
            check(server)?;
            server.wait(None, |status| {
                status.clients > 0
                    || self.quit.check().is_err()
                    || self.unlocks.load(Ordering::SeqCst) != unlocks
            });
            if server.clients() > 0 {
                self.state().waiting = false;
                return Ok(());
            }
        }
    }

    /// In a pipeline that plays already, the clock did not wait with us: everything has to
    /// come as much later as the first picture does.
    fn catch_up(&self, pad: &gst::Pad, pts: Option<gst::ClockTime>) {
        let obj = self.obj();
        let pipeline = clock::outermost(&*obj);
        // A pipeline that waits with us has not come to PAUSED yet.
        let waits = pipeline.current_state() < gst::State::Paused;
        if waits || pipeline.current_state().max(pipeline.pending_state()) < gst::State::Playing {
            return;
        }
        let due = pad
            .sticky_event::<gst::event::Segment>(0)
            .and_then(|event| event.segment().clone().downcast::<gst::ClockTime>().ok())
            .and_then(|segment| segment.to_running_time(pts));
        if let (Some(now), Some(due)) = (pipeline.current_running_time(), due)
            && now > due
        {
            let shift = (now - due).nseconds() as gst::ClockTimeDiff;
            self.state().shift += shift;
            obj.set_ts_offset(obj.ts_offset() + shift);
        }
    }

    /// The clock begins again, or is stopped.
    fn undo_catch_up(&self) {
        let shift = std::mem::take(&mut self.state().shift);
        let obj = self.obj();
        obj.set_ts_offset(obj.ts_offset() - shift);
    }

    /// Finds out whether upstream is live, and what that means for clients that lag.
    fn find_live(&self, pad: &gst::Pad, server: &Server) -> bool {
        let mut query = gst::query::Latency::new();
        let live = pad.peer_query(&mut query) && query.result().0;
        gst::info!(CAT, imp = self, "Upstream is live: {live}");
        server.set_overflow(if live {
            Overflow::Newest
        } else {
            Overflow::Oldest
        });
        self.state().live = Some(live);
        live
    }

    /// Where nothing is dropped, waits until the one client has room for another frame.
    fn wait_for_room(&self, server: &Server) -> Result<(), gst::FlowError> {
        if self.state().live != Some(false) {
            return Ok(());
        }
        loop {
            server.wait(None, |status| {
                !status.full || self.quit.check().is_err() || self.unlocked.load(Ordering::SeqCst)
            });
            self.quit.check()?;
            check(server)?;
            if !self.unlocked.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.obj().wait_preroll()?;
        }
    }

    /// Sends one picture; why it cannot be sent.
    fn send(
        &self,
        server: &Server,
        input: &gst::BufferRef,
        jpeg: &[u8],
    ) -> Result<usize, WireError> {
        let (framing, capture_time) = {
            let state = self.state();
            (state.framing, state.capture_time)
        };
        let mut picture = OutgoingFrame::new(jpeg)?;
        if capture_time {
            let obj = self.obj();
            let time = capture::time_of(&*obj, &obj.segment(), input);
            picture = picture.captured_at(time.unix_ns());
        }
        let len = picture.wire_len(framing)?;
        if server.clients() > 0 {
            let mut frame = server.buffer();
            frame.resize(len, 0);
            picture.encode(framing, &mut frame);
            server.send(frame);
        }
        Ok(len)
    }

    /// The end of the stream: everybody gets what is queued.
    fn drain(&self, server: &Server) -> Result<(), gst::FlowError> {
        let (drain, timeout) = {
            let settings = self.settings();
            (settings.drain_on_eos, settings.drain_timeout)
        };
        if !drain {
            server.cut();
            return Ok(());
        }
        server.end();
        let deadline =
            timeout.and_then(|timeout| Instant::now().checked_add(Duration::from(timeout)));
        let asked = self.quit.check();
        loop {
            let done = server.wait(deadline, |status| {
                status.clients == 0 && status.told
                    || self.unlocked.load(Ordering::SeqCst)
                    || self.quit.check() != asked
            });
            if self.unlocked.load(Ordering::SeqCst) {
                self.obj().wait_preroll()?;
                continue;
            }
            check(server)?;
            // Whoever asks for the end of the end wants no more of it.
            server.cut();
            if !done {
                let clients = server.clients();
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Write,
                    (
                        "{clients} of the clients have not taken everything within \
                         drain-timeout={}; what waits for them is dropped",
                        timeout.display()
                    )
                );
            }
            return Ok(());
        }
    }

    /// Has the end be handled in another thread, if it was asked for: whoever did so may
    /// be waiting for a source whose thread this is.
    fn hand_over(&self, eos: &gst::Event) -> bool {
        let seqnum = Some(eos.seqnum());
        if self.quit.check().is_ok()
            || std::mem::replace(&mut self.state().asked_end, seqnum) == seqnum
        {
            return false;
        }
        let eos = eos.clone();
        self.obj().call_async(move |obj| {
            panics::guard(obj.imp(), "hand_over", (), || {
                obj.sink_pad().send_event(eos);
            });
        });
        true
    }

    /// Begins the stream again, if that was wanted and can be done.
    fn rewind(&self) -> bool {
        let last = self.state().last.take();
        let loops = self.settings().loops;
        // A stream without any picture would begin again and again.
        let (Some(end), true) = (last, loops) else {
            return false;
        };
        let obj = self.obj();
        let mut query = gst::query::Seeking::new(gst::Format::Time);
        if !(obj.sink_pad().peer_query(&mut query) && query.result().0) {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Seek,
                ("The stream ends: only what can be seeked in, such as a file, can loop")
            );
            return false;
        }
        // The last picture has its time, too.
        let segment = obj.segment().downcast::<gst::ClockTime>().ok();
        let end = segment.and_then(|segment| segment.to_running_time(end));
        if end.is_some() && obj.wait(end).0.is_err() {
            return true;
        }
        if self.quit.check().is_err() {
            return false;
        }
        let seek = gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        self.state().rewind = Some(seek.seqnum());
        gst::info!(CAT, imp = self, "Beginning again");
        // Not from this thread, which the seek stops.
        obj.call_async(move |obj| {
            panics::guard(obj.imp(), "rewind", (), || {
                let pad = obj.sink_pad();
                if !pad.push_event(seek) && !pad.pad_flags().contains(gst::PadFlags::FLUSHING) {
                    gst::element_error!(
                        obj,
                        gst::ResourceError::Seek,
                        ("The stream cannot be begun again")
                    );
                }
            });
        });
        true
    }

    /// What the property tells.
    fn stats(&self) -> gst::Structure {
        let (mut structure, waiting, totals) = {
            let state = &mut *self.state();
            let structure = state.stats.structure();
            (structure, state.waiting, state.totals.clone())
        };
        let (totals, peers) = match self.server() {
            Some(server) => server.stats(),
            None => (totals, Vec::new()),
        };
        structure.set("clients", peers.len() as u32);
        structure.set("clients-total", totals.clients);
        structure.set("refused", totals.refused);
        structure.set("bytes-served", totals.bytes);
        structure.set("dropped", totals.dropped);
        structure.set("waiting", waiting && peers.is_empty());
        let peers = peers.iter().map(peer_structure);
        structure.set("peers", gst::Array::new(peers));
        structure
    }
}

/// An error if the server has failed, which it has reported itself.
fn check(server: &Server) -> Result<(), gst::FlowError> {
    match server.has_failed() {
        true => Err(gst::FlowError::Error),
        false => Ok(()),
    }
}

fn peer_structure(peer: &Peer) -> gst::Structure {
    gst::Structure::builder("peer")
        .field("address", peer.address.to_string())
        .field("frames", peer.frames)
        .field("bytes", peer.bytes)
        .field("dropped", peer.dropped)
        .field("queued", peer.queued as u32)
        .build()
}

#[glib::object_subclass]
impl ObjectSubclass for B64JpegServerSink {
    const NAME: &'static str = "GstB64JpegServerSink";
    type Type = super::B64JpegServerSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for B64JpegServerSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            let mut properties = Format::properties().to_vec();
            properties.extend([
                glib::ParamSpecString::builder("host")
                    .nick("Host")
                    .blurb(
                        "Address of this machine to listen on, or its name; 0.0.0.0 for every \
                         one it has (:: with IPv6, too)",
                    )
                    .default_value(Some(DEFAULT_HOST))
                    .mutable_ready()
                    .build(),
                glib::ParamSpecInt::builder("port")
                    .nick("Port")
                    .blurb("TCP port to listen on (0 = any free one)")
                    .minimum(0)
                    .maximum(u16::MAX.into())
                    .default_value(DEFAULT_PORT.into())
                    .mutable_ready()
                    .build(),
                glib::ParamSpecInt::builder("current-port")
                    .nick("Current port")
                    .blurb("TCP port that is listened on (0 = none)")
                    .minimum(0)
                    .maximum(u16::MAX.into())
                    .read_only()
                    .build(),
                glib::ParamSpecBoolean::builder("wait-for-client")
                    .nick("Wait for client")
                    .blurb(
                        "Begin with the first client, which gets the first picture; those of \
                         a live source are dropped until then",
                    )
                    .default_value(DEFAULT_WAIT_FOR_CLIENT)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("max-clients")
                    .nick("Maximum clients")
                    .blurb(
                        "Clients at the same time; one more is closed at once (0 = any number). \
                         For 1, unless the source is live, the stream waits, and nothing is dropped",
                    )
                    .default_value(DEFAULT_MAX_CLIENTS)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("queue-frames")
                    .nick("Queue frames")
                    .blurb(
                        "Frames that wait for a client; with one more it loses the oldest, \
                         or, of a live source, all but the newest",
                    )
                    .minimum(1)
                    .default_value(DEFAULT_QUEUE_FRAMES)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("drain-on-eos")
                    .nick("Drain on EOS")
                    .blurb("Send what waits for clients before the stream ends")
                    .default_value(DEFAULT_DRAIN_ON_EOS)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt64::builder("drain-timeout")
                    .nick("Drain timeout")
                    .blurb("How long that may take, in nanoseconds (18446744073709551615 = any time)")
                    .default_value(DEFAULT_DRAIN_TIMEOUT.map_or(u64::MAX, gst::ClockTime::nseconds))
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("loop")
                    .nick("Loop")
                    .blurb("Begin again at the end of a file, until somebody asks for the end")
                    .default_value(DEFAULT_LOOP)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecUInt::builder("clients")
                    .nick("Clients")
                    .blurb("Clients that are there")
                    .read_only()
                    .build(),
                stats::spec(),
            ]);
            properties
        });
        &PROPERTIES
    }

    fn signals() -> &'static [Signal] {
        static SIGNALS: Lazy<Vec<Signal>> = Lazy::new(|| {
            vec![
                Signal::builder("client-added")
                    .param_types([String::static_type()])
                    .build(),
                Signal::builder("client-removed")
                    .param_types([String::static_type(), String::static_type()])
                    .build(),
            ]
        });
        &SIGNALS
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            const OF_TYPE: &str = "GObject checks the type";
            let mut settings = self.settings();
            match pspec.name() {
                "host" => {
                    let host = value.get::<Option<String>>().expect(OF_TYPE);
                    settings.host = host.unwrap_or_else(|| DEFAULT_HOST.into());
                }
                "port" => settings.port = value.get().expect(OF_TYPE),
                "wait-for-client" => settings.wait_for_client = value.get().expect(OF_TYPE),
                "max-clients" => settings.max_clients = value.get().expect(OF_TYPE),
                "queue-frames" => settings.queue_frames = value.get().expect(OF_TYPE),
                "drain-on-eos" => settings.drain_on_eos = value.get().expect(OF_TYPE),
                "drain-timeout" => settings.drain_timeout = value.get().expect(OF_TYPE),
                "loop" => settings.loops = value.get().expect(OF_TYPE),
                name => settings.format.set(name, value),
            }
            let limits = settings.limits();
            drop(settings);
            if let Some(server) = self.server() {
                server.set_limits(limits);
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            let settings = self.settings().clone();
            match pspec.name() {
                "host" => settings.host.to_value(),
                "port" => settings.port.to_value(),
                "current-port" => {
                    let port = self.server().map_or(0, |server| server.port());
                    i32::from(port).to_value()
                }
                "wait-for-client" => settings.wait_for_client.to_value(),
                "max-clients" => settings.max_clients.to_value(),
                "queue-frames" => settings.queue_frames.to_value(),
                "drain-on-eos" => settings.drain_on_eos.to_value(),
                "drain-timeout" => settings.drain_timeout.to_value(),
                "loop" => settings.loops.to_value(),
                "clients" => {
                    let clients = self.server().map_or(0, |server| server.clients());
                    (clients as u32).to_value()
                }
                "stats" => self.stats().to_value(),
                name => settings.format.get(name),
            }
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // Nothing is to be done with a picture before it can be sent.
        obj.set_processing_deadline(gst::ClockTime::ZERO);
        let element = obj.downgrade();
        let buffers = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        obj.sink_pad().add_probe(buffers, move |pad, info| {
            let Some(element) = element.upgrade() else {
                return gst::PadProbeReturn::Drop;
            };
            let first = match &info.data {
                Some(gst::PadProbeData::BufferList(list)) => list.get(0),
                _ => info.buffer().map(AsRef::as_ref),
            };
            let pts = first.and_then(gst::BufferRef::pts);
            let (imp, failure) = (element.imp(), Err(gst::FlowError::Error));
            match panics::guard(imp, "enter", failure, || imp.enter(pad, pts)) {
                Ok(()) => gst::PadProbeReturn::Ok,
                Err(error) => {
                    info.flow_res = Err(error);
                    gst::PadProbeReturn::Handled
                }
            }
        });
    }
}

impl GstObjectImpl for B64JpegServerSink {}

impl ElementImpl for B64JpegServerSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Base64 JPEG server",
                "Sink/Network",
                "Serves JPEG pictures over TCP as Python/OpenCV programs read them: \
                 length and base64 text",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![framing::always_template(
                "sink",
                gst::PadDirection::Sink,
                &JPEG_CAPS,
            )]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        // Not in BaseSink's start(), which would post an error of its own after ours.
        if transition == gst::StateChange::ReadyToPaused {
            let opened = panics::catch(self, "open", || self.open());
            opened.flatten().map_err(|error| {
                self.post_error_message(error);
                // It may have come half way.
                panics::guard(self, "close", (), || self.close());
                gst::StateChangeError
            })?;
        }
        let change = self.parent_change_state(transition);
        match transition {
            // Not earlier: sources are started after all others.
            gst::StateChange::ReadyToPaused if change.is_ok() => {
                panics::guard(self, "pose_as_source", (), || self.pose_as_source());
            }
            gst::StateChange::ReadyToPaused | gst::StateChange::PausedToReady => {
                for element in self.posing().drain(..).filter_map(|weak| weak.upgrade()) {
                    element.unset_element_flags(gst::ElementFlags::SOURCE);
                }
                panics::guard(self, "close", (), || self.close());
            }
            _ => {}
        }
        change
    }

    fn send_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "send_event", false, || {
            if event.type_() == gst::EventType::Eos {
                gst::info!(CAT, imp = self, "Asked for the end");
                self.quit.ask();
                self.nudge();
                return true;
            }
            self.parent_send_event(event)
        })
    }
}

impl BaseSinkImpl for B64JpegServerSink {
    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock", Ok(()), || {
            self.unlocked.store(true, Ordering::SeqCst);
            self.unlocks.fetch_add(1, Ordering::SeqCst);
            self.nudge();
            Ok(())
        })
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock_stop", Ok(()), || {
            self.unlocked.store(false, Ordering::SeqCst);
            Ok(())
        })
    }

    fn event(&self, event: gst::Event) -> bool {
        panics::guard(self, "event", false, || {
            match event.view() {
                gst::EventView::StreamStart(_) => self.state().live = None,
                gst::EventView::FlushStop(_) => {
                    // What was asked for while we began again still holds.
                    if self.state().rewind != Some(event.seqnum()) {
                        self.quit.reset();
                    }
                    self.undo_catch_up();
                    // There may have been an end.
                    if let Some(server) = self.server() {
                        server.resume();
                    }
                }
                gst::EventView::Eos(_) => {
                    if self.hand_over(&event) {
                        return false;
                    }
                    if self.rewind() {
                        return true;
                    }
                    self.state().waiting = false;
                    if let Some(server) = self.server()
                        && self.drain(&server).is_err()
                    {
                        return false;
                    }
                }
                _ => {}
            }
            self.parent_event(event)
        })
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        panics::guard(self, "render", Err(gst::FlowError::Error), || {
            self.quit.check()?;
            let server = self.running_server()?;
            let end = buffer
                .pts()
                .zip(buffer.duration())
                .and_then(|(pts, duration)| pts.checked_add(duration));
            self.state().last = Some(end);
            let clients = server.clients();
            {
                let state = &mut *self.state();
                state.waiting &= clients == 0;
                // Of a live stream that has no client yet.
                if state.waiting {
                    return Ok(gst::FlowSuccess::Ok);
                }
            }
            self.wait_for_room(&server)?;
            let sent = {
                let jpeg = buffer.map_readable().map_err(|error| {
                    gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                    gst::FlowError::Error
                })?;
                self.send(&server, buffer, &jpeg)
            };
            match sent {
                Ok(len) => {
                    gst::log!(CAT, imp = self, "{buffer:?} makes {len} bytes");
                    self.state().stats.frame(buffer.size(), len);
                    Ok(gst::FlowSuccess::Ok)
                }
                Err(error) => {
                    let refused = Refused::new(&mut self.state().stats, buffer.size(), error);
                    refused.report(&*self.obj())?;
                    Ok(gst::FlowSuccess::Ok)
                }
            }
        })
    }
}
