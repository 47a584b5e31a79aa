// SPDX-License-Identifier: MPL-2.0

//! The `stats` property.

use gst::{glib, prelude::*};

use super::{
    numbered_pictures::SMALL,
    server_fixture::{ServerFixture, next_number, remaining_numbers, wait_until},
};

/// Length in bytes of the frame of a small JPEG.
const FRAME: u64 = 4 + (SMALL as u64).div_ceil(3) * 4;

#[test]
fn stats_count_every_field() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    server.push(0..10);
    (0..10).for_each(|number| assert_eq!(next_number(&mut viewer), number));
    wait_until("all bytes to be counted", || {
        server.stat("bytes-served") == 10 * FRAME
    });

    let stats = server.stats();
    assert_eq!(stats.name(), "application/x-b64jpeg-stats");
    let numbers = [
        ("frames", 10),
        ("bytes-in", 10 * SMALL as u64),
        ("bytes-out", 10 * FRAME),
        ("errors", 0),
        ("dropped", 0),
        ("clients", 1),
        ("clients-total", 1),
        ("refused", 0),
        ("bytes-served", 10 * FRAME),
    ];
    for (name, number) in numbers {
        assert_eq!(server.stat(name), number, "{name} of {stats}");
    }
    assert_eq!(stats.get("waiting"), Ok(false));
    assert_eq!(stats.get("header"), Ok("be32"));
    assert_eq!(stats.get("payload"), Ok("base64"));
    assert!(stats.get::<f64>("fps").is_ok());

    let [peer] = &server.peers()[..] else {
        panic!("one client: {stats}");
    };
    assert_eq!(peer.get("address"), Ok(viewer.address().as_str()));
    for (name, number) in [
        ("frames", 10),
        ("bytes", 10 * FRAME),
        ("dropped", 0),
        ("queued", 0),
    ] {
        let value = peer
            .value(name)
            .expect(name)
            .transform::<u64>()
            .expect(name);
        assert_eq!(value.get::<u64>(), Ok(number), "{name} of {peer}");
    }
}

#[test]
fn stats_count_each_client_separately() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewers = Vec::new();
    for number in 0..4 {
        viewers.push(server.viewer());
        server.push(number..number + 1);
        for viewer in &mut viewers {
            assert_eq!(next_number(viewer), number);
        }
    }
    wait_until("all bytes to be counted", || {
        server.stat("bytes-served") == 10 * FRAME
    });
    let peers = server.peers();
    let find = |address: &str| {
        let peer = peers.iter().find(|peer| peer.get("address") == Ok(address));
        peer.expect("it is listed")
            .get::<u64>("frames")
            .expect("a count")
    };
    for (viewer, frames) in viewers.iter().zip([4, 3, 2, 1]) {
        assert_eq!(find(&viewer.address()), frames);
    }
    // The totals keep counting clients that have disconnected.
    drop(viewers);
    server.wait_for_clients(0);
    assert_eq!(server.stat("bytes-served"), 10 * FRAME);
    assert_eq!(server.stat("clients-total"), 4);
    assert!(server.peers().is_empty());
}

/// `stats` can be read at any time, in every state, from any thread.
#[test]
fn stats_can_be_read_in_every_state() {
    let server = ServerFixture::with_recording(200, SMALL, "wait-for-client=true max-clients=1");
    assert_eq!(server.stat("frames"), 0);
    let sink = server.sink.clone();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let polling = std::thread::spawn(move || {
        let mut frames = 0;
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let stats: gst::Structure = sink.property("stats");
            let now = stats.get::<u64>("frames").expect("a count");
            assert!(now >= frames, "{frames}, then {now}");
            frames = now;
        }
    });
    let server = server.play();
    assert_eq!(remaining_numbers(server.viewer()).len(), 200);
    server.wait_for_clean_end();
    stop.send(()).expect("the thread polls");
    polling.join().expect("the count never decreases");
    server.set_state(gst::State::Null);
    let _ = server.stats();
}

/// `gst-launch-1.0 -v` serialises properties.
#[test]
fn stats_can_be_serialised() {
    let server = ServerFixture::with_appsrc("").play();
    let _viewer = server.viewer();
    let value = glib::Value::from(server.stats());
    let text = value.serialize().expect("a string");
    assert!(
        text.contains("peers") && text.contains("127.0.0.1:"),
        "{text}"
    );
}
