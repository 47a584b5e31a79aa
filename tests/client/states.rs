// SPDX-License-Identifier: MPL-2.0

//! Whatever a client is busy with, it can be stopped, and it leaves nothing behind.

use std::{any::Any, fs, thread, time::Duration};

use gst::prelude::*;

use super::{
    fixture::ClientFixture,
    wire::{DEFAULT, pictures},
};
use crate::common::{
    isolation::{in_own_process, in_unreachable_network},
    raw_server::{RawServer, ReservedPort},
};

/// A client that is busy, and what keeps it so.
type Busy = (ClientFixture, Box<dyn Any>);

/// Long enough for what was just asked for to have begun.
fn a_moment() {
    thread::sleep(Duration::from_millis(30));
}

fn connecting() -> Busy {
    let full = ReservedPort::new().fill();
    let mut viewer = ClientFixture::playing(&format!(
        "quit-key=q timeout=0 host=127.0.0.1 port={}",
        full.number()
    ));
    viewer.expect_state("connecting");
    a_moment();
    (viewer, Box::new(full))
}

/// After so many bytes nothing more comes.
fn silent_after(len: usize) -> Busy {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "quit-key=q timeout=0");
    let mut peer = server.accept();
    peer.send(&DEFAULT.stream(pictures(2))[..len]);
    viewer.expect_states(&["connecting", "connected"]);
    viewer.expect_frames(&pictures(2)[..len / DEFAULT.frame(&pictures(1)[0]).len()]);
    a_moment();
    (viewer, Box::new((server, peer)))
}

fn silent_from_the_first() -> Busy {
    silent_after(0)
}

fn silent_between_frames() -> Busy {
    silent_after(DEFAULT.frame(&pictures(1)[0]).len())
}

fn silent_inside_a_frame() -> Busy {
    silent_after(DEFAULT.frame(&pictures(1)[0]).len() + 100)
}

fn backing_off() -> Busy {
    let port = ReservedPort::new();
    let hour = 3_600_000_000_000_u64;
    let mut viewer = ClientFixture::playing(&format!(
        "quit-key=q reconnect-delay={hour} reconnect-delay-max={hour} host=127.0.0.1 port={}",
        port.number()
    ));
    viewer.expect_warning(&["trying again"]);
    viewer.expect_states(&["connecting", "waiting"]);
    a_moment();
    (viewer, Box::new(port))
}

/// The sink shows the first picture and is in no hurry to have the second one.
fn held_up_downstream() -> Busy {
    let server = RawServer::new();
    let mut viewer =
        ClientFixture::new(&format!("quit-key=q host=127.0.0.1 port={}", server.port()));
    let sink = viewer.pipeline.element::<gst::Element>("sink");
    sink.set_property("sync", true);
    sink.set_property("ts-offset", 3_600_000_000_000_i64);
    viewer.pipeline.play();
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    viewer.next(1);
    a_moment();
    (viewer, Box::new((server, peer)))
}

fn eos(viewer: &ClientFixture) {
    assert!(viewer.pipeline.0.send_event(gst::event::Eos::new()));
}

fn press_q(viewer: &ClientFixture) {
    viewer.press("q");
}

fn set(viewer: &ClientFixture, state: gst::State) {
    viewer.pipeline.0.set_state(state).expect("it obeys");
}

/// Stops a busy client in all ways, each of which returns.
fn stop_in_every_way(what: &str, busy: fn() -> Busy) {
    for states in [
        &[gst::State::Null][..],
        &[gst::State::Ready],
        &[gst::State::Paused, gst::State::Null],
        &[gst::State::Paused, gst::State::Playing, gst::State::Null],
        &[gst::State::Ready, gst::State::Playing, gst::State::Null],
    ] {
        let (mut viewer, _server) = busy();
        println!("{what}: {states:?}");
        for state in states {
            set(&viewer, *state);
        }
        viewer.stop();
        // The second start may have come as far as the first one.
        viewer.warnings.clear();
    }
    for (how, end) in [("EOS", eos as fn(&ClientFixture)), ("a key", press_q)] {
        println!("{what}: {how}");
        let (mut viewer, _server) = busy();
        end(&viewer);
        viewer.expect_end();

        let (mut viewer, _server) = busy();
        set(&viewer, gst::State::Paused);
        end(&viewer);
        set(&viewer, gst::State::Playing);
        viewer.expect_end();
    }
}

#[test]
fn whatever_it_is_busy_with() {
    stop_in_every_way("connecting", connecting);
    stop_in_every_way("silent from the first", silent_from_the_first);
    stop_in_every_way("silent between frames", silent_between_frames);
    stop_in_every_way("silent inside a frame", silent_inside_a_frame);
    stop_in_every_way("backing off", backing_off);
}

#[test]
fn looking_up_a_name_or_connecting_to_nowhere() {
    in_unreachable_network(|| {
        fn at(host: &str) -> Busy {
            let mut viewer =
                ClientFixture::playing(&format!("quit-key=q timeout=0 host={host} port=4711"));
            viewer.expect_state("connecting");
            a_moment();
            (viewer, Box::new(()))
        }
        stop_in_every_way("looking up a name", || at("camera.example"));
        stop_in_every_way("connecting to nowhere", || at("192.0.2.1"));

        for host in ["camera.example", "192.0.2.1"] {
            let mut viewer = ClientFixture::playing(&format!(
                "reconnect=false timeout=200000000 host={host} port=4711"
            ));
            viewer.expect_error(&[host, "4711", "0.2 s"]);
        }
    });
}

/// Only the states: where the sink holds everything up, an end waits like a picture.
#[test]
fn held_up_by_the_sink() {
    for state in [gst::State::Null, gst::State::Ready, gst::State::Paused] {
        let (mut viewer, _server) = held_up_downstream();
        set(&viewer, state);
        viewer.stop();
        viewer.pictures.clear();
    }
}

#[test]
fn other_keys_end_nothing() {
    for quit_key in ["Escape", ""] {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, &format!("quit-key=\"{quit_key}\""));
        let mut peer = server.accept();
        for key in ["q", "", "escape", "x"] {
            viewer.press(key);
        }
        a_moment();
        peer.send(DEFAULT.stream(pictures(3)));
        viewer.expect_frames(pictures(3));
    }
}

#[test]
fn a_sink_that_has_had_enough() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::new(&format!("host=127.0.0.1 port={}", server.port()));
    let sink = viewer.pipeline.element::<gst::Element>("sink");
    sink.set_property("num-buffers", 3);
    viewer.pipeline.play();
    let mut peer = server.accept();
    while peer.offer(DEFAULT.stream(pictures(2))) && viewer.catch_up().pictures.len() < 3 {}
    viewer.expect_end();
    viewer.stop();
    viewer.pictures.clear();
    peer.expect_closed();
}

#[test]
fn pause_and_play_keep_the_connection() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "timeout=200000000");
    let mut peer = server.accept();
    for jpeg in pictures(5) {
        peer.send(DEFAULT.frame(jpeg));
        viewer.expect_frames(std::slice::from_ref(jpeg));
        set(&viewer, gst::State::Paused);
        // Silence of the client's own making is none of the server's.
        thread::sleep(Duration::from_millis(400));
        assert!(peer.is_open());
        set(&viewer, gst::State::Playing);
    }
    viewer.expect_states(&["connecting", "connected", "streaming"]);
    viewer.expect_stats(&[("connections", 1), ("frames", 5)]);
    assert_eq!(viewer.connections.len(), 0, "{:?}", viewer.log);
}

/// What came meanwhile is there afterwards.
#[test]
fn what_is_sent_during_a_pause() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "reconnect=false");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    viewer.expect_frames(pictures(2));
    set(&viewer, gst::State::Paused);
    peer.send(DEFAULT.stream(&pictures(50)[2..]));
    a_moment();
    set(&viewer, gst::State::Playing);
    peer.close();
    viewer.expect_end().expect_frames(&pictures(50)[2..]);
}

/// A server that goes away meanwhile is lost when somebody looks again.
#[test]
fn a_loss_during_a_pause() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "reconnect-delay=1000000");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    viewer.expect_frames(pictures(2));
    set(&viewer, gst::State::Paused);
    peer.send(DEFAULT.stream(&pictures(5)[2..]));
    // Dropped, not closed: nobody reads the other end now.
    drop(peer);
    a_moment();
    assert!(
        server.try_accept().is_none(),
        "a paused client does not move"
    );
    set(&viewer, gst::State::Playing);
    viewer.expect_frames(&pictures(5)[2..]);
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    assert!(viewer.expect_frames(pictures(2))[0].is_discont());
    viewer.expect_stats(&[("connections", 2), ("frames", 7)]);
    viewer.stop();
}

#[test]
fn the_same_client_again_and_elsewhere() {
    let mut viewer = ClientFixture::new("host=127.0.0.1 reconnect=false");
    for round in 1..=5 {
        let server = RawServer::new();
        viewer
            .element
            .set_property_from_str("port", &server.port().to_string());
        viewer.pipeline.play();
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(round)));
        peer.close();
        viewer.expect_end();
        let got = viewer.expect_frames(pictures(round));
        assert!(got[0].is_discont());
        viewer.expect_stats(&[("frames", round as u64), ("connections", 1)]);
        set(
            &viewer,
            if round % 2 == 0 {
                gst::State::Null
            } else {
                gst::State::Ready
            },
        );
        viewer.catch_up();
    }
}

#[test]
fn stopping_hangs_up() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    viewer.expect_frames(pictures(2));
    viewer.stop();
    peer.expect_closed();
}

/// What this process has open, and its threads.
fn resources() -> [usize; 2] {
    ["fd", "task"].map(|kind| {
        let all = fs::read_dir(format!("/proc/self/{kind}")).expect("Linux");
        all.count()
    })
}

#[test]
fn two_hundred_starts_and_stops_leave_nothing() {
    in_own_process(|| {
        let mut before = [0; 2];
        let server = RawServer::new();
        let gone = ReservedPort::new();
        let full = ReservedPort::new().fill();
        for round in 0..220 {
            if round == 20 {
                before = resources();
            }
            let port = match round % 4 {
                0 | 1 => server.port(),
                2 => gone.number(),
                _ => full.number(),
            };
            let host = if round % 8 < 4 {
                "127.0.0.1"
            } else {
                "localhost"
            };
            let mut viewer = ClientFixture::playing(&format!("host={host} port={port}"));
            match round % 4 {
                // At any moment.
                0 => {}
                1 => {
                    server.accept().offer(DEFAULT.stream(pictures(2)));
                }
                _ => thread::sleep(Duration::from_millis(round as u64 % 5)),
            }
            viewer.stop();
            viewer.warnings.clear();
            viewer.pictures.clear();
            drop(viewer);
            while server.try_accept().is_some() {}
        }
        let after = resources();
        assert!(
            after[0] <= before[0] + 3,
            "descriptors: {before:?}, {after:?}"
        );
        assert!(after[1] <= before[1] + 5, "threads: {before:?}, {after:?}");
    });
}
