// SPDX-License-Identifier: MPL-2.0

//! The properties of elements that connect to a Socket.IO server.

use b64jpeg_net::{
    socketio::{Target, Url},
    tls,
};
use b64jpeg_wire::socketio::{self, Json, PictureEvent};
use gst::prelude::*;

use crate::common::{
    property_table::PropertyTable, reconnect_settings::ReconnectSettings, socketio_advice as advice,
};

const DEFAULT_URL: &str = "http://localhost:5000";
const DEFAULT_EVENT: &str = "stream";

/// Names of events that Socket.IO reserves.
const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// The properties that say where the relay is and how to talk to it.
#[derive(Debug, Clone)]
pub struct SocketIoSettings {
    url: String,
    namespace: String,
    pub event: String,
    pub camera: String,
    auth: String,
    ca_file: String,
    pub waits: ReconnectSettings,
}

impl Default for SocketIoSettings {
    fn default() -> Self {
        Self {
            url: DEFAULT_URL.into(),
            namespace: socketio::ROOT.into(),
            event: DEFAULT_EVENT.into(),
            camera: String::new(),
            auth: String::new(),
            ca_file: String::new(),
            waits: ReconnectSettings::default(),
        }
    }
}

impl SocketIoSettings {
    /// `camera` is the blurb of that property.
    pub fn properties(camera: &str) -> PropertyTable<Self> {
        PropertyTable::default()
            .field(
                text_spec(
                    "url",
                    "URL",
                    "Address of the relay: http[s]://[USER:PASSWORD@]HOST[:PORT][/PATH][?QUERY]; \
                     ws and wss mean the same. The path is that of Socket.IO, /socket.io/ if \
                     there is none",
                    DEFAULT_URL,
                ),
                |settings: &Self| &settings.url,
                |settings| &mut settings.url,
            )
            .field(
                text_spec(
                    "namespace",
                    "Namespace",
                    "Namespace of the relay",
                    socketio::ROOT,
                ),
                |settings| &settings.namespace,
                |settings| &mut settings.namespace,
            )
            .field(
                text_spec(
                    "event",
                    "Event",
                    "Event that carries the pictures",
                    DEFAULT_EVENT,
                ),
                |settings| &settings.event,
                |settings| &mut settings.event,
            )
            .field(
                text_spec("camera", "Camera", camera, ""),
                |settings| &settings.camera,
                |settings| &mut settings.camera,
            )
            .field(
                text_spec(
                    "auth",
                    "Authentication",
                    "What the first packet to the relay carries: a JSON object, such as \
                     {\"token\": \"…\"}; empty for nothing",
                    "",
                ),
                |settings| &settings.auth,
                |settings| &mut settings.auth,
            )
            .field(
                text_spec(
                    "ca-file",
                    "CA file",
                    "File (PEM) with certificates to trust, besides those that this machine \
                     trusts",
                    "",
                ),
                |settings| &settings.ca_file,
                |settings| &mut settings.ca_file,
            )
            .group(
                ReconnectSettings::properties(
                    "the relay has to answer, and to take at least a part of what is sent",
                    "that fails",
                ),
                |settings| &settings.waits,
                |settings| &mut settings.waits,
            )
    }

    /// The name of the camera, if there is one.
    pub fn camera(&self) -> Option<&str> {
        Some(&*self.camera).filter(|camera| !camera.is_empty())
    }

    /// The namespace; an empty one is the root.
    fn namespace(&self) -> &str {
        match &*self.namespace {
            "" => socketio::ROOT,
            namespace => namespace,
        }
    }

    /// The event that carries a picture.
    pub fn picture_event(&self) -> PictureEvent {
        PictureEvent::new(self.namespace(), &self.event, self.camera())
    }

    /// Where to connect to. Messages longer than one with a picture of `max_picture` bytes are
    /// refused; events are read only if `listens`.
    ///
    /// # Errors
    ///
    /// What is wrong with which property.
    pub fn target(&self, max_picture: usize, listens: bool) -> Result<Target, gst::ErrorMessage> {
        let wrong = |error: String| gst::error_msg!(gst::ResourceError::Settings, ("{error}"));
        let url = self.url.parse::<Url>();
        let url = url.map_err(|error| wrong(advice::describe_url(&error)))?;
        socketio::check_namespace(self.namespace())
            .map_err(|error| wrong(format!("`namespace` {:?}: {error}", self.namespace)))?;
        if self.event.is_empty() {
            return Err(wrong(
                "`event` is empty: pictures need the name of one".into(),
            ));
        }
        if RESERVED.contains(&&*self.event) {
            return Err(wrong(format!(
                "`event` {:?} is a name that Socket.IO keeps for itself",
                self.event
            )));
        }
        let auth = match &*self.auth {
            "" => None,
            // The message does not repeat the value, so that no token gets into a log.
            text => match Json::parse(text) {
                Ok(object @ Json::Object(_)) => Some(object.into_owned()),
                Ok(_) => {
                    return Err(wrong(
                        "`auth` is JSON, but no object, such as {\"token\": \"…\"}".into(),
                    ));
                }
                Err(error) => return Err(wrong(format!("`auth`: {error}"))),
            },
        };
        let tls = url
            .tls
            .then(|| tls::client_config(&self.ca_file))
            .transpose();
        Ok(Target {
            tls: tls.map_err(|error| wrong(advice::describe_ca_file(&error)))?,
            url,
            namespace: self.namespace().into(),
            auth,
            timeout: self.waits.timeout(),
            max_frame_size: max_picture,
            wants_events: listens,
        })
    }
}

/// The spec of a text that can be set while the element is stopped.
fn text_spec(name: &str, nick: &str, blurb: &str, default: &str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(Some(default))
        .mutable_ready()
        .build()
}
