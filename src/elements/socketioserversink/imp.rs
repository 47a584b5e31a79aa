// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-socketioserversink
//!
//! Serves JPEGs on one port to browsers and other programs that speak HTTP or Socket.IO:
//!
//! | path | |
//! | --- | --- |
//! | `/` | a page that shows every camera |
//! | `/socket.io/` | Socket.IO: each frame as an `event` with its base64, or with `{camera: base64}` |
//! | `/stream.mjpg` | Motion JPEG, for `<img>`, OpenCV, VLC and many others |
//! | `/snapshot.jpg` | the newest frame; 503 before the first |
//! | `/stats` | statistics as JSON |
//!
//! `?camera=NAME` selects a camera; the default is the first one by name.
//!
//! Each viewer gets the newest frame when it is ready for one. A slow viewer gets fewer frames;
//! the pipeline waits for no viewer, and nothing is queued. After the end of the stream the last
//! frame stays available.
//!
//! For several cameras, use several of these elements in one process with the same `host` and
//! `port`, each with its own `camera` name.
//!
//! Without a `token`, every client that can connect can watch. Unless `host` and
//! `allowed-origins` say otherwise, these are programs on this machine, but not pages of other
//! sites in its browsers. A token is sent as `Authorization: Bearer TOKEN`, as `?token=TOKEN`, or
//! in the `auth` of Socket.IO, `{token: TOKEN}`; the page asks its user for it.
//!
//! Without a token, the server answers only to host names that no other site can control: an IP
//! address, `localhost`, and, if `host` is reachable from other machines, the machine's own name
//! and names of local networks (`camera`, `camera.local`). Pages of other sites cannot embed what
//! is served, unless `allowed-origins` lists them. After 20 wrong tokens a client must wait before
//! its next attempt.
//!
//! A peer may send 64 KiB at once and then 32 KiB a second, which is more than any viewer needs;
//! beyond that the server reads more slowly. `max-connections-per-address` limits connections, a
//! Socket.IO session without viewers is ended after 10 s, and `stats` counts refusals by reason.
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
//! that share a server. The kind is `socketio`, `view` (the page) or `mjpeg`.

use std::sync::{Arc, Mutex, MutexGuard};

use b64jpeg_net::{host::host_and_port, sync::lock};
use b64jpeg_wire::OutgoingFrame;
use bytes::Bytes;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{prelude::*, subclass::prelude::*};
use once_cell::sync::Lazy;

use super::{
    errors::error_message,
    settings::{PROPERTIES, Settings},
    statistics::statistics,
};
use crate::{
    common::{
        capture_time::{self, CaptureTime},
        framing_properties::{self, JPEG_CAPS},
        panics,
        sender_settings::UnsendableFrame,
        stats::Stats,
    },
    web::{CameraRegistration, Viewer, WebServerEvent},
};

static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "socketioserversink",
        gst::DebugColorFlags::empty(),
        Some("Server for browsers and Socket.IO"),
    )
});

#[derive(Default)]
struct State {
    /// Set from READY to PAUSED and back.
    registration: Option<Arc<CameraRegistration>>,
    /// Statistics at the last stop.
    final_stats: Option<gst::Structure>,
}

#[derive(Default)]
pub struct B64JpegSocketIoServerSink {
    settings: Mutex<Settings>,
    state: Mutex<State>,
}

impl B64JpegSocketIoServerSink {
    fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn registration(&self) -> Option<Arc<CameraRegistration>> {
        self.state().registration.clone()
    }

    fn open(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let element = self.obj().downgrade();
        let on_event = move |event: &WebServerEvent, first| {
            if let Some(element) = element.upgrade() {
                let imp = element.imp();
                panics::guard(imp, "on_event", (), || imp.on_event(event, first));
            }
        };
        let registration =
            CameraRegistration::new(&settings.server, &settings.camera, Arc::new(on_event))
                .map_err(|error| error_message(&error, &settings))?;
        gst::info!(CAT, imp = self, "Serving on {}", registration.address());
        for warning in registration.warnings() {
            gst::element_imp_warning!(self, gst::ResourceError::Settings, ("{warning}"));
        }
        *self.state() = State {
            registration: Some(Arc::new(registration)),
            final_stats: None,
        };
        self.notify_server_properties();
        Ok(())
    }

    fn close(&self) {
        let Some(registration) = self.registration() else {
            return;
        };
        let final_stats = statistics(&registration);
        *self.state() = State {
            registration: None,
            final_stats: Some(final_stats),
        };
        // Calls on_event for each viewer that is removed, so no lock may be held.
        registration.remove();
        self.notify_server_properties();
    }

    fn notify_server_properties(&self) {
        for property in ["current-port", "url", "viewers"] {
            self.obj().notify(property);
        }
    }

    /// Handles an event of the server, in a thread of the server. `first` is whether this is the
    /// first of the elements that share it.
    fn on_event(&self, event: &WebServerEvent, first: bool) {
        match event {
            WebServerEvent::ViewerAdded { viewer, viewers } => {
                self.on_viewers_changed("socketio-viewer-added", viewer, *viewers, first);
            }
            WebServerEvent::ViewerRemoved { viewer, viewers } => {
                self.on_viewers_changed("socketio-viewer-removed", viewer, *viewers, first);
            }
            WebServerEvent::AcceptFailed(error) if first => {
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::NoSpaceLeft,
                    ("Cannot accept a connection: {error}; retrying")
                );
            }
            WebServerEvent::AcceptFailed(_) => {}
            // Each of the elements that share the server ends its own pipeline.
            WebServerEvent::TaskPanicked(message) => self.post_error_message(message.clone()),
        }
    }

    fn on_viewers_changed(&self, message: &str, viewer: &Viewer, viewers: usize, first: bool) {
        let obj = self.obj();
        obj.notify("viewers");
        if !first {
            return;
        }
        let (address, kind) = (viewer.address.to_string(), viewer.kind.as_str());
        let (frames, dropped) = viewer.counts();
        gst::info!(
            CAT,
            imp = self,
            "{message}: {kind} {address}, {frames} frames sent, {viewers} viewers"
        );
        let structure = gst::Structure::builder(message)
            .field("address", address)
            .field("kind", kind)
            .field("viewers", viewers as u32)
            .field("frames", frames)
            .field("dropped", dropped)
            .build();
        let message = gst::message::Element::builder(structure).src(&*obj).build();
        // Fails without a bus, and then there is no receiver either.
        let _ = obj.post_message(message);
    }

    /// The URL to open in a browser.
    fn url(&self, registration: &CameraRegistration) -> String {
        let config = &self.settings().server;
        let scheme = if config.tls_certificate.is_empty() {
            "http"
        } else {
            "https"
        };
        let address = registration.address();
        let host = match address.ip().is_unspecified() {
            true => "localhost",
            false => &config.host,
        };
        format!("{scheme}://{}/", host_and_port(host, address.port()))
    }

    fn stats(&self) -> gst::Structure {
        let (registration, final_stats) = {
            let state = self.state();
            (state.registration.clone(), state.final_stats.clone())
        };
        match registration {
            Some(registration) => statistics(&registration),
            None => final_stats.unwrap_or_else(|| Stats::default().structure()),
        }
    }

    /// Makes a buffer the newest frame of the camera. A buffer without a JPEG is dropped with a
    /// warning.
    fn show(
        &self,
        registration: &CameraRegistration,
        buffer: &gst::BufferRef,
    ) -> Result<(), gst::FlowError> {
        let camera = registration.camera();
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
                    .unwrap_or_else(|| capture_time::time_of(&*obj, &obj.segment(), buffer));
                // Copied, because cameras have few buffers and need them back.
                let jpeg = Bytes::copy_from_slice(picture.jpeg());
                camera.show(jpeg, info.size, captured.unix_ns());
                gst::log!(CAT, imp = self, "Newest frame: {buffer:?}");
                Ok(())
            }
            Err(error) => {
                let refuse = |stats: &mut Stats| UnsendableFrame::new(stats, jpeg.len(), error);
                camera.with_stats(refuse).report(&*self.obj())
            }
        }
    }
}

#[glib::object_subclass]
impl ObjectSubclass for B64JpegSocketIoServerSink {
    const NAME: &'static str = "GstB64JpegSocketIoServerSink";
    type Type = super::B64JpegSocketIoServerSink;
    type ParentType = gst_base::BaseSink;
}

impl ObjectImpl for B64JpegSocketIoServerSink {
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
            if let Some(value) = PROPERTIES.get(&self.settings(), id) {
                return value;
            }
            let registration = self.registration();
            match pspec.name() {
                "current-port" => {
                    let port = registration.map_or(0, |server| server.address().port());
                    i32::from(port).to_value()
                }
                "url" => registration.map(|server| self.url(&server)).to_value(),
                "viewers" => {
                    let viewers = registration.map_or(0, |server| server.viewers());
                    (viewers as u32).to_value()
                }
                _ => self.stats().to_value(),
            }
        })
    }

    fn constructed(&self) {
        self.parent_constructed();
        // A frame is available to viewers as soon as it is rendered.
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
                "Serves JPEG frames as a web page, as Socket.IO events, as Motion JPEG over HTTP \
                 and as single pictures",
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
        // Not in BaseSink::start(), which would post a second error.
        if transition == gst::StateChange::ReadyToPaused {
            let opened = panics::catch(self, "open", || self.open());
            opened.flatten().map_err(|error| {
                self.post_error_message(error);
                // The registration may already exist.
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
            let registration = self.registration().ok_or(gst::FlowError::Flushing)?;
            self.show(&registration, buffer)?;
            Ok(gst::FlowSuccess::Ok)
        })
    }
}
