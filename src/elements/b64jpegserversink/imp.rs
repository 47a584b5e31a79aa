// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegserversink
//!
//! Serves JPEG frames over TCP to any number of clients, in the framing that Python/OpenCV
//! programs read: a length and the JPEG as base64 text.
//!
//! A client starts with the next frame, and its connection is closed only between frames. A
//! slow client loses whole frames; the other clients lose none. With `wait-for-client` a file
//! starts when the first client connects; with `max-clients=1` every frame of a file waits
//! until that client has room for it, as in a program with one socket. At the end of the
//! stream each client gets its queued frames, and new clients are refused until a seek
//! restarts the stream.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! b64jpegserversink host=0.0.0.0 port=9999
//! ```
//!
//! ## Signals and messages
//!
//! `client-added` (address) and `client-removed` (address, reason) are emitted in the server's
//! thread. The element messages `b64jpeg-client-added` (address, clients) and
//! `b64jpeg-client-removed` (address, clients, reason, frames, dropped) report the same. The
//! reason is `left`, `reset` (the client closed the connection before it had read everything),
//! `timeout` (its machine did not answer for a minute), `ended` (the stream ended) or `error`
//! with a description. `b64jpeg-waiting` (host, port) is posted when the element starts to wait
//! for the first client.

use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use b64jpeg_net::{
    listen::resolve,
    sync::lock,
    tcp::{backlog::ServerTotals, server::Server},
};
use b64jpeg_wire::Framing;
use glib::subclass::Signal;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::settings::{PROPERTIES, Settings};
use crate::common::{
    framing_properties::{self, JPEG_CAPS},
    panics,
    quit_key::QuitRequest,
    sender_settings::cannot_listen,
    stats::Stats,
};

pub(super) static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "b64jpegserversink",
        gst::DebugColorFlags::empty(),
        Some("Base64 JPEG server"),
    )
});

/// From start to stop.
#[derive(Default)]
pub struct State {
    pub(super) server: Option<Arc<Server>>,
    pub(super) framing: Framing,
    pub(super) capture_time: bool,
    pub(super) stats: Stats,
    /// Whether the first frame has passed the wait for a client.
    pub(super) started: bool,
    /// Whether the element waits for the first client.
    pub(super) waiting_for_client: bool,
    /// Whether upstream is live; `None` before upstream was asked.
    pub(super) live: Option<bool>,
    /// When the last frame ends, if it has a timestamp and a duration; `None` before the first
    /// frame since the start or the last loop.
    pub(super) last_frame_end: Option<Option<gst::ClockTime>>,
    /// The last seek to the start that `loop` has sent.
    pub(super) loop_seek: Option<gst::Seqnum>,
    /// The last EOS that was handed over to another thread.
    pub(super) handed_over_eos: Option<gst::Seqnum>,
    /// What catching up has added to `ts-offset`.
    pub(super) catch_up_shift: gst::ClockTimeDiff,
    /// The memory of an earlier frame, for the next one.
    pub(super) frame_buffer: Vec<u8>,
    /// The server's counts, once it is closed.
    pub(super) final_totals: ServerTotals,
}

impl State {
    /// The server, if it has not failed.
    ///
    /// # Errors
    ///
    /// `Flushing` if the element is stopped, `Error` if the server has failed.
    pub(super) fn running_server(&self) -> Result<Arc<Server>, gst::FlowError> {
        let server = self.server.clone().ok_or(gst::FlowError::Flushing)?;
        check(&server)?;
        Ok(server)
    }
}

#[derive(Default)]
pub struct B64JpegServerSink {
    settings: Mutex<Settings>,
    state: Mutex<State>,
    pub(super) quit: QuitRequest,
    /// Whether BaseSink wants the streaming thread to stop waiting.
    pub(super) unlocked: AtomicBool,
    /// How often it has wanted that: a wait may miss a short unlock.
    pub(super) unlock_count: AtomicU64,
    /// Elements that got their SOURCE flag from this one.
    flagged_sources: Mutex<Vec<glib::WeakRef<gst::Element>>>,
}

impl B64JpegServerSink {
    pub(super) fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    pub(super) fn flagged_sources(&self) -> MutexGuard<'_, Vec<glib::WeakRef<gst::Element>>> {
        lock(&self.flagged_sources)
    }

    /// The server, between start and stop.
    fn server(&self) -> Option<Arc<Server>> {
        self.state().server.clone()
    }

    /// Makes a wait in the streaming thread check again whether it may go on.
    fn wake_streaming_thread(&self) {
        if let Some(server) = self.server() {
            server.wake_waiters();
        }
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let framing = settings.format.check()?;
        let (host, port) = (&settings.host, settings.port);
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
            server: Some(Arc::new(server)),
            framing,
            capture_time: settings.format.capture_time,
            stats: Stats::new(Some(framing)),
            ..State::default()
        };
        self.obj().notify("current-port");
        Ok(())
    }

    fn close(&self) {
        let server = self.state().server.take();
        if let Some(server) = server {
            server.stop();
            {
                let state = &mut *self.state();
                state.final_totals = server.stats().0;
                state.waiting_for_client = false;
                state.frame_buffer = Vec::new();
            }
            self.undo_catch_up();
            self.obj().notify("current-port");
        }
    }
}

/// # Errors
///
/// If the server has failed; the server's event has posted the error.
pub(super) fn check(server: &Server) -> Result<(), gst::FlowError> {
    match server.has_failed() {
        true => Err(gst::FlowError::Error),
        false => Ok(()),
    }
}

#[glib::object_subclass]
impl ObjectSubclass for B64JpegServerSink {
    const NAME: &'static str = "GstB64JpegServerSink";
    type Type = super::B64JpegServerSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for B64JpegServerSink {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
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

    fn set_property(&self, id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            let limits = {
                let mut settings = self.settings();
                PROPERTIES.set(&mut settings, id, value);
                settings.limits()
            };
            if let Some(server) = self.server() {
                server.set_limits(limits);
            }
        })
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        let default = pspec.default_value();
        panics::guard(self, "property", default.clone(), || {
            if let Some(value) = PROPERTIES.get(&self.settings(), id) {
                return value;
            }
            let server = self.server();
            match pspec.name() {
                "current-port" => {
                    let port = server.map_or(0, |server| server.port());
                    i32::from(port).to_value()
                }
                "clients" => {
                    let clients = server.map_or(0, |server| server.clients());
                    (clients as u32).to_value()
                }
                "stats" => self.stats().to_value(),
                _ => default.clone(),
            }
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        let obj = self.obj();
        // The sink does no processing that would delay a frame.
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
                "Serves JPEG frames over TCP as Python/OpenCV programs read them: \
                 length and base64 text",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![framing_properties::always_template(
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
        // Not in BaseSink's start(), which would post a second error after ours.
        if transition == gst::StateChange::ReadyToPaused {
            let opened = panics::catch(self, "open", || self.open());
            opened.flatten().map_err(|error| {
                self.post_error_message(error);
                // A panic may have left the server open.
                panics::guard(self, "close", (), || self.close());
                gst::StateChangeError
            })?;
        }
        let change = self.parent_change_state(transition);
        match transition {
            // Not before: a bin starts its sources last, and this element is a sink.
            gst::StateChange::ReadyToPaused if change.is_ok() => {
                panics::guard(self, "set_source_flags", (), || self.set_source_flags());
            }
            gst::StateChange::ReadyToPaused | gst::StateChange::PausedToReady => {
                self.unset_source_flags();
                panics::guard(self, "close", (), || self.close());
            }
            _ => {}
        }
        change
    }

    fn send_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "send_event", false, || {
            if event.type_() == gst::EventType::Eos {
                gst::info!(CAT, imp = self, "EOS requested");
                self.quit.ask();
                self.wake_streaming_thread();
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
            self.unlock_count.fetch_add(1, Ordering::SeqCst);
            self.wake_streaming_thread();
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
                    // A request for EOS outlasts the seek of a loop.
                    if self.state().loop_seek != Some(event.seqnum()) {
                        self.quit.reset();
                    }
                    self.undo_catch_up();
                    // The flush may follow an EOS.
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
                    self.state().waiting_for_client = false;
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
            self.render_frame(buffer)
        })
    }
}
