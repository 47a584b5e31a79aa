// SPDX-License-Identifier: MPL-2.0

//! A camera process, a relay, and `socketioclientsrc`.

use std::{thread, time::Duration};

use gst::prelude::*;

use super::fixture::{RelaySettings, Streamer};
use crate::common::{
    element_fixture::ElementFixture,
    raw_server::ReservedPort,
    relay::{Relay, RelayKind},
    wait::wait_for,
};

at_each_relay! {
    every_form_of_jpeg_is_accepted
    camera_property_selects_camera
    every_setting_can_be_changed
    restarted_relay_is_reconnected
    blocked_pipeline_skips_to_newest_frame
    pings_are_answered
}

/// Expects frames of the sender's clip. Frames may be missing only if they are counted as
/// dropped.
#[track_caller]
fn expect_stream(mut receiver: ElementFixture, camera: &str, streamer: Streamer) {
    let pictures = receiver.next(20);
    for picture in &pictures {
        assert_eq!(picture.size(), (640, 360));
    }
    receiver.stop();
    let missing = streamer.expect_sent(camera, &pictures);
    assert!(missing <= receiver.stat("dropped"), "{}", receiver.stats());
    receiver.pictures.clear();
}

#[track_caller]
fn connected_source(url: &str, properties: &str) -> ElementFixture {
    let mut receiver = ElementFixture::socketio_source(url, properties);
    receiver.expect_states(&["connecting", "connected"]);
    receiver
}

/// A JPEG may come as base64 text, as bytes of base64, as a data URL, or as binary.
fn every_form_of_jpeg_is_accepted(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut args: Vec<_> = ["base64", "base64-bytes", "url", "binary"]
        .iter()
        .flat_map(|form| ["--form", form])
        .collect();
    let receiver = connected_source(&relay.url, "");
    expect_stream(receiver, "", Streamer::start(&relay.url, &args));

    args.extend(["--camera", "front"]);
    let receiver = connected_source(&relay.url, "");
    expect_stream(receiver, "front", Streamer::start(&relay.url, &args));
}

fn camera_property_selects_camera(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let args = ["--camera", "front", "--camera", "back"];
    // Without `camera` it is the first one.
    for (name, expected) in [("front", "front"), ("back", "back"), ("", "front")] {
        let receiver = connected_source(&relay.url, &format!("camera=\"{name}\""));
        expect_stream(receiver, expected, Streamer::start(&relay.url, &args));
    }
}

fn every_setting_can_be_changed(kind: RelayKind) {
    let settings = RelaySettings::non_default(&format!("back-{kind:?}"));
    let mut relay = settings.start(kind);
    let receiver = connected_source(&settings.url(&relay), settings.properties());
    assert_eq!(relay.expect_client(), "room=7");
    let streamer = Streamer::start(&relay.url, &settings.args());
    expect_stream(receiver, "", streamer);
}

/// The relay is started after the client, and then restarted.
fn restarted_relay_is_reconnected(kind: RelayKind) {
    let port = ReservedPort::new();
    let number = port.number().to_string();
    let url = format!("http://127.0.0.1:{number}");
    let mut receiver = ElementFixture::socketio_source(&url, "");
    receiver.expect_states(&["connecting", "waiting"]);
    receiver.expect_warning(&[&number, "efused", "trying again"]);
    for round in 1..=3 {
        let relay = Relay::start(kind, &["--port", &number]);
        receiver.expect_state("connected");
        let streamer = Streamer::start(&url, &[]);
        receiver.expect_state("streaming");
        let pictures = receiver.next(10);
        assert!(pictures[0].is_discont() && !pictures[1].is_discont());
        streamer.expect_sent("", &pictures);
        receiver.expect_stats(&[("connections", round)]);

        drop(relay);
        receiver.expect_states(&["lost", "waiting"]);
        receiver.expect_warning(&[&number, "trying again"]);
        receiver.pictures.clear();
    }
    receiver.stop();
}

/// A blocked pipeline gets the newest frame next; older ones are counted as dropped.
fn blocked_pipeline_skips_to_newest_frame(kind: RelayKind) {
    let relay = Relay::start(kind, &[]);
    let mut receiver = connected_source(&relay.url, "");
    let sink: gst::Element = receiver.pipeline.element("sink");
    let pad = sink.static_pad("sink").expect("a pad");
    let block = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
    let block = pad.add_probe(block, |_, _| gst::PadProbeReturn::Ok);
    let streamer = Streamer::start(&relay.url, &[]);
    wait_for("frames to be dropped", || {
        (receiver.stat("dropped") >= 10).then_some(())
    });
    pad.remove_probe(block.expect("a probe"));
    let pictures = receiver.next(10);
    receiver.stop();
    let missing = streamer.expect_sent("", &pictures);
    assert!(
        (10..=receiver.stat("dropped")).contains(&missing),
        "{missing} of {}",
        receiver.stats()
    );
    receiver.pictures.clear();
}

fn pings_are_answered(kind: RelayKind) {
    let relay = Relay::start(kind, &["--ping-interval", "0.2"]);
    let mut receiver = connected_source(&relay.url, "");
    // Time to lose the connection; on a slower machine the test would only be less strict.
    thread::sleep(Duration::from_millis(2500));
    assert_eq!(
        receiver.catch_up().connections.len(),
        0,
        "{:?}",
        receiver.log
    );
    expect_stream(receiver, "", Streamer::start(&relay.url, &[]));
}

/// Every event that requests an acknowledgement gets one.
#[test]
fn acknowledgements_are_sent() {
    let mut relay = Relay::start(RelayKind::Node, &["--acks"]);
    let mut receiver = connected_source(&relay.url, "");
    let _streamer = Streamer::start(&relay.url, &["--form", "base64", "--form", "binary"]);
    for _ in 0..10 {
        receiver.next(1);
        relay.program.expect_line("answer");
    }
    receiver.stop();
    receiver.pictures.clear();
}

/// With `reconnect=false`, a relay that closes cleanly ends the stream; otherwise it is an error.
#[test]
fn relay_that_stops_ends_stream_or_is_an_error() {
    for kind in RelayKind::ALL {
        let relay = Relay::start(kind, &[]);
        let mut receiver = connected_source(&relay.url, "reconnect=false");
        let _streamer = Streamer::start(&relay.url, &[]);
        receiver.next(3);
        let url = relay.url.clone();
        drop(relay);
        receiver.expect_error(&[&url, "lost"]);
        receiver.stop();
        receiver.pictures.clear();
    }
    let relay = Relay::start(RelayKind::PythonSocketio, &[]);
    let mut receiver = connected_source(&relay.url, "reconnect=false");
    let _streamer = Streamer::start(&relay.url, &[]);
    receiver.next(3);
    relay.program.signal_group("TERM");
    receiver.expect_end();
    receiver.stop();
    receiver.pictures.clear();
}
