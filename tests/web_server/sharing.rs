// SPDX-License-Identifier: MPL-2.0

//! Several cameras that share a server.

use std::net::{TcpListener, TcpStream};

use gst::prelude::*;

use super::fixture::{WebServerFixture, decoded};
use crate::common::{
    isolation::{in_own_process, process_status},
    numbered_pictures::{SMALL, number, picture},
    wait::wait_until,
};

/// Starts a camera on a fixed port, which other cameras can share.
#[track_caller]
fn first_camera(options: &str) -> WebServerFixture {
    let server = WebServerFixture::new(options);
    let free = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = free.local_addr().expect("bound").port();
    drop(free);
    server.sink.set_property("port", i32::from(port));
    server.play()
}

/// Creates another camera with the same port.
#[track_caller]
fn other_camera(server: &WebServerFixture, options: &str) -> WebServerFixture {
    let other = WebServerFixture::new(options);
    other.sink.set_property("port", i32::from(server.port()));
    other
}

#[test]
fn two_cameras_share_port_and_viewers() {
    let front = first_camera("camera=front");
    let mut page = front.join("/view", "").expect("an admitted viewer");
    assert_eq!(page.hello(), ["front"]);
    let back = other_camera(&front, "camera=back").play();
    assert_eq!(back.port(), front.port());
    assert_eq!(page.hello(), ["back", "front"]);

    front.show(1);
    back.show(2);
    let snapshot = |path: &str| number(&front.get(path).body);
    assert_eq!(snapshot("/snapshot.jpg"), 2, "the first by name");
    assert_eq!(snapshot("/snapshot.jpg?camera=front"), 1);
    assert_eq!(snapshot("/snapshot.jpg?camera=back"), 2);
    assert_eq!(front.watch("/stream.mjpg?camera=back").next(), 2);

    // First the newest frames, then each new frame with the newest ones of the other cameras.
    let mut program = front.join("/", "").expect("an admitted viewer");
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

    // The page gets only frames that it does not have.
    let mut seen = Vec::<(String, u64, usize)>::new();
    while seen.len() < 4 {
        let (frames, ack) = page.next_frames();
        seen.extend(frames);
        page.acknowledge(ack);
    }
    let numbers_of = |name: &str| {
        let frames = seen.iter().filter(|(camera, _, _)| camera == name);
        frames.map(|(_, _, number)| *number).collect::<Vec<_>>()
    };
    assert_eq!(numbers_of("front"), [1, 4]);
    assert_eq!(numbers_of("back"), [2, 3]);

    for server in [&front, &back] {
        wait_until("two viewers", || server.viewers() == 2);
        let json = server.get("/stats").json();
        assert_eq!(json["cameras"].as_array().map(Vec::len), Some(2));
        assert_eq!(server.count("frames"), 2);
    }
    // Only the first camera posts messages.
    assert_eq!(front.element_messages("socketio-viewer-added").len(), 3);
    assert_eq!(back.element_messages("socketio-viewer-added").len(), 0);

    // The second camera goes on without the first one.
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
    wait_until("the newest frame", || {
        back.get("/snapshot.jpg").body == picture(5, SMALL)
    });
    page.disconnect();
    wait_until("a message", || {
        !back.element_messages("socketio-viewer-removed").is_empty()
    });
    back.set_state(gst::State::Null);
    assert!(TcpStream::connect(address).is_err(), "the port is closed");
    front.expect_no_messages();
    back.expect_no_messages();
}

#[test]
fn camera_restarted_is_announced_and_shown_again() {
    let front = first_camera("camera=front");
    let back = other_camera(&front, "camera=back").play();
    let mut page = front.join("/view", "").expect("an admitted viewer");
    assert_eq!(page.hello(), ["back", "front"]);
    for round in 0..5 {
        back.show(round);
        let (frames, ack) = page.next_frames();
        assert_eq!(frames, [("back".into(), 0, round)]);
        page.acknowledge(ack);
        back.set_state(gst::State::Null);
        assert_eq!(page.hello(), ["front"]);
        back.pipeline.play();
        assert_eq!(page.hello(), ["back", "front"]);
    }
    back.expect_no_messages();
}

/// The server used to keep the last frame of every name for as long as the page was open.
#[test]
fn camera_renamed_while_page_is_open_frees_its_frames() {
    const BIG: usize = 1_000_000;
    in_own_process(|| {
        let front = first_camera("camera=front");
        let mut page = front.join("/view", "").expect("an admitted viewer");
        assert_eq!(page.hello(), ["front"]);
        let renamed = other_camera(&front, "");
        let mut before = 0;
        for round in 0..60 {
            if round == 20 {
                before = process_status("VmRSS");
            }
            let name = format!("back-{round}");
            renamed.sink.set_property("camera", &name);
            renamed.pipeline.play();
            assert_eq!(page.hello(), [&*name, "front"]);
            renamed.push_sized(round, BIG);
            let (frames, ack) = page.next_frames();
            assert_eq!(frames, [(name, 0, round)]);
            page.acknowledge(ack);
            renamed.set_state(gst::State::Null);
            assert_eq!(page.hello(), ["front"]);
        }
        let after = process_status("VmRSS");
        assert!(after < before + 20_000, "{before} kB, then {after} kB");
    });
}

/// All cameras of a server need the same configuration.
#[test]
fn camera_with_other_configuration_is_refused() {
    let front = first_camera("camera=front token=geheim max-clients=3");
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
        let other = other_camera(&front, options);
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
    other_camera(&front, &format!("camera=back {same}"))
        .play()
        .expect_no_messages();

    let unnamed = first_camera("");
    for options in ["camera=back", ""] {
        let other = other_camera(&unnamed, options);
        assert!(other.pipeline.0.set_state(gst::State::Playing).is_err());
        let errors = other.pipeline.messages();
        assert!(
            matches!(&errors[..], [one] if one.contains("each needs a name")),
            "{errors:?}"
        );
    }
}

/// With `port=0` each element gets a server of its own.
#[test]
fn port_zero_is_never_shared() {
    let (one, other) = (WebServerFixture::start(""), WebServerFixture::start(""));
    assert_ne!(one.port(), other.port());
    one.show(1);
    other.show(2);
    assert_eq!(number(&one.get("/snapshot.jpg").body), 1);
    assert_eq!(number(&other.get("/snapshot.jpg").body), 2);
}
