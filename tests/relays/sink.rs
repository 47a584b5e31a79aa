// SPDX-License-Identifier: MPL-2.0

//! `socketioclientsink`, a relay, and viewers.

use std::{thread, time::Duration};

use gst::prelude::*;

use super::fixture::{RelaySettings, pictures};
use crate::common::{
    element_fixture::{ElementFixture, FAST_RECONNECT},
    raw_server::ReservedPort,
    relay::{Relay, RelayKind, RelayViewer},
    wait::wait_for,
    wire,
};

at_each_relay! {
    jpegs_arrive_unchanged
    every_setting_can_be_changed
    restarted_relay_is_reconnected
    stalled_relay_is_reconnected
    enabled_property_pauses_sending
    frame_above_relay_limit_is_dropped_with_warning
    pings_are_answered
    source_receives_what_sink_sends
}

/// Pushes JPEGs, each one after the previous one has reached every viewer.
#[track_caller]
fn expect_viewers_receive(
    camera: &ElementFixture,
    name: &str,
    jpegs: &[Vec<u8>],
    viewers: &mut [RelayViewer],
) {
    for jpeg in jpegs {
        camera.push(jpeg);
        for viewer in &mut *viewers {
            viewer.expect(name, jpeg);
        }
    }
}

/// Pushes three JPEGs and waits until `dropped` of them are counted as dropped.
#[track_caller]
fn push_and_drop(camera: &ElementFixture, dropped: u64) {
    let before = camera.stat("dropped");
    for jpeg in pictures(3) {
        camera.push(jpeg);
    }
    wait_for("the frames to be dropped", || {
        (camera.stat("dropped") == before + dropped).then_some(())
    });
}

fn jpegs_arrive_unchanged(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut viewers = relay.viewers(&[]);
    for payload in ["base64", "binary"] {
        for name in ["", "front"] {
            let properties = format!("payload={payload} camera=\"{name}\"");
            let mut camera = ElementFixture::socketio_sink(&relay.url, &properties);
            camera.expect_states(&["connecting", "connected"]);
            let (last, jpegs) = pictures(5).split_last().expect("some");
            expect_viewers_receive(&camera, name, jpegs, &mut viewers);
            // The last frame arrives even if EOS follows at once.
            camera.push(last);
            camera.push_eos();
            camera.expect_end();
            for viewer in &mut viewers {
                viewer.expect(name, last);
            }
            camera.expect_stats(&[("frames", 5), ("dropped", 0), ("connections", 1)]);
        }
    }
}

fn every_setting_can_be_changed(kind: RelayKind) {
    let settings = RelaySettings::non_default(&format!("out-{kind:?}"));
    let mut relay = settings.start(kind);
    let https = settings.url(&relay);
    for url in [https.clone(), https.replace("https:", "wss:")] {
        let mut camera = ElementFixture::socketio_sink(&url, settings.properties());
        camera.expect_states(&["connecting", "connected"]);
        assert_eq!(relay.expect_client(), "room=7");
        let mut viewers = relay.viewers(&settings.args());
        for _ in &viewers {
            relay.expect_client();
        }
        expect_viewers_receive(&camera, "", pictures(3), &mut viewers);
    }
}

/// The relay is started after the client, and then restarted.
fn restarted_relay_is_reconnected(kind: RelayKind) {
    let port = ReservedPort::new();
    let number = port.number().to_string();
    let mut camera = ElementFixture::socketio_sink(&format!("http://127.0.0.1:{number}"), "");
    camera.expect_states(&["connecting", "waiting"]);
    camera.expect_warning(&[&number, "efused", "trying again"]);
    // The newest frame is kept for the first connection.
    push_and_drop(&camera, 2);
    let relay = Relay::start(kind, &["--port", &number]);
    camera.expect_state("connected");
    wait_for("the frame to be sent", || {
        (camera.stat("frames") == 1).then_some(())
    });
    drop(relay);
    for round in 1..=2 {
        camera.expect_states(&["lost", "waiting"]);
        camera.expect_warning(&[&number, "efused", "trying again"]);
        // While reconnecting, no frame is kept.
        push_and_drop(&camera, 3);
        let relay = Relay::start(kind, &["--port", &number]);
        camera.expect_state("connected");
        let mut viewers = relay.viewers(&[]);
        expect_viewers_receive(&camera, "", &pictures(6)[3..], &mut viewers);
        camera.expect_stats(&[("connections", 1 + round), ("frames", 1 + 3 * round)]);
    }
    camera.expect_states(&["lost", "waiting"]);
    camera.expect_warning(&[&number, "trying again"]);
    camera.stop();
}

/// A relay that stops reading and sending.
fn stalled_relay_is_reconnected(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "timeout=300000000");
    camera.expect_states(&["connecting", "connected"]);
    relay.suspend();
    let feed = camera.pipeline.element::<gst_app::AppSrc>("feed");
    let lost = wait_for("the connection to be lost", || {
        camera.push(&pictures(1)[0]);
        wait_for("the pipeline to take the frame", || {
            (feed.current_level_buffers() == 0).then_some(())
        });
        camera.catch_up().connections.pop_front()
    });
    assert_eq!(lost.get("state"), Ok("lost"));
    camera.expect_warning(&["0.3 s", "trying again"]);
    assert!(camera.stat("dropped") > 0, "{}", camera.stats());

    relay.resume();
    let states = wait_for("the client to reconnect", || {
        let states = camera.catch_up().connections.iter();
        let states: Vec<_> = states
            .map(|c| c.get::<String>("state").expect("a state"))
            .collect();
        states.contains(&"connected".into()).then_some(states)
    });
    assert!(states.len() <= 2, "{states:?}");
    let mut viewers = relay.viewers(&[]);
    expect_viewers_receive(&camera, "", &pictures(3)[1..], &mut viewers);
    camera.stop();
    // There may have been a failed attempt to reconnect.
    camera.warnings.clear();
}

fn enabled_property_pauses_sending(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut viewers = relay.viewers(&[]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    for _ in 0..3 {
        camera.element.set_property("enabled", false);
        push_and_drop(&camera, 3);
        camera.element.set_property("enabled", true);
        expect_viewers_receive(&camera, "", &pictures(6)[3..], &mut viewers);
    }
    camera.expect_stats(&[("connections", 1), ("frames", 9)]);
}

/// A relay closes the connection of a client that sends more than its limit.
fn frame_above_relay_limit_is_dropped_with_warning(kind: RelayKind) {
    let large = &pictures(1)[0];
    let small = wire::pictures(10);
    // The binary JPEG would fit, its base64 text does not.
    let limit = (large.len() * 5 / 4).to_string();
    let relay = Relay::start(kind, &["--max-http-buffer-size", &limit]);
    let mut viewers = relay.viewers(&[]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    for jpegs in small.chunks(2) {
        expect_viewers_receive(&camera, "", jpegs, &mut viewers);
        let before = camera.stat("dropped");
        camera.push(large);
        camera.push(large);
        wait_for("the frames to be dropped", || {
            (camera.stat("dropped") == before + 2).then_some(())
        });
        let text = (large.len().div_ceil(3) * 4) as u64;
        let warning = camera.expect_warning(&[&limit, "payload=binary", "max_http_buffer_size"]);
        let numbers: Vec<u64> = warning
            .split(|c: char| !c.is_ascii_digit())
            .filter_map(|number| number.parse().ok())
            .collect();
        // The message adds the name of the event and punctuation to the text.
        assert!(
            numbers.iter().any(|n| (text..text + 50).contains(n)),
            "{warning}"
        );
    }
    let mut camera = ElementFixture::socketio_sink(&relay.url, "payload=binary");
    camera.expect_states(&["connecting", "connected"]);
    expect_viewers_receive(&camera, "", pictures(3), &mut viewers);
}

fn pings_are_answered(kind: RelayKind) {
    let relay = Relay::start(kind, &["--ping-interval", "0.2"]);
    let mut camera = ElementFixture::socketio_sink(&relay.url, "");
    camera.expect_states(&["connecting", "connected"]);
    // Time to lose the connection; on a slower machine the test would only be less strict.
    thread::sleep(Duration::from_millis(2500));
    let mut viewers = relay.viewers(&[]);
    expect_viewers_receive(&camera, "", pictures(3), &mut viewers);
    camera.expect_stats(&[("connections", 1)]);
}

/// Our elements at both ends of the relay.
fn source_receives_what_sink_sends(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut receiver = ElementFixture::socketio_source(&relay.url, "");
    receiver.expect_states(&["connecting", "connected"]);
    let line = format!(
        "videotestsrc is-live=true pattern=ball ! video/x-raw,width=640,height=360,framerate=30/1
         ! jpegenc name=encoder ! socketioclientsink name=element url={} {FAST_RECONNECT}",
        relay.url
    );
    let mut camera = ElementFixture::launch(&line, "socketio-connection");
    let sent = camera.pipeline.collect("encoder", "src");
    camera.pipeline.play();
    let got: Vec<_> = receiver.next(45);
    let got: Vec<_> = got
        .iter()
        .map(|picture| wire::bytes(&picture.buffer))
        .collect();
    camera.stop();
    receiver.stop();
    let sent = sent.take();
    let mut rest = sent.iter();
    for jpeg in &got {
        // Each frame once, and in order.
        assert!(rest.any(|sent| sent == jpeg), "a frame that was not sent");
    }
    receiver.pictures.clear();
}
