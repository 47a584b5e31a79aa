// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-socketioclientsrc
//!
//! Takes JPEGs from a Socket.IO server (Flask-SocketIO, python-socketio, Node), as pages do
//! that show them: each is the first argument of an event, as base64 text, with
//! `data:image/jpeg;base64,` before it or without, or as a binary attachment; or it is a
//! value of that argument, by the name of its `camera`.
//!
//! The element outputs only the newest picture: if downstream has not taken a picture when the
//! next one arrives, the older one is dropped, so that no delay builds up. If the server wants
//! an acknowledgement of an event, it gets it when downstream takes the picture or a newer one,
//! and so knows when to send more.
//!
//! If the server cannot be reached, closes the connection or sends nothing, the element
//! connects again until it succeeds. A server that cannot be used (its certificate, its version,
//! or it refuses the client) is an error at the start; after a first connection the element
//! keeps trying with the longest delay. Each change is reported once: to people as a warning or
//! an information message, and to applications as the element message `socketio-connection` with
//! `url`, `cause` (if there is one) and `state`: `connecting`, `connected`, `streaming` (the
//! first picture of a connection has arrived), `lost`, `waiting` or `refused`.
//!
//! If a server sends bytes, but no whole message for longer than six times `timeout`, the
//! element warns and keeps the connection.
//!
//! With `reconnect=false` the stream ends with the first connection: with EOS if the server
//! closed it, and with an error otherwise.
//!
//! A picture that is no JPEG is reported with its number and skipped.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 socketioclientsrc url=http://localhost:5000 ! jpegdec ! videoconvert ! autovideosink
//! ```

use std::{
    fmt,
    sync::{Condvar, Mutex, MutexGuard},
};

use b64jpeg_net::{
    socketio::{Connection, IncomingEvent, Message, printable},
    sync::{lock, wait},
};
use b64jpeg_wire::{WireError, jpeg};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_src::CreateSuccess, prelude::*},
};
use once_cell::sync::Lazy;

use super::{
    event_picture::{EventPicture, describe_missing},
    inbox::Inbox,
    settings::{PROPERTIES, Settings},
};
use crate::common::{
    capture_time,
    error_policy::{BadFrame, ErrorPolicy, Verdict},
    framing_properties, jpeg_buffer, panics,
    quit_key::QuitRequest,
    socketio_session::{SocketIoConnection, SocketIoElement},
    socketio_settings::SocketIoSettings,
    stats,
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "socketioclientsrc",
        gst::DebugColorFlags::empty(),
        Some("Socket.IO receiver"),
    )
});

/// A picture that cannot be decoded.
struct BadPicture {
    number: u64,
    error: WireError,
}

impl fmt::Display for BadPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "picture {}: {}", self.number, self.error)
    }
}

impl BadFrame for BadPicture {
    fn error(&self) -> &WireError {
        &self.error
    }
}

/// The state of the streaming thread.
#[derive(Default)]
struct StreamState {
    faults: ErrorPolicy,
    /// Width and height of the last picture, as in the caps downstream.
    size: Option<Option<(u16, u16)>>,
    stats_timer: stats::NotifyTimer,
}

#[derive(Default)]
pub struct SocketIoClientSrc {
    settings: Mutex<Settings>,
    connection: Mutex<Option<SocketIoConnection>>,
    inbox: Mutex<Inbox>,
    /// Signalled when something in the inbox changes.
    inbox_changed: Condvar,
    stream: Mutex<StreamState>,
}

impl SocketIoClientSrc {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        lock(&self.inbox)
    }

    fn stream(&self) -> MutexGuard<'_, StreamState> {
        lock(&self.stream)
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let max_frame = settings.tolerance.limits().max_frame;
        let target = settings.relay.target(max_frame, true)?;
        *self.inbox() = Inbox::default();
        *self.stream() = StreamState::default();
        let connection = SocketIoConnection::open::<Self>(*CAT, &self.obj(), target)?;
        *lock(&self.connection) = Some(connection);
        Ok(())
    }

    fn close(&self) {
        let connection = lock(&self.connection).take();
        if let Some(connection) = connection {
            connection.close();
            self.inbox().connected = false;
        }
    }

    /// The next picture and its number, however long it takes.
    fn next_picture(&self) -> Result<(u64, EventPicture), gst::FlowError> {
        let mut inbox = self.inbox();
        loop {
            if inbox.unlocked {
                return Err(gst::FlowError::Flushing);
            }
            if std::mem::take(&mut inbox.paused) {
                drop(inbox);
                gst::debug!(CAT, imp = self, "Paused");
                self.obj().wait_playing()?;
                inbox = self.inbox();
                continue;
            }
            if let Some((newest, acknowledges)) = inbox.take_newest() {
                drop(inbox);
                if acknowledges {
                    self.wake_connection();
                }
                return Ok(newest);
            }
            if inbox.ended {
                return Err(gst::FlowError::Eos);
            }
            inbox = wait(&self.inbox_changed, inbox);
        }
    }

    /// Makes the connection's task send acknowledgements.
    fn wake_connection(&self) {
        if let Some(connection) = &*lock(&self.connection) {
            connection.wake();
        }
    }

    /// Prepares a picture for downstream. `len` is the number of bytes it had in its event.
    fn prepare(&self, len: usize, mut buffer: gst::Buffer, info: &jpeg::JpegInfo) -> gst::Buffer {
        let size_changed = {
            let stream = &mut *self.stream();
            stream.faults.good();
            stream.size.replace(info.size) != Some(info.size)
        };
        if size_changed {
            let caps = jpeg_buffer::caps(info.size, None);
            gst::debug!(CAT, imp = self, "The caps are {caps}");
            // This fails while the pad is flushing: then the caps are set with the next picture.
            if self.obj().set_caps(&caps).is_err() {
                self.stream().size = None;
            }
        }
        let output = buffer
            .get_mut()
            .expect("the buffer is new, so it is not shared");
        let first = {
            let inbox = &mut *self.inbox();
            if std::mem::take(&mut inbox.discont) {
                output.set_flags(gst::BufferFlags::DISCONT);
            }
            inbox.stats.frame(len, output.size());
            if let Some(time) = inbox.delays.judge(info) {
                capture_time::add_meta(output, time);
                inbox.delays.add(time, capture_time::now());
            }
            std::mem::take(&mut inbox.first)
        };
        if first && let Some(connection) = &*lock(&self.connection) {
            connection.report_streaming();
        }
        gst::log!(CAT, imp = self, "{buffer:?}");
        buffer
    }

    /// Reports a bad picture. Fails if the stream ends with it.
    fn handle_bad_picture(&self, len: usize, bad: &BadPicture) -> Result<(), gst::FlowError> {
        let max_errors = self.settings().tolerance.max_errors;
        {
            let inbox = &mut *self.inbox();
            inbox.stats.errors += 1;
            inbox.stats.bytes_in += len as u64;
            inbox.discont = true;
        }
        let verdict = self.stream().faults.judge(bad, max_errors);
        match verdict {
            Verdict::Foreign(text) | Verdict::TooMany(text) => {
                gst::element_imp_error!(self, gst::StreamError::Decode, ("{text}"));
                // With an error GstBaseSrc would post a second message that says nothing.
                Err(gst::FlowError::Eos)
            }
            Verdict::Forgiven(Some(text)) => {
                gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}"));
                Ok(())
            }
            Verdict::Forgiven(None) => Ok(()),
        }
    }

    fn create_buffer(&self) -> Result<gst::Buffer, gst::FlowError> {
        loop {
            let (number, picture) = self.next_picture()?;
            let limits = self.settings().tolerance.limits();
            let len = picture.bytes.len();
            match picture.decode(&limits) {
                Ok((buffer, info)) => {
                    let buffer = self.prepare(len, buffer, &info);
                    self.notify_stats();
                    return Ok(buffer);
                }
                Err(error) => self.handle_bad_picture(len, &BadPicture { number, error })?,
            }
        }
    }

    /// Notifies `stats` when `stats-interval` has passed.
    fn notify_stats(&self) {
        let interval = self.settings().stats_interval;
        let due = self.stream().stats_timer.is_due(interval);
        if due {
            self.obj().notify(stats::NAME);
        }
    }

    /// Warns once for each connection that events are not what they are expected to be.
    fn warn_about_events(&self, text: &str) {
        if !std::mem::replace(&mut self.inbox().reported_other_events, true) {
            gst::element_imp_warning!(self, gst::StreamError::Format, ("{text}"));
        }
    }
}

impl SocketIoElement for SocketIoClientSrc {
    const SENDS: bool = false;

    fn settings(&self) -> SocketIoSettings {
        self.settings().relay.clone()
    }

    fn reconnects(&self) -> bool {
        self.settings().reconnect
    }

    fn on_connection(&self, connection: Option<&Connection>) {
        let inbox = &mut *self.inbox();
        match connection {
            Some(_) => inbox.begin_connection(),
            None => inbox.end_connection(),
        }
    }

    fn answers(&self) -> Vec<Message> {
        self.inbox().take_acknowledgements()
    }

    fn take(&self, event: &IncomingEvent<'_>) -> bool {
        let (name, camera) = {
            let settings = self.settings();
            let camera = settings.relay.camera().map(str::to_owned);
            (settings.relay.event.clone(), camera)
        };
        if event.name != name {
            let other = EventPicture::find(event.args, event.text, None);
            if self.inbox().pictures == 0 && other.is_some_and(|picture| picture.is_jpeg()) {
                self.warn_about_events(&format!(
                    "There are pictures in the event {:?}, and `event` is {name:?}",
                    printable(event.name)
                ));
            }
            return false;
        }
        let acknowledgement = event.ack.clone().map(Message::from);
        let Some(picture) = EventPicture::find(event.args, event.text, camera.as_deref()) else {
            let (text, is_error) = describe_missing(&name, event.args, camera.as_deref());
            {
                let inbox = &mut *self.inbox();
                inbox.stats.errors += u64::from(is_error);
                inbox.acknowledge(acknowledgement);
            }
            self.wake_connection();
            self.warn_about_events(&text);
            return false;
        };
        self.inbox().put(picture, acknowledgement);
        self.inbox_changed.notify_all();
        true
    }

    fn bad_data(&self) {
        self.inbox().stats.errors += 1;
    }

    fn ended(&self) {
        self.inbox().ended = true;
        self.inbox_changed.notify_all();
    }
}

#[glib::object_subclass]
impl ObjectSubclass for SocketIoClientSrc {
    const NAME: &'static str = "GstB64JpegSocketIoClientSrc";
    type Type = super::SocketIoClientSrc;
    type ParentType = gst_base::PushSrc;
}

impl ObjectImpl for SocketIoClientSrc {
    fn properties() -> &'static [glib::ParamSpec] {
        PROPERTIES.specs()
    }

    fn set_property(&self, id: usize, value: &glib::Value, _pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            PROPERTIES.set(&mut self.settings(), id, value);
        })
    }

    fn property(&self, id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            let setting = PROPERTIES.get(&self.settings(), id);
            setting.unwrap_or_else(|| self.inbox().structure().to_value())
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

impl GstObjectImpl for SocketIoClientSrc {}

impl ElementImpl for SocketIoClientSrc {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Socket.IO JPEG receiver",
                "Source/Network",
                "Receives JPEG pictures from a Socket.IO server, such as Flask-SocketIO, \
                 python-socketio or Node, as events with base64 text",
                env!("CARGO_PKG_AUTHORS"),
            )
        });
        Some(&METADATA)
    }

    fn pad_templates() -> &'static [gst::PadTemplate] {
        static TEMPLATES: Lazy<Vec<gst::PadTemplate>> = Lazy::new(|| {
            vec![framing_properties::always_template(
                "src",
                gst::PadDirection::Src,
                &jpeg_buffer::CAPS,
            )]
        });
        &TEMPLATES
    }

    fn change_state(
        &self,
        transition: gst::StateChange,
    ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
        // Not in start(), where GstBaseSrc would post a second error that says nothing.
        if transition == gst::StateChange::ReadyToPaused {
            let opened = panics::catch(self, "open", || self.open());
            opened.flatten().map_err(|message| {
                self.post_error_message(message);
                // What was opened before the failure is closed.
                panics::guard(self, "close", (), || self.close());
                gst::StateChangeError
            })?;
        }
        let change = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PlayingToPaused => {
                self.inbox().paused = true;
                self.inbox_changed.notify_all();
            }
            gst::StateChange::PausedToReady => {
                panics::guard(self, "close", (), || self.close());
            }
            gst::StateChange::ReadyToPaused if change.is_err() => {
                panics::guard(self, "close", (), || self.close());
            }
            _ => {}
        }
        change
    }

    fn send_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "send_event", false, || {
            // GstBaseSrc would flush first, and then find that it cannot seek.
            event.type_() != gst::EventType::Seek && self.parent_send_event(event)
        })
    }
}

impl BaseSrcImpl for SocketIoClientSrc {
    fn is_seekable(&self) -> bool {
        false
    }

    fn negotiate(&self) -> Result<(), gst::LoggableError> {
        // The caps come with the first picture.
        Ok(())
    }

    fn unlock(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock", Ok(()), || {
            self.inbox().unlocked = true;
            self.inbox_changed.notify_all();
            Ok(())
        })
    }

    fn unlock_stop(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "unlock_stop", Ok(()), || {
            self.inbox().unlocked = false;
            Ok(())
        })
    }

    fn event(&self, event: &gst::Event) -> bool {
        panics::guard(self, "event", false, || {
            let key = self.settings().quit_key.clone();
            // The EOS event that this sends interrupts the streaming thread.
            QuitRequest::default().on_key(&*self.obj(), &key, event) || self.parent_event(event)
        })
    }

    fn query(&self, query: &mut gst::QueryRef) -> bool {
        panics::guard(self, "query", false, || {
            if let gst::QueryViewMut::Latency(query) = query.view_mut() {
                // A picture gets its timestamp when it has arrived.
                query.set(true, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                return true;
            }
            BaseSrcImplExt::parent_query(self, query)
        })
    }
}

impl PushSrcImpl for SocketIoClientSrc {
    fn create(
        &self,
        _buffer: Option<&mut gst::BufferRef>,
    ) -> Result<CreateSuccess, gst::FlowError> {
        panics::guard(self, "create", Err(gst::FlowError::Eos), || {
            self.create_buffer().map(CreateSuccess::NewBuffer)
        })
    }
}
