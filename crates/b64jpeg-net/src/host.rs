// SPDX-License-Identifier: MPL-2.0

//! Host names and addresses, as users write them.

use std::{
    error::Error,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

/// Default port of TCP servers and clients.
pub const DEFAULT_PORT: u16 = 9999;

/// A host as name look-ups take it: an IPv6 address without the brackets that it has in URIs.
pub fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .filter(|host| host.contains(':'))
        .unwrap_or(host)
}

/// `host:port`, with brackets around an IPv6 address.
pub fn host_and_port(host: &str, port: u16) -> String {
    match bare_host(host) {
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

/// The addresses of a host that needs no name look-up, in the order of preference: of
/// `localhost`, or of a host that is an address itself.
pub fn known_addresses(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let host = bare_host(host);
    if host.eq_ignore_ascii_case("localhost") {
        // Both, whatever the host table of this machine says (RFC 6761).
        let both: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        return Some(both.map(|address| (address, port).into()).into());
    }
    let address = host.parse::<IpAddr>().ok()?;
    Some(vec![(address, port).into()])
}

/// Why a text is neither a host name nor an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostError {
    /// It is empty.
    Empty,
    /// It has a user or a password. They are not repeated: passwords must not reach a log.
    Credentials,
    /// It has a character that no host has.
    Character {
        /// The text.
        host: String,
        /// The first such character.
        character: char,
    },
    /// It has a colon, and is not an IPv6 address.
    Colon {
        /// The text.
        host: String,
    },
}

impl fmt::Display for HostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the host is empty"),
            Self::Credentials => f.write_str("the host contains a user or a password"),
            Self::Character { host, character } => {
                write!(f, "{host:?} is not a host: it contains {character:?}")
            }
            Self::Colon { host } => write!(
                f,
                "{host:?} is not a host: it contains ':', and is not an IPv6 address"
            ),
        }
    }
}

impl Error for HostError {}

/// Checks that `host` is a name or an address. Whether it exists is not checked.
///
/// # Errors
///
/// What is wrong with it.
pub fn check_host(host: &str) -> Result<(), HostError> {
    let bare = bare_host(host);
    // An IPv6 address may have a zone, such as the name of an interface.
    let (address, _) = bare.split_once('%').unwrap_or((bare, ""));
    let invalid = |c: &char| "/?#@[]\\".contains(*c) || c.is_whitespace() || c.is_control();
    if bare.is_empty() {
        Err(HostError::Empty)
    } else if bare.contains('@') {
        Err(HostError::Credentials)
    } else if let Some(character) = bare.chars().find(invalid) {
        Err(HostError::Character {
            host: host.into(),
            character,
        })
    } else if bare.contains(':') && address.parse::<Ipv6Addr>().is_err() {
        Err(HostError::Colon { host: host.into() })
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_ipv6_address_has_brackets() {
        for (host, bare, text) in [
            ("camera", "camera", "camera:7"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.1:7"),
            ("::1", "::1", "[::1]:7"),
            ("[::1]", "::1", "[::1]:7"),
            ("[camera]", "[camera]", "[camera]:7"),
            ("", "", ":7"),
        ] {
            assert_eq!(bare_host(host), bare);
            assert_eq!(host_and_port(host, 7), text);
        }
    }

    #[test]
    fn check_host_names_what_is_wrong() {
        for host in [
            "camera",
            "camera.local.",
            "a_b-c",
            "ünbekannt",
            "10.0.0.7",
            "::1",
            "[::1]",
            "fe80::1%eth0",
            "[fe80::1%2]",
            "::ffff:10.0.0.7",
        ] {
            assert_eq!(check_host(host), Ok(()), "{host}");
        }
        for (host, what) in [
            ("", "empty"),
            ("a b", "' '"),
            ("camera\n", "'\\n'"),
            ("http://camera", "'/'"),
            ("camera/", "'/'"),
            ("camera?header=be32", "'?'"),
            ("camera:9999", "IPv6"),
            ("10.0.0.7:9999", "IPv6"),
            ("[::1]:9999", "'['"),
            ("[::1", "'['"),
            ("[camera]", "'['"),
            ("1:2:3", "IPv6"),
        ] {
            let error = check_host(host).expect_err(host).to_string();
            assert!(error.contains(what), "{host}: {error}");
        }
        let error = check_host("me:secret@camera")
            .expect_err("not a host")
            .to_string();
        assert!(
            error.contains("password") && !error.contains("secret"),
            "{error}"
        );
    }
}
