// SPDX-License-Identifier: MPL-2.0

//! Somebody with a camera, a relay, and `socketioclientsrc`.

use std::{thread, time::Duration};

use gst::prelude::*;

use super::fixture::{RelayLocation, Streamer};
use crate::common::{
    element_fixture::ElementFixture,
    raw_server::ReservedPort,
    relay::{Relay, RelayKind},
    wait::wait_for,
};

at_each_relay! {
    every_form_of_a_picture
    several_cameras
    nothing_as_it_is_by_default
    a_relay_that_is_restarted
    the_newest_picture
    pings_are_answered
}

/// Expects pictures of the streamer's clip, all that it sends but those that were dropped
/// and counted.
#[track_caller]
fn expect_stream(mut screen: ElementFixture, camera: &str, streamer: Streamer) {
    let pictures = screen.next(20);
    for picture in &pictures {
        assert_eq!(picture.size(), (640, 360));
    }
    screen.stop();
    let missing = streamer.expect_sent(camera, &pictures);
    assert!(missing <= screen.stat("dropped"), "{}", screen.stats());
    screen.pictures.clear();
}

#[track_caller]
fn watch(url: &str, properties: &str) -> ElementFixture {
    let mut screen = ElementFixture::socketio_source(url, properties);
    screen.expect_states(&["connecting", "connected"]);
    screen
}

/// Base64 text, also in bytes and behind `data:image/jpeg;base64,`, and the JPEG itself.
fn every_form_of_a_picture(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut args: Vec<_> = ["base64", "base64-bytes", "url", "binary"]
        .iter()
        .flat_map(|form| ["--form", form])
        .collect();
    let screen = watch(&relay.url, "");
    expect_stream(screen, "", Streamer::start(&relay.url, &args));

    args.extend(["--camera", "front"]);
    let screen = watch(&relay.url, "");
    expect_stream(screen, "front", Streamer::start(&relay.url, &args));
}

fn several_cameras(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let args = ["--camera", "front", "--camera", "back"];
    // Without a name it is the first one.
    for (name, expected) in [("front", "front"), ("back", "back"), ("", "front")] {
        let screen = watch(&relay.url, &format!("camera=\"{name}\""));
        expect_stream(screen, expected, Streamer::start(&relay.url, &args));
    }
}

fn nothing_as_it_is_by_default(kind: RelayKind) {
    let place = RelayLocation::non_default(&format!("back-{kind:?}"));
    let mut relay = place.start(kind);
    let screen = watch(&place.url(&relay), place.properties());
    assert_eq!(relay.expect_client(), "room=7");
    let streamer = Streamer::start(&relay.url, &place.args());
    expect_stream(screen, "", streamer);
}

/// Nobody there at first, and then again.
fn a_relay_that_is_restarted(kind: RelayKind) {
    let port = ReservedPort::new();
    let number = port.number().to_string();
    let url = format!("http://127.0.0.1:{number}");
    let mut screen = ElementFixture::socketio_source(&url, "");
    screen.expect_states(&["connecting", "waiting"]);
    screen.expect_warning(&[&number, "efused", "trying again"]);
    for round in 1..=3 {
        let relay = Relay::start(kind, &["--port", &number]);
        screen.expect_state("connected");
        let streamer = Streamer::start(&url, &[]);
        screen.expect_state("streaming");
        let pictures = screen.next(10);
        assert!(pictures[0].is_discont() && !pictures[1].is_discont());
        streamer.expect_sent("", &pictures);
        screen.expect_stats(&[("connections", round)]);

        drop(relay);
        screen.expect_states(&["lost", "waiting"]);
        screen.expect_warning(&[&number, "trying again"]);
        screen.pictures.clear();
    }
    screen.stop();
}

/// Whoever is late gets the newest one, and what is older is counted.
fn the_newest_picture(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut screen = watch(&relay.url, "");
    let sink: gst::Element = screen.pipeline.element("sink");
    let pad = sink.static_pad("sink").expect("a pad");
    let block = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
    let block = pad.add_probe(block, |_, _| gst::PadProbeReturn::Ok);
    let streamer = Streamer::start(&relay.url, &[]);
    wait_for("pictures are dropped", || {
        (screen.stat("dropped") >= 10).then_some(())
    });
    pad.remove_probe(block.expect("a probe"));
    let pictures = screen.next(10);
    screen.stop();
    let missing = streamer.expect_sent("", &pictures);
    assert!(
        (10..=screen.stat("dropped")).contains(&missing),
        "{missing} of {}",
        screen.stats()
    );
    screen.pictures.clear();
}

fn pings_are_answered(kind: RelayKind) {
    let relay = Relay::start(kind, &["--ping-interval", "0.2"]);
    let mut screen = watch(&relay.url, "");
    // Time to lose it; less would only hide a fault.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(screen.catch_up().connections.len(), 0, "{:?}", screen.log);
    expect_stream(screen, "", Streamer::start(&relay.url, &[]));
}

/// Who asks an answer for each picture gets one for each.
#[test]
fn answers() {
    let mut relay = Relay::start(RelayKind::Node, &["--acks"]);
    let mut screen = watch(&relay.url, "");
    let _streamer = Streamer::start(&relay.url, &["--form", "base64", "--form", "binary"]);
    for _ in 0..10 {
        screen.next(1);
        relay.program.expect_line("answer");
    }
    screen.stop();
    screen.pictures.clear();
}

/// The end of the stream, if that is wanted: an error if the relay did not take its leave.
#[test]
fn the_relay_ends_it() {
    for kind in RelayKind::ALL {
        let relay = Relay::start(kind, &[]);
        let mut screen = watch(&relay.url, "reconnect=false");
        let _streamer = Streamer::start(&relay.url, &[]);
        screen.next(3);
        let url = relay.url.clone();
        drop(relay);
        screen.expect_error(&[&url, "lost"]);
        screen.stop();
        screen.pictures.clear();
    }
    let relay = Relay::start(RelayKind::PythonSocketio, &[]);
    let mut screen = watch(&relay.url, "reconnect=false");
    let _streamer = Streamer::start(&relay.url, &[]);
    screen.next(3);
    relay.program.signal_group("TERM");
    screen.expect_end();
    screen.stop();
    screen.pictures.clear();
}
