// SPDX-License-Identifier: MPL-2.0

//! Where a relay is.
//!
//! ```text
//! http[s]://[user:password@]host[:port][/path][?query]     ws, wss: the same
//! ```
//!
//! The path is that of Socket.IO, `/socket.io/` if there is none. It ends with a slash, as
//! that of JavaScript clients does.

use std::{fmt, str::FromStr};

use percent_encoding::percent_decode_str;

use crate::host::{bare_host, check_host, host_and_port};

const DEFAULT_PATH: &str = "/socket.io/";

/// The address of a relay.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    /// Name or address; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    path: String,
    query: Option<String>,
    /// User and password.
    user: Option<String>,
}

impl Url {
    /// What a request asks for.
    pub fn target(&self, transport: &str) -> String {
        let (path, query) = (&self.path, self.query.as_deref());
        let and = if query.is_some() { "&" } else { "" };
        let query = query.unwrap_or_default();
        format!("{path}?{query}{and}EIO=4&transport={transport}")
    }

    /// The port that goes without saying.
    fn default_port(&self) -> u16 {
        if self.tls { 443 } else { 80 }
    }

    /// Host and port as a request names them.
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

    /// The path of Socket.IO.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // It is not repeated in full: a log is no place for a password.
        let shown = text.split(['?', '#']).next().unwrap_or_default();
        let shown = match shown.rsplit_once('@') {
            Some((_, rest)) => format!("…@{rest}"),
            None => shown.into(),
        };
        let bad = |what: &str| format!("`url` {shown:?}: {what}");
        let parsed = url::Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        let tls = match parsed.scheme() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => {
                return Err(bad(
                    "it begins with none of http://, https://, ws:// and wss://",
                ));
            }
        };
        // It is in ASCII by now, also where it was not.
        let host = parsed.host_str().ok_or_else(|| bad("it names no host"))?;
        check_host(host).map_err(|error| bad(&error))?;
        if parsed.fragment().is_some() {
            return Err(bad("there is no place for a fragment (#)"));
        }
        // What cannot stand in a request has been escaped.
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
            return Err(bad("its port is not one of 1 to 65535"));
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

/// Without what may be secret: user, password and query.
impl fmt::Display for Url {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_asked_for() {
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
            assert_eq!(url.target("t"), target);
        }
        let url: Url = "http://me:s%40cret@relay".parse().expect("a URL");
        assert_eq!(url.user(), Some("me:s@cret"));
        let url: Url = "http://bücher.example".parse().expect("a URL");
        assert_eq!(url.authority(), "xn--bcher-kva.example");
    }

    proptest! {
        #[test]
        fn nothing_gets_out_of_a_request(rest in "[/?][ -~\\r\\n\\tü]{0,20}") {
            if let Ok(url) = format!("http://relay{rest}").parse::<Url>() {
                let target = url.target("t");
                prop_assert!(target.starts_with('/'));
                prop_assert!(target.bytes().all(|byte| byte.is_ascii_graphic()), "{target:?}");
            }
        }
    }

    #[test]
    fn nonsense_is_named() {
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
            assert!(error.contains(what), "{text}: {error}");
        }
        for text in [
            "http://me:secret@relay:x",
            "tcp://me:secret@relay",
            "http://relay:x?secret",
        ] {
            let error = text.parse::<Url>().expect_err(text);
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
