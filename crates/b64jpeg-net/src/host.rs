// SPDX-License-Identifier: MPL-2.0

//! Names and addresses of hosts, as people write them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The port of servers and clients that are told none.
pub const DEFAULT_PORT: u16 = 9999;

/// A host as look-ups take it: an IPv6 address without the brackets that it has in URIs.
pub fn bare_host(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .filter(|host| host.contains(':'))
        .unwrap_or(host)
}

/// Host and port as people write them.
pub fn host_and_port(host: &str, port: u16) -> String {
    match bare_host(host) {
        host if host.contains(':') => format!("[{host}]:{port}"),
        host => format!("{host}:{port}"),
    }
}

/// The addresses of a host that nobody has to be asked for, best ones first.
pub fn known_addresses(host: &str, port: u16) -> Option<Vec<SocketAddr>> {
    let host = bare_host(host);
    if host.eq_ignore_ascii_case("localhost") {
        // Both, whatever this machine's tables say (RFC 6761).
        let both: [IpAddr; 2] = [Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()];
        return Some(both.map(|address| (address, port).into()).into());
    }
    let address = host.parse::<IpAddr>().ok()?;
    Some(vec![(address, port).into()])
}

/// Refuses what is neither a name nor an address, and says why.
pub fn check_host(host: &str) -> Result<(), String> {
    let bare = bare_host(host);
    // It may say through which interface.
    let (address, _) = bare.split_once('%').unwrap_or((bare, ""));
    let strange = |c: char| "/?#@[]\\".contains(c) || c.is_whitespace() || c.is_control();
    if bare.is_empty() {
        Err("the host is empty".into())
    } else if bare.contains('@') {
        // It is not repeated: a log is no place for a password.
        Err("the host has a user or a password, and there is no place for them".into())
    } else if let Some(c) = bare.chars().find(|c| strange(*c)) {
        Err(format!("{host:?} is no host: it has {c:?} in it"))
    } else if bare.contains(':') && address.parse::<Ipv6Addr>().is_err() {
        Err(format!(
            "{host:?} is no host: it has ':' in it, and is no IPv6 address"
        ))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_for_addresses_with_colons() {
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
    fn hosts_and_what_is_none() {
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
            let error = check_host(host).expect_err(host);
            assert!(error.contains(what), "{host}: {error}");
        }
        let error = check_host("me:secret@camera").expect_err("it is none");
        assert!(
            error.contains("password") && !error.contains("secret"),
            "{error}"
        );
    }
}
