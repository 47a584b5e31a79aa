// SPDX-License-Identifier: MPL-2.0

//! Clients that cannot keep up: what is queued and dropped for them.

use gst::prelude::*;

use super::server_fixture::{
    BackgroundReader, ServerFixture, assert_complete, assert_consecutive, next_number,
    read_in_background, remaining_numbers, wait_until,
};
use crate::common::viewer::Viewer;

/// Length of a JPEG of which a few fill the kernel's buffers.
const BIG: usize = 60_000;

/// As the Python server: one client, for which the source waits.
const LOSSLESS: &str = "wait-for-client=true max-clients=1 queue-frames=2";

/// Number of frames queued for a client.
fn queued(peer: &gst::Structure) -> u64 {
    let queued = peer.value("queued").expect("it is counted");
    queued
        .transform::<u64>()
        .expect("a count")
        .get()
        .expect("a count")
}

/// Waits until the queue is full, so that the source has to wait for the client.
#[track_caller]
fn wait_for_back_pressure(server: &ServerFixture) {
    wait_for_queue(server, 2);
}

#[track_caller]
fn wait_for_queue(server: &ServerFixture, frames: u64) {
    wait_until("the queue to fill", || {
        server.peers().iter().any(|peer| queued(peer) >= frames)
    });
}

#[test]
fn slow_only_client_gets_every_frame() {
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
    // The source is never ahead by more than the queue and the kernel's buffers.
    assert!(lead < 20, "{lead} frames");
}

/// Many small frames fit into the kernel's buffers and end anywhere in them.
#[test]
fn only_client_loses_no_small_frame() {
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
fn queue_limit_may_change_during_back_pressure() {
    const FRAMES: usize = 300;
    let options = "wait-for-client=true max-clients=1 queue-frames=20";
    let server = ServerFixture::with_recording(FRAMES, BIG, options).play();
    let mut viewer = server.small_viewer();
    wait_for_queue(&server, 20);
    // With a shorter queue the source waits longer, and still nothing is dropped.
    server.sink.set_property("queue-frames", 2u32);
    for number in 0..60 {
        assert_eq!(next_number(&mut viewer), number);
    }
    // With a longer queue the source continues at once.
    wait_for_back_pressure(&server);
    server.sink.set_property("queue-frames", 10u32);
    wait_for_queue(&server, 10);
    assert_eq!(server.stat("dropped"), 0);
    // Without a limit of clients the source no longer waits.
    server.sink.set_property("max-clients", 0u32);
    wait_until("all frames to be sent", || {
        server.stat("frames") == FRAMES as u64
    });
    let numbers = remaining_numbers(viewer);
    server.wait_for_clean_end();
    assert_eq!((numbers[0], numbers.last()), (60, Some(&(FRAMES - 1))));
    assert_eq!(server.stat("dropped"), (FRAMES - 60 - numbers.len()) as u64);
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.len() < 60);
}

#[test]
fn stopping_ends_back_pressure() {
    for state in [gst::State::Null, gst::State::Ready] {
        let server = ServerFixture::with_recording(200, BIG, LOSSLESS).play();
        let viewer = server.small_viewer();
        wait_for_back_pressure(&server);
        let reader = read_in_background(viewer);
        server.set_state(state);
        let numbers = reader.rest();
        assert_consecutive(&numbers);
        server.expect_no_messages();
    }
    // A client that does not read is no obstacle either.
    let server = ServerFixture::with_recording(200, BIG, LOSSLESS).play();
    let stalled = server.small_viewer();
    wait_for_back_pressure(&server);
    server.set_state(gst::State::Null);
    drop(stalled);
    server.expect_no_messages();
}

#[test]
fn disconnecting_client_ends_back_pressure() {
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
fn eos_ends_back_pressure() {
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
fn seek_ends_back_pressure() {
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
fn pausing_holds_only_client() {
    let server = ServerFixture::with_recording(300, BIG, LOSSLESS).play();
    let mut viewer = server.viewer();
    for number in 0..10 {
        assert_eq!(next_number(&mut viewer), number);
    }
    server.set_state(gst::State::Paused);
    // Frames on their way are sent; no new frame reaches the server.
    wait_until("the sink to pause", || {
        server.sink.current_state() == gst::State::Paused
    });
    let reader = read_in_background(viewer);
    let frames = server.stat("frames");
    let mut last = 9;
    while last + 1 < frames as usize {
        last = reader.next().expect("the client stays connected");
    }
    assert_eq!(server.stat("frames"), frames);
    assert_eq!(server.clients(), 1);
    server.pipeline.play();
    assert_eq!(reader.rest(), Vec::from_iter(last + 1..300));
    server.wait_for_clean_end();
}

/// One client does not read while 200 frames are sent. An overflow of its queue leaves `left`
/// frames queued.
#[track_caller]
fn assert_slow_client_skips_to_newest(server: ServerFixture, left: u64) {
    const FRAMES: usize = 200;
    const QUEUE: usize = 5;
    server.sink.set_property("queue-frames", QUEUE as u32);
    let server = server.play();
    let mut fast = server.viewer();
    let mut slow = server.small_viewer();
    let mut waiting = Vec::new();
    for number in 0..FRAMES {
        server.push_sized(number, BIG);
        assert_eq!(next_number(&mut fast), number);
        let most = server.peers().iter().map(queued).max();
        waiting.push(most.expect("a client"));
    }
    assert_eq!(waiting.iter().max(), Some(&(QUEUE as u64)));
    assert_eq!(waiting[FRAMES / 2..].iter().min(), Some(&left));

    // A new client does not receive what is queued for another one.
    let mut late = server.viewer();
    // The slow client starts to read, and keeps up from then on.
    let mut seen = Vec::new();
    while seen.last() != Some(&(FRAMES - 1)) {
        seen.push(next_number(&mut slow));
    }
    for number in FRAMES..FRAMES + 20 {
        server.push_sized(number, BIG);
        for viewer in [&mut fast, &mut slow, &mut late] {
            assert_eq!(next_number(viewer), number);
        }
    }
    server.push_eos();
    for viewer in [fast, slow, late] {
        assert_eq!(remaining_numbers(viewer), [0; 0]);
    }
    server.wait_for_clean_end();

    // It received what was in the kernel's buffers, then the newest frames.
    assert_eq!(seen[0], 0);
    let gap = seen.windows(2).position(|pair| pair[1] != pair[0] + 1);
    let (old, new) = seen.split_at(gap.expect("a gap") + 1);
    assert_consecutive(new);
    assert!((1..=QUEUE).contains(&new.len()), "{seen:?}");
    assert!(old.len() < 10, "{seen:?}");

    // Every frame is counted as sent or as dropped.
    let dropped = (FRAMES - seen.len()) as u64;
    assert_eq!(server.stat("dropped"), dropped);
    let removed = server.element_messages("b64jpeg-client-removed");
    let mut counts: Vec<_> = removed
        .iter()
        .map(|message| ["frames", "dropped"].map(|name| message.get::<u64>(name).expect("a count")))
        .collect();
    counts.sort_unstable();
    let all = (FRAMES + 20) as u64;
    assert_eq!(counts, [[20, 0], [all - dropped, dropped], [all, 0]]);
}

#[test]
fn slow_client_of_file_source_skips_to_newest() {
    assert_slow_client_skips_to_newest(ServerFixture::with_appsrc(""), 5);
}

#[test]
fn slow_client_of_live_source_skips_to_newest() {
    assert_slow_client_skips_to_newest(ServerFixture::with_live_appsrc(""), 1);
}

/// With several clients the source waits for none of them.
#[test]
fn stalled_clients_do_not_delay_others() {
    let server = ServerFixture::with_appsrc("queue-frames=1").play();
    let stalled: Vec<Viewer> = (0..3).map(|_| server.small_viewer()).collect();
    let readers: Vec<BackgroundReader> = (0..3)
        .map(|_| read_in_background(server.viewer()))
        .collect();
    for number in 0..100 {
        server.push_sized(number, BIG);
        for reader in &readers {
            assert_eq!(reader.next(), Some(number));
        }
    }
    server.expect_no_messages();
    assert_eq!(server.clients(), 6);
    drop(stalled);
    server.wait_for_clients(3);
}

/// A live source does not wait, not even for its only client.
#[test]
fn live_source_ignores_back_pressure() {
    let server = ServerFixture::with_live_appsrc("max-clients=1 queue-frames=3");
    let arrived = server.count_arrivals();
    let server = server.play();
    let viewer = server.small_viewer();
    for number in 0..100 {
        server.push_sized(number, BIG);
    }
    wait_until("all frames to reach the sink", || {
        *arrived.lock().unwrap() == 100
    });
    server.push_eos();
    let numbers = remaining_numbers(viewer);
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert_eq!(numbers.last(), Some(&99));
    assert!(numbers.len() < 100);
    server.wait_for_clean_end();
}
