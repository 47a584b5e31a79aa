// SPDX-License-Identifier: MPL-2.0

//! The writable properties.

use gst::{glib, prelude::*};

use crate::web::ServerConfig;

/// Values of the writable properties.
#[derive(Debug, Default, Clone)]
pub struct Settings {
    /// Configuration of the server.
    pub server: ServerConfig,
    /// Name of this camera; empty = none.
    pub camera: String,
}

/// A writable property. Its default is that of [`Settings`].
struct Property {
    name: &'static str,
    nick: &'static str,
    blurb: &'static str,
    field: Field,
}

/// The field of [`Settings`] that holds a property.
enum Field {
    Text(fn(&mut Settings) -> &mut String),
    Port(fn(&mut Settings) -> &mut u16),
    Count(fn(&mut Settings) -> &mut u32),
}

static PROPERTIES: [Property; 10] = [
    Property {
        name: "host",
        nick: "Host",
        blurb: "Address or name of this machine to listen on (0.0.0.0 = all IPv4 addresses, \
                :: = all addresses)",
        field: Field::Text(|settings| &mut settings.server.host),
    },
    Property {
        name: "port",
        nick: "Port",
        blurb: "TCP port to listen on (0 = any free port)",
        field: Field::Port(|settings| &mut settings.server.port),
    },
    Property {
        name: "event",
        nick: "Event",
        blurb: "Name of the Socket.IO event with the frames",
        field: Field::Text(|settings| &mut settings.server.event),
    },
    Property {
        name: "camera",
        nick: "Camera",
        blurb: "Name of this camera. Cameras with the same host and port share one server, and \
                each of them needs a name. The event then has a dictionary of frames by name; \
                without a name it has the frame alone",
        field: Field::Text(|settings| &mut settings.camera),
    },
    Property {
        name: "token",
        nick: "Token",
        blurb: "Secret that viewers must send (empty = none)",
        field: Field::Text(|settings| &mut settings.server.token),
    },
    Property {
        name: "tls-certificate",
        nick: "TLS certificate",
        blurb: "PEM file with the certificate of the server and the intermediate certificates; \
                the server then speaks https (empty = http)",
        field: Field::Text(|settings| &mut settings.server.tls_certificate),
    },
    Property {
        name: "tls-key",
        nick: "TLS key",
        blurb: "PEM file with the private key of the certificate",
        field: Field::Text(|settings| &mut settings.server.tls_key),
    },
    Property {
        name: "max-clients",
        nick: "Maximum clients",
        blurb: "Maximum number of viewers; further ones are refused (0 = unlimited, within 1000 \
                connections in all)",
        field: Field::Count(|settings| &mut settings.server.max_clients),
    },
    Property {
        name: "max-connections-per-address",
        nick: "Maximum connections per address",
        blurb: "Maximum number of connections from one address, and of its polling Socket.IO \
                sessions; further ones are refused (0 = unlimited, for example behind a proxy). \
                An IPv6 address counts by its first 64 bits",
        field: Field::Count(|settings| &mut settings.server.max_connections_per_address),
    },
    Property {
        name: "allowed-origins",
        nick: "Allowed origins",
        blurb: "Origins whose pages may use this server and embed what it serves, besides its \
                own; separated by commas, each like https://example.org (* = all)",
        field: Field::Text(|settings| &mut settings.server.allowed_origins),
    },
];

const OF_TYPE: &str = "GObject checks the type";

impl Property {
    fn find(name: &str) -> &'static Self {
        PROPERTIES
            .iter()
            .find(|property| property.name == name)
            .expect("GObject asks for known properties only")
    }

    fn spec(&self) -> glib::ParamSpec {
        let mut defaults = Settings::default();
        match self.field {
            Field::Text(field) => glib::ParamSpecString::builder(self.name)
                .nick(self.nick)
                .blurb(self.blurb)
                .default_value(Some(&**field(&mut defaults)))
                .mutable_ready()
                .build(),
            Field::Port(field) => glib::ParamSpecInt::builder(self.name)
                .nick(self.nick)
                .blurb(self.blurb)
                .minimum(0)
                .maximum(u16::MAX.into())
                .default_value((*field(&mut defaults)).into())
                .mutable_ready()
                .build(),
            Field::Count(field) => glib::ParamSpecUInt::builder(self.name)
                .nick(self.nick)
                .blurb(self.blurb)
                .default_value(*field(&mut defaults))
                .mutable_ready()
                .build(),
        }
    }

    fn set(&self, settings: &mut Settings, value: &glib::Value) {
        match self.field {
            Field::Text(field) => {
                let text = value.get::<Option<String>>().expect(OF_TYPE);
                *field(settings) =
                    text.unwrap_or_else(|| std::mem::take(field(&mut Settings::default())));
            }
            Field::Port(field) => {
                let port: i32 = value.get().expect(OF_TYPE);
                *field(settings) = u16::try_from(port).expect("GObject checks the range");
            }
            Field::Count(field) => *field(settings) = value.get().expect(OF_TYPE),
        }
    }

    fn get(&self, settings: &mut Settings) -> glib::Value {
        match self.field {
            Field::Text(field) => field(settings).to_value(),
            Field::Port(field) => i32::from(*field(settings)).to_value(),
            Field::Count(field) => field(settings).to_value(),
        }
    }

    fn is_equal(&self, one: &mut Settings, other: &mut Settings) -> bool {
        match self.field {
            Field::Text(field) => field(one) == field(other),
            Field::Port(field) => field(one) == field(other),
            Field::Count(field) => field(one) == field(other),
        }
    }
}

impl Settings {
    /// The specifications of the writable properties.
    pub fn specs() -> impl Iterator<Item = glib::ParamSpec> {
        PROPERTIES.iter().map(Property::spec)
    }

    /// Sets a writable property.
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        Property::find(name).set(self, value);
    }

    /// The value of a writable property.
    pub fn get(&self, name: &str) -> glib::Value {
        Property::find(name).get(&mut self.clone())
    }

    /// The first property whose value differs from that of an existing server.
    pub fn difference(&self, server: &ServerConfig) -> Option<&'static str> {
        let mut own = self.clone();
        let mut existing = Self {
            server: server.clone(),
            camera: self.camera.clone(),
        };
        let mut properties = PROPERTIES.iter();
        let different = properties.find(|property| !property.is_equal(&mut own, &mut existing));
        different.map(|property| property.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_of_each_server_property_is_found() {
        let settings = Settings::default();
        assert_eq!(settings.difference(&settings.server), None);
        for property in &PROPERTIES {
            let mut other = settings.clone();
            match property.field {
                Field::Text(field) => *field(&mut other) = "another".into(),
                Field::Port(field) => *field(&mut other) = 1,
                Field::Count(field) => *field(&mut other) = 1,
            }
            // Cameras of one server differ in their names.
            let expected = (property.name != "camera").then_some(property.name);
            assert_eq!(settings.difference(&other.server), expected);
        }
    }
}
