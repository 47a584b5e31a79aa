// SPDX-License-Identifier: MPL-2.0

//! `socketioclientsink`, a relay, and those who watch.

use std::{thread, time::Duration};

use gst::prelude::*;

use super::fixture::{RelayLocation, pictures};
use crate::common::{
    element_fixture::{ElementFixture, FAST_RECONNECT},
    raw_server::ReservedPort,
    relay::{Relay, RelayKind, RelayViewer},
    wait::wait_for,
    wire,
};

at_each_relay! {
    pictures_arrive_as_they_are
    nothing_as_it_is_by_default
    a_relay_that_is_restarted
    a_relay_that_stalls
    switched_off_and_on
    pictures_over_the_limit
    pings_are_answered
    from_end_to_end
}

/// Pushes pictures, each when the one before it has arrived everywhere.
#[track_caller]
fn show(camera: &ElementFixture, name: &str, jpegs: &[Vec<u8>], watchers: &mut [RelayViewer]) {
    for jpeg in jpegs {
        camera.push(jpeg);
        for watcher in &mut *watchers {
            watcher.expect(name, jpeg);
        }
    }
}

/// Pushes three pictures, and waits until so many of them were dropped.
#[track_caller]
fn push_and_drop(camera: &ElementFixture, dropped: u64) {
    let before = camera.stat("dropped");
    for jpeg in pictures(3) {
        camera.push(jpeg);
    }
    wait_for("they are dropped", || {
        (camera.stat("dropped") == before + dropped).then_some(())
    });
}

fn pictures_arrive_as_they_are(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut watchers = relay.viewers(&[]);
    for payload in ["base64", "binary"] {
        for name in ["", "front"] {
            let properties = format!("payload={payload} camera=\"{name}\"");
            let mut camera = ElementFixture::socketio_sink(&relay.url, &properties);
            camera.expect_states(&["connecting", "connected"]);
            let (last, jpegs) = pictures(5).split_last().expect("some");
            show(&camera, name, jpegs, &mut watchers);
            // The last one arrives, too, although the end is right behind it.
            camera.push(last);
            camera.push_eos();
            camera.expect_end();
            for watcher in &mut watchers {
                watcher.expect(name, last);
            }
            camera.expect_stats(&[("frames", 5), ("dropped", 0), ("connections", 1)]);
        }
    }
}

fn nothing_as_it_is_by_default(kind: RelayKind) {
    let place = RelayLocation::non_default(&format!("out-{kind:?}"));
    let mut relay = place.start(kind);
    let https = place.url(&relay);
    for url in [https.clone(), https.replace("https:", "wss:")] {
        let mut camera = ElementFixture::socketio_sink(&url, place.properties());
        camera.expect_states(&["connecting", "connected"]);
        assert_eq!(relay.expect_client(), "room=7");
        let mut watchers = relay.viewers(&place.args());
        for _ in &watchers {
            relay.expect_client();
        }
        show(&camera, "", pictures(3), &mut watchers);
    }
}

/// Nobody there at first, and then again.
fn a_relay_that_is_restarted(kind: RelayKind) {
    let port = ReservedPort::new();
    let number = port.number().to_string();
    let mut camera = ElementFixture::socketio_sink(&format!("http://127.0.0.1:{number}"), "");
    camera.expect_states(&["connecting", "waiting"]);
    camera.expect_warning(&[&number, "efused", "trying again"]);
    // The newest picture waits for the first connection.
    push_and_drop(&camera, 2);
    let relay = Relay::start(kind, &["--port", &number]);
    camera.expect_state("connected");
    wait_for("it is sent", || (camera.stat("frames") == 1).then_some(()));
    drop(relay);
    for round in 1..=2 {
        camera.expect_states(&["lost", "waiting"]);
        camera.expect_warning(&[&number, "efused", "trying again"]);
        // Of what there is nobody to see any more, nothing is kept.
        push_and_drop(&camera, 3);
        let relay = Relay::start(kind, &["--port", &number]);
        camera.expect_state("connected");
        let mut watchers = relay.viewers(&[]);
        show(&camera, "", &pictures(6)[3..], &mut watchers);
        camera.expect_stats(&[("connections", 1 + round), ("frames", 1 + 3 * round)]);
    }
    camera.expect_states(&["lost", "waiting"]);
    camera.expect_warning(&[&number, "trying again"]);
    camera.stop();
}

/// One that takes nothing more, and says nothing.
fn a_relay_that_stalls(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "timeout=300000000");
    camera.expect_states(&["connecting", "connected"]);
    relay.suspend();
    let feed = camera.pipeline.element::<gst_app::AppSrc>("feed");
    let lost = wait_for("it is given up", || {
        camera.push(&pictures(1)[0]);
        wait_for("the pipeline goes on", || {
            (feed.current_level_buffers() == 0).then_some(())
        });
        camera.catch_up().connections.pop_front()
    });
    assert_eq!(lost.get("state"), Ok("lost"));
    camera.expect_warning(&["0.3 s", "trying again"]);
    assert!(camera.stat("dropped") > 0, "{}", camera.stats());

    relay.resume();
    let states = wait_for("it is back", || {
        let states = camera.catch_up().connections.iter();
        let states: Vec<_> = states
            .map(|c| c.get::<String>("state").expect("a state"))
            .collect();
        states.contains(&"connected".into()).then_some(states)
    });
    assert!(states.len() <= 2, "{states:?}");
    let mut watchers = relay.viewers(&[]);
    show(&camera, "", &pictures(3)[1..], &mut watchers);
    camera.stop();
    // Whether it had time to try in vain is chance.
    camera.warnings.clear();
}

fn switched_off_and_on(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut watchers = relay.viewers(&[]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    for _ in 0..3 {
        camera.element.set_property("enabled", false);
        push_and_drop(&camera, 3);
        camera.element.set_property("enabled", true);
        show(&camera, "", &pictures(6)[3..], &mut watchers);
    }
    camera.expect_stats(&[("connections", 1), ("frames", 9)]);
}

/// The relay would end the connection of whoever sends more than it takes.
fn pictures_over_the_limit(kind: RelayKind) {
    let large = &pictures(1)[0];
    let small = wire::pictures(10);
    // As it is it would do, as text it does not.
    let limit = (large.len() * 5 / 4).to_string();
    let relay = Relay::start(kind, &["--max-http-buffer-size", &limit]);
    let mut watchers = relay.viewers(&[]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    for jpegs in small.chunks(2) {
        show(&camera, "", jpegs, &mut watchers);
        let before = camera.stat("dropped");
        camera.push(large);
        camera.push(large);
        wait_for("they are dropped", || {
            (camera.stat("dropped") == before + 2).then_some(())
        });
        let text = (large.len().div_ceil(3) * 4) as u64;
        let warning = camera.expect_warning(&[&limit, "payload=binary", "max_http_buffer_size"]);
        let numbers: Vec<u64> = warning
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        // The message is longer than the text by the name of the event and some signs.
        assert!(
            numbers.iter().any(|n| (text..text + 50).contains(n)),
            "{warning}"
        );
    }
    let mut camera = ElementFixture::socketio_sink(&relay.url, "payload=binary");
    camera.expect_states(&["connecting", "connected"]);
    show(&camera, "", pictures(3), &mut watchers);
}

fn pings_are_answered(kind: RelayKind) {
    let relay = Relay::start(kind, &["--ping-interval", "0.2"]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    // Time to lose it; less would only hide a fault.
    thread::sleep(Duration::from_millis(2500));
    let mut watchers = relay.viewers(&[]);
    show(&camera, "", pictures(3), &mut watchers);
    camera.expect_stats(&[("connections", 1)]);
}

/// All ours but the relay.
fn from_end_to_end(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut screen = ElementFixture::socketio_source(&relay.url, "");
    screen.expect_states(&["connecting", "connected"]);
    let line = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1
         ! jpegenc name=encoder ! socketioclientsink name=element url={} {FAST_RECONNECT}",
        relay.url
    );
    let mut camera = ElementFixture::launch(&line, "socketio-connection");
    let sent = camera.pipeline.collect("encoder", "src");
    camera.pipeline.play();
    let got: Vec<_> = screen.next(45);
    let got: Vec<_> = got
        .iter()
        .map(|picture| wire::bytes(&picture.buffer))
        .collect();
    camera.stop();
    screen.stop();
    let sent = sent.take();
    let mut rest = sent.iter();
    for jpeg in &got {
        // Each once, and in order.
        assert!(rest.any(|sent| sent == jpeg), "one that was never sent");
    }
    screen.pictures.clear();
}
