// SPDX-License-Identifier: MPL-2.0

//! Frames by Socket.IO: as events for any program, and for the page.

use super::fixture::{SocketIoViewer, UPGRADE, WebServerFixture, connect};
use crate::common::numbered_pictures::number;

#[test]
fn frame_is_sent_as_event() {
    let server = WebServerFixture::start("");
    let mut early = server.join("/", "").expect("an admitted viewer");
    server.wait_for_viewers(1);
    server.push(0..1);
    assert_eq!(early.next(), 0);
    // A later viewer begins with the newest frame.
    let mut late = server.join("/", "").expect("an admitted viewer");
    assert_eq!(late.next(), 0);
    for number in 1..20 {
        server.push(number..number + 1);
        assert_eq!(early.next(), number);
        assert_eq!(late.next(), number);
    }
    late.disconnect();
    server.wait_for_viewers(1);
    early.send("41");
    server.wait_for_viewers(0);
    let removed = server.element_messages("socketio-viewer-removed");
    let frames: Vec<u64> = removed
        .iter()
        .map(|message| message.get("frames").unwrap())
        .collect();
    assert_eq!(frames, [20, 20]);
    server.expect_no_messages();
}

#[test]
fn event_of_named_camera_is_dictionary() {
    let server = WebServerFixture::start("camera=front event=picture");
    let mut viewer = server.join("/", "").expect("an admitted viewer");
    server.wait_for_viewers(1);
    server.push(5..6);
    let event = viewer.event();
    assert_eq!(event.name, "picture");
    let cameras = event.args[0].as_object().expect("a dictionary");
    assert_eq!(cameras.keys().collect::<Vec<_>>(), ["front"]);
    assert_eq!(super::fixture::decoded(&cameras["front"]), 5);
}

/// Long polling, with which clients begin by default.
#[test]
fn polling_session_gets_events() {
    let server = WebServerFixture::start("");
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = server.get(path);
    let open: serde_json::Value = serde_json::from_str(&open.text()[1..]).expect("JSON");
    let path = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
    let post = |text| server.post(&path, text).status;
    // The first packet other than a ping, which may arrive at any time, alone or with others.
    let next = || loop {
        let response = server.get(&path);
        let mut packets = response.text().split('\u{1e}');
        if let Some(packet) = packets.find(|packet| *packet != "2") {
            break packet.to_owned();
        }
    };
    assert_eq!(post("40"), 200);
    let connected = next();
    assert!(connected.starts_with("40{"), "{connected}");
    server.push(0..1);
    let event = next();
    assert!(event.starts_with("42[\"stream\",\"/9j/"), "{event}");
    assert_eq!(post("41"), 200);
    server.wait_for_viewers(0);
    server.expect_no_messages();
}

#[test]
fn namespace_without_token_is_refused() {
    let server = WebServerFixture::start("token=geheim");
    for namespace in ["/", "/view"] {
        for wrong in [
            "",
            "{}",
            r#"{"token":"falsch"}"#,
            r#"{"token":7}"#,
            r#""geheim""#,
        ] {
            let error = server.join(namespace, wrong).expect_err("a refused viewer");
            assert_eq!(error, "token", "{wrong}");
        }
        assert!(server.join(namespace, r#"{"token":"geheim"}"#).is_ok());
        let path = "/socket.io/?EIO=4&transport=websocket&token=geheim";
        assert!(SocketIoViewer::join_at(connect(server.address()), path, namespace, "").is_ok());
    }
    assert_eq!(server.refused("token"), 10);
    server.wait_for_viewers(0);
    server.expect_no_messages();
}

#[test]
fn viewer_beyond_max_clients_is_refused() {
    let server = WebServerFixture::start("max-clients=2");
    let first = server.join("/", "").expect("an admitted viewer");
    let _second = server.join("/view", "").expect("an admitted viewer");
    server.wait_for_viewers(2);
    for namespace in ["/", "/view"] {
        assert_eq!(
            server.join(namespace, "").expect_err("a refused viewer"),
            "full"
        );
    }
    let third = server.watch("/stream.mjpg");
    assert_eq!(third.status, 503);
    assert_eq!(server.refused("full"), 3);
    // Statistics are always available.
    assert_eq!(server.get("/stats").status, 200);
    first.disconnect();
    server.wait_for_viewers(1);
    assert_eq!(server.watch("/stream.mjpg").status, 200);
    server.expect_no_messages();
}

/// The page gets frames as it acknowledges them, and always the newest.
#[test]
fn page_acknowledgement_is_answered_with_newest_frame() {
    let server = WebServerFixture::start("");
    let mut page = server.join("/view", "").expect("an admitted viewer");
    assert_eq!(page.hello(), [""]);
    server.show(0);
    let (first, ack_first) = page.next_frames();
    assert_eq!(first, [("".into(), 0, 0)]);
    server.show(1);
    let (second, ack_second) = page.next_frames();
    assert_eq!(second, [("".into(), 1, 1)]);
    // Two events are unacknowledged, so nothing more is sent.
    for number in 2..50 {
        server.show(number);
    }
    page.acknowledge(ack_second);
    let (newest, ack) = page.next_frames();
    assert_eq!(newest, [("".into(), 49, 49)]);
    page.acknowledge(ack_first);
    page.acknowledge(ack);
    // An unknown acknowledgement is ignored.
    page.acknowledge(4711);
    server.show(50);
    assert_eq!(page.next_frames().0, [("".into(), 50, 50)]);
    page.disconnect();
    server.wait_for_viewers(0);
    let removed = server.element_messages("socketio-viewer-removed");
    assert_eq!(removed[0].get::<u64>("frames").unwrap(), 4);
    assert_eq!(removed[0].get::<u64>("dropped").unwrap(), 47);
    server.expect_no_messages();
}

#[test]
fn time_event_is_answered_with_server_time() {
    let server = WebServerFixture::start("");
    let mut page = server.join("/view", "").expect("an admitted viewer");
    page.hello();
    page.send(r#"42/view,7["time"]"#);
    let response = page.text();
    let time = response
        .strip_prefix("43/view,7[")
        .and_then(|rest| rest.strip_suffix(']'));
    let time: f64 = time.expect(&response).parse().expect("a number");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs_f64() * 1e3;
    assert!((now - time).abs() < 60_000.0, "{now} {time}");
}

/// A page that acknowledges nothing does not affect others.
#[test]
fn paused_page_does_not_hold_up_others() {
    let server = WebServerFixture::start("");
    let mut paused = server.join("/view", "").expect("an admitted viewer");
    let mut active = server.join("/view", "").expect("an admitted viewer");
    paused.hello();
    active.hello();
    let mut unacknowledged = Vec::new();
    for number in 0..40 {
        server.push(number..number + 1);
        let (frames, ack) = active.next_frames();
        assert_eq!(frames, [("".into(), number as u64, number)]);
        active.acknowledge(ack);
        // It gets two events without an acknowledgement, and no third one.
        if unacknowledged.len() < 2 {
            let (frames, ack) = paused.next_frames();
            assert_eq!(frames[0].2, number);
            unacknowledged.push(ack);
        }
    }
    let ack = unacknowledged.swap_remove(0);
    paused.acknowledge(ack);
    assert_eq!(paused.next_frames().0[0].2, 39);
}

/// Unknown events and malformed packets may end the session of their sender, and have no other
/// effect.
#[test]
fn malformed_packets_affect_only_their_sender() {
    let server = WebServerFixture::start("");
    server.show(0);
    for text in [
        "42[\"nothing\",1,2,3]",
        "42{}",
        "42",
        "4",
        "9",
        "",
        "451-[\"stream\",{\"_placeholder\":true,\"num\":0}]",
        "4599999999999-[]",
        "43/view,99999999999999999999[]",
        "40/other,",
        "40",
        "41/other,",
        "\u{1e}\u{1e}",
    ] {
        let mut session = server.join("/", "").expect("an admitted viewer");
        session.send(text);
        let mut page = server.join("/view", "").expect("an admitted viewer");
        page.send(text);
    }
    let long = "4".repeat(100_000);
    let mut session = server.join("/", "").expect("an admitted viewer");
    assert_eq!(session.next(), 0);
    session.send(&long);
    assert!(session.maybe_event().is_none(), "the session is ended");
    server.wait_for_viewers(0);
    assert_eq!(number(&server.get("/snapshot.jpg").body), 0);
    server.expect_no_messages();
}

/// Browsers let any page open a WebSocket, so the server must refuse it.
#[test]
fn websocket_from_foreign_origin_is_refused() {
    let server = WebServerFixture::start("");
    let headers = [&["Origin: http://evil.example"], &UPGRADE[..]].concat();
    let path = "/socket.io/?EIO=4&transport=websocket";
    assert_eq!(server.request("GET", path, &headers).status, 403);
    assert_eq!(server.refused("origin"), 1);
}
