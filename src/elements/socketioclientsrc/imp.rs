// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-socketioclientsrc
//!
//! Takes JPEGs from a Socket.IO server (Flask-SocketIO, python-socketio, Node), as pages do
//! that show them: each is the first argument of an event, as base64 text, with
//! `data:image/jpeg;base64,` before it or without, or as a binary attachment; or it is a
//! value of that argument, by the name of its `camera`.
//!
//! It gives the newest picture only: one that has not been taken when the next one comes is
//! dropped, so that nothing grows old here. A server that wants an answer to an event gets
//! it when the picture is taken, or one after it, and knows by that when to send more.
//!
//! A server that is not there yet, goes away or falls silent is tried again until it is
//! there. One that cannot be used, because of its certificate, its version, or because it
//! lets nobody in, is an error at the start; after there was a connection it is tried again
//! from time to time. Each change is told once: as a warning or an information message for
//! people, and as the element message `socketio-connection` with `url`, if there is one
//! `cause`, and `state`: `connecting`, `connected`, `streaming` (the first picture of a
//! connection is there), `lost`, `waiting` or `refused`.
//!
//! A server that sends bytes, but no whole message for longer than six times `timeout`, is
//! reported with a warning, and the connection stays.
//!
//! With `reconnect=false` the stream ends with the connection: with EOS if the server has
//! closed it, and with an error otherwise.
//!
//! What is no JPEG is reported with its number and skipped.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 socketioclientsrc url=http://localhost:5000 ! jpegdec ! videoconvert ! autovideosink
//! ```

use std::{
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

use b64jpeg_net::socketio::{Connection, IncomingEvent, Message, printable};
use b64jpeg_wire::{
    FrameLimits, Payload, WireError, jpeg,
    socketio::{Args, Json},
};
use bytes::Bytes;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_src::CreateSuccess, prelude::*},
};
use once_cell::sync::Lazy;

use crate::common::{
    capture::{self, Delays},
    faults::{Bad, Faults, Verdict},
    framing, panics, picture,
    quit::{self, Quit},
    receiver::Tolerance,
    relay::{self, Client, Line},
    stats::{self, Stats},
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "socketioclientsrc",
        gst::DebugColorFlags::empty(),
        Some("Socket.IO receiver"),
    )
});

const DEFAULT_RECONNECT: bool = true;

/// What every JPEG begins with in base64.
const BASE64_JPEG: &[u8] = b"/9j/";
/// How many cameras a warning names, at most.
const MAX_NAMES: usize = 20;
/// So many events wait for their answer; more of them are answered before their time.
const MAX_ANSWERS: usize = 64;
/// So many answers wait to be sent; events beyond them get none.
const MAX_ANSWERED: usize = 1024;

#[derive(Debug, Clone)]
struct Settings {
    relay: relay::Settings,
    tolerance: Tolerance,
    reconnect: bool,
    quit_key: String,
    stats_interval: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            relay: relay::Settings::default(),
            tolerance: Tolerance::default(),
            reconnect: DEFAULT_RECONNECT,
            quit_key: String::new(),
            stats_interval: stats::DEFAULT_INTERVAL,
        }
    }
}

/// A picture as it has come.
#[derive(Debug, Clone, PartialEq)]
struct Found {
    payload: Payload,
    bytes: Bytes,
}

impl Found {
    /// The picture in the arguments of an event, which may be in `text`.
    fn of(args: &Args<'_>, text: &Bytes, camera: Option<&str>) -> Option<Self> {
        let argument = args.values.first()?;
        let leaf = |value: &Json<'_>| Self::leaf(value, args, text);
        match (argument, camera) {
            (Json::Object(_), Some(camera)) => leaf(argument.get(camera)?),
            (Json::Object(entries), None) => {
                let leaves = || entries.iter().filter_map(|(_, value)| leaf(value));
                leaves().find(Self::is_jpeg).or_else(|| leaves().next())
            }
            (_, Some(_)) => None,
            (value, None) => leaf(value),
        }
    }

    fn leaf(value: &Json<'_>, args: &Args<'_>, text: &Bytes) -> Option<Self> {
        const URL: &[u8] = b"data:";
        let bytes = match value {
            Json::Binary(index) => args.attachments.get(*index)?.clone(),
            Json::String(string) => part_of(text, string.as_bytes()),
            _ => return None,
        };
        // Python has base64 text in bytes, unless it is decoded.
        let is_text = |bytes: &[u8]| bytes.starts_with(BASE64_JPEG) || bytes.starts_with(URL);
        if matches!(value, Json::Binary(_)) && !is_text(&bytes) {
            return Some(Self {
                payload: Payload::Jpeg,
                bytes,
            });
        }
        let start = match memchr::memchr(b',', &bytes) {
            Some(comma) if bytes.starts_with(URL) => comma + 1,
            _ => 0,
        };
        Some(Self {
            payload: Payload::Base64,
            bytes: bytes.slice(start..),
        })
    }

    /// Whether it begins as a JPEG does.
    fn is_jpeg(&self) -> bool {
        match self.payload {
            Payload::Base64 => self.bytes.starts_with(BASE64_JPEG),
            Payload::Jpeg => jpeg::is_jpeg(&self.bytes),
        }
    }

    /// The picture itself.
    fn decode(&self, limits: &FrameLimits) -> Result<(gst::Buffer, jpeg::JpegInfo), WireError> {
        let (len, max) = (self.bytes.len(), limits.max_frame);
        if len > max {
            let (len, max) = (len as u64, max as u64);
            return Err(WireError::TooLong { len, max });
        }
        if len == 0 {
            return Err(WireError::Empty);
        }
        picture::decode(self.payload, &self.bytes, limits)
    }
}

/// These bytes, which are a part of `text`, unless there was something to unescape.
fn part_of(text: &Bytes, bytes: &[u8]) -> Bytes {
    let (whole, part) = (text.as_ptr_range(), bytes.as_ptr_range());
    if whole.start <= part.start && part.end <= whole.end {
        text.slice_ref(bytes)
    } else {
        Bytes::copy_from_slice(bytes)
    }
}

/// What is wrong with which picture.
struct Fault {
    number: u64,
    error: WireError,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "picture {}: {}", self.number, self.error)
    }
}

impl Bad for Fault {
    fn error(&self) -> &WireError {
        &self.error
    }
}

/// What the connection leaves for the streaming thread, and the other way round.
#[derive(Default)]
struct Inbox {
    /// The newest picture, and its number.
    newest: Option<(u64, Found)>,
    /// Pictures that came.
    pictures: u64,
    /// The answers to the events up to that picture, and those to send.
    answers: Vec<Message>,
    answered: Vec<Message>,
    /// The next picture is the first good one of a connection; there may be a gap before.
    first: bool,
    discont: bool,
    /// There will be no more.
    ended: bool,
    /// The streaming thread is wanted back, or is to look at the state of the element.
    unlocked: bool,
    paused: bool,
    /// What was said about events without a picture for us, on this connection.
    told_other: bool,
    connected: bool,
    connections: u64,
    stats: Stats,
    delays: Delays,
}

impl Inbox {
    /// Sends answers, unless the server takes none.
    fn answer(&mut self, answers: impl IntoIterator<Item = Message>) {
        let room = MAX_ANSWERED.saturating_sub(self.answered.len());
        self.answered.extend(answers.into_iter().take(room));
    }

    /// Keeps the answer to an event until its picture is taken.
    fn answer_later(&mut self, answer: Option<Message>) {
        self.answers.extend(answer);
        if self.answers.len() > MAX_ANSWERS {
            let oldest = self.answers.remove(0);
            self.answer([oldest]);
        }
    }

    /// As users read it.
    fn structure(&mut self) -> gst::Structure {
        let mut stats = self.stats.structure();
        stats.set("connected", self.connected);
        stats.set("connections", self.connections);
        self.delays.tell(&mut stats);
        stats
    }
}

/// What the streaming thread has.
#[derive(Default)]
struct Stream {
    faults: Faults,
    /// Width and height of the last picture, as in the caps downstream.
    size: Option<Option<(u16, u16)>>,
    stats_told: stats::Told,
}

#[derive(Default)]
pub struct SocketIoClientSrc {
    settings: Mutex<Settings>,
    line: Mutex<Option<Line>>,
    inbox: Mutex<Inbox>,
    /// Something has changed in the inbox.
    changed: Condvar,
    stream: Mutex<Stream>,
}

impl SocketIoClientSrc {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self) -> MutexGuard<'_, Option<Line>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let max_frame = settings.tolerance.limits().max_frame;
        let target = settings.relay.target(max_frame, true)?;
        *self.inbox() = Inbox::default();
        *self.stream() = Stream::default();
        *self.line() = Some(Line::open::<Self>(*CAT, &self.obj(), target)?);
        Ok(())
    }

    fn close(&self) {
        let line = self.line().take();
        if let Some(line) = line {
            line.close();
            self.inbox().connected = false;
        }
    }

    /// The next picture, however long it takes.
    fn next(&self) -> Result<(u64, Found), gst::FlowError> {
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
            if let Some(found) = inbox.newest.take() {
                let answers = std::mem::take(&mut inbox.answers);
                if !answers.is_empty() {
                    inbox.answer(answers);
                    drop(inbox);
                    self.wake();
                }
                return Ok(found);
            }
            if inbox.ended {
                return Err(gst::FlowError::Eos);
            }
            let waited = self.changed.wait(inbox);
            inbox = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Has the answers be sent.
    fn wake(&self) {
        if let Some(line) = &*self.line() {
            line.wake();
        }
    }

    /// A picture as it goes out.
    fn give(&self, len: usize, mut buffer: gst::Buffer, info: jpeg::JpegInfo) -> gst::Buffer {
        let changed = {
            let stream = &mut *self.stream();
            stream.faults.good();
            stream.size.replace(info.size) != Some(info.size)
        };
        if changed {
            let caps = picture::caps(info.size, None);
            gst::debug!(CAT, imp = self, "Pictures are {caps}");
            // A pad that is flushing takes none.
            if self.obj().set_caps(&caps).is_err() {
                self.stream().size = None;
            }
        }
        let output = buffer.get_mut().expect("nobody else has it yet");
        let first = {
            let inbox = &mut *self.inbox();
            if std::mem::take(&mut inbox.discont) {
                output.set_flags(gst::BufferFlags::DISCONT);
            }
            inbox.stats.frame(len, output.size());
            if let Some(time) = inbox.delays.judge(&info) {
                capture::add_meta(output, time);
                inbox.delays.add(time, capture::now());
            }
            std::mem::take(&mut inbox.first)
        };
        if first {
            let url = self.line().as_ref().map(|line| line.url().to_owned());
            let url = url.unwrap_or_default();
            relay::post(self.obj().upcast_ref(), "streaming", &url, None);
        }
        gst::log!(CAT, imp = self, "{buffer:?}");
        buffer
    }

    /// Reports a bad picture; an error if the stream ends with it.
    fn report(&self, len: usize, fault: &Fault) -> Result<(), gst::FlowError> {
        let max_errors = self.settings().tolerance.max_errors;
        {
            let inbox = &mut *self.inbox();
            inbox.stats.errors += 1;
            inbox.stats.bytes_in += len as u64;
            inbox.discont = true;
        }
        let verdict = self.stream().faults.judge(fault, max_errors);
        match verdict {
            Verdict::Foreign(text) | Verdict::TooMany(text) => {
                gst::element_imp_error!(self, gst::StreamError::Decode, ("{text}"));
                // For an error GstBaseSrc would post another one, which says nothing.
                Err(gst::FlowError::Eos)
            }
            Verdict::Forgiven(Some(text)) => {
                gst::element_imp_warning!(self, gst::StreamError::Decode, ("{text}"));
                Ok(())
            }
            Verdict::Forgiven(None) => Ok(()),
        }
    }

    /// Tells the counts, when it is time to.
    fn tell_stats(&self) {
        let interval = self.settings().stats_interval;
        let again = self.stream().stats_told.again(interval);
        if again {
            self.obj().notify("stats");
        }
    }

    /// Says that an event is not what it is thought to be, unless that was said.
    fn tell_other(&self, text: &str) {
        if !std::mem::replace(&mut self.inbox().told_other, true) {
            gst::element_imp_warning!(self, gst::StreamError::Format, ("{text}"));
        }
    }
}

impl Client for SocketIoClientSrc {
    const SENDS: bool = false;

    fn settings(&self) -> relay::Settings {
        self.settings().relay.clone()
    }

    fn reconnects(&self) -> bool {
        self.settings().reconnect
    }

    fn on_connection(&self, connection: Option<&Connection>) {
        let inbox = &mut *self.inbox();
        inbox.connected = connection.is_some();
        // Nobody waits for them any more.
        inbox.answers.clear();
        inbox.answered.clear();
        if connection.is_some() {
            inbox.connections += 1;
            inbox.first = true;
            inbox.discont = true;
            inbox.told_other = false;
        }
    }

    fn answers(&self) -> Vec<Message> {
        std::mem::take(&mut self.inbox().answered)
    }

    fn take(&self, event: &IncomingEvent<'_>) -> bool {
        let (name, camera) = {
            let settings = self.settings();
            let camera = settings.relay.camera().map(str::to_owned);
            (settings.relay.event.clone(), camera)
        };
        if event.name != name {
            let other = Found::of(event.args, event.text, None);
            if self.inbox().pictures == 0 && other.is_some_and(|found| found.is_jpeg()) {
                self.tell_other(&format!(
                    "There are pictures in the event {:?}, and `event` is {name:?}",
                    printable(event.name)
                ));
            }
            return false;
        }
        let found = Found::of(event.args, event.text, camera.as_deref());
        let answer = event.ack.clone().map(Message::from);
        let Some(found) = found else {
            let (text, bad) = without_picture(&name, event.args, camera.as_deref());
            {
                let inbox = &mut *self.inbox();
                inbox.stats.errors += u64::from(bad);
                inbox.answer(answer);
            }
            self.wake();
            self.tell_other(&text);
            return false;
        };
        {
            let inbox = &mut *self.inbox();
            let number = inbox.pictures;
            inbox.pictures += 1;
            let replaced = inbox.newest.replace((number, found)).is_some();
            inbox.stats.dropped += u64::from(replaced);
            inbox.answer_later(answer);
        }
        self.changed.notify_all();
        true
    }

    fn spoiled(&self) {
        self.inbox().stats.errors += 1;
    }

    fn ended(&self) {
        self.inbox().ended = true;
        self.changed.notify_all();
    }
}

/// What an event has in the place of the picture that is looked for, and whether that is
/// bad. Pictures of other cameras are not.
fn without_picture(event: &str, args: &Args<'_>, camera: Option<&str>) -> (String, bool) {
    let argument = args.values.first();
    match (argument, camera) {
        (Some(object @ Json::Object(entries)), Some(camera)) if object.get(camera).is_none() => {
            let names: Vec<_> = entries
                .iter()
                .take(MAX_NAMES)
                .map(|(name, _)| format!("{:?}", printable(name)))
                .collect();
            let names = printable(&names.join(", "));
            (
                format!("The event {event:?} has nothing of `camera` {camera:?}, but of {names}"),
                false,
            )
        }
        (Some(Json::String(_) | Json::Binary(_)), Some(camera)) => (
            format!(
                "The event {event:?} has a picture without the name of a camera, and `camera` is \
                 {camera:?}"
            ),
            false,
        ),
        _ => (
            format!("The event {event:?} has no picture as its first argument, no text nor binary"),
            true,
        ),
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
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            let mut properties = relay::Settings::properties(
                "Name of the camera, if the event has several: the picture under this name; \
                 empty for the only one, or the first one",
            );
            properties.extend([
                glib::ParamSpecBoolean::builder("reconnect")
                    .nick("Reconnect")
                    .blurb(
                        "Try a relay that is not there, goes away or falls silent again until \
                         it is there; otherwise the stream ends with it",
                    )
                    .default_value(DEFAULT_RECONNECT)
                    .mutable_playing()
                    .build(),
                quit::key_property(),
                stats::property(),
                stats::interval_property(),
            ]);
            properties.extend(Tolerance::properties(
                "ends the connection",
                "after one more the stream ends with an error",
            ));
            properties
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            const OF_TYPE: &str = "GObject checks the type";
            let mut settings = self.settings();
            match pspec.name() {
                "reconnect" => settings.reconnect = value.get().expect(OF_TYPE),
                "quit-key" => {
                    let key = value.get::<Option<_>>().expect(OF_TYPE);
                    settings.quit_key = key.unwrap_or_default();
                }
                "stats-interval" => {
                    let time = value.get().expect(OF_TYPE);
                    settings.stats_interval = gst::ClockTime::from_nseconds(time);
                }
                name @ ("max-frame-size" | "max-pixels" | "max-errors") => {
                    settings.tolerance.set(name, value);
                }
                name => settings.relay.set(name, value),
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            if pspec.name() == "stats" {
                return self.inbox().structure().to_value();
            }
            let settings = self.settings();
            match pspec.name() {
                "reconnect" => settings.reconnect.to_value(),
                "quit-key" => settings.quit_key.to_value(),
                "stats-interval" => settings.stats_interval.nseconds().to_value(),
                name @ ("max-frame-size" | "max-pixels" | "max-errors") => {
                    settings.tolerance.get(name)
                }
                name => settings.relay.get(name),
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
        // Not in start(), where GstBaseSrc would post another error, which says nothing.
        if transition == gst::StateChange::ReadyToPaused {
            let opened = panics::catch(self, "open", || self.open());
            opened.flatten().map_err(|message| {
                self.post_error_message(message);
                // It may have come half way.
                panics::guard(self, "close", (), || self.close());
                gst::StateChangeError
            })?;
        }
        let change = self.parent_change_state(transition);
        match transition {
            gst::StateChange::PlayingToPaused => {
                self.inbox().paused = true;
                self.changed.notify_all();
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
            // GstBaseSrc would flush before it finds out that there is nowhere to go.
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
            self.changed.notify_all();
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

impl PushSrcImpl for SocketIoClientSrc {
    fn create(
        &self,
        _buffer: Option<&mut gst::BufferRef>,
    ) -> Result<CreateSuccess, gst::FlowError> {
        panics::guard(self, "create", Err(gst::FlowError::Eos), || {
            loop {
                let (number, found) = self.next()?;
                let limits = self.settings().tolerance.limits();
                let len = found.bytes.len();
                match found.decode(&limits) {
                    Ok((buffer, info)) => {
                        let buffer = self.give(len, buffer, info);
                        self.tell_stats();
                        return Ok(CreateSuccess::NewBuffer(buffer));
                    }
                    Err(error) => self.report(len, &Fault { number, error })?,
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_a_server_that_reads_none_are_bounded() {
        let mut inbox = Inbox::default();
        for id in 0..100_000 {
            inbox.answer_later(Some(Message::from(format!("43{id}[]"))));
            inbox.answer(Some(Message::from("43[]")));
        }
        assert_eq!(inbox.answers.len(), MAX_ANSWERS);
        assert_eq!(inbox.answered.len(), MAX_ANSWERED);
        let newest = Message::from("4399999[]");
        assert_eq!(inbox.answers.last(), Some(&newest));
    }
}
