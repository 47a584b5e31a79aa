// SPDX-License-Identifier: MPL-2.0

//! Pictures by Socket.IO: for programs that were there before us, and for our page.

use super::fixture::{SocketIoViewer, UPGRADE, WebServerFixture, connect};
use crate::common::film::number;

#[test]
fn a_picture_is_an_event() {
    let server = WebServerFixture::start("");
    let mut early = server.join("/", "").expect("it is let in");
    server.wait_for_viewers(1);
    server.push(0..1);
    assert_eq!(early.next(), 0);
    // Whoever comes later begins with what is there.
    let mut late = server.join("/", "").expect("it is let in");
    assert_eq!(late.next(), 0);
    for number in 1..20 {
        server.push(number..number + 1);
        assert_eq!(early.next(), number);
        assert_eq!(late.next(), number);
    }
    late.vanish();
    server.wait_for_viewers(1);
    early.say("41");
    server.wait_for_viewers(0);
    let said = server.said("socketio-viewer-removed");
    let frames: Vec<u64> = said
        .iter()
        .map(|said| said.get("frames").unwrap())
        .collect();
    assert_eq!(frames, [20, 20]);
    server.expect_silence();
}

#[test]
fn a_camera_with_a_name_is_a_dictionary() {
    let server = WebServerFixture::start("camera=front event=picture");
    let mut viewer = server.join("/", "").expect("it is let in");
    server.wait_for_viewers(1);
    server.push(5..6);
    let event = viewer.event();
    assert_eq!(event.name, "picture");
    let cameras = event.args[0].as_object().expect("a dictionary");
    assert_eq!(cameras.keys().collect::<Vec<_>>(), ["front"]);
    assert_eq!(super::fixture::decoded(&cameras["front"]), 5);
}

/// Long polling, as a client begins unless it is told otherwise.
#[test]
fn by_polling() {
    let server = WebServerFixture::start("");
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = server.get(path);
    let open: serde_json::Value = serde_json::from_str(&open.text()[1..]).expect("JSON");
    let path = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
    let post = |text| server.post(&path, text).status;
    // The first packet that is no ping; a ping may come at any time, alone or before others.
    let next = || loop {
        let answer = server.get(&path);
        let mut packets = answer.text().split('\u{1e}');
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
    server.expect_silence();
}

#[test]
fn tokens() {
    let server = WebServerFixture::start("token=geheim");
    for namespace in ["/", "/view"] {
        for wrong in [
            "",
            "{}",
            r#"{"token":"falsch"}"#,
            r#"{"token":7}"#,
            r#""geheim""#,
        ] {
            let refused = server.join(namespace, wrong).expect_err("it is refused");
            assert_eq!(refused, "token", "{wrong}");
        }
        assert!(server.join(namespace, r#"{"token":"geheim"}"#).is_ok());
        let path = "/socket.io/?EIO=4&transport=websocket&token=geheim";
        assert!(SocketIoViewer::join_by(connect(server.address()), path, namespace, "").is_ok());
    }
    assert_eq!(server.refused("token"), 10);
    server.wait_for_viewers(0);
    server.expect_silence();
}

#[test]
fn one_too_many() {
    let server = WebServerFixture::start("max-clients=2");
    let first = server.join("/", "").expect("it is let in");
    let _second = server.join("/view", "").expect("it is let in");
    server.wait_for_viewers(2);
    for namespace in ["/", "/view"] {
        assert_eq!(
            server.join(namespace, "").expect_err("it is refused"),
            "full"
        );
    }
    let third = server.watch("/stream.mjpg");
    assert_eq!(third.status, 503);
    assert_eq!(server.refused("full"), 3);
    // There is always room to look at the counts.
    assert_eq!(server.get("/stats").status, 200);
    first.vanish();
    server.wait_for_viewers(1);
    assert_eq!(server.watch("/stream.mjpg").status, 200);
    server.expect_silence();
}

/// The page gets as much as it says it has shown, and the newest each time.
#[test]
fn the_page_sets_the_pace() {
    let server = WebServerFixture::start("");
    let mut page = server.join("/view", "").expect("it is let in");
    assert_eq!(page.hello(), [""]);
    server.show(0);
    let (first, ack_first) = page.frames();
    assert_eq!(first, [("".into(), 0, 0)]);
    server.show(1);
    let (second, ack_second) = page.frames();
    assert_eq!(second, [("".into(), 1, 1)]);
    // Two are on their way, and so nothing else is.
    for number in 2..50 {
        server.show(number);
    }
    page.ack(ack_second);
    let (newest, ack) = page.frames();
    assert_eq!(newest, [("".into(), 49, 49)]);
    page.ack(ack_first);
    page.ack(ack);
    // An answer that nobody asked for does no harm.
    page.ack(4711);
    server.show(50);
    assert_eq!(page.frames().0, [("".into(), 50, 50)]);
    page.vanish();
    server.wait_for_viewers(0);
    let said = server.said("socketio-viewer-removed");
    assert_eq!(said[0].get::<u64>("frames").unwrap(), 4);
    assert_eq!(said[0].get::<u64>("dropped").unwrap(), 47);
    server.expect_silence();
}

#[test]
fn what_time_it_is() {
    let server = WebServerFixture::start("");
    let mut page = server.join("/view", "").expect("it is let in");
    page.hello();
    page.say(r#"42/view,7["time"]"#);
    let answer = page.text();
    let time = answer
        .strip_prefix("43/view,7[")
        .and_then(|rest| rest.strip_suffix(']'));
    let time: f64 = time.expect(&answer).parse().expect("a number");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs_f64() * 1e3;
    assert!((now - time).abs() < 60_000.0, "{now} {time}");
}

/// A page that rests costs nothing, and the others notice nothing.
#[test]
fn others_go_on_while_a_page_rests() {
    let server = WebServerFixture::start("");
    let mut resting = server.join("/view", "").expect("it is let in");
    let mut going = server.join("/view", "").expect("it is let in");
    resting.hello();
    going.hello();
    for number in 0..40 {
        server.push(number..number + 1);
        let (frames, ack) = going.frames();
        assert_eq!(frames, [("".into(), number as u64, number)]);
        going.ack(ack);
    }
    let (first, ack) = resting.frames();
    assert_eq!(first[0].2, 0);
    let (second, _) = resting.frames();
    assert_eq!(second[0].2, 1);
    resting.ack(ack);
    assert_eq!(resting.frames().0[0].2, 39);
}

/// Events that nobody knows, texts that are none: whoever sends them may be cut off, and
/// nothing else happens.
#[test]
fn nonsense() {
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
        let mut session = server.join("/", "").expect("it is let in");
        session.say(text);
        let mut page = server.join("/view", "").expect("it is let in");
        page.say(text);
    }
    let long = "4".repeat(100_000);
    let mut session = server.join("/", "").expect("it is let in");
    assert_eq!(session.next(), 0);
    session.say(&long);
    assert!(session.maybe_event().is_none(), "it is cut off");
    server.wait_for_viewers(0);
    assert_eq!(number(&server.get("/snapshot.jpg").body), 0);
    server.expect_silence();
}

/// A websocket of a foreign page is refused: browsers ask nobody.
#[test]
fn foreign_websockets() {
    let server = WebServerFixture::start("");
    let headers = [&["Origin: http://evil.example"], &UPGRADE[..]].concat();
    let path = "/socket.io/?EIO=4&transport=websocket";
    assert_eq!(server.ask("GET", path, &headers).status, 403);
    assert_eq!(server.refused("origin"), 1);
}
