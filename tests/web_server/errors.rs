// SPDX-License-Identifier: MPL-2.0

//! Where nobody can listen: one error that says where, why, and what to do.

use std::net::TcpListener;

use gst::prelude::*;

use super::fixture::WebServerFixture;

/// Expects that a server does not start, and says so once with all of `parts`.
#[track_caller]
pub fn expect_refusal(server: &WebServerFixture, parts: &[&str]) {
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

/// Whatever was wrong can be put right.
#[track_caller]
pub fn expect_recovery(server: &WebServerFixture, property: &str, value: &str) {
    server.sink.set_property_from_str(property, value);
    server.pipeline.play();
    server.show(0);
    server.expect_silence();
}

#[test]
fn a_port_in_use() {
    let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = other.local_addr().expect("bound").port();
    let server = WebServerFixture::new("");
    server.sink.set_property("port", i32::from(port));
    expect_refusal(
        &server,
        &["127.0.0.1", &port.to_string(), "in use", "`port`"],
    );
    expect_recovery(&server, "port", "0");
}

#[test]
fn places_that_are_none() {
    for host in [
        "198.51.100.1",
        "2001:db8::1",
        "no-such-host.invalid",
        "http://localhost",
    ] {
        let server = WebServerFixture::new("");
        server.sink.set_property("host", host);
        expect_refusal(&server, &[host, "`host`"]);
        expect_recovery(&server, "host", "localhost");
    }
}

/// It is said that everybody can watch; once, and not to those who know.
#[test]
fn open_to_the_world() {
    let warned = |options: &str| {
        let server = WebServerFixture::start(options);
        server.show(0);
        server.pipeline.messages()
    };
    for host in ["0.0.0.0", "::"] {
        let warnings = warned(&format!("host={host}"));
        assert!(
            matches!(&warnings[..], [one] if one.contains("`token`")),
            "{warnings:?}"
        );
        assert_eq!(warned(&format!("host={host} token=geheim")), [""; 0]);
    }
    for host in ["127.0.0.1", "127.0.0.2", "localhost", "::1"] {
        assert_eq!(warned(&format!("host={host}")), [""; 0]);
    }
}
