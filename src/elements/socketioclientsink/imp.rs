// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-socketioclientsink
//!
//! Sends JPEGs to a Socket.IO server (Flask-SocketIO, python-socketio, Node), as programs
//! with a camera do that are clients of a relay: each picture is an event with one argument,
//! its base64 text, which a page shows as `data:image/jpeg;base64,…`.
//!
//! | `camera` | `payload` | what handlers of the event `stream` get |
//! | --- | --- | --- |
//! | | `base64` | `"/9j/4AAQ…"` |
//! | `front` | `base64` | `{"front": "/9j/4AAQ…"}` |
//! | | `binary` | `bytes`, or a `Buffer` |
//! | `front` | `binary` | `{"front": bytes}` |
//!
//! The element never blocks the pipeline: at most one picture waits to be sent, and a newer one
//! replaces it. During the first attempt to connect one picture waits, too; after a connection
//! was lost, or while `enabled` is false, pictures are dropped. At the end of the stream the
//! element sends the last picture first.
//!
//! If the relay cannot be reached, closes the connection, sends nothing or reads nothing
//! (`timeout`), the element connects again until it succeeds. A relay that cannot be used (its
//! certificate, its version, or it refuses the client) is an error at the start; after a first
//! connection the element keeps trying with the longest delay. Each change is reported once: to
//! people as a warning or an information message, and to applications as the element message
//! `socketio-connection` with `url`, `cause` (if there is one) and `state`: `connecting`,
//! `connected`, `lost`, `waiting` or `refused`.
//!
//! A picture that makes a longer message than the relay accepts (1 MB by default) is dropped
//! with a warning, because it would end the connection.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! socketioclientsink url=http://localhost:5000
//! ```

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use b64jpeg_net::{
    socketio::{Connection, IncomingEvent, Message},
    sync::{lock, wait_timeout},
};
use b64jpeg_wire::{FrameLimits, OutgoingFrame, WireError, socketio::PictureEvent};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::{
    SocketIoPayload,
    outbox::{Outbox, PictureMessages, RelayState, TooLong},
};
use crate::common::{
    capture_time,
    framing_properties::{self, JPEG_CAPS},
    panics,
    property_table::{PropertyTable, property_values},
    sender_settings::{self, DEFAULT_CAPTURE_TIME, UnsendableFrame},
    socketio_session::{SocketIoConnection, SocketIoElement},
    socketio_settings::SocketIoSettings,
    stats,
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "socketioclientsink",
        gst::DebugColorFlags::empty(),
        Some("Socket.IO sender"),
    )
});

const DEFAULT_ENABLED: bool = true;
/// The name of the property that says whether there is a connection.
const CONNECTED: &str = "connected";

/// How long the end of a stream waits for the last picture to be sent.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Settings {
    relay: SocketIoSettings,
    payload: SocketIoPayload,
    capture_time: bool,
    enabled: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            relay: SocketIoSettings::default(),
            payload: SocketIoPayload::default(),
            capture_time: DEFAULT_CAPTURE_TIME,
            enabled: DEFAULT_ENABLED,
        }
    }
}

property_values!(SocketIoPayload);

static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    let payload = glib::ParamSpecEnum::builder::<SocketIoPayload>("payload")
        .nick("Payload")
        .blurb("How each picture is sent")
        .mutable_ready()
        .build();
    let enabled = glib::ParamSpecBoolean::builder("enabled")
        .nick("Enabled")
        .blurb("Send pictures; otherwise they are dropped, and the connection stays")
        .default_value(DEFAULT_ENABLED)
        .mutable_playing()
        .build();
    let connected = glib::ParamSpecBoolean::builder(CONNECTED)
        .nick("Connected")
        .blurb("Whether there is a connection to the relay")
        .read_only()
        .build();
    PropertyTable::default()
        .group(
            SocketIoSettings::properties(
                "Name of the camera: the picture is sent in an object under this name; empty \
                 for the picture alone",
            ),
            |s: &Settings| &s.relay,
            |s| &mut s.relay,
        )
        .field(payload, |s| &s.payload, |s| &mut s.payload)
        .field(
            sender_settings::capture_time_spec(),
            |s| &s.capture_time,
            |s| &mut s.capture_time,
        )
        .field(enabled, |s| &s.enabled, |s| &mut s.enabled)
        .computed(connected)
        .computed(stats::spec())
});

/// What exists from start to stop.
struct Session {
    event: Arc<PictureEvent>,
    connection: SocketIoConnection,
}

#[derive(Default)]
pub struct SocketIoClientSink {
    settings: Mutex<Settings>,
    session: Mutex<Option<Session>>,
    outbox: Mutex<Outbox>,
    /// Signalled when something in the outbox changes.
    outbox_changed: Condvar,
}

impl SocketIoClientSink {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        lock(&self.session)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        lock(&self.outbox)
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        // A relay may send every picture back, and the connection has to skip them.
        let max_picture = FrameLimits::DEFAULT_MAX_FRAME;
        let target = settings.relay.target(max_picture, false)?;
        *self.outbox() = Outbox::default();
        let obj = self.obj();
        *self.session() = Some(Session {
            event: Arc::new(settings.relay.picture_event()),
            connection: SocketIoConnection::open::<Self>(*CAT, &obj, target)?,
        });
        Ok(())
    }

    fn close(&self) {
        let session = self.session().take();
        if let Some(session) = session {
            session.connection.close();
            self.end_connection(RelayState::Disconnected);
        }
    }

    fn end_connection(&self, relay: RelayState) {
        let was_connected = self.outbox().end_connection(relay);
        self.outbox_changed.notify_all();
        if was_connected {
            self.obj().notify(CONNECTED);
        }
    }

    /// Stores a picture for the connection to send, in place of one that waits.
    fn put(&self, buffer: &gst::BufferRef, jpeg: &[u8]) -> Result<(), WireError> {
        let mut picture = OutgoingFrame::new(jpeg)?;
        let (payload, capture_time, enabled) = {
            let settings = self.settings();
            (settings.payload, settings.capture_time, settings.enabled)
        };
        let event = self.session().as_ref().map(|session| session.event.clone());
        let (Some(event), true) = (event, enabled && self.outbox().accepts_pictures()) else {
            self.outbox().stats.dropped += 1;
            return Ok(());
        };
        if capture_time {
            let obj = self.obj();
            let time = capture_time::time_of(&*obj, &obj.segment(), buffer);
            picture = picture.captured_at(time.unix_ns());
        }
        let messages = PictureMessages::new(&picture, &event, payload, buffer.size());
        let too_long = self.outbox().put(messages);
        if let Some(too_long) = too_long {
            self.warn_too_long(&too_long);
        }
        if let Some(session) = &*self.session() {
            session.connection.wake();
        }
        Ok(())
    }

    fn warn_too_long(&self, TooLong { len, max }: &TooLong) {
        let binary = match self.settings().payload {
            SocketIoPayload::Base64 => ", or payload=binary",
            SocketIoPayload::Binary => "",
        };
        gst::element_imp_warning!(
            self,
            gst::ResourceError::Write,
            ("Pictures are dropped: one makes a message of {len} bytes, and the relay takes \
                 no more than {max}; send smaller ones (quality, size){binary}, or raise its \
                 max_http_buffer_size")
        );
    }

    /// ReconnectSettings until the last picture was sent, but no longer than [`DRAIN_TIMEOUT`].
    fn drain(&self) {
        let deadline = Instant::now() + DRAIN_TIMEOUT;
        let mut outbox = self.outbox();
        while outbox.accepts_pictures() && !outbox.is_empty() && !outbox.unlocked {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                gst::warning!(
                    CAT,
                    imp = self,
                    "The last picture is dropped: the relay did not take it in time"
                );
                return;
            }
            outbox = wait_timeout(&self.outbox_changed, outbox, left).0;
        }
    }
}

impl SocketIoElement for SocketIoClientSink {
    const SENDS: bool = true;

    fn settings(&self) -> SocketIoSettings {
        self.settings().relay.clone()
    }

    fn reconnects(&self) -> bool {
        true
    }

    fn on_connection(&self, connection: Option<&Connection>) {
        let Some(connection) = connection else {
            return self.end_connection(RelayState::Disconnected);
        };
        let too_long = self.outbox().begin_connection(connection.max_payload());
        self.outbox_changed.notify_all();
        if let Some(too_long) = too_long {
            self.warn_too_long(&too_long);
        }
        self.obj().notify(CONNECTED);
    }

    fn next_messages(&self) -> Option<Vec<Message>> {
        self.outbox().take_messages()
    }

    fn sent(&self) {
        self.outbox().sent();
        self.outbox_changed.notify_all();
    }

    fn take(&self, _event: &IncomingEvent<'_>) -> bool {
        false
    }

    fn ended(&self) {
        self.end_connection(RelayState::Failed);
    }
}

#[glib::object_subclass]
impl ObjectSubclass for SocketIoClientSink {
    const NAME: &'static str = "GstB64JpegSocketIoClientSink";
    type Type = super::SocketIoClientSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for SocketIoClientSink {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
    }

    fn set_property(&self, id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            let enabled = {
                let mut settings = self.settings();
                PROPERTIES.set(&mut settings, id, value);
                settings.enabled
            };
            if !enabled {
                self.outbox().clear();
                self.outbox_changed.notify_all();
            }
        })
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            if let Some(setting) = PROPERTIES.get(&self.settings(), id) {
                return setting;
            }
            let outbox = &mut *self.outbox();
            match pspec.name() {
                CONNECTED => (outbox.relay == RelayState::Connected).to_value(),
                _ => outbox.structure().to_value(),
            }
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        // A picture is sent as soon as it is due.
        self.obj().set_processing_deadline(gst::ClockTime::ZERO);
    }
}

impl GstObjectImpl for SocketIoClientSink {}

impl ElementImpl for SocketIoClientSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Socket.IO JPEG sender",
                "Sink/Network",
                "Sends JPEG pictures to a Socket.IO server, such as Flask-SocketIO, \
                 python-socketio or Node, as events with base64 text",
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
        // Not in start(), where GstBaseSink would post a second error that says nothing.
        if transition == gst::StateChange::ReadyToPaused {
            let opened = panics::catch(self, "open", || self.open());
            opened.flatten().map_err(|error| {
                self.post_error_message(error);
                // What was opened before the failure is closed.
                panics::guard(self, "close", (), || self.close());
                gst::StateChangeError
            })?;
        }
        let change = self.parent_change_state(transition);
        if transition == gst::StateChange::PausedToReady
            || transition == gst::StateChange::ReadyToPaused && change.is_err()
        {
            panics::guard(self, "close", (), || self.close());
        }
        change
    }
}

impl BaseSinkImpl for SocketIoClientSink {
    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock", Ok(()), || {
            self.outbox().unlocked = true;
            self.outbox_changed.notify_all();
            Ok(())
        })
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock_stop", Ok(()), || {
            self.outbox().unlocked = false;
            Ok(())
        })
    }

    fn event(&self, event: gst::Event) -> bool {
        panics::guard(self, "event", false, || {
            if event.type_() == gst::EventType::Eos {
                self.drain();
            }
            self.parent_event(event)
        })
    }

    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        panics::guard(self, "render", Err(gst::FlowError::Error), || {
            let number = {
                let outbox = &mut *self.outbox();
                if outbox.relay == RelayState::Failed {
                    return Err(gst::FlowError::Error);
                }
                outbox.pictures += 1;
                outbox.pictures - 1
            };
            let put = {
                let jpeg = buffer.map_readable().map_err(|error| {
                    gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                    gst::FlowError::Error
                })?;
                self.put(buffer, &jpeg)
            };
            if let Err(error) = put {
                let refused =
                    UnsendableFrame::of(number, &mut self.outbox().stats, buffer.size(), error);
                refused.report(&*self.obj())?;
            }
            Ok(gst::FlowSuccess::Ok)
        })
    }
}
