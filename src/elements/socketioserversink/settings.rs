// SPDX-License-Identifier: MPL-2.0

//! The properties, and the settings behind the writable ones.

use gst::{glib, prelude::*};
use once_cell::sync::Lazy;

use crate::{
    common::{property_table::PropertyTable, stats},
    web::ServerConfig,
};

/// Values of the writable properties.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    /// Configuration of the server.
    pub server: ServerConfig,
    /// Name of this camera; empty = none.
    pub camera: String,
}

/// All properties of the element.
pub static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    PropertyTable::<Settings>::default()
        .group(server_properties(), |s| &s.server, |s| &mut s.server)
        .field(
            text_spec(
                "camera",
                "Camera",
                "Name of this camera. Cameras with the same host and port share one server, and \
                 each of them needs a name. The event then has a dictionary of frames by name; \
                 without a name it has the frame alone",
                "",
            ),
            |s| &s.camera,
            |s| &mut s.camera,
        )
        .computed(
            port_spec("current-port", "Current port")
                .blurb("TCP port that the server listens on (0 = not running)")
                .read_only()
                .build(),
        )
        .computed(
            glib::ParamSpecString::builder("url")
                .nick("URL")
                .blurb("URL to open in a browser (null = not running)")
                .read_only()
                .build(),
        )
        .computed(
            glib::ParamSpecUInt::builder("viewers")
                .nick("Viewers")
                .blurb("Number of viewers of the server")
                .read_only()
                .build(),
        )
        .computed(stats::spec())
});

/// The properties that configure the server.
fn server_properties() -> PropertyTable<ServerConfig> {
    let default = ServerConfig::default();
    let table = PropertyTable::default();
    let table = text(
        table,
        "host",
        "Host",
        "Address or name of this machine to listen on (0.0.0.0 = all IPv4 addresses, \
         :: = all addresses)",
        |config| &mut config.host,
    );
    let table = table.field(
        port_spec("port", "Port")
            .blurb("TCP port to listen on (0 = any free port)")
            .default_value(default.port.into())
            .mutable_ready()
            .build(),
        |config: &ServerConfig| &config.port,
        |config| &mut config.port,
    );
    let table = text(
        table,
        "event",
        "Event",
        "Name of the Socket.IO event with the frames",
        |config| &mut config.event,
    );
    let table = text(
        table,
        "token",
        "Token",
        "Secret that viewers must send (empty = none)",
        |config| &mut config.token,
    );
    let table = text(
        table,
        "tls-certificate",
        "TLS certificate",
        "PEM file with the certificate of the server and the intermediate certificates; the \
         server then speaks https (empty = http)",
        |config| &mut config.tls_certificate,
    );
    let table = text(
        table,
        "tls-key",
        "TLS key",
        "PEM file with the private key of the certificate",
        |config| &mut config.tls_key,
    );
    let table = table
        .field(
            glib::ParamSpecUInt::builder("max-clients")
                .nick("Maximum clients")
                .blurb(
                    "Maximum number of viewers; further ones are refused (0 = unlimited, within \
                     1000 connections in all)",
                )
                .default_value(default.max_clients)
                .mutable_ready()
                .build(),
            |config| &config.max_clients,
            |config| &mut config.max_clients,
        )
        .field(
            glib::ParamSpecUInt::builder("max-connections-per-address")
                .nick("Maximum connections per address")
                .blurb(
                    "Maximum number of connections from one address, and of its polling Socket.IO \
                     sessions; further ones are refused (0 = unlimited, for example behind a \
                     proxy). An IPv6 address counts by its first 64 bits",
                )
                .default_value(default.max_connections_per_address)
                .mutable_ready()
                .build(),
            |config| &config.max_connections_per_address,
            |config| &mut config.max_connections_per_address,
        );
    text(
        table,
        "allowed-origins",
        "Allowed origins",
        "Origins whose pages may use this server and embed what it serves, besides its own; \
         separated by commas, each like https://example.org (* = all)",
        |config| &mut config.allowed_origins,
    )
}

/// Adds a text property whose default is that of the configuration, which NULL restores.
fn text(
    table: PropertyTable<ServerConfig>,
    name: &str,
    nick: &str,
    blurb: &str,
    field: fn(&mut ServerConfig) -> &mut String,
) -> PropertyTable<ServerConfig> {
    let default = std::mem::take(field(&mut ServerConfig::default()));
    table.accessors(
        text_spec(name, nick, blurb, &default),
        move |config| field(&mut config.clone()).to_value(),
        move |config, value| {
            let text = value.get::<Option<String>>();
            let text = text.expect("GObject checks the type");
            *field(config) = text.unwrap_or_else(|| default.clone());
        },
    )
}

fn text_spec(name: &str, nick: &str, blurb: &str, default: &str) -> glib::ParamSpec {
    glib::ParamSpecString::builder(name)
        .nick(nick)
        .blurb(blurb)
        .default_value(Some(default))
        .mutable_ready()
        .build()
}

fn port_spec<'a>(name: &'a str, nick: &'a str) -> glib::ParamSpecIntBuilder<'a> {
    glib::ParamSpecInt::builder(name)
        .nick(nick)
        .minimum(0)
        .maximum(u16::MAX.into())
}

impl Settings {
    /// The name of the first property in which the configuration of an existing server differs.
    pub fn difference(&self, existing: &ServerConfig) -> Option<&'static str> {
        let existing = Self {
            server: existing.clone(),
            camera: self.camera.clone(),
        };
        let value = |settings: &Self, id| {
            let value = PROPERTIES.get(settings, id)?;
            value
                .transform::<String>()
                .ok()?
                .get::<Option<String>>()
                .ok()
        };
        let mut specs = PROPERTIES.specs().iter().enumerate();
        let different = specs.find(|(index, _)| {
            // GObject counts properties from one.
            let id = index + 1;
            value(self, id) != value(&existing, id)
        });
        different.map(|(_, spec)| spec.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_of_each_server_property_is_named() {
        let settings = Settings::default();
        assert_eq!(settings.difference(&settings.server), None);
        let changed = |change: fn(&mut ServerConfig)| {
            let mut config = ServerConfig::default();
            change(&mut config);
            config
        };
        for (name, config) in [
            ("host", changed(|config| config.host = "localhost".into())),
            ("port", changed(|config| config.port = 1)),
            ("event", changed(|config| config.event = "frame".into())),
            ("token", changed(|config| config.token = "secret".into())),
            (
                "tls-certificate",
                changed(|config| config.tls_certificate = "c.pem".into()),
            ),
            ("tls-key", changed(|config| config.tls_key = "k.pem".into())),
            ("max-clients", changed(|config| config.max_clients = 1)),
            (
                "max-connections-per-address",
                changed(|config| config.max_connections_per_address = 1),
            ),
            (
                "allowed-origins",
                changed(|config| config.allowed_origins = "*".into()),
            ),
        ] {
            assert_ne!(config, settings.server);
            assert_eq!(settings.difference(&config), Some(name));
        }
    }

    #[test]
    fn text_set_to_null_is_the_default() {
        let mut settings = Settings::default();
        settings.server.host = "0.0.0.0".into();
        PROPERTIES.set(&mut settings, 1, &None::<String>.to_value());
        assert_eq!(settings.server, ServerConfig::default());
    }
}
