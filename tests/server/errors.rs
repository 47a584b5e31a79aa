// SPDX-License-Identifier: MPL-2.0

//! Addresses on which the server cannot listen: one error with the address, the reason and advice.

use std::{
    fs,
    net::{Ipv4Addr, Ipv6Addr, TcpListener},
    process::Command,
};

use gst::prelude::*;

use super::server_fixture::{ServerFixture, next_number};
use crate::common::{
    process::{Program, with_plugin},
    viewer::Viewer,
};

/// Expects that the server fails to start with one error that contains all of `parts`.
#[track_caller]
fn expect_refusal(server: &ServerFixture, parts: &[&str]) {
    let sink = &server.pipeline.0;
    assert!(sink.set_state(gst::State::Playing).is_err());
    let errors = server.pipeline.messages();
    let [error] = &errors[..] else {
        panic!("one error: {errors:#?}");
    };
    for part in parts {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
    server.set_state(gst::State::Null);
}

/// Corrects a property and expects that the server then works.
#[track_caller]
fn expect_recovery(server: &ServerFixture, property: &str, value: &str) {
    server.sink.set_property_from_str(property, value);
    server.pipeline.play();
    let mut viewer = server.viewer();
    server.push(0..1);
    assert_eq!(next_number(&mut viewer), 0);
    server.expect_no_messages();
}

#[test]
fn used_port_is_reported() {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = other.local_addr().expect("bound").port().to_string();
    for host in ["127.0.0.1", "localhost", "0.0.0.0"] {
        let server = ServerFixture::with_appsrc(&format!("host={host} port={port}"));
        expect_refusal(&server, &[host, &port, "in use"]);
        expect_recovery(&server, "port", "0");
    }
    // A port of another server of ours is in use as well.
    let first = ServerFixture::with_appsrc("").play();
    let port = first.port().to_string();
    let second = ServerFixture::with_appsrc(&format!("port={port}"));
    expect_refusal(&second, &["127.0.0.1", &port, "in use"]);
    drop(first.viewer());
    drop(first);
    expect_recovery(&second, "port", &port);
}

/// An IPv6 address may have brackets, as in URIs; the error has them exactly once.
#[test]
fn bracketed_ipv6_host_is_accepted() {
    let first = ServerFixture::with_appsrc("host=[::1]").play();
    let port = first.port();
    for host in ["::1", "[::1]"] {
        let second = ServerFixture::with_appsrc(&format!("host={host} port={port}"));
        expect_refusal(&second, &[&format!(" [::1]:{port}"), "in use"]);
    }
    drop(Viewer::connect((Ipv6Addr::LOCALHOST, port).into()));
}

#[test]
fn foreign_address_is_reported() {
    // From the blocks reserved for documentation.
    for host in ["198.51.100.1", "2001:db8::1"] {
        let server = ServerFixture::with_appsrc(&format!("host={host} port=4711"));
        expect_refusal(&server, &[host, "4711"]);
        server.sink.set_property("port", 0);
        expect_recovery(&server, "host", "127.0.0.1");
    }
}

#[test]
fn unknown_host_name_is_reported() {
    let server = ServerFixture::with_appsrc("host=no-such-host.invalid port=4711");
    expect_refusal(&server, &["no-such-host.invalid", "4711"]);
    server.sink.set_property("port", 0);
    expect_recovery(&server, "host", "127.0.0.1");
}

#[test]
fn invalid_host_is_refused() {
    for host in [
        "",
        " ",
        "127.0.0.1:9999",
        "http://localhost",
        "a\nb",
        "256.1.1.1",
    ] {
        let server = ServerFixture::with_appsrc("");
        server.sink.set_property("host", host);
        expect_refusal(&server, &[]);
        expect_recovery(&server, "host", "127.0.0.1");
    }
}

/// Ports below 1024 need a privilege.
#[test]
fn privileged_port_is_reported() {
    let first = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|first| first.trim().parse::<u32>().is_ok_and(|first| first <= 1)) {
        println!("skipped: unprivileged processes may use every port here");
        return;
    }
    // Root without CAP_NET_BIND_SERVICE is like any other user.
    let mut launch = Command::new("setpriv");
    launch.args(["--bounding-set=-net_bind_service", "gst-launch-1.0"]);
    let user = Command::new("id")
        .arg("-u")
        .output()
        .expect("id runs")
        .stdout;
    if user != b"0\n" {
        launch = Command::new("gst-launch-1.0");
    }
    launch.args("videotestsrc ! jpegenc ! b64jpegserversink port=1".split_whitespace());
    let (status, output) = Program::start(with_plugin(&mut launch)).wait();
    assert!(!status.success(), "{output}");
    assert_eq!(output.matches("ERROR: from element").count(), 1, "{output}");
    let error = output
        .lines()
        .find(|line| line.contains("ERROR: from element"));
    let error = error.expect("an error");
    for part in ["127.0.0.1", "1", "1024"] {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}
