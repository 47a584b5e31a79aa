// SPDX-License-Identifier: MPL-2.0

//! The end of the stream: after the last frame, or at least after a whole one.

use std::{fs, process::Command, thread, time::Duration};

use gst::prelude::*;

use super::{
    numbered_pictures::{SMALL, number, picture, recording},
    server_fixture::{
        FRAME_TIME, ServerFixture, assert_complete, assert_consecutive, next_number, parse_address,
        read_in_background, recording_source, remaining_numbers, wait_until,
    },
};
use crate::common::{
    pipeline::scratch,
    process::{Program, with_plugin},
    viewer::Viewer,
};

const BIG: usize = 60_000;
/// Frames are queued without a limit, so that a slow client has to be drained at EOS.
const ENDLESS_QUEUE: &str = "wait-for-client=true queue-frames=1000000";

#[test]
fn eos_drains_queue_of_reading_clients() {
    let server = ServerFixture::with_recording(200, BIG, ENDLESS_QUEUE);
    let end = server.notify_eos();
    let server = server.play();
    let mut viewers = [server.small_viewer(), server.small_viewer()];
    end.recv().expect("EOS arrives");
    // Reading starts only now.
    assert_eq!(next_number(&mut viewers[0]), 0);
    let [first, second] = viewers.map(read_in_background);
    assert_eq!(first.rest(), Vec::from_iter(1..200));
    let second = second.rest();
    assert_consecutive(&second);
    assert_eq!(second.last(), Some(&199));
    server.wait_for_clean_end();
    assert_eq!(server.stat("dropped"), 0);
}

/// EOS is posted only after every client has received everything.
#[test]
fn eos_message_follows_last_sent_frame() {
    let server = ServerFixture::with_recording(50, BIG, ENDLESS_QUEUE);
    let end = server.notify_eos();
    let server = server.play();
    let viewer = server.small_viewer();
    end.recv().expect("EOS arrives");
    let bus = server.pipeline.0.bus().expect("a bus");
    let ended = || bus.pop_filtered(&[gst::MessageType::Eos]).is_some();
    for (i, jpeg) in viewer.enumerate() {
        assert_eq!(number(&jpeg), i);
        // The last frames may be in the kernel's buffers, where the server does not see them.
        assert!(i > 25 || !ended(), "at frame {i}");
    }
}

/// An application that stops at EOS has heard of every client by then.
#[test]
fn eos_message_follows_last_client_removed_message() {
    let server = ServerFixture::with_appsrc("");
    server.sink.connect("client-removed", false, |_| {
        // If EOS did not wait for this handler, it would be posted first.
        thread::sleep(Duration::from_millis(50));
        None
    });
    let server = server.play();
    let viewers = [server.viewer(), server.viewer()];
    server.push(0..3);
    server.push_eos();
    for viewer in viewers {
        assert_eq!(remaining_numbers(viewer), [0, 1, 2]);
    }
    server.wait_for_clean_end();
    let [added, removed] = ["b64jpeg-client-added", "b64jpeg-client-removed"];
    assert_eq!(
        server.message_names(),
        [added, added, removed, removed, "eos"]
    );
}

#[test]
fn drain_on_eos_false_drops_queue() {
    let options = format!("{ENDLESS_QUEUE} drain-on-eos=false");
    let server = ServerFixture::with_recording(200, BIG, &options);
    let end = server.notify_eos();
    let server = server.play();
    let viewer = server.small_viewer();
    end.recv().expect("EOS arrives");
    let numbers = remaining_numbers(viewer);
    assert_consecutive(&numbers);
    assert_eq!(numbers.first(), Some(&0));
    assert!(numbers.len() < 100, "{}", numbers.len());
    server.wait_for_clean_end();
}

/// Waits for EOS and expects a warning about the clients that were not drained.
#[track_caller]
fn wait_for_late_end(server: &ServerFixture) {
    let (warnings, error) = server.pipeline.wait();
    assert_eq!(error, None);
    let [warning] = &warnings[..] else {
        panic!("one warning: {warnings:#?}");
    };
    for part in ["1 of the clients", "drain-timeout"] {
        assert!(warning.contains(part), "no {part:?} in {warning}");
    }
}

#[test]
fn drain_timeout_limits_draining() {
    let options = format!("{ENDLESS_QUEUE} drain-timeout=300000000");
    let server = ServerFixture::with_recording(100, BIG, &options);
    let end = server.notify_eos();
    let server = server.play();
    let stalled = server.small_viewer();
    end.recv().expect("EOS arrives");
    wait_for_late_end(&server);
    server.set_state(gst::State::Null);
    assert_eq!(server.element_messages("b64jpeg-client-removed").len(), 1);
    assert!(stalled.bytes_until_closed().len() < 100 * BIG);
    // A client that reads is drained in time.
    server.pipeline.play();
    assert_complete(&remaining_numbers(server.viewer()), 100);
    server.wait_for_clean_end();
}

/// A stalled client does not keep the other clients from being drained.
#[test]
fn stalled_client_does_not_stop_draining_of_others() {
    let server = ServerFixture::with_appsrc("queue-frames=1000 drain-timeout=500000000").play();
    let _stalled = server.small_viewer();
    let viewer = server.viewer();
    for number in 0..50 {
        server.push_sized(number, BIG);
    }
    server.push_eos();
    assert_complete(&remaining_numbers(viewer), 50);
    wait_for_late_end(&server);
}

#[test]
fn stopping_ends_draining() {
    let options = format!("{ENDLESS_QUEUE} drain-timeout=1000000000000000000");
    for state in [gst::State::Null, gst::State::Ready] {
        let server = ServerFixture::with_recording(100, BIG, &options);
        let end = server.notify_eos();
        let server = server.play();
        let _stalled = server.small_viewer();
        end.recv().expect("EOS arrives");
        server.set_state(state);
        server.expect_no_messages();
    }
}

#[test]
fn sent_eos_ends_stream_between_frames() {
    for count in [1, 10, 100] {
        let server =
            ServerFixture::with_recording(1000, BIG, "wait-for-client=true max-clients=1").play();
        let mut viewer = server.viewer();
        for number in 0..count {
            assert_eq!(next_number(&mut viewer), number);
        }
        server.send_eos();
        let numbers = remaining_numbers(viewer);
        assert_consecutive(&numbers);
        assert!(numbers.first().is_none_or(|first| *first == count));
        assert!(numbers.len() < 900);
        server.wait_for_clean_end();
    }
    // Without clients, and without frames.
    for source in [ServerFixture::with_appsrc, ServerFixture::with_live_appsrc] {
        let server = source("").play();
        server.send_eos();
        server.wait_for_clean_end();
    }
}

/// Whenever the server stops, a client that reads never receives part of a frame.
#[test]
fn stopping_tears_no_frame() {
    let path = scratch("endless.jpg");
    fs::write(&path, picture(0, 200_000)).expect("a file");
    let source = format!(
        "multifilesrc location={} loop=true caps=image/jpeg",
        path.display()
    );
    let server = ServerFixture::launch(&source, "queue-frames=4");
    for round in 0..60 {
        server.pipeline.play();
        let mut first = server.small_viewer();
        let others = [server.small_viewer(), server.viewer()].map(read_in_background);
        for _ in 0..round % 3 {
            assert_eq!(next_number(&mut first), 0);
        }
        let first = read_in_background(first);
        server.set_state([gst::State::Null, gst::State::Ready][round % 2]);
        for viewer in [first].into_iter().chain(others) {
            viewer.rest();
        }
    }
    server.expect_no_messages();
}

/// A frame that is being sent when the server stops is finished, even for a slow client.
#[test]
fn stopping_finishes_current_frame() {
    for _ in 0..5 {
        let server = ServerFixture::with_appsrc("").play();
        let mut viewer = server.small_viewer();
        server.push_sized(0, 4_000_000);
        server.push_sized(1, BIG);
        // Now the client is inside the first frame.
        let header = viewer.bytes(4).try_into().expect("a header");
        let len = u32::from_be_bytes(header) as usize;
        let reading = thread::spawn(move || (viewer.bytes(len).len(), remaining_numbers(viewer)));
        server.set_state(gst::State::Null);
        let (have, after) = reading.join().unwrap();
        assert_eq!(have, len);
        assert!(after.is_empty() || after == [1], "{after:?}");
    }
}

#[test]
fn loop_restarts_recording() {
    for options in ["max-clients=1", "queue-frames=1000000"] {
        let options = format!("wait-for-client=true loop=true {options}");
        let server = ServerFixture::with_recording(10, BIG, &options).play();
        let mut viewer = server.viewer();
        for number in 0..105 {
            assert_eq!(next_number(&mut viewer), number % 10);
        }
        // A requested EOS ends the loop.
        server.send_eos();
        for (number, after) in (105..).zip(remaining_numbers(viewer)) {
            assert_eq!(after, number % 10);
        }
        server.wait_for_clean_end();
    }
}

/// The last frame keeps its duration before the first one is repeated.
#[test]
fn loop_keeps_frame_rate() {
    const FRAMES: usize = 23;
    let server =
        ServerFixture::with_recording(5, SMALL, "wait-for-client=true loop=true sync=true");
    let clock = gst_check::TestClock::new();
    server.pipeline.0.use_clock(Some(&clock));
    let server = server.play();
    server.wait_until_waiting();
    let viewer = server.viewer();
    let mut times = [None; FRAMES];
    loop {
        clock.wait_for_pending_id_count(1);
        let Some(time) = times.get_mut(server.stat("frames") as usize) else {
            break;
        };
        // The frame that ends a round has the time of the frame that starts the next.
        *time = clock.next_entry_time();
        assert!(clock.crank());
    }
    let due = |i: usize| Some(FRAME_TIME * i as u64);
    assert_eq!(times, std::array::from_fn(due));
    let numbers = viewer.take(FRAMES).map(|jpeg| number(&jpeg));
    assert_eq!(
        Vec::from_iter(numbers),
        Vec::from_iter((0..FRAMES).map(|i| i % 5))
    );
}

/// A source that cannot seek warns at most once and ends.
#[test]
fn loop_of_unseekable_source_ends() {
    let server = ServerFixture::with_appsrc("loop=true").play();
    let viewer = server.viewer();
    server.push(0..3);
    server.push_eos();
    assert_eq!(remaining_numbers(viewer), [0, 1, 2]);
    let (warnings, _error) = server.pipeline.wait();
    assert!(warnings.len() <= 1, "{warnings:?}");
}

#[test]
fn gst_launch_ends_with_recording() {
    let recording = recording(100, BIG);
    for options in ["sync=false max-clients=1", "sync=true queue-frames=1000"] {
        let mut launch = Command::new("gst-launch-1.0");
        launch.arg("-m").args(
            recording_source(&recording)
                .replace("25/1", "500/1")
                .split_whitespace(),
        );
        launch.args(["!", "b64jpegserversink", "port=0", "wait-for-client=true"]);
        launch.args(options.split_whitespace());
        let mut launch = Program::start(with_plugin(&mut launch));
        let line = launch.expect_line("b64jpeg-waiting");
        let viewer = Viewer::connect(parse_address(&line));
        assert_complete(&remaining_numbers(viewer), 100);
        let output = launch.finish();
        for word in ["b64jpeg-client-added", "b64jpeg-client-removed", "Got EOS"] {
            assert!(output.contains(word), "{word}: {output}");
        }
    }
    fs::remove_file(recording).expect("our file");
}

/// After the stop, connections are refused and the port is free.
#[test]
fn stopping_frees_port() {
    let server = ServerFixture::with_appsrc("").play();
    let address = server.address();
    let viewer = server.viewer();
    server.set_state(gst::State::Null);
    assert_eq!(remaining_numbers(viewer), [0; 0]);
    wait_until("the connection to be refused", || {
        std::net::TcpStream::connect(address).is_err()
    });
    // At once, although the kernel still remembers the old connections.
    server.sink.set_property("port", i32::from(address.port()));
    server.pipeline.play();
    drop(server.viewer());
}
