// SPDX-License-Identifier: MPL-2.0

//! A client can be stopped at any time, and leaves nothing behind.

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

/// A client in some activity, and the server that keeps it there.
type BusyClient = (ClientFixture, Box<dyn Any>);

/// Waits long enough for what was just requested to have begun.
fn settle_briefly() {
    thread::sleep(Duration::from_millis(30));
}

fn connecting() -> BusyClient {
    let full = ReservedPort::new().fill();
    let mut client = ClientFixture::playing(&format!(
        "quit-key=q timeout=0 host=127.0.0.1 port={}",
        full.number()
    ));
    client.expect_state("connecting");
    settle_briefly();
    (client, Box::new(full))
}

/// The server sends this many bytes and then nothing.
fn silent_after(len: usize) -> BusyClient {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "quit-key=q timeout=0");
    let mut peer = server.accept();
    peer.send(&DEFAULT.stream(pictures(2))[..len]);
    client.expect_states(&["connecting", "connected"]);
    client.expect_frames(&pictures(2)[..len / DEFAULT.frame(&pictures(1)[0]).len()]);
    settle_briefly();
    (client, Box::new((server, peer)))
}

fn silent_from_the_first() -> BusyClient {
    silent_after(0)
}

fn silent_between_frames() -> BusyClient {
    silent_after(DEFAULT.frame(&pictures(1)[0]).len())
}

fn silent_inside_a_frame() -> BusyClient {
    silent_after(DEFAULT.frame(&pictures(1)[0]).len() + 100)
}

fn backing_off() -> BusyClient {
    let port = ReservedPort::new();
    let hour = 3_600_000_000_000_u64;
    let mut client = ClientFixture::playing(&format!(
        "quit-key=q reconnect-delay={hour} reconnect-delay-max={hour} host=127.0.0.1 port={}",
        port.number()
    ));
    client.expect_warning(&["trying again"]);
    client.expect_states(&["connecting", "waiting"]);
    settle_briefly();
    (client, Box::new(port))
}

/// The sink holds the second frame back for an hour.
fn held_up_downstream() -> BusyClient {
    let server = RawServer::new();
    let mut client =
        ClientFixture::new(&format!("quit-key=q host=127.0.0.1 port={}", server.port()));
    let sink = client.pipeline.element::<gst::Element>("sink");
    sink.set_property("sync", true);
    sink.set_property("ts-offset", 3_600_000_000_000_i64);
    client.pipeline.play();
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    client.next(1);
    settle_briefly();
    (client, Box::new((server, peer)))
}

fn eos(client: &ClientFixture) {
    assert!(client.pipeline.0.send_event(gst::event::Eos::new()));
}

fn press_q(client: &ClientFixture) {
    client.press("q");
}

fn set(client: &ClientFixture, state: gst::State) {
    client.pipeline.0.set_state(state).expect("a state change");
}

/// Stops a busy client in every way; each one must return.
fn stop_in_every_way(what: &str, busy: fn() -> BusyClient) {
    for states in [
        &[gst::State::Null][..],
        &[gst::State::Ready],
        &[gst::State::Paused, gst::State::Null],
        &[gst::State::Paused, gst::State::Playing, gst::State::Null],
        &[gst::State::Ready, gst::State::Playing, gst::State::Null],
    ] {
        let (mut client, _server) = busy();
        println!("{what}: {states:?}");
        for state in states {
            set(&client, *state);
        }
        client.stop();
        // The second start may also have warned.
        client.warnings.clear();
    }
    for (how, end) in [("EOS", eos as fn(&ClientFixture)), ("a key", press_q)] {
        println!("{what}: {how}");
        let (mut client, _server) = busy();
        end(&client);
        client.expect_end();

        let (mut client, _server) = busy();
        set(&client, gst::State::Paused);
        end(&client);
        set(&client, gst::State::Playing);
        client.expect_end();
    }
}

#[test]
fn busy_client_can_be_stopped_in_every_way() {
    stop_in_every_way("connecting", connecting);
    stop_in_every_way("silent from the first", silent_from_the_first);
    stop_in_every_way("silent between frames", silent_between_frames);
    stop_in_every_way("silent inside a frame", silent_inside_a_frame);
    stop_in_every_way("backing off", backing_off);
}

#[test]
fn client_without_answers_can_be_stopped_in_every_way() {
    in_unreachable_network(|| {
        fn at(host: &str) -> BusyClient {
            let mut client =
                ClientFixture::playing(&format!("quit-key=q timeout=0 host={host} port=4711"));
            client.expect_state("connecting");
            settle_briefly();
            (client, Box::new(()))
        }
        stop_in_every_way("looking up a name", || at("camera.example"));
        stop_in_every_way("connecting to nowhere", || at("192.0.2.1"));

        for host in ["camera.example", "192.0.2.1"] {
            let mut client = ClientFixture::playing(&format!(
                "reconnect=false timeout=200000000 host={host} port=4711"
            ));
            client.expect_error(&[host, "4711", "0.2 s"]);
        }
    });
}

/// Tests the states only: while the sink blocks, EOS waits like a frame.
#[test]
fn client_blocked_downstream_can_be_stopped() {
    for state in [gst::State::Null, gst::State::Ready, gst::State::Paused] {
        let (mut client, _server) = held_up_downstream();
        set(&client, state);
        client.stop();
        client.pictures.clear();
    }
}

#[test]
fn only_quit_key_ends_stream() {
    for quit_key in ["Escape", ""] {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, &format!("quit-key=\"{quit_key}\""));
        let mut peer = server.accept();
        for key in ["q", "", "escape", "x"] {
            client.press(key);
        }
        settle_briefly();
        peer.send(DEFAULT.stream(pictures(3)));
        client.expect_frames(pictures(3));
    }
}

#[test]
fn sink_that_returns_eos_ends_stream() {
    let server = RawServer::new();
    let mut client = ClientFixture::new(&format!("host=127.0.0.1 port={}", server.port()));
    let sink = client.pipeline.element::<gst::Element>("sink");
    sink.set_property("num-buffers", 3);
    client.pipeline.play();
    let mut peer = server.accept();
    while peer.offer(DEFAULT.stream(pictures(2))) && client.catch_up().pictures.len() < 3 {}
    client.expect_end();
    client.stop();
    client.pictures.clear();
    peer.expect_closed();
}

#[test]
fn pausing_keeps_connection() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "timeout=200000000");
    let mut peer = server.accept();
    for jpeg in pictures(5) {
        peer.send(DEFAULT.frame(jpeg));
        client.expect_frames(std::slice::from_ref(jpeg));
        set(&client, gst::State::Paused);
        // A pause longer than the timeout is not silence of the server.
        thread::sleep(Duration::from_millis(400));
        assert!(peer.is_open());
        set(&client, gst::State::Playing);
    }
    client.expect_states(&["connecting", "connected", "streaming"]);
    client.expect_stats(&[("connections", 1), ("frames", 5)]);
    assert_eq!(client.connections.len(), 0, "{:?}", client.log);
}

/// Frames sent during the pause are delivered afterwards.
#[test]
fn frames_sent_during_pause_are_delivered() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "reconnect=false");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    client.expect_frames(pictures(2));
    set(&client, gst::State::Paused);
    peer.send(DEFAULT.stream(&pictures(50)[2..]));
    settle_briefly();
    set(&client, gst::State::Playing);
    peer.close();
    client.expect_end().expect_frames(&pictures(50)[2..]);
}

/// A server that closes during the pause is noticed when the pipeline plays again.
#[test]
fn loss_during_pause_reconnects_when_playing() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "reconnect-delay=1000000");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    client.expect_frames(pictures(2));
    set(&client, gst::State::Paused);
    peer.send(DEFAULT.stream(&pictures(5)[2..]));
    // Dropped, not closed: `close` would wait for the paused client.
    drop(peer);
    settle_briefly();
    assert!(
        server.try_accept().is_none(),
        "a paused client does not reconnect"
    );
    set(&client, gst::State::Playing);
    client.expect_frames(&pictures(5)[2..]);
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    assert!(client.expect_frames(pictures(2))[0].is_discont());
    client.expect_stats(&[("connections", 2), ("frames", 7)]);
    client.stop();
}

#[test]
fn client_can_be_restarted_with_another_server() {
    let mut client = ClientFixture::new("host=127.0.0.1 reconnect=false");
    for round in 1..=5 {
        let server = RawServer::new();
        client
            .element
            .set_property_from_str("port", &server.port().to_string());
        client.pipeline.play();
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(pictures(round)));
        peer.close();
        client.expect_end();
        let got = client.expect_frames(pictures(round));
        assert!(got[0].is_discont());
        client.expect_stats(&[("frames", round as u64), ("connections", 1)]);
        set(
            &client,
            if round % 2 == 0 {
                gst::State::Null
            } else {
                gst::State::Ready
            },
        );
        client.catch_up();
    }
}

#[test]
fn stopping_closes_connection() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    client.expect_frames(pictures(2));
    client.stop();
    peer.expect_closed();
}

/// Numbers of open file descriptors and of threads of this process.
fn resources() -> [usize; 2] {
    ["fd", "task"].map(|kind| {
        let all = fs::read_dir(format!("/proc/self/{kind}")).expect("Linux");
        all.count()
    })
}

#[test]
fn two_hundred_starts_leak_nothing() {
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
            let mut client = ClientFixture::playing(&format!("host={host} port={port}"));
            match round % 4 {
                // Stop at any moment.
                0 => {}
                1 => {
                    server.accept().offer(DEFAULT.stream(pictures(2)));
                }
                _ => thread::sleep(Duration::from_millis(round as u64 % 5)),
            }
            client.stop();
            client.warnings.clear();
            client.pictures.clear();
            drop(client);
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
