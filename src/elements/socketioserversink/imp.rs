// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-socketioserversink
//!
//! Serves JPEGs on one port to browsers and to whatever else speaks HTTP or Socket.IO:
//!
//! | path | |
//! | --- | --- |
//! | `/` | a page that shows every camera |
//! | `/socket.io/` | Socket.IO: each picture as an `event` with its base64, or with `{camera: base64}` |
//! | `/stream.mjpg` | pictures without an end, for `<img>`, OpenCV, VLC and many others |
//! | `/snapshot.jpg` | the newest picture; 503 before the first |
//! | `/stats` | counts, as JSON |
//!
//! Pictures are of the first camera by name, or as `?camera=NAME` says.
//!
//! Everybody gets the newest picture when they are ready for one. Whoever is slow gets
//! fewer; the pipeline waits for nobody, and nothing piles up. After the end of the stream
//! the last picture stays.
//!
//! Several cameras are several of these elements in one process with the same `host` and
//! `port`, each with a `camera` name of its own.
//!
//! Without a `token` everybody watches who can connect. That is this machine alone, and
//! none of the pages of other sites that are open on it, unless `host` and
//! `allowed-origins` say otherwise. With one it goes along as `Authorization: Bearer TOKEN`,
//! as `?token=TOKEN`, or in the `auth` of Socket.IO, `{token: TOKEN}`; the page asks for it.
//!
//! Where no token guards it, the server answers only to names that no foreign page can use: an
//! IP address, `localhost`, and, with a `host` that others reach, the machine's own name and
//! names of local networks (`camera`, `camera.local`). Pages of other sites cannot embed what is
//! served, unless `allowed-origins` lists them. Whoever guesses tokens has to wait, after 20.
//!
//! A peer may send 64 KiB at once and then 32 KiB a second, more than any viewer has to say;
//! whoever sends more is read more slowly. An address has `max-connections-per-address`, a
//! session that watches nothing is ended after 10 s, and who was refused is counted in `stats`.
//!
//! ## Example
//!
//! ```bash
//! gst-launch-1.0 videotestsrc is-live=true ! jpegenc ! socketioserversink port=8080
//! ```
//!
//! ## Messages
//!
//! The element messages `socketio-viewer-added` (address, kind, viewers) and
//! `socketio-viewer-removed` (the same, frames, dropped), from the first of the elements
//! that share a server. The kind is `socketio`, `view` (our page) or `mjpeg`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use b64jpeg_net::host::host_and_port;
use b64jpeg_wire::OutgoingFrame;
use bytes::Bytes;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;
use serde_json::Value;

use crate::{
    common::{
        capture::{self, CaptureTime},
        framing::{self, JPEG_CAPS},
        panics,
        sender::Refused,
        stats::{self, Stats},
    },
    web::{Config, Event, Member},
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "socketioserversink",
        gst::DebugColorFlags::empty(),
        Some("Server for browsers and Socket.IO"),
    )
});

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_PORT: u16 = 8080;
const DEFAULT_EVENT: &str = "stream";
const DEFAULT_MAX_CLIENTS: u32 = 0;
/// A quarter of all that a server takes.
const DEFAULT_MAX_CONNECTIONS_PER_ADDRESS: u32 = 250;

#[derive(Debug, Clone)]
struct Settings {
    config: Config,
    camera: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Config {
                host: DEFAULT_HOST.into(),
                port: DEFAULT_PORT,
                event: DEFAULT_EVENT.into(),
                max_clients: DEFAULT_MAX_CLIENTS,
                max_connections_per_address: DEFAULT_MAX_CONNECTIONS_PER_ADDRESS,
                ..Config::default()
            },
            camera: String::new(),
        }
    }
}

#[derive(Default)]
struct State {
    /// Between start and stop.
    member: Option<Arc<Member>>,
    /// What was counted when it was stopped.
    stats: Option<gst::Structure>,
}

#[derive(Default)]
pub struct B64JpegSocketIoServerSink {
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

impl B64JpegSocketIoServerSink {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn member(&self) -> Option<Arc<Member>> {
        self.state().member.clone()
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let element = self.obj().downgrade();
        let on_event = move |event: &Event, first| {
            if let Some(element) = element.upgrade() {
                let imp = element.imp();
                panics::guard(imp, "on_event", (), || imp.on_event(event, first));
            }
        };
        let member = Member::join(&settings.config, &settings.camera, Arc::new(on_event))?;
        gst::info!(CAT, imp = self, "Serving on {}", member.address());
        for text in member.warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{text}"));
        }
        *self.state() = State {
            member: Some(Arc::new(member)),
            stats: None,
        };
        self.notify_address();
        Ok(())
    }

    fn close(&self) {
        let Some(member) = self.member() else { return };
        let stats = stats_of(&member);
        *self.state() = State {
            member: None,
            stats: Some(stats),
        };
        // We are told who goes with it, so there must be no lock.
        member.leave();
        self.notify_address();
    }

    fn notify_address(&self) {
        for property in ["current-port", "url", "viewers"] {
            self.obj().notify(property);
        }
    }

    /// Something happened to the server. In its thread.
    fn on_event(&self, event: &Event, first: bool) {
        let obj = self.obj();
        let (name, viewer, viewers) = match event {
            Event::Added(viewer, viewers) => ("socketio-viewer-added", viewer, *viewers),
            Event::Removed(viewer, viewers) => ("socketio-viewer-removed", viewer, *viewers),
            Event::CannotAccept(error) => {
                if first {
                    gst::element_imp_warning!(
                        self,
                        gst::ResourceError::NoSpaceLeft,
                        ("There is no room for another connection: {error}; trying again until there is")
                    );
                }
                return;
            }
            // Each of the elements that share the server ends its own pipeline.
            Event::Panicked(message) => {
                self.post_error_message(message.clone());
                return;
            }
        };
        obj.notify("viewers");
        if !first {
            return;
        }
        let (address, kind) = (viewer.address.to_string(), viewer.kind.as_str());
        let (frames, dropped) = viewer.counts();
        gst::info!(
            CAT,
            imp = self,
            "{name}: {kind} {address}, {frames} pictures; {viewers} are there"
        );
        let structure = gst::Structure::builder(name)
            .field("address", address)
            .field("kind", kind)
            .field("viewers", viewers as u32)
            .field("frames", frames)
            .field("dropped", dropped)
            .build();
        let message = gst::message::Element::builder(structure).src(&*obj).build();
        // Nobody listens while there is no bus.
        let _ = obj.post_message(message);
    }

    /// What a browser opens.
    fn url(&self, member: &Member) -> String {
        let config = &self.settings().config;
        let scheme = if config.tls_certificate.is_empty() {
            "http"
        } else {
            "https"
        };
        let address = member.address();
        let host = match address.ip().is_unspecified() {
            true => "localhost",
            false => &config.host,
        };
        format!("{scheme}://{}/", host_and_port(host, address.port()))
    }

    fn stats(&self) -> gst::Structure {
        let (member, stats) = {
            let state = self.state();
            (state.member.clone(), state.stats.clone())
        };
        match member {
            Some(member) => stats_of(&member),
            None => stats.unwrap_or_else(|| Stats::default().structure()),
        }
    }

    /// Shows a picture; why it cannot be shown.
    fn show(&self, member: &Member, buffer: &gst::BufferRef) -> Result<(), gst::FlowError> {
        let camera = member.camera();
        let jpeg = buffer.map_readable().map_err(|error| {
            gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
            gst::FlowError::Error
        })?;
        match OutgoingFrame::new(&jpeg) {
            Ok(picture) => {
                let obj = self.obj();
                let info = picture.info();
                let captured = info
                    .capture_time
                    .and_then(CaptureTime::received)
                    .unwrap_or_else(|| capture::time_of(&*obj, &obj.segment(), buffer));
                // Copied: cameras have few buffers, and want them back.
                let jpeg = Bytes::copy_from_slice(picture.jpeg());
                camera.show(jpeg, info.size, captured.unix_ns());
                gst::log!(CAT, imp = self, "{buffer:?} is shown");
                Ok(())
            }
            Err(error) => {
                let refuse = |stats: &mut Stats| Refused::new(stats, jpeg.len(), error);
                camera.with_stats(refuse).report(&*self.obj())
            }
        }
    }
}

/// What is told of a camera, and of its server as `/stats` has it.
fn stats_of(member: &Member) -> gst::Structure {
    let mut stats = member.camera().with_stats(Stats::structure);
    for (name, value) in member.report() {
        stats.set_value(name, send_value(value));
    }
    stats
}

/// JSON as GStreamer has it.
fn send_value(json: Value) -> glib::SendValue {
    match json {
        Value::Null => None::<&str>.to_send_value(),
        Value::Bool(value) => value.to_send_value(),
        Value::Number(number) => match number.as_u64() {
            Some(number) => number.to_send_value(),
            None => number.as_f64().unwrap_or_default().to_send_value(),
        },
        Value::String(text) => text.to_send_value(),
        Value::Array(values) => {
            gst::Array::from_iter(values.into_iter().map(send_value)).to_send_value()
        }
        Value::Object(fields) => {
            let mut structure = gst::Structure::new_empty("of");
            for (name, value) in fields {
                structure.set_value(name, send_value(value));
            }
            structure.to_send_value()
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for B64JpegSocketIoServerSink {
    const NAME: &'static str = "GstB64JpegSocketIoServerSink";
    type Type = super::B64JpegSocketIoServerSink;
    type ParentType = gst_base::BaseSink;
}

/// A property that is a text, and empty by default.
fn text_property(name: &str, nick: &str, blurb: &str, default: &str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(Some(default))
        .mutable_ready()
        .build()
}

impl ObjectImpl for B64JpegSocketIoServerSink {
    fn properties() -> &'static [glib::ParamSpec] {
        static PROPERTIES: Lazy<Vec<glib::ParamSpec>> = Lazy::new(|| {
            vec![
                text_property(
                    "host",
                    "Host",
                    "Address of this machine to listen on, or its name; 0.0.0.0 for every one it \
                     has (:: with IPv6, too)",
                    DEFAULT_HOST,
                ),
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
                glib::ParamSpecString::builder("url")
                    .nick("URL")
                    .blurb("What to open in a browser, while there is something to open")
                    .read_only()
                    .build(),
                text_property(
                    "event",
                    "Event",
                    "Name of the Socket.IO event that pictures are sent with",
                    DEFAULT_EVENT,
                ),
                text_property(
                    "camera",
                    "Camera",
                    "Name of this camera; several with the same host and port share one server. \
                     The event is a dictionary by names then, and without a name the picture alone",
                    "",
                ),
                text_property(
                    "token",
                    "Token",
                    "What viewers have to know (empty = nothing)",
                    "",
                ),
                text_property(
                    "tls-certificate",
                    "TLS certificate",
                    "PEM file with the certificate of the server and those between it and a \
                     known authority; serves https (empty = http)",
                    "",
                ),
                text_property(
                    "tls-key",
                    "TLS key",
                    "PEM file with the private key of the certificate",
                    "",
                ),
                glib::ParamSpecUInt::builder("max-clients")
                    .nick("Maximum clients")
                    .blurb(
                        "Viewers at the same time; one more is refused (0 = any number, as long as \
                         there are no more than 1000 connections in all)",
                    )
                    .default_value(DEFAULT_MAX_CLIENTS)
                    .mutable_ready()
                    .build(),
                glib::ParamSpecUInt::builder("max-connections-per-address")
                    .nick("Maximum connections per address")
                    .blurb(
                        "Connections from one address at the same time, and Socket.IO sessions \
                         that poll; one more is refused (0 = any number, as behind a proxy, from \
                         whose address everybody comes). An IPv6 address counts by its first 64 bits",
                    )
                    .default_value(DEFAULT_MAX_CONNECTIONS_PER_ADDRESS)
                    .mutable_ready()
                    .build(),
                text_property(
                    "allowed-origins",
                    "Allowed origins",
                    "Sites whose pages may use this server and embed what it serves, besides its \
                     own, as https://example.org, with commas between them (* = all)",
                    "",
                ),
                glib::ParamSpecUInt::builder("viewers")
                    .nick("Viewers")
                    .blurb("Viewers that are there")
                    .read_only()
                    .build(),
                stats::spec(),
            ]
        });
        &PROPERTIES
    }

    fn set_property(&self, _id: usize, value: &glib::Value, pspec: &glib::ParamSpec) {
        panics::guard(self, "set_property", (), || {
            const OF_TYPE: &str = "GObject checks the type";
            let text = |default: &str| {
                let text = value.get::<Option<String>>().expect(OF_TYPE);
                text.unwrap_or_else(|| default.into())
            };
            let Settings { config, camera } = &mut *self.settings();
            match pspec.name() {
                "host" => config.host = text(DEFAULT_HOST),
                "port" => {
                    let port: i32 = value.get().expect(OF_TYPE);
                    config.port = u16::try_from(port).expect("GObject checks the range");
                }
                "event" => config.event = text(DEFAULT_EVENT),
                "camera" => *camera = text(""),
                "token" => config.token = text(""),
                "tls-certificate" => config.tls_certificate = text(""),
                "tls-key" => config.tls_key = text(""),
                "max-clients" => config.max_clients = value.get().expect(OF_TYPE),
                "max-connections-per-address" => {
                    config.max_connections_per_address = value.get().expect(OF_TYPE);
                }
                "allowed-origins" => config.allowed_origins = text(""),
                name => unreachable!("no writable property {name}"),
            }
        })
    }

    fn property(&self, _id: usize, pspec: &glib::ParamSpec) -> glib::Value {
        panics::guard(self, "property", pspec.default_value().clone(), || {
            let Settings { config, camera } = self.settings().clone();
            match pspec.name() {
                "host" => config.host.to_value(),
                "port" => i32::from(config.port).to_value(),
                "current-port" => {
                    let port = self.member().map_or(0, |member| member.address().port());
                    i32::from(port).to_value()
                }
                "url" => self.member().map(|member| self.url(&member)).to_value(),
                "event" => config.event.to_value(),
                "camera" => camera.to_value(),
                "token" => config.token.to_value(),
                "tls-certificate" => config.tls_certificate.to_value(),
                "tls-key" => config.tls_key.to_value(),
                "max-clients" => config.max_clients.to_value(),
                "max-connections-per-address" => config.max_connections_per_address.to_value(),
                "allowed-origins" => config.allowed_origins.to_value(),
                "viewers" => {
                    let viewers = self.member().map_or(0, |member| member.viewers());
                    (viewers as u32).to_value()
                }
                "stats" => self.stats().to_value(),
                name => unreachable!("no property {name}"),
            }
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        // Nothing is to be done with a picture before it can be shown.
        self.obj().set_processing_deadline(gst::ClockTime::ZERO);
    }
}

impl GstObjectImpl for B64JpegSocketIoServerSink {}

impl ElementImpl for B64JpegSocketIoServerSink {
    fn metadata() -> Option<&'static gst::subclass::ElementMetadata> {
        static METADATA: Lazy<gst::subclass::ElementMetadata> = Lazy::new(|| {
            gst::subclass::ElementMetadata::new(
                "Server for browsers and Socket.IO",
                "Sink/Network",
                "Serves JPEG pictures as a web page, as Socket.IO events, as Motion JPEG over \
                 HTTP and one by one",
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
            gst::StateChange::ReadyToPaused if change.is_err() => {
                panics::guard(self, "close", (), || self.close());
            }
            gst::StateChange::PausedToReady => {
                panics::guard(self, "close", (), || self.close());
            }
            _ => {}
        }
        change
    }
}

impl BaseSinkImpl for B64JpegSocketIoServerSink {
    fn render(&self, buffer: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        panics::guard(self, "render", Err(gst::FlowError::Error), || {
            let member = self.member().ok_or(gst::FlowError::Flushing)?;
            self.show(&member, buffer)?;
            Ok(gst::FlowSuccess::Ok)
        })
    }
}
