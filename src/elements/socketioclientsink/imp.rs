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
//! The pipeline is never held up: one picture waits for the connection at most, and the
//! newest takes its place. While there is no connection, or `enabled` is false, pictures are
//! dropped. At the end the last one is sent before the stream ends.
//!
//! A relay that is not there yet, goes away, says nothing or takes nothing (`timeout`) is
//! tried again until it is there. One that cannot be used, because of its certificate, its
//! version, or because it lets nobody in, is an error at the start; after there was a
//! connection it is tried again from time to time. Each change is told once: as a warning or
//! an information message for people, and as the element message `socketio-connection` with
//! `url`, if there is one `cause`, and `state`: `connecting`, `connected`, `lost`, `waiting`
//! or `refused`.
//!
//! A picture that is longer than the relay takes (1 MB unless it is told otherwise) is
//! dropped, with a warning: it would end the connection.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! socketioclientsink url=http://localhost:5000
//! ```

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use b64jpeg_net::socketio::{Connection, IncomingEvent, Message};
use b64jpeg_wire::{FrameLimits, OutgoingFrame, Payload, WireError, socketio::PictureEvent};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::SocketIoPayload;
use crate::common::{
    capture,
    framing::{self, JPEG_CAPS},
    panics,
    relay::{self, Client, Line},
    sender::{self, DEFAULT_CAPTURE_TIME, Refused},
    stats::{self, Stats},
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "socketioclientsink",
        gst::DebugColorFlags::empty(),
        Some("Socket.IO sender"),
    )
});

const DEFAULT_ENABLED: bool = true;

/// The end of a stream waits no longer for the last picture to be sent.
const LAST: Duration = Duration::from_secs(10);

#[derive(Debug, Clone)]
struct Settings {
    relay: relay::Settings,
    payload: SocketIoPayload,
    capture_time: bool,
    enabled: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            relay: relay::Settings::default(),
            payload: SocketIoPayload::default(),
            capture_time: DEFAULT_CAPTURE_TIME,
            enabled: DEFAULT_ENABLED,
        }
    }
}

/// A picture as it is sent.
struct Frame {
    messages: Vec<Message>,
    /// Bytes of the picture, of all messages, and of the longest one.
    picture: usize,
    bytes: usize,
    longest: usize,
}

impl Frame {
    fn new(
        picture: &OutgoingFrame,
        event: &PictureEvent,
        payload: SocketIoPayload,
        len: usize,
    ) -> Self {
        let messages = match payload {
            SocketIoPayload::Base64 => vec![event.text(picture).into()],
            SocketIoPayload::Binary => {
                let mut jpeg = vec![0; picture.payload_len(Payload::Jpeg)];
                picture.encode_payload(Payload::Jpeg, &mut jpeg);
                vec![event.binary().into(), Message::Binary(jpeg.into())]
            }
        };
        Self {
            picture: len,
            bytes: messages.iter().map(Message::len).sum(),
            longest: messages.iter().map(Message::len).max().unwrap_or(0),
            messages,
        }
    }
}

/// What there is to send to.
#[derive(Debug, Default, Clone, Copy, PartialEq)]
enum Relay {
    /// It is being connected to for the first time.
    #[default]
    Coming,
    There,
    /// It may come back.
    Gone,
    /// It will not.
    Failed,
}

/// A message is longer than the relay takes.
struct TooLong {
    len: usize,
    max: u64,
}

/// What the streaming thread leaves for the connection, and what becomes of it.
#[derive(Default)]
struct Outbox {
    relay: Relay,
    /// The relay takes no longer messages.
    max_payload: Option<u64>,
    waiting: Option<Frame>,
    /// Bytes of the picture that is being sent, and of its messages.
    under_way: Option<(usize, usize)>,
    /// Whether the last picture was longer than that.
    too_long: bool,
    /// Pictures that came.
    pictures: u64,
    stats: Stats,
    connections: u64,
    /// Whether BaseSink wants the streaming thread back.
    unlocked: bool,
}

impl Outbox {
    /// Whether something can be sent, now or soon.
    fn takes_frames(&self) -> bool {
        matches!(self.relay, Relay::Coming | Relay::There)
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_none() && self.under_way.is_none()
    }

    /// Drops the picture that waits.
    fn clear(&mut self) {
        let dropped = self.waiting.take().is_some();
        self.stats.dropped += u64::from(dropped);
    }

    /// Drops the picture that waits if it is longer than the relay takes; tells so of the
    /// first one.
    fn check_length(&mut self) -> Option<TooLong> {
        let (len, max) = (self.waiting.as_ref()?.longest, self.max_payload?);
        let too_long = len as u64 > max;
        let first = !std::mem::replace(&mut self.too_long, too_long);
        if too_long {
            self.clear();
        }
        (too_long && first).then_some(TooLong { len, max })
    }

    /// As users read it.
    fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        stats.set("connected", self.relay == Relay::There);
        stats.set("connections", self.connections);
        stats
    }
}

/// From start to stop.
struct Session {
    event: Arc<PictureEvent>,
    line: Line,
}

#[derive(Default)]
pub struct SocketIoClientSink {
    settings: Mutex<Settings>,
    session: Mutex<Option<Session>>,
    outbox: Mutex<Outbox>,
    /// Something has changed in the outbox.
    changed: Condvar,
}

impl SocketIoClientSink {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn session(&self) -> MutexGuard<'_, Option<Session>> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        // A relay may send everything back, and nobody reads it.
        let target = settings
            .relay
            .target(FrameLimits::DEFAULT_MAX_FRAME, false)?;
        *self.outbox() = Outbox::default();
        let obj = self.obj();
        *self.session() = Some(Session {
            event: Arc::new(settings.relay.picture_event()),
            line: Line::open::<Self>(*CAT, &obj, target)?,
        });
        Ok(())
    }

    fn close(&self) {
        let session = self.session().take();
        if let Some(session) = session {
            session.line.close();
            self.leave(Relay::Gone);
        }
    }

    /// There is nothing to send to any more.
    fn leave(&self, relay: Relay) {
        let was = {
            let outbox = &mut *self.outbox();
            outbox.clear();
            // Nobody knows how much of it has come.
            let cut = outbox.under_way.take().is_some();
            outbox.stats.dropped += u64::from(cut);
            std::mem::replace(&mut outbox.relay, relay)
        };
        self.changed.notify_all();
        if was == Relay::There {
            self.obj().notify("connected");
        }
    }

    /// Leaves a picture for the connection, in the place of one that waits; tells why that
    /// cannot be.
    fn put(&self, buffer: &gst::BufferRef, jpeg: &[u8]) -> Result<(), WireError> {
        let mut picture = OutgoingFrame::new(jpeg)?;
        let (payload, capture_time, enabled) = {
            let settings = self.settings();
            (settings.payload, settings.capture_time, settings.enabled)
        };
        let event = self.session().as_ref().map(|session| session.event.clone());
        let (Some(event), true) = (event, enabled && self.outbox().takes_frames()) else {
            self.outbox().stats.dropped += 1;
            return Ok(());
        };
        if capture_time {
            let obj = self.obj();
            let time = capture::time_of(&*obj, &obj.segment(), buffer);
            picture = picture.captured_at(time.unix_ns());
        }
        let frame = Frame::new(&picture, &event, payload, buffer.size());
        let too_long = {
            let outbox = &mut *self.outbox();
            // The connection may have been lost meanwhile.
            let dropped = match outbox.takes_frames() {
                true => outbox.waiting.replace(frame).is_some(),
                false => true,
            };
            outbox.stats.dropped += u64::from(dropped);
            outbox.check_length()
        };
        if let Some(too_long) = too_long {
            self.warn_too_long(too_long);
        }
        if let Some(session) = &*self.session() {
            session.line.wake();
        }
        Ok(())
    }

    /// Says that pictures are longer than the relay takes.
    fn warn_too_long(&self, TooLong { len, max }: TooLong) {
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

    /// Waits until the last picture was sent, if it is going to be soon.
    fn drain(&self) {
        let deadline = Instant::now() + LAST;
        let mut outbox = self.outbox();
        while outbox.takes_frames() && !outbox.is_empty() && !outbox.unlocked {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                gst::warning!(
                    CAT,
                    imp = self,
                    "The last picture is dropped: it took too long"
                );
                return;
            }
            let waited = self.changed.wait_timeout(outbox, left);
            outbox = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Client for SocketIoClientSink {
    const SENDS: bool = true;

    fn settings(&self) -> relay::Settings {
        self.settings().relay.clone()
    }

    fn reconnects(&self) -> bool {
        true
    }

    fn on_connection(&self, connection: Option<&Connection>) {
        let Some(connection) = connection else {
            return self.leave(Relay::Gone);
        };
        let too_long = {
            let outbox = &mut *self.outbox();
            outbox.relay = Relay::There;
            outbox.max_payload = connection.max_payload();
            outbox.connections += 1;
            outbox.check_length()
        };
        self.changed.notify_all();
        if let Some(too_long) = too_long {
            self.warn_too_long(too_long);
        }
        self.obj().notify("connected");
    }

    fn next(&self) -> Option<Vec<Message>> {
        let outbox = &mut *self.outbox();
        let frame = outbox.waiting.take()?;
        outbox.under_way = Some((frame.picture, frame.bytes));
        Some(frame.messages)
    }

    fn sent(&self) {
        {
            let outbox = &mut *self.outbox();
            if let Some((picture, bytes)) = outbox.under_way.take() {
                outbox.stats.frame(picture, bytes);
            }
        }
        self.changed.notify_all();
    }

    fn take(&self, _event: &IncomingEvent<'_>) -> bool {
        false
    }

    fn ended(&self) {
        self.leave(Relay::Failed);
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
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            let mut properties = relay::Settings::properties(
                "Name of the camera: the picture is sent in an object under this name; empty \
                 for the picture alone",
            );
            properties.extend([
                glib::ParamSpecEnum::builder::<SocketIoPayload>("payload")
                    .nick("Payload")
                    .blurb("How each picture is sent")
                    .mutable_ready()
                    .build(),
                sender::capture_time_property(),
                glib::ParamSpecBoolean::builder("enabled")
                    .nick("Enabled")
                    .blurb("Send pictures; otherwise they are dropped, and the connection stays")
                    .default_value(DEFAULT_ENABLED)
                    .mutable_playing()
                    .build(),
                glib::ParamSpecBoolean::builder("connected")
                    .nick("Connected")
                    .blurb("Whether there is a connection to the relay")
                    .read_only()
                    .build(),
                stats::property(),
            ]);
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            const OF_TYPE: &str = "GObject checks the type";
            let mut settings = self.settings();
            match pspec.name() {
                "payload" => settings.payload = value.get().expect(OF_TYPE),
                "capture-time" => settings.capture_time = value.get().expect(OF_TYPE),
                "enabled" => settings.enabled = value.get().expect(OF_TYPE),
                name => settings.relay.set(name, value),
            }
            let enabled = settings.enabled;
            drop(settings);
            if !enabled {
                self.outbox().clear();
                self.changed.notify_all();
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(
            self,
            "property",
            pspec.default_value().clone(),
            || match pspec.name() {
                "payload" => self.settings().payload.to_value(),
                "capture-time" => self.settings().capture_time.to_value(),
                "enabled" => self.settings().enabled.to_value(),
                "connected" => (self.outbox().relay == Relay::There).to_value(),
                "stats" => self.outbox().structure().to_value(),
                name => self.settings().relay.get(name),
            },
        )
    }

    fn constructed(&self) {
        self.parent_constructed();
        // Nothing is to be done with a picture before it can be sent.
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
            self.changed.notify_all();
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
                if outbox.relay == Relay::Failed {
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
                let refused = Refused::of(number, &mut self.outbox().stats, buffer.size(), error);
                refused.report(&*self.obj())?;
            }
            Ok(gst::FlowSuccess::Ok)
        })
    }
}
