// SPDX-License-Identifier: MPL-2.0

//! URLs of Socket.IO servers.
//!
//! ```text
//! http[s]://[user:password@]host[:port][/path][?query]     ws, wss: the same
//! ```
//!
//! The path is that of the Socket.IO endpoint, `/socket.io/` by default. It ends with a slash,
//! as JavaScript clients send it.

use std::{error::Error, fmt, str::FromStr};

use percent_encoding::percent_decode_str;

use crate::host::{HostError, bare_host, check_host, host_and_port};

const DEFAULT_PATH: &str = "/socket.io/";

/// The URL of a Socket.IO server.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether the scheme is `https` or `wss`.
    pub tls: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    /// The port, by default 80, and 443 with TLS.
    pub port: u16,
    path: String,
    query: Option<String>,
    /// User and password, decoded, with a colon between them.
    user: Option<String>,
}

impl Url {
    /// Path and query of a request for a Socket.IO transport.
    pub fn request_target(&self, transport: &str) -> String {
        let (path, query) = (&self.path, self.query.as_deref());
        let and = if query.is_some() { "&" } else { "" };
        let query = query.unwrap_or_default();
        format!("{path}?{query}{and}EIO=4&transport={transport}")
    }

    /// The port of the scheme.
    fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }

    /// Host and port for the `Host` header; the port only if it is not that of the scheme.
    pub fn authority(&self) -> String {
        if self.port != self.default_port() {
            return host_and_port(&self.host, self.port);
        }
        match &*self.host {
            host if host.contains(':') => format!("[{host}]"),
            host => host.into(),
        }
    }

    /// User and password, with a colon between them.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The path of the Socket.IO endpoint.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        // The error does not repeat it in full: passwords must not reach a log.
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        let shown = match shown.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => shown.into(),
        };
        let bad = |kind| UrlError {
            shown: shown.clone(),
            kind,
        };
        let parsed = url::Url::parse(text).map_err(|error| bad(UrlErrorKind::Syntax(error)))?;
        let tls = match parsed.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(bad(UrlErrorKind::Scheme)),
        };
        // The parser has converted international names to ASCII.
        let host = parsed.host_str().ok_or_else(|| bad(UrlErrorKind::NoHost))?;
        check_host(host).map_err(|error| bad(UrlErrorKind::Host(error)))?;
        if parsed.fragment().is_some() {
            return Err(bad(UrlErrorKind::Fragment));
        }
        // The parser has escaped all characters that a request cannot contain.
        let mut path = parsed.path().to_owned();
        let query = parsed.query().filter(|query| !query.is_empty());
        if matches!(&*path, "" | "/") {
            path = DEFAULT_PATH.into();
        } else if !path.ends_with('/') {
            path.push('/');
        }
        let default_port = if tls { 443 } else { 80 };
        let port = parsed.port().unwrap_or(default_port);
        if port == 0 {
            return Err(bad(UrlErrorKind::ZeroPort));
        }
        let decoded = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = match (parsed.username(), parsed.password()) {
            ("", None) => None,
            (user, password) => Some(format!(
                "{}:{}",
                decoded(user),
                decoded(password.unwrap_or_default())
            )),
        };
        Ok(Self {
            tls,
            host: bare_host(host).into(),
            port,
            path,
            query: query.map(Into::into),
            user,
        })
    }
}

impl fmt::Display for Url {
    /// Omits what may be secret: user, password and query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())?;
        if self.path != DEFAULT_PATH {
            f.write_str(&self.path)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Why a text is not the URL of a Socket.IO server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlError {
    /// The text, without user, password, query and fragment.
    shown: String,
    kind: UrlErrorKind,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UrlErrorKind {
    /// It is not a URL.
    Syntax(url::ParseError),
    /// Its scheme is none of `http`, `https`, `ws` and `wss`.
    Scheme,
    /// It has no host.
    NoHost,
    /// Its host is neither a name nor an address.
    Host(HostError),
    /// It has a fragment.
    Fragment,
    /// Its port is zero.
    ZeroPort,
}

impl UrlError {
    /// What is wrong with the URL.
    pub fn kind(&self) -> &UrlErrorKind {
        &self.kind
    }
}

impl fmt::Display for UrlError {
    /// Shows the URL without what may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.shown, self.kind)
    }
}

impl Error for UrlError {}

impl fmt::Display for UrlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(error) => error.fmt(f),
            Self::Scheme => {
                f.write_str("it does not begin with http://, https://, ws:// or wss://")
            }
            Self::NoHost => f.write_str("it has no host"),
            Self::Host(error) => error.fmt(f),
            Self::Fragment => f.write_str("it has a fragment (#), which is not supported"),
            Self::ZeroPort => f.write_str("its port is not one of 1 to 65535"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn url_parsed_gives_request_target() {
        for (text, shown, target) in [
            (
                "http://relay",
                "http://relay",
                "/socket.io/?EIO=4&transport=t",
            ),
            (
                "HTTP://relay:5000/",
                "http://relay:5000",
                "/socket.io/?EIO=4&transport=t",
            ),
            (
                "wss://relay:443",
                "https://relay",
                "/socket.io/?EIO=4&transport=t",
            ),
            (
                "https://[::1]:80/",
                "https://[::1]:80",
                "/socket.io/?EIO=4&transport=t",
            ),
            (
                "ws://relay/live",
                "http://relay/live/",
                "/live/?EIO=4&transport=t",
            ),
            (
                "http://relay/a b",
                "http://relay/a%20b/",
                "/a%20b/?EIO=4&transport=t",
            ),
            (
                "ws://me:secret@relay/a%20b/?token=secret&room=1",
                "http://relay/a%20b/",
                "/a%20b/?token=secret&room=1&EIO=4&transport=t",
            ),
        ] {
            let url: Url = text.parse().expect(text);
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.request_target("t"), target);
        }
        let url: Url = "http://me:s%40cret@relay".parse().expect("a URL");
        assert_eq!(url.user(), Some("me:s@cret"));
        let url: Url = "http://bücher.example".parse().expect("a URL");
        assert_eq!(url.authority(), "xn--bcher-kva.example");
    }

    proptest! {
        #[test]
        fn request_target_of_any_url_is_printable_ascii(rest in "[/?][ -~\\r\\n\\tü]{0,20}") {
            if let Ok(url) = format!("http://relay{rest}").parse::<Url>() {
                let target = url.request_target("t");
                prop_assert!(target.starts_with('/'));
                prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target:?}");
            }
        }
    }

    #[test]
    fn bad_url_is_named_without_secrets() {
        for (text, what) in [
            ("", ""),
            ("localhost:5000", "http://"),
            ("localhost", ""),
            ("tcp://relay", "http://"),
            ("http://", "host"),
            ("http://:80", "host"),
            ("http://relay:0", "port"),
            ("http://relay:65536", "65536"),
            ("http://relay/#top", "fragment"),
            ("http://a b/", ""),
        ] {
            let error = text.parse::<Url>().expect_err(text);
            assert!(error.to_string().contains(what), "{text}: {error}");
        }
        for text in [
            "http://me:secret@relay:x",
            "tcp://me:secret@relay",
            "http://relay:x?secret",
        ] {
            let error = text.parse::<Url>().expect_err(text);
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
