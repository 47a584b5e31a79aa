// SPDX-License-Identifier: MPL-2.0

//! The settings of the element: its properties, and the URI that stands for some of them.

use b64jpeg_net::host::{DEFAULT_PORT, bare_host};
use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::common::{
    framing_properties::{HeaderOrAuto, PayloadOrAuto},
    property_table::{PropertyTable, PropertyValue},
    quit_key,
    receiver_settings::ReceiverSettings,
    reconnect_settings::ReconnectSettings,
    stats,
    stream_uri::StreamUri,
};

const DEFAULT_HOST: &str = "localhost";
const DEFAULT_RECONNECT: bool = true;

#[derive(Debug, Clone)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    /// Why the URI that was set last could not be parsed, if so.
    pub bad_uri: Option<String>,
    pub format: ReceiverSettings,
    pub waits: ReconnectSettings,
    pub reconnect: bool,
    pub quit_key: String,
    pub stats_interval: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            host: DEFAULT_HOST.into(),
            port: DEFAULT_PORT,
            bad_uri: None,
            format: ReceiverSettings::default(),
            waits: ReconnectSettings::default(),
            reconnect: DEFAULT_RECONNECT,
            quit_key: String::new(),
            stats_interval: stats::DEFAULT_INTERVAL,
        }
    }
}

impl Settings {
    /// The URI that turns the default settings into these.
    pub fn uri(&self) -> StreamUri {
        StreamUri {
            host: bare_host(&self.host).into(),
            port: self.port,
            header: Some(self.format.header).filter(|header| *header != HeaderOrAuto::Auto),
            payload: Some(self.format.payload).filter(|payload| *payload != PayloadOrAuto::Auto),
            reconnect: Some(self.reconnect).filter(|reconnect| *reconnect != DEFAULT_RECONNECT),
        }
    }

    /// Applies a URI. What it does not mention stays as it is.
    pub fn set_uri(&mut self, uri: StreamUri) {
        self.host = uri.host;
        self.port = uri.port;
        self.bad_uri = None;
        self.format.header = uri.header.unwrap_or(self.format.header);
        self.format.payload = uri.payload.unwrap_or(self.format.payload);
        self.reconnect = uri.reconnect.unwrap_or(self.reconnect);
    }

    /// As [`set_uri`](Self::set_uri), for a property, whose setter cannot fail: a text that is
    /// no URI is an error when the element starts.
    fn set_uri_text(&mut self, text: &str) {
        match text.parse() {
            Ok(uri) => self.set_uri(uri),
            Err(error) => {
                let error: glib::Error = error;
                self.bad_uri = Some(error.message().into());
            }
        }
    }
}

pub static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    PropertyTable::default()
        .field(host_spec(), |s: &Settings| &s.host, |s| &mut s.host)
        .field(port_spec(), |s| &s.port, |s| &mut s.port)
        .accessors(
            uri_spec(),
            |s| s.uri().to_string().to_value(),
            |s, value| s.set_uri_text(&String::from_value(value)),
        )
        .field(reconnect_spec(), |s| &s.reconnect, |s| &mut s.reconnect)
        .field(quit_key::key_spec(), |s| &s.quit_key, |s| &mut s.quit_key)
        .computed(stats::spec())
        .field(
            stats::interval_spec(),
            |s| &s.stats_interval,
            |s| &mut s.stats_interval,
        )
        .group(
            ReconnectSettings::properties(
                "the server has to answer, and then to send something; after six times as \
                 long without a whole picture there is a warning",
                "that brings no picture",
            ),
            |s| &s.waits,
            |s| &mut s.waits,
        )
        .group(
            ReceiverSettings::properties(
                "after one more the element connects again, or the stream ends with an error",
            ),
            |s| &s.format,
            |s| &mut s.format,
        )
});

fn host_spec() -> glib::ParamSpec {
    glib::ParamSpecString::builder("host")
        .nick("Host")
        .blurb("Name or address of the server")
        .default_value(Some(DEFAULT_HOST))
        .mutable_ready()
        .build()
}

fn port_spec() -> glib::ParamSpec {
    glib::ParamSpecInt::builder("port")
        .nick("Port")
        .blurb("TCP port of the server")
        .minimum(1)
        .maximum(u16::MAX.into())
        .default_value(DEFAULT_PORT.into())
        .mutable_ready()
        .build()
}

fn uri_spec() -> glib::ParamSpec {
    glib::ParamSpecString::builder("uri")
        .nick("URI")
        .blurb(
            "Host, port and more in one: \
             b64jpeg://HOST[:PORT][?header=…&payload=…&reconnect=true|false]",
        )
        .default_value(Settings::default().uri().to_string().as_str())
        .mutable_ready()
        .build()
}

fn reconnect_spec() -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder("reconnect")
        .nick("Reconnect")
        .blurb(
            "Connect again when the server cannot be reached, closes the connection or sends \
             nothing; otherwise the stream ends with the first connection",
        )
        .default_value(DEFAULT_RECONNECT)
        .mutable_playing()
        .build()
}
