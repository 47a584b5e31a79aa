// SPDX-License-Identifier: MPL-2.0

//! Clients that cannot keep up: what waits for them, and for whom nothing is dropped.

use gst::prelude::*;

use super::server_fixture::{
    BackgroundReader, ServerFixture, assert_complete, assert_consecutive, next_number,
    read_in_background, remaining_numbers, wait_until,
};
use crate::common::viewer::Viewer;

/// Pictures of which a few fill what the kernel keeps.
const BIG: usize = 60_000;

/// The Python server's manners: one client, and the film waits for it.
const LOSSLESS: &str = "wait-for-client=true max-clients=1 queue-frames=2";

/// How many frames wait for a client.
fn queued(peer: &gst::Structure) -> u64 {
    let queued = peer.value("queued").expect("it is counted");
    queued
        .transform::<u64>()
        .expect("a count")
        .get()
        .expect("a count")
}

/// Waits until the film waits for its client.
#[track_caller]
fn wait_for_back_pressure(server: &ServerFixture) {
    wait_for_queue(server, 2);
}

#[track_caller]
fn wait_for_queue(server: &ServerFixture, frames: u64) {
    wait_until("the queue is full", || {
        server.peers().iter().any(|peer| queued(peer) >= frames)
    });
}

#[test]
fn the_only_client_gets_every_frame_however_slow_it_is() {
    const FRAMES: usize = 200;
    let server = ServerFixture::with_recording(FRAMES, BIG, LOSSLESS);
    let arrived = server.count_arrivals();
    let server = server.play();
    let mut viewer = server.small_viewer();
    wait_for_back_pressure(&server);
    let mut lead = 0;
    for number in 0..FRAMES {
        assert_eq!(next_number(&mut viewer), number);
        lead = lead.max(*arrived.lock().unwrap() - number);
    }
    assert_eq!(remaining_numbers(viewer), [0; 0]);
    server.wait_for_clean_end();
    assert_eq!(server.stat("dropped"), 0);
    // The film never ran ahead by more than the queue and what the kernel keeps.
    assert!(lead < 20, "{lead} frames");
}

/// Small pictures, of which many wait in the kernel and end anywhere in its buffers.
#[test]
fn nothing_is_dropped_for_the_only_client() {
    const FRAMES: usize = 3000;
    for queue in [2, 25] {
        let options = format!("wait-for-client=true max-clients=1 queue-frames={queue}");
        let server = ServerFixture::with_recording(FRAMES, 1000, &options).play();
        let viewer = server.small_viewer();
        wait_for_back_pressure(&server);
        assert_complete(&remaining_numbers(viewer), FRAMES);
        server.wait_for_clean_end();
    }
}

#[test]
fn the_limits_may_change_while_the_film_waits() {
    const FRAMES: usize = 300;
    let options = "wait-for-client=true max-clients=1 queue-frames=20";
    let server = ServerFixture::with_recording(FRAMES, BIG, options).play();
    let mut viewer = server.small_viewer();
    wait_for_queue(&server, 20);
    // With less room the film waits for longer, and still nothing is dropped.
    server.sink.set_property("queue-frames", 2u32);
    for number in 0..60 {
        assert_eq!(next_number(&mut viewer), number);
    }
    // With more it goes on at once.
    wait_for_back_pressure(&server);
    server.sink.set_property("queue-frames", 10u32);
    wait_for_queue(&server, 10);
    assert_eq!(server.stat("dropped"), 0);
    // And to its end, if it is to wait for nobody.
    server.sink.set_property("max-clients", 0u32);
    wait_until("the film is over", || {
        server.stat("frames") == FRAMES as u64
    });
    let numbers = remaining_numbers(viewer);
    server.wait_for_clean_end();
    assert_eq!((numbers[0], numbers.last()), (60, Some(&(FRAMES - 1))));
    assert_eq!(server.stat("dropped"), (FRAMES - 60 - numbers.len()) as u64);
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.len() < 60);
}

#[test]
fn stopping_ends_the_back_pressure() {
    for state in [gst::State::Null, gst::State::Ready] {
        let server = ServerFixture::with_recording(200, BIG, LOSSLESS).play();
        let viewer = server.small_viewer();
        wait_for_back_pressure(&server);
        let watcher = read_in_background(viewer);
        server.set_state(state);
        let numbers = watcher.rest();
        assert_consecutive(&numbers);
        server.expect_no_messages();
    }
    // Nor does it take a client that reads.
    let server = ServerFixture::with_recording(200, BIG, LOSSLESS).play();
    let stalled = server.small_viewer();
    wait_for_back_pressure(&server);
    server.set_state(gst::State::Null);
    drop(stalled);
    server.expect_no_messages();
}

#[test]
fn whoever_is_waited_for_may_leave() {
    for leave in [drop, Viewer::reset] {
        let server = ServerFixture::with_recording(200, BIG, LOSSLESS).play();
        let stalled = server.small_viewer();
        wait_for_back_pressure(&server);
        leave(stalled);
        server.wait_for_clean_end();
        assert_eq!(server.clients(), 0);
    }
}

#[test]
fn the_end_ends_the_back_pressure() {
    let server = ServerFixture::with_recording(200, BIG, LOSSLESS).play();
    let viewer = server.small_viewer();
    wait_for_back_pressure(&server);
    server.send_eos();
    let numbers = remaining_numbers(viewer);
    assert_eq!(numbers.first(), Some(&0));
    assert_consecutive(&numbers);
    server.wait_for_clean_end();
}

#[test]
fn a_seek_ends_the_back_pressure() {
    let server = ServerFixture::with_recording(200, BIG, LOSSLESS).play();
    let viewer = server.small_viewer();
    wait_for_back_pressure(&server);
    server.seek(150);
    let numbers = remaining_numbers(viewer);
    server.wait_for_clean_end();
    let jump = numbers.windows(2).position(|pair| pair[1] != pair[0] + 1);
    let (before, after) = numbers.split_at(jump.expect("a jump") + 1);
    assert_eq!(before.first(), Some(&0));
    assert_consecutive(before);
    assert_eq!(after, Vec::from_iter(150..200));
}

#[test]
fn the_pause_holds_the_only_client() {
    let server = ServerFixture::with_recording(300, BIG, LOSSLESS).play();
    let mut viewer = server.viewer();
    for number in 0..10 {
        assert_eq!(next_number(&mut viewer), number);
    }
    server.set_state(gst::State::Paused);
    // Those that were on their way come, no other is given to the server meanwhile.
    wait_until("it is paused", || {
        server.sink.current_state() == gst::State::Paused
    });
    let watcher = read_in_background(viewer);
    let frames = server.stat("frames");
    let mut last = 9;
    while last + 1 < frames as usize {
        last = watcher.next().expect("it stays");
    }
    assert_eq!(server.stat("frames"), frames);
    assert_eq!(server.clients(), 1);
    server.pipeline.play();
    assert_eq!(watcher.rest(), Vec::from_iter(last + 1..300));
    server.wait_for_clean_end();
}

/// A client sleeps while 200 frames go by. When too many wait for it, `left` are left.
#[track_caller]
fn sleep_and_wake(server: ServerFixture, left: u64) {
    const FRAMES: usize = 200;
    const QUEUE: usize = 5;
    server.sink.set_property("queue-frames", QUEUE as u32);
    let server = server.play();
    let mut awake = server.viewer();
    let mut sleeper = server.small_viewer();
    let mut waiting = Vec::new();
    for number in 0..FRAMES {
        server.push_sized(number, BIG);
        assert_eq!(next_number(&mut awake), number);
        let most = server.peers().iter().map(queued).max();
        waiting.push(most.expect("a client"));
    }
    assert_eq!(waiting.iter().max(), Some(&(QUEUE as u64)));
    assert_eq!(waiting[FRAMES / 2..].iter().min(), Some(&left));

    // Somebody new does not see what waits for another.
    let mut late = server.viewer();
    // It wakes, and keeps up from then on.
    let mut seen = Vec::new();
    while seen.last() != Some(&(FRAMES - 1)) {
        seen.push(next_number(&mut sleeper));
    }
    for number in FRAMES..FRAMES + 20 {
        server.push_sized(number, BIG);
        for viewer in [&mut awake, &mut sleeper, &mut late] {
            assert_eq!(next_number(viewer), number);
        }
    }
    server.push_eos();
    for viewer in [awake, sleeper, late] {
        assert_eq!(remaining_numbers(viewer), [0; 0]);
    }
    server.wait_for_clean_end();

    // First what the kernel had kept, then what is new.
    assert_eq!(seen[0], 0);
    let gap = seen.windows(2).position(|pair| pair[1] != pair[0] + 1);
    let (old, new) = seen.split_at(gap.expect("a gap") + 1);
    assert_consecutive(new);
    assert!((1..=QUEUE).contains(&new.len()), "{seen:?}");
    assert!(old.len() < 10, "{seen:?}");

    // Every frame is accounted for.
    let dropped = (FRAMES - seen.len()) as u64;
    assert_eq!(server.stat("dropped"), dropped);
    let removed = server.element_messages("b64jpeg-client-removed");
    let mut counts: Vec<_> = removed
        .iter()
        .map(|said| ["frames", "dropped"].map(|name| said.get::<u64>(name).expect("a count")))
        .collect();
    counts.sort_unstable();
    let all = (FRAMES + 20) as u64;
    assert_eq!(counts, [[20, 0], [all - dropped, dropped], [all, 0]]);
}

#[test]
fn a_sleeper_wakes_to_the_newest_of_a_file() {
    sleep_and_wake(ServerFixture::with_appsrc(""), 5);
}

#[test]
fn a_sleeper_wakes_to_the_newest_of_a_camera() {
    sleep_and_wake(ServerFixture::with_live_appsrc(""), 1);
}

/// With other clients there is nobody for whom the film could wait.
#[test]
fn one_who_sleeps_does_not_hold_the_others() {
    let server = ServerFixture::with_appsrc("queue-frames=1").play();
    let sleepers: Vec<Viewer> = (0..3).map(|_| server.small_viewer()).collect();
    let watchers: Vec<BackgroundReader> = (0..3)
        .map(|_| read_in_background(server.viewer()))
        .collect();
    for number in 0..100 {
        server.push_sized(number, BIG);
        for watcher in &watchers {
            assert_eq!(watcher.next(), Some(number));
        }
    }
    server.expect_no_messages();
    assert_eq!(server.clients(), 6);
    drop(sleepers);
    server.wait_for_clients(3);
}

/// A camera does not wait, not even for its only client.
#[test]
fn a_live_source_waits_for_nobody() {
    let server = ServerFixture::with_live_appsrc("max-clients=1 queue-frames=3");
    let arrived = server.count_arrivals();
    let server = server.play();
    let viewer = server.small_viewer();
    for number in 0..100 {
        server.push_sized(number, BIG);
    }
    wait_until("all have come", || *arrived.lock().unwrap() == 100);
    server.push_eos();
    let numbers = remaining_numbers(viewer);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&99));
    assert!(numbers.len() < 100);
    server.wait_for_clean_end();
}
