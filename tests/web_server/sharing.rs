// SPDX-License-Identifier: MPL-2.0

//! Several cameras at one server.

use std::net::{TcpListener, TcpStream};

use gst::prelude::*;

use super::fixture::{WebServerFixture, decoded};
use crate::common::{
    film::{SMALL, number, picture},
    guard::wait_until,
};

/// A camera at a port of its own that others can share.
#[track_caller]
fn first(options: &str) -> WebServerFixture {
    let server = WebServerFixture::new(options);
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    server.sink.set_property("port", i32::from(port));
    server.play()
}

/// Another camera there.
#[track_caller]
fn beside(server: &WebServerFixture, options: &str) -> WebServerFixture {
    let other = WebServerFixture::new(options);
    other.sink.set_property("port", i32::from(server.port()));
    other
}

#[test]
fn two_cameras_on_one_port() {
    let front = first("camera=front");
    let mut page = front.join("/view", "").expect("it is let in");
    assert_eq!(page.hello(), ["front"]);
    let back = beside(&front, "camera=back").play();
    assert_eq!(back.port(), front.port());
    assert_eq!(page.hello(), ["back", "front"]);

    front.show(1);
    back.show(2);
    let snapshot = |path: &str| number(&front.get(path).body);
    assert_eq!(snapshot("/snapshot.jpg"), 2, "the first by name");
    assert_eq!(snapshot("/snapshot.jpg?camera=front"), 1);
    assert_eq!(snapshot("/snapshot.jpg?camera=back"), 2);
    assert_eq!(front.watch("/stream.mjpg?camera=back").next(), 2);

    // What is there, and then each picture with the newest of the others.
    let mut program = front.join("/", "").expect("it is let in");
    let mut both = || {
        let event = program.event();
        let cameras = event.args[0].as_object().expect("a dictionary");
        assert_eq!(cameras.len(), 2);
        (decoded(&cameras["front"]), decoded(&cameras["back"]))
    };
    assert_eq!(both(), (1, 2));
    back.show(3);
    while both() != (1, 3) {}
    front.show(4);
    while both() != (4, 3) {}

    // The page gets only what it has not.
    let mut seen = Vec::<(String, u64, usize)>::new();
    while seen.len() < 4 {
        let (frames, ack) = page.frames();
        seen.extend(frames);
        page.ack(ack);
    }
    let of = |name: &str| {
        let those = seen.iter().filter(|(camera, _, _)| camera == name);
        those.map(|(_, _, number)| *number).collect::<Vec<_>>()
    };
    assert_eq!(of("front"), [1, 4]);
    assert_eq!(of("back"), [2, 3]);

    for server in [&front, &back] {
        wait_until("both know who is there", || server.viewers() == 2);
        let json = server.get("/stats").json();
        assert_eq!(json["cameras"].as_array().map(Vec::len), Some(2));
        assert_eq!(server.count("frames"), 2);
    }
    // It is said once who came, by the first one.
    assert_eq!(front.said("socketio-viewer-added").len(), 3);
    assert_eq!(back.said("socketio-viewer-added").len(), 0);

    // One goes and the other stays, also if it was there first.
    front.set_state(gst::State::Null);
    loop {
        let event = page.event();
        if event.name == "hello" {
            assert_eq!(event.args[0]["cameras"], serde_json::json!(["back"]));
            break;
        }
    }
    assert_eq!(number(&back.get("/snapshot.jpg").body), 3);
    let address = back.address();
    back.push_sized(5, SMALL);
    wait_until("it is shown", || {
        back.get("/snapshot.jpg").body == picture(5, SMALL)
    });
    page.vanish();
    wait_until("it is told", || {
        !back.said("socketio-viewer-removed").is_empty()
    });
    back.set_state(gst::State::Null);
    assert!(TcpStream::connect(address).is_err(), "nobody is there");
    front.expect_silence();
    back.expect_silence();
}

#[test]
fn cameras_that_come_back() {
    let front = first("camera=front");
    let back = beside(&front, "camera=back").play();
    let mut page = front.join("/view", "").expect("it is let in");
    assert_eq!(page.hello(), ["back", "front"]);
    for round in 0..5 {
        back.show(round);
        let (frames, ack) = page.frames();
        assert_eq!(frames, [("back".into(), 0, round)]);
        page.ack(ack);
        back.set_state(gst::State::Null);
        assert_eq!(page.hello(), ["front"]);
        back.pipeline.play();
        assert_eq!(page.hello(), ["back", "front"]);
    }
    back.expect_silence();
}

/// Whatever one of them says about the server, the others have to say as well.
#[test]
fn settings_that_clash() {
    let front = first("camera=front token=geheim max-clients=3");
    let same = "token=geheim max-clients=3";
    for (options, part) in [
        ("camera=back max-clients=3", "`token`"),
        ("camera=back token=anders max-clients=3", "`token`"),
        ("camera=back token=geheim", "`max-clients`"),
        (&format!("camera=back event=picture {same}"), "`event`"),
        (
            &format!("camera=back allowed-origins=* {same}"),
            "`allowed-origins`",
        ),
        (&format!("camera=back tls-key=k.pem {same}"), "`tls-key`"),
        (&format!("camera=front {same}"), "\"front\""),
        (same, "each needs a name"),
    ] {
        let other = beside(&front, options);
        assert!(other.pipeline.0.set_state(gst::State::Playing).is_err());
        let errors = other.pipeline.messages();
        let [error] = &errors[..] else {
            panic!("one error: {errors:#?}");
        };
        assert!(error.contains(part), "no {part} in {error}");
        assert!(error.contains(&front.port().to_string()), "{error}");
        assert!(
            !error.contains("geheim") && !error.contains("anders"),
            "{error}"
        );
    }
    beside(&front, &format!("camera=back {same}"))
        .play()
        .expect_silence();

    let unnamed = first("");
    for options in ["camera=back", ""] {
        let other = beside(&unnamed, options);
        assert!(other.pipeline.0.set_state(gst::State::Playing).is_err());
        let errors = other.pipeline.messages();
        assert!(
            matches!(&errors[..], [one] if one.contains("each needs a name")),
            "{errors:?}"
        );
    }
}

/// Any free port is another one for each.
#[test]
fn two_servers() {
    let (one, other) = (WebServerFixture::start(""), WebServerFixture::start(""));
    assert_ne!(one.port(), other.port());
    one.show(1);
    other.show(2);
    assert_eq!(number(&one.get("/snapshot.jpg").body), 1);
    assert_eq!(number(&other.get("/snapshot.jpg").body), 2);
}
