// SPDX-License-Identifier: MPL-2.0

//! SECTION:element-b64jpegclientsrc
//!
//! Connects to a program that sends JPEG pictures over TCP as Python/OpenCV programs do
//! (a length, then one JPEG as base64 text) and gives whole JPEGs, timed by their arrival.
//!
//! If the server cannot be reached, closes the connection or sends nothing for `timeout`, the
//! element connects again until it succeeds. Each change is reported once: to people as a
//! warning or an information message, and to applications as the element message
//! `b64jpeg-connection` with `host`, `port`, `cause` (if there is one) and `state`:
//!
//! - `connecting`: the first attempt has begun;
//! - `waiting`: the server cannot be reached; the element keeps trying;
//! - `connected`;
//! - `streaming`: the first picture of a connection has arrived;
//! - `lost`: the connection has ended.
//!
//! With `reconnect=false` the stream ends with the first connection: with EOS if the server
//! closed it after a whole picture, and with an error otherwise.
//!
//! If a server sends bytes, but no whole picture for longer than six times `timeout` (a minute
//! by default), the element warns once for each connection, and again only after pictures
//! have arrived in time; never with `timeout=0`. It keeps the connection.
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

use std::sync::{Arc, Mutex, MutexGuard};

use b64jpeg_net::{
    host::check_host,
    sync::lock,
    tcp::client::{Interrupter, TcpClient},
};
use b64jpeg_wire::AcceptedFramings;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::{
    prelude::*,
    subclass::{base_src::CreateSuccess, prelude::*},
};
use once_cell::sync::Lazy;

use super::{
    session::Session,
    settings::{PROPERTIES, Settings},
};
use crate::common::{
    capture_time::Delays,
    framing_properties, jpeg_buffer, panics,
    quit_key::QuitRequest,
    stats::{self, Stats},
    stream_uri,
};

pub static CAT: Lazy<gst::DebugCategory> = Lazy::new(|| {
    gst::DebugCategory::new(
        "b64jpegclientsrc",
        gst::DebugColorFlags::empty(),
        Some("Base64 JPEG client"),
    )
});

/// The counts behind `stats`.
#[derive(Debug, Default)]
pub struct Counts {
    pub stats: Stats,
    pub delays: Delays,
    pub connected: bool,
    pub connections: u64,
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
    /// The streaming thread takes it out while it works.
    session: Mutex<Option<Box<Session>>>,
    counts: Mutex<Counts>,
    pub interrupt: Arc<Interrupter>,
}

impl B64JpegClientSrc {
    pub fn settings(&self) -> MutexGuard<'_, Settings> {
        lock(&self.settings)
    }

    pub fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    /// Refuses settings that make no sense. Not in `start`, where GstBaseSrc would post
    /// a second error that says nothing.
    fn check_settings(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings();
        if let Some(error) = &settings.bad_uri {
            return Err(gst::error_msg!(gst::ResourceError::Settings, ("{error}")));
        }
        check_host(&settings.host).map_err(|error| {
            let advice =
                "`host` is a name or an address alone; there are `port` and `uri` for the rest";
            gst::error_msg!(gst::ResourceError::Settings, ("{error}; {advice}"))
        })?;
        let checked = settings.format.check(AcceptedFramings::default());
        checked.map(drop)
    }

    /// The next picture, and the notification of `stats` that may be due with it.
    fn create_buffer(&self, session: &mut Session) -> Result<gst::Buffer, gst::FlowError> {
        let buffer = session.next_buffer(self)?;
        if session.stats_due(self.settings().stats_interval) {
            self.obj().notify(stats::NAME);
        }
        Ok(buffer)
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
            setting.unwrap_or_else(|| self.counts().structure().to_value())
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
        if transition == gst::StateChange::ReadyToPaused {
            let checked = panics::catch(self, "check_settings", || self.check_settings());
            checked.flatten().map_err(|message| {
                self.post_error_message(message);
                gst::StateChangeError
            })?;
        }
        let success = self.parent_change_state(transition)?;
        if transition == gst::StateChange::PlayingToPaused {
            // While the pipeline is paused, silence is no failure and nothing connects.
            panics::guard(self, "pause", (), || self.interrupt.pause());
        }
        Ok(success)
    }

    fn send_event(&self, event: gst::Event) -> bool {
        panics::guard(self, "send_event", false, || {
            // GstBaseSrc would flush first, and then find that it cannot seek.
            event.type_() != gst::EventType::Seek && self.parent_send_event(event)
        })
    }
}

impl URIHandlerImpl for B64JpegClientSrc {
    const URI_TYPE: gst::URIType = gst::URIType::Src;

    fn protocols() -> &'static [&'static str] {
        &[stream_uri::SCHEME]
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
            let client = TcpClient::new(self.interrupt.clone())
                .map_err(|error| gst::error_msg!(gst::ResourceError::Failed, ("{error}")))?;
            self.interrupt.resume();
            *self.counts() = Counts::default();
            let session = Session::new(&self.obj(), &self.settings(), client);
            *lock(&self.session) = Some(Box::new(session));
            Ok(())
        })?
    }

    fn stop(&self) -> Result<(), gst::ErrorMessage> {
        panics::guard(self, "stop", Ok(()), || {
            lock(&self.session).take();
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

impl PushSrcImpl for B64JpegClientSrc {
    fn create(
        &self,
        _buffer: Option<&mut gst::BufferRef>,
    ) -> Result<CreateSuccess, gst::FlowError> {
        let session = lock(&self.session).take();
        let mut session = session.ok_or(gst::FlowError::Flushing)?;
        let created = panics::catch(self, "create", || self.create_buffer(&mut session));
        let created = created.unwrap_or_else(|message| {
            // The panic may have left the connection inside a frame.
            session.disconnect(self);
            self.post_error_message(message);
            // With an error GstBaseSrc would post a second message that says nothing.
            Err(gst::FlowError::Eos)
        });
        *lock(&self.session) = Some(session);
        created.map(CreateSuccess::NewBuffer)
    }
}
