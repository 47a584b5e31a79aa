// SPDX-License-Identifier: MPL-2.0

//! `b64jpeg://` URIs.

use std::process::Command;

use gst::prelude::*;

use super::{
    fixture::{ClientFixture, expect_parts},
    wire::{DEFAULT, framing, pictures},
};
use crate::common::{
    self,
    process::{Program, with_plugin},
    raw_server::{RawServer, ReservedPort},
};

fn handler(uri: &str) -> Result<gst::Element, String> {
    common::init();
    gst::Element::make_from_uri(gst::URIType::Src, uri, None).map_err(|err| err.to_string())
}

/// The properties that a URI sets: host, port, header, payload, reconnect.
fn settings(element: &gst::Element) -> [String; 5] {
    ["host", "port", "header", "payload", "reconnect"].map(|name| {
        let value = element.property_value(name);
        value.serialize().expect("a string").into()
    })
}

#[test]
fn uri_sets_properties() {
    for (uri, expected) in [
        (
            "b64jpeg://camera",
            ["camera", "9999", "auto", "auto", "true"],
        ),
        (
            "b64jpeg://camera:4711",
            ["camera", "4711", "auto", "auto", "true"],
        ),
        (
            "b64jpeg://camera:4711/",
            ["camera", "4711", "auto", "auto", "true"],
        ),
        (
            "B64JPEG://camera",
            ["camera", "9999", "auto", "auto", "true"],
        ),
        (
            "b64jpeg://192.168.0.7:1",
            ["192.168.0.7", "1", "auto", "auto", "true"],
        ),
        (
            "b64jpeg://[::1]:65535",
            ["::1", "65535", "auto", "auto", "true"],
        ),
        (
            "b64jpeg://[fe80::1]",
            ["fe80::1", "9999", "auto", "auto", "true"],
        ),
        (
            "b64jpeg://camera?header=le64&payload=jpeg",
            ["camera", "9999", "le64", "jpeg", "true"],
        ),
        (
            "b64jpeg://camera:4711?reconnect=false",
            ["camera", "4711", "auto", "auto", "false"],
        ),
        (
            "b64jpeg://camera:4711/?payload=base64&reconnect=true&header=auto",
            ["camera", "4711", "auto", "base64", "true"],
        ),
    ] {
        let element = handler(uri).expect(uri);
        assert_eq!(settings(&element), expected, "{uri}");

        // The `uri` property of the element means the same.
        let own_uri = element.property::<String>("uri");
        let again = handler(&own_uri).expect(&own_uri);
        assert_eq!(settings(&again), expected, "{uri}, {own_uri}");
        assert_eq!(again.property::<String>("uri"), own_uri);
        let interface = element.dynamic_cast_ref::<gst::URIHandler>();
        assert_eq!(interface.and_then(|h| h.uri()), Some(own_uri.into()));
    }
}

#[test]
fn uri_property_follows_other_properties() {
    common::init();
    let element = gst::ElementFactory::make("b64jpegclientsrc")
        .build()
        .unwrap();
    let defaults = ["localhost", "9999", "auto", "auto", "true"];
    assert_eq!(settings(&element), defaults);
    let uri = element.property::<String>("uri");
    assert_eq!(settings(&handler(&uri).expect(&uri)), defaults, "{uri}");

    for (name, value) in [
        ("host", "fd00::7"),
        ("port", "4711"),
        ("header", "ascii16"),
        ("payload", "jpeg"),
        ("reconnect", "false"),
    ] {
        element.set_property_from_str(name, value);
    }
    let uri = element.property::<String>("uri");
    expect_parts(&uri, &["b64jpeg://[fd00::7]:4711"]);
    assert_eq!(
        settings(&handler(&uri).expect(&uri)),
        settings(&element),
        "{uri}"
    );
}

#[test]
fn uri_scheme_belongs_to_client() {
    common::init();
    let element = handler("b64jpeg://camera").expect("a client");
    let factory = element.factory().expect("a factory");
    assert_eq!(factory.name(), "b64jpegclientsrc");
    assert_eq!(factory.uri_type(), gst::URIType::Src);
    assert_eq!(factory.uri_protocols(), ["b64jpeg"]);
    assert_eq!(factory.metadata("klass"), Some("Source/Network"));
}

/// Invalid URIs, each with a part of the expected error message.
const INVALID_URIS: [(&str, &str); 17] = [
    ("b64jpeg://", "host"),
    ("b64jpeg://:9999", "host"),
    ("b64jpeg:camera", "host"),
    ("b64jpeg:///camera", "host"),
    ("b64jpeg://camera:0", "0"),
    ("b64jpeg://camera:65536", "65536"),
    ("b64jpeg://camera:-1", "-1"),
    ("b64jpeg://camera:many", "many"),
    ("b64jpeg://[::1:9999", "[::1"),
    ("b64jpeg://camera/stream", "/stream"),
    ("b64jpeg://me:secret@camera", "user"),
    ("b64jpeg://camera#7", "7"),
    ("b64jpeg://camera?header=ninety", "ninety"),
    ("b64jpeg://camera?payload=png", "png"),
    ("b64jpeg://camera?reconnect=perhaps", "perhaps"),
    ("b64jpeg://camera?colour=red", "colour"),
    ("b64jpeg://camera?header", "header"),
];

#[test]
fn invalid_uri_is_refused() {
    for (uri, what) in INVALID_URIS {
        let error = handler(uri).expect_err(uri);
        expect_parts(&error, &[what]);
        // An existing element keeps its properties.
        let element = handler("b64jpeg://camera:4711?header=le32").expect("a client");
        let before = settings(&element);
        let interface = element.dynamic_cast_ref::<gst::URIHandler>().expect("one");
        let error = interface.set_uri(uri).expect_err(uri);
        assert!(error.kind::<gst::URIError>().is_some(), "{error:?}");
        expect_parts(&error.to_string(), &[what]);
        assert_eq!(settings(&element), before, "{uri}");
    }
}

/// Passwords do not belong in logs.
#[test]
fn password_in_uri_is_not_repeated() {
    let error = handler("b64jpeg://me:secret@camera").expect_err("user names are not supported");
    assert!(!error.contains("secret"), "{error}");
}

/// The URI cannot be changed while the element plays.
#[test]
fn uri_is_refused_while_playing() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    client.expect_frames(pictures(2));
    let before = settings(&client.element);
    let interface = client
        .element
        .dynamic_cast_ref::<gst::URIHandler>()
        .expect("one");
    let error = interface.set_uri("b64jpeg://camera").expect_err("it plays");
    assert_eq!(error.kind::<gst::URIError>(), Some(gst::URIError::BadState));
    assert_eq!(settings(&client.element), before);
}

#[test]
fn uri_connects_to_server() {
    for (host, port) in [
        ("127.0.0.1", ReservedPort::new()),
        ("[::1]", ReservedPort::v6()),
        ("localhost", ReservedPort::v6()),
    ] {
        let server = port.listen();
        let uri = format!(
            "b64jpeg://{host}:{}?header=le64&payload=jpeg&reconnect=false",
            port.number()
        );
        let mut client = ClientFixture::playing(&format!("uri={uri}"));
        let mut peer = server.accept();
        peer.send(framing("le64", "jpeg").stream(pictures(3)));
        peer.close();
        client.expect_end().expect_frames(pictures(3));
    }
}

/// Runs `gst-launch-1.0`; returns whether it succeeded, and its output.
fn launch(args: &[&str]) -> (bool, String) {
    let mut command = Command::new("gst-launch-1.0");
    with_plugin(command.args(args)).env("LC_ALL", "C.UTF-8");
    let (status, output) = Program::start(&mut command).wait();
    (status.success(), output)
}

#[test]
fn gst_launch_plays_uri() {
    for first in ["", "b64jpegclientsrc uri="] {
        let server = RawServer::new();
        let uri = format!(
            "{first}b64jpeg://localhost:{}?reconnect=false",
            server.port()
        );
        let line: Vec<_> = uri.split(' ').chain(["!", "fakesink"]).collect();
        let (good, output) = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut peer = server.accept();
                peer.send(DEFAULT.stream(pictures(3)));
                peer.close();
            });
            launch(&line)
        });
        assert!(good && output.contains("Got EOS"), "{output}");
    }
}

/// An invalid URI on the command line is an error at once.
#[test]
fn gst_launch_refuses_invalid_uri() {
    for (uri, what) in [
        ("b64jpeg://camera.invalid:99999", "99999"),
        ("b64jpeg://camera.invalid?header=ninety", "ninety"),
        ("nonsense", "nonsense"),
    ] {
        let (good, output) = launch(&["b64jpegclientsrc", &format!("uri={uri}"), "!", "fakesink"]);
        assert!(!good, "{output}");
        expect_parts(&output, &[what]);
        assert!(!output.contains("CRITICAL"), "{output}");
    }
}
