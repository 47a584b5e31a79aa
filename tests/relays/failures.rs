// SPDX-License-Identifier: MPL-2.0

//! What is no relay of ours, what refuses us, and what others send that is no picture.

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

/// Expects that neither of our elements starts at a URL, and that both say why.
#[track_caller]
fn expect_errors(url: &str, properties: &str, parts: &[&str]) {
    for fixture in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let mut fixture = fixture(url, properties);
        fixture.expect_error(parts);
        fixture.expect_state("connecting");
        fixture.stop();
    }
}

#[test]
fn no_relay_at_all() {
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
fn what_says_nothing() {
    let server = RawServer::new();
    let url = format!("http://127.0.0.1:{}", server.port());
    for fixture in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let mut fixture = fixture(&url, "timeout=200000000");
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
fn another_protocol() {
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
fn an_old_relay() {
    let relay = Relay::start(RelayKind::Node, &["--old"]);
    expect_errors(
        &relay.url,
        "",
        &[&relay.url, "Engine.IO 3", "upgrade the server"],
    );
}

#[test]
fn a_relay_without_websockets() {
    let relay = Relay::start(RelayKind::Flask, &["--no-websocket"]);
    expect_errors(&relay.url, "", &["without websockets", "(transports)"]);
}

#[test]
fn the_wrong_path() {
    for kind in [RelayKind::Flask, RelayKind::PythonSocketio] {
        let relay = Relay::start(kind, &[]);
        let url = format!("{}/video", relay.url);
        expect_errors(&url, "", &["there is no Socket.IO at /video/", "namespace"]);
    }
}

/// Node alone gives no answer where there is nothing.
#[test]
fn the_wrong_path_on_node() {
    let relay = Relay::start(RelayKind::Node, &[]);
    let url = format!("{}/video", relay.url);
    // It takes its time to say nothing.
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
fn the_wrong_namespace() {
    for kind in RelayKind::ALL {
        let relay = Relay::start(kind, &[]);
        let parts = ["into the namespace /cam", "`namespace`"];
        expect_errors(&relay.url, "namespace=/cam", &parts);
    }
}

#[test]
fn the_wrong_token() {
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

/// Whoever was let in before may be let in again.
#[test]
fn a_token_for_a_while() {
    let port = ReservedPort::new();
    let number = port.number().to_string();
    let url = format!("http://127.0.0.1:{number}");
    for fixture in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let relay = Relay::start(RelayKind::Node, &["--port", &number]);
        let mut fixture = fixture(&url, "");
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
fn certificates_that_are_not_good() {
    let authority = Authority::new("bad-certificates");
    let ca = format!("ca-file={}", authority.file());

    let relay = with_tls(&authority.certify("127.0.0.1"));
    expect_errors(&relay.url, "", &[&relay.url, "does not know", "ca-file"]);
    // It is good for its address only.
    let url = relay.url.replace("127.0.0.1", "localhost");
    expect_errors(&url, &ca, &[&url, "127.0.0.1", "and not for localhost"]);

    let relay = with_tls(&authority.certify_expired("127.0.0.1"));
    expect_errors(&relay.url, &ca, &["expired", "renewed"]);
}

/// What most people have who make a certificate for themselves.
#[test]
fn a_certificate_that_vouches_for_itself() {
    let authority = Authority::new("own-certificate");
    let certified = authority.certify_self_signed("127.0.0.1");
    let ca = format!("ca-file={}", certified.certificate);
    let relay = with_tls(&certified);
    expect_errors(&relay.url, "", &["does not know", "ca-file"]);
    for fixture in [
        ElementFixture::socketio_sink,
        ElementFixture::socketio_source,
    ] {
        let mut fixture = fixture(&relay.url, &ca);
        fixture.expect_states(&["connecting", "connected"]);
    }
    // It has to be a good one all the same.
    let url = relay.url.replace("127.0.0.1", "localhost");
    expect_errors(&url, &ca, &["not for localhost"]);
    let relay = with_tls(&authority.certify_self_signed_expired("127.0.0.1"));
    expect_errors(&relay.url, &ca, &["expired"]);
}

#[test]
fn tls_on_one_side_only() {
    let relay = Relay::start(RelayKind::Node, &[]);
    let url = relay.url.replace("http:", "https:");
    expect_errors(&url, "", &["does not speak TLS", "http://"]);

    let authority = Authority::new("one-side");
    let relay = with_tls(&authority.certify("127.0.0.1"));
    let url = relay.url.replace("https:", "http:");
    expect_errors(&url, "", &["it speaks TLS", "https://"]);
}

#[test]
fn properties_that_make_no_sense() {
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
        for fixture in [
            ElementFixture::socketio_sink,
            ElementFixture::socketio_source,
        ] {
            let mut fixture = fixture(url, properties);
            fixture.expect_error(parts);
            fixture.stop();
        }
    }
}

/// What somebody else sends on the same event costs a warning, and no picture.
#[test]
fn what_is_no_picture() {
    const OTHER: &str = "no picture as its first argument";
    let relay = Relay::start(RelayKind::Node, &[]);
    let mut screen = ElementFixture::socketio_source(&relay.url, "");
    screen.expect_states(&["connecting", "connected"]);
    let (streamer, mut words) = Streamer::after_words(&relay.url, &[]);
    let events = [
        (r#""hello""#, Some("inside a group of four")),
        (r#""bm90IGEganBlZw==""#, Some("JPEG but with 6e 6f 74 20")),
        (
            r#""data:image/png;base64,iVBORw0KGgo=""#,
            Some("JPEG but with 89 50 4e 47"),
        ),
        (r#""""#, Some("there is no picture in it")),
        // What has no text at all is nothing for us; once is enough to say so.
        ("7", Some(OTHER)),
        ("null", None),
        (r#"["/9j/"]"#, None),
        (r#"{"side": true}"#, None),
    ];
    for (number, (event, part)) in (1..).zip(events) {
        writeln!(words, "{event}").expect("it reads");
        if let Some(part) = part {
            screen.expect_warning(&[part]);
        }
        wait_for("it is counted", || {
            (screen.stat("errors") == number).then_some(())
        });
    }
    drop(words);
    let pictures = screen.next(5);
    screen.stop();
    streamer.expect_sent("", &pictures);
    screen.expect_stats(&[("connections", 1)]);
    screen.pictures.clear();
}

#[test]
fn too_much_that_is_no_picture() {
    let relay = Relay::start(RelayKind::Node, &[]);
    let mut screen = ElementFixture::socketio_source(&relay.url, "max-errors=3");
    screen.expect_states(&["connecting", "connected"]);
    let (_streamer, mut words) = Streamer::after_words(&relay.url, &[]);
    for number in 0..3 {
        writeln!(words, "\"hello\"").expect("it reads");
        screen.expect_warning(&[&format!("Picture {number}: ")]);
    }
    writeln!(words, "\"hello\"").expect("it reads");
    screen.expect_error(&["Picture 3: ", "max-errors=3"]);
    screen.stop();
}

#[test]
fn another_camera() {
    let relay = Relay::start(RelayKind::Node, &[]);
    for (event, part) in [
        (
            r#"{"side": "/9j/", "top": "/9j/"}"#,
            r#"nothing of `camera` "front", but of "side", "top""#,
        ),
        (r#""/9j/""#, "a picture without the name of a camera"),
    ] {
        let mut screen = ElementFixture::socketio_source(&relay.url, "camera=front");
        screen.expect_states(&["connecting", "connected"]);
        let args = ["--camera", "front", "--camera", "back"];
        let (streamer, mut words) = Streamer::after_words(&relay.url, &args);
        writeln!(words, "{event}").expect("it reads");
        screen.expect_warning(&[part]);
        drop(words);
        let pictures = screen.next(3);
        screen.stop();
        streamer.expect_sent("front", &pictures);
        screen.pictures.clear();
    }
}

/// A picture for which there is no room: it is told how long it is, and how to have it.
#[test]
fn messages_over_the_limit() {
    let relay = Relay::start(RelayKind::Node, &["--max-http-buffer-size", "10000000"]);
    let mut screen = ElementFixture::socketio_source(&relay.url, "max-frame-size=100000");
    screen.expect_states(&["connecting", "connected"]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    let (small, large) = (&small_pictures(1)[0], &pictures(1)[0]);
    for round in 1..=3 {
        camera.push(large);
        wait_for("it is counted", || {
            (screen.stat("errors") == round).then_some(())
        });
        if round == 1 {
            screen.expect_warning(&["100000", "max-frame-size"]);
        }
        screen.expect_states(&["lost", "connected"]);
    }
    camera.push(small);
    screen.expect_frames(std::slice::from_ref(small));
}
