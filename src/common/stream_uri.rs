// SPDX-License-Identifier: MPL-2.0

//! URIs of streams.
//!
//! ```text
//! b64jpeg://host[:port][?header=…&payload=…&reconnect=true|false]
//! ```

use std::{fmt, str::FromStr};

use b64jpeg_net::host::DEFAULT_PORT;
use glib::{UriFlags, prelude::*};

use crate::common::framing_properties::{HeaderOrAuto, PayloadOrAuto};

pub const SCHEME: &str = "b64jpeg";

/// A `b64jpeg://` URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamUri {
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    /// The values of the properties with these names, if the URI has them.
    pub header: Option<HeaderOrAuto>,
    pub payload: Option<PayloadOrAuto>,
    pub reconnect: Option<bool>,
}

impl FromStr for StreamUri {
    type Err = glib::Error;

    fn from_str(text: &str) -> Result<Self, glib::Error> {
        if text.contains('@') {
            // The message does not repeat it, so that no password gets into a log.
            let what = "the URI has a user or a password, and there is no place for them";
            return Err(glib::Error::new(gst::URIError::BadUri, what));
        }
        let bad = |what: &str| glib::Error::new(gst::URIError::BadUri, &format!("{text}: {what}"));
        let uri = glib::Uri::parse(text, UriFlags::NONE).map_err(|error| bad(error.message()))?;
        if uri.scheme() != SCHEME {
            let what = format!("{text}: its scheme is not {SCHEME}");
            return Err(glib::Error::new(gst::URIError::UnsupportedProtocol, &what));
        }
        let host = uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| bad("it names no host"))?;
        if !matches!(uri.path().as_str(), "" | "/") {
            return Err(bad("there is no place for a path"));
        }
        if uri.fragment().is_some() {
            return Err(bad("there is no place for a fragment"));
        }
        let port = match uri.port() {
            -1 => DEFAULT_PORT,
            port => u16::try_from(port)
                .ok()
                .filter(|&port| port > 0)
                .ok_or_else(|| bad("its port is not one of 1 to 65535"))?,
        };

        let mut parsed = Self {
            host: host.into(),
            port,
            header: None,
            payload: None,
            reconnect: None,
        };
        let query = uri.query().unwrap_or_default();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let known = match name {
                "header" => set(&mut parsed.header, by_nick(value)),
                "payload" => set(&mut parsed.payload, by_nick(value)),
                "reconnect" => set(&mut parsed.reconnect, value.parse().ok()),
                _ => return Err(bad(&format!("there is no parameter {name}"))),
            };
            if !known {
                return Err(bad(&format!("{parameter} means nothing, or comes twice")));
            }
        }
        Ok(parsed)
    }
}

impl fmt::Display for StreamUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = self.header.and_then(nick).map(|nick| ("header", nick));
        let payload = self.payload.and_then(nick).map(|nick| ("payload", nick));
        let reconnect = self.reconnect.map(|on| ("reconnect", on.to_string()));
        let query = [header, payload, reconnect]
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join("&");
        f.write_str(&glib::Uri::join(
            UriFlags::NONE,
            Some(SCHEME),
            None,
            Some(&self.host),
            self.port.into(),
            "",
            Some(query.as_str()).filter(|query| !query.is_empty()),
            None,
        ))
    }
}

/// Sets `slot`. Returns false if it was set before, or there is no value.
fn set<T>(slot: &mut Option<T>, value: Option<T>) -> bool {
    let right = slot.is_none() && value.is_some();
    *slot = value;
    right
}

fn by_nick<T: StaticType + for<'a> glib::value::FromValue<'a> + 'static>(nick: &str) -> Option<T> {
    let class = glib::EnumClass::with_type(T::static_type())?;
    class.to_value_by_nick(nick)?.get_owned().ok()
}

fn nick(value: impl ToValue) -> Option<String> {
    let value = value.to_value();
    let (_, value) = glib::EnumValue::from_value(&value)?;
    Some(value.nick().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> StreamUri {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn uri_with_every_parameter_is_parsed_and_written() {
        let plain = StreamUri {
            host: "localhost".into(),
            port: 9999,
            header: None,
            payload: None,
            reconnect: None,
        };
        assert_eq!(parsed("b64jpeg://localhost"), plain);
        assert_eq!(parsed("b64jpeg://localhost/"), plain);
        assert_eq!(parsed("B64JPEG://localhost:9999?"), plain);
        assert_eq!(plain.to_string(), "b64jpeg://localhost:9999");

        let full = "b64jpeg://[fe80::1]:4711?header=le64&payload=jpeg&reconnect=false";
        let uri = parsed(full);
        assert_eq!(uri.host, "fe80::1");
        assert_eq!(uri.port, 4711);
        assert_eq!(uri.header, Some(HeaderOrAuto::Le64));
        assert_eq!(uri.payload, Some(PayloadOrAuto::Jpeg));
        assert_eq!(uri.reconnect, Some(false));
        assert_eq!(uri.to_string(), full);
        assert_eq!(
            parsed("b64jpeg://h?header=auto").header,
            Some(HeaderOrAuto::Auto)
        );
    }

    #[test]
    fn bad_uri_error_names_the_fault() {
        for (text, what) in [
            ("", ""),
            ("localhost:9999", "scheme"),
            ("http://localhost", "scheme is not b64jpeg"),
            ("b64jpeg:localhost", "host"),
            ("b64jpeg://", "host"),
            ("b64jpeg:///", "host"),
            ("b64jpeg://:9999", "host"),
            ("b64jpeg://h:0", "port"),
            ("b64jpeg://h:65536", "port"),
            ("b64jpeg://h:-1", "port"),
            ("b64jpeg://h:x", "port"),
            ("b64jpeg://h/video", "path"),
            ("b64jpeg://h#top", "fragment"),
            ("b64jpeg://h?volume=11", "no parameter volume"),
            ("b64jpeg://h?header", "header means nothing"),
            ("b64jpeg://h?header=be33", "header=be33 means nothing"),
            ("b64jpeg://h?payload=png", "payload=png means nothing"),
            (
                "b64jpeg://h?reconnect=perhaps",
                "reconnect=perhaps means nothing",
            ),
            ("b64jpeg://h?reconnect=true&reconnect=false", "twice"),
            ("b64jpeg://[::1", ""),
        ] {
            let error = text.parse::<StreamUri>().expect_err(text);
            let error = error.message().to_lowercase();
            assert!(error.contains(what), "{text}: {error}");
            assert!(error.contains(&text.to_lowercase()), "{text}: {error}");
        }
    }

    #[test]
    fn error_does_not_repeat_a_password() {
        for text in ["b64jpeg://me:secret@h", "b64jpeg://me:secret@h:x"] {
            let error = text.parse::<StreamUri>().expect_err(text);
            assert!(error.message().contains("password"), "{error}");
            assert!(!error.message().contains("secret"), "{error}");
        }
    }

    fn hosts() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-z0-9]([a-z0-9-]{0,9}[a-z0-9])?(\\.[a-z]{1,5}){0,3}",
            any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
            any::<std::net::Ipv6Addr>().prop_map(|ip| ip.to_string()),
            // Applications may set any text as host.
            "[ -~]{1,12}",
        ]
    }

    fn uris() -> impl Strategy<Value = StreamUri> {
        let header = || prop::sample::select(["auto", "be32", "le64", "ascii16", "lines"].to_vec());
        let payload = || prop::sample::select(["auto", "base64", "jpeg"].to_vec());
        (
            hosts(),
            1..=u16::MAX,
            prop::option::of(header()),
            prop::option::of(payload()),
            any::<Option<bool>>(),
        )
            .prop_map(|(host, port, header, payload, reconnect)| StreamUri {
                host,
                port,
                header: header.and_then(by_nick),
                payload: payload.and_then(by_nick),
                reconnect,
            })
    }

    proptest! {
        #[test]
        fn written_uri_is_parsed_to_the_same(uri in uris()) {
            prop_assert_eq!(parsed(&uri.to_string()), uri);
        }

        #[test]
        fn any_text_is_refused_or_parsed(rest in "[ -~]{0,20}") {
            if let Ok(uri) = format!("b64jpeg://{rest}").parse::<StreamUri>() {
                prop_assert_eq!(parsed(&uri.to_string()), uri);
            }
        }
    }
}
