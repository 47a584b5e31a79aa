// SPDX-License-Identifier: MPL-2.0

//! A server that cannot start: one error that says where, why, and which property to change.

use std::net::TcpListener;

use gst::prelude::*;

use super::fixture::WebServerFixture;

/// Expects that a server does not start, with one error that contains all of `parts`.
#[track_caller]
pub fn expect_start_error(server: &WebServerFixture, parts: &[&str]) {
    assert!(server.pipeline.0.set_state(gst::State::Playing).is_err());
    let errors = server.pipeline.messages();
    let [error] = &errors[..] else {
        panic!("one error: {errors:#?}");
    };
    for part in parts {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    server.set_state(gst::State::Null);
}

/// Expects that the server starts once a property is corrected.
#[track_caller]
pub fn expect_recovery(server: &WebServerFixture, property: &str, value: &str) {
    server.sink.set_property_from_str(property, value);
    server.pipeline.play();
    server.show(0);
    server.expect_no_messages();
}

#[test]
fn start_port_in_use_posts_error() {
    let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = other.local_addr().expect("bound").port();
    let server = WebServerFixture::new("");
    server.sink.set_property("port", i32::from(port));
    expect_start_error(
        &server,
        &["127.0.0.1", &port.to_string(), "in use", "`port`"],
    );
    expect_recovery(&server, "port", "0");
}

#[test]
fn start_unusable_host_posts_error() {
    for host in [
        "198.51.100.1",
        "2001:db8::1",
        "no-such-host.invalid",
        "http://localhost",
    ] {
        let server = WebServerFixture::new("");
        server.sink.set_property("host", host);
        expect_start_error(&server, &[host, "`host`"]);
        expect_recovery(&server, "host", "localhost");
    }
}

/// A server that other machines can reach without a token warns once.
#[test]
fn start_reachable_without_token_warns_once() {
    let warnings = |options: &str| {
        let server = WebServerFixture::start(options);
        server.show(0);
        server.pipeline.messages()
    };
    for host in ["0.0.0.0", "::"] {
        let posted = warnings(&format!("host={host}"));
        assert!(
            matches!(&posted[..], [one] if one.contains("`token`")),
            "{posted:?}"
        );
        assert_eq!(warnings(&format!("host={host} token=geheim")), [""; 0]);
    }
    for host in ["127.0.0.1", "127.0.0.2", "localhost", "::1"] {
        assert_eq!(warnings(&format!("host={host}")), [""; 0]);
    }
}
