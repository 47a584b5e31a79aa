// SPDX-License-Identifier: MPL-2.0

//! Servers that are not usable relays, relays that refuse us, and events that are not JPEGs.

use std::{fs, io::Write, process::Command};

use super::fixture::{Streamer, pictures};
use crate::common::{
    certificates::{Authority, Certified},
    element_fixture::ElementFixture,
    pipeline::scratch,
    process::Program,
    raw_server::{RawServer, ReservedPort},
    relay::{Relay, RelayKind},
    wait::wait_for,
    wire::{DEFAULT, pictures as small_pictures},
};

/// Expects that neither element starts at this URL, with an error that contains all of `parts`.
#[track_caller]
fn expect_errors(url: &str, properties: &str, parts: &[&str]) {
    for start in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let mut fixture = start(url, properties);
        fixture.expect_error(parts);
        fixture.expect_state("connecting");
        fixture.stop();
    }
}

#[test]
fn plain_http_server_is_an_error() {
    let nothing = scratch("nothing");
    fs::create_dir_all(&nothing).expect("a directory");
    let mut server = Command::new("python3");
    server
        .args(["-u", "-m", "http.server", "0", "--bind", "127.0.0.1"])
        .current_dir(&nothing);
    let mut server = Program::start(&mut server);
    let line = server.expect_line("Serving HTTP");
    let (_, url) = line.split_once('(').expect("a URL");
    let (url, _) = url.split_once("/)").expect("a URL");
    expect_errors(
        url,
        "",
        &[url, "there is no Socket.IO at /socket.io/", "404"],
    );
}

#[test]
fn silent_server_is_retried() {
    let server = RawServer::new();
    let url = format!("http://127.0.0.1:{}", server.port());
    for start in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let mut fixture = start(&url, "timeout=200000000");
        fixture.expect_states(&["connecting", "waiting"]);
        fixture.expect_warning(&[
            &url,
            "no answer for 0.2 s",
            "does not speak HTTP",
            "trying again",
        ]);
        fixture.stop();
    }
}

#[test]
fn other_protocol_is_an_error_with_advice() {
    for (bytes, part) in [
        (&b"SSH-2.0-OpenSSH_9.2p1\r\n"[..], "SSH"),
        (&DEFAULT.stream(small_pictures(2)), "b64jpegclientsrc"),
        (b"\x15\x03\x03\0\x02\x02\x46", "https://"),
    ] {
        let server = RawServer::new().serve(bytes.repeat(10));
        let url = format!("http://127.0.0.1:{}", server.port);
        expect_errors(&url, "", &[&url, part]);
    }
}

#[test]
fn old_relay_is_an_error_with_advice() {
    let relay = Relay::start(RelayKind::Node, &["--old"]);
    expect_errors(
        &relay.url,
        "",
        &[&relay.url, "Engine.IO 3", "upgrade the server"],
    );
}

#[test]
fn relay_without_websockets_is_an_error() {
    let relay = Relay::start(RelayKind::Flask, &["--no-websocket"]);
    expect_errors(&relay.url, "", &["without websockets", "(transports)"]);
}

#[test]
fn wrong_path_is_an_error() {
    for kind in [RelayKind::Flask, RelayKind::PythonSocketio] {
        let relay = Relay::start(kind, &[]);
        let url = format!("{}/video", relay.url);
        expect_errors(&url, "", &["there is no Socket.IO at /video/", "namespace"]);
    }
}

/// Node does not answer requests for an unknown path.
#[test]
fn wrong_path_on_node_is_retried() {
    let relay = Relay::start(RelayKind::Node, &[]);
    let url = format!("{}/video", relay.url);
    // Both elements wait for the timeout at the same time.
    for mut fixture in [
        ElementFixture::socketio_sink(&url, ""),
        ElementFixture::socketio_source(&url, ""),
    ] {
        fixture.expect_states(&["connecting", "waiting"]);
        fixture.expect_warning(&["instead of opening a websocket at /video/", "trying again"]);
        fixture.stop();
    }
}

#[test]
fn wrong_namespace_is_an_error() {
    for kind in RelayKind::ALL {
        let relay = Relay::start(kind, &[]);
        let parts = ["into the namespace /cam", "`namespace`"];
        expect_errors(&relay.url, "namespace=/cam", &parts);
    }
}

#[test]
fn wrong_token_is_an_error_with_advice() {
    for kind in RelayKind::ALL {
        let relay = Relay::start(kind, &["--auth", "secret"]);
        for (auth, advice) in [
            (
                r#"auth="{\"token\":\"guess\"}""#,
                "\"wrong token\"; is `auth` right?",
            ),
            ("", "\"wrong token\"; does it want a token in `auth`?"),
        ] {
            expect_errors(
                &relay.url,
                auth,
                &[&relay.url, "does not let us into the namespace /", advice],
            );
        }
    }
}

/// A client that was accepted once keeps trying.
#[test]
fn token_refused_after_connection_is_retried() {
    let port = ReservedPort::new();
    let number = port.number().to_string();
    let url = format!("http://127.0.0.1:{number}");
    for start in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let relay = Relay::start(RelayKind::Node, &["--port", &number]);
        let mut fixture = start(&url, "");
        fixture.expect_states(&["connecting", "connected"]);
        drop(relay);
        fixture.expect_states(&["lost", "waiting"]);
        fixture.expect_warning(&[&number, "trying again"]);
        let relay = Relay::start(RelayKind::Node, &["--port", &number, "--auth", "secret"]);
        let refused = fixture.expect_state("refused");
        assert!(
            refused
                .get::<&str>("cause")
                .unwrap()
                .contains("wrong token")
        );
        fixture.expect_warning(&["wrong token", "trying again"]);
        drop(relay);
        fixture.expect_state("waiting");
        fixture.expect_warning(&[&number, "trying again"]);
        let _relay = Relay::start(RelayKind::Node, &["--port", &number]);
        fixture.expect_state("connected");
        fixture.stop();
    }
}

#[track_caller]
fn with_tls(certified: &Certified) -> Relay {
    let args = [
        "--certificate",
        &certified.certificate,
        "--key",
        &certified.key,
    ];
    Relay::start(RelayKind::Node, &args)
}

#[test]
fn invalid_certificate_is_an_error_with_advice() {
    let authority = Authority::new("bad-certificates");
    let ca = format!("ca-file={}", authority.file());

    let relay = with_tls(&authority.certify("127.0.0.1"));
    expect_errors(&relay.url, "", &[&relay.url, "does not know", "ca-file"]);
    // The certificate is valid for its address only.
    let url = relay.url.replace("127.0.0.1", "localhost");
    expect_errors(&url, &ca, &[&url, "127.0.0.1", "and not for localhost"]);

    let relay = with_tls(&authority.certify_expired("127.0.0.1"));
    expect_errors(&relay.url, &ca, &["expired", "renewed"]);
}

/// Most private servers have a self-signed certificate.
#[test]
fn self_signed_certificate_is_accepted_as_ca() {
    let authority = Authority::new("own-certificate");
    let certified = authority.certify_self_signed("127.0.0.1");
    let ca = format!("ca-file={}", certified.certificate);
    let relay = with_tls(&certified);
    expect_errors(&relay.url, "", &["does not know", "ca-file"]);
    for start in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let mut fixture = start(&relay.url, &ca);
        fixture.expect_states(&["connecting", "connected"]);
    }
    // Its name and its expiry are checked all the same.
    let url = relay.url.replace("127.0.0.1", "localhost");
    expect_errors(&url, &ca, &["not for localhost"]);
    let relay = with_tls(&authority.certify_self_signed_expired("127.0.0.1"));
    expect_errors(&relay.url, &ca, &["expired"]);
}

#[test]
fn tls_on_one_side_is_an_error_with_advice() {
    let relay = Relay::start(RelayKind::Node, &[]);
    let url = relay.url.replace("http:", "https:");
    expect_errors(&url, "", &["does not speak TLS", "http://"]);

    let authority = Authority::new("one-side");
    let relay = with_tls(&authority.certify("127.0.0.1"));
    let url = relay.url.replace("https:", "http:");
    expect_errors(&url, "", &["it speaks TLS", "https://"]);
}

#[test]
fn invalid_property_is_an_error() {
    for (url, properties, parts) in [
        ("localhost:5000", "", &["localhost:5000"][..]),
        ("ftp://localhost", "", &["ftp"]),
        ("http://localhost:99999", "", &["99999"]),
        ("http://localhost", "auth=secret", &["`auth`", "not JSON"]),
        (
            "http://localhost",
            "auth=\"[1]\"",
            &["`auth` is JSON, but no object"],
        ),
        ("http://localhost", "event=connect", &["keeps for itself"]),
        ("http://localhost", "event=\"\"", &["`event` is empty"]),
        (
            "https://localhost",
            "ca-file=/nowhere.pem",
            &["`ca-file`", "/nowhere.pem"],
        ),
    ] {
        for start in [
            ElementFixture::socketio_sink,
            ElementFixture::socketio_source,
        ] {
            let mut fixture = start(url, properties);
            fixture.expect_error(parts);
            fixture.stop();
        }
    }
}

/// Other data on the same event causes a warning and does not reach the pipeline.
#[test]
fn non_jpeg_event_is_skipped_with_warning() {
    const OTHER: &str = "no picture as its first argument";
    let relay = Relay::start(RelayKind::Node, &[]);
    let mut receiver = ElementFixture::socketio_source(&relay.url, "");
    receiver.expect_states(&["connecting", "connected"]);
    let (streamer, mut input) = Streamer::start_with_input(&relay.url, &[]);
    let events = [
        (r#""hello""#, Some("inside a group of four")),
        (r#""bm90IGEganBlZw==""#, Some("JPEG but with 6e 6f 74 20")),
        (
            r#""data:image/png;base64,iVBORw0KGgo=""#,
            Some("JPEG but with 89 50 4e 47"),
        ),
        (r#""""#, Some("there is no picture in it")),
        // Data without any text is warned about once.
        ("7", Some(OTHER)),
        ("null", None),
        (r#"["/9j/"]"#, None),
        (r#"{"side": true}"#, None),
    ];
    for (number, (event, part)) in (1..).zip(events) {
        writeln!(input, "{event}").expect("a reading peer");
        if let Some(part) = part {
            receiver.expect_warning(&[part]);
        }
        wait_for("the error to be counted", || {
            (receiver.stat("errors") == number).then_some(())
        });
    }
    drop(input);
    let pictures = receiver.next(5);
    receiver.stop();
    streamer.expect_sent("", &pictures);
    receiver.expect_stats(&[("connections", 1)]);
    receiver.pictures.clear();
}

#[test]
fn errors_above_max_errors_are_fatal() {
    let relay = Relay::start(RelayKind::Node, &[]);
    let mut receiver = ElementFixture::socketio_source(&relay.url, "max-errors=3");
    receiver.expect_states(&["connecting", "connected"]);
    let (_streamer, mut input) = Streamer::start_with_input(&relay.url, &[]);
    for number in 0..3 {
        writeln!(input, "\"hello\"").expect("a reading peer");
        receiver.expect_warning(&[&format!("Picture {number}: ")]);
    }
    writeln!(input, "\"hello\"").expect("a reading peer");
    receiver.expect_error(&["Picture 3: ", "max-errors=3"]);
    receiver.stop();
}

#[test]
fn event_of_other_camera_is_skipped_with_warning() {
    let relay = Relay::start(RelayKind::Node, &[]);
    for (event, part) in [
        (
            r#"{"side": "/9j/", "top": "/9j/"}"#,
            r#"nothing of `camera` "front", but of "side", "top""#,
        ),
        (r#""/9j/""#, "a picture without the name of a camera"),
    ] {
        let mut receiver = ElementFixture::socketio_source(&relay.url, "camera=front");
        receiver.expect_states(&["connecting", "connected"]);
        let args = ["--camera", "front", "--camera", "back"];
        let (streamer, mut input) = Streamer::start_with_input(&relay.url, &args);
        writeln!(input, "{event}").expect("a reading peer");
        receiver.expect_warning(&[part]);
        drop(input);
        let pictures = receiver.next(3);
        receiver.stop();
        streamer.expect_sent("front", &pictures);
        receiver.pictures.clear();
    }
}

/// The warning names the length of the frame and the property to change.
#[test]
fn frame_above_max_frame_size_is_skipped_with_warning() {
    let relay = Relay::start(RelayKind::Node, &["--max-http-buffer-size", "10000000"]);
    let mut receiver = ElementFixture::socketio_source(&relay.url, "max-frame-size=100000");
    receiver.expect_states(&["connecting", "connected"]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    let (small, large) = (&small_pictures(1)[0], &pictures(1)[0]);
    for round in 1..=3 {
        camera.push(large);
        wait_for("the error to be counted", || {
            (receiver.stat("errors") == round).then_some(())
        });
        if round == 1 {
            receiver.expect_warning(&["100000", "max-frame-size"]);
        }
        receiver.expect_states(&["lost", "connected"]);
    }
    camera.push(small);
    receiver.expect_frames(std::slice::from_ref(small));
}
