// SPDX-License-Identifier: MPL-2.0

//! `wait-for-client`: the server holds the stream until its first client connects.

use std::{process::Command, sync::mpsc};

use gst::prelude::*;

use super::{
    numbered_pictures::{SMALL, recording},
    server_fixture::{
        FRAME_TIME, ServerFixture, assert_complete, assert_consecutive, next_number,
        read_in_background, recording_source, remaining_numbers, wait_until,
    },
};
use crate::common::{
    pipeline::Pipeline,
    process::{Program, with_plugin},
    viewer::Viewer,
};

/// No frame is dropped, however slow the machine is.
const WAIT: &str = "wait-for-client=true queue-frames=1000";

/// Asserts that the waiting server keeps the pipeline from reaching PLAYING.
#[track_caller]
fn assert_held(server: &ServerFixture) {
    let (change, current, pending) = server.pipeline.0.state(gst::ClockTime::ZERO);
    assert_eq!(change, Ok(gst::StateChangeSuccess::Async));
    assert!(current < gst::State::Playing, "{current:?}");
    assert_eq!(pending, gst::State::Playing);
    assert!(server.is_waiting());
    assert_eq!(server.stat("frames"), 0);
}

#[test]
fn first_client_gets_every_frame() {
    let server = ServerFixture::with_recording(90, SMALL, WAIT).play();
    server.wait_until_waiting();
    assert_held(&server);
    let viewer = Viewer::connect(server.address());
    assert_complete(&remaining_numbers(viewer), 90);
    server.wait_for_clean_end();
    assert!(!server.is_waiting());
    assert_eq!(server.stat("frames"), 90);

    // The message is posted once, with the address that a client needs.
    let [waiting] = &server.element_messages("b64jpeg-waiting")[..] else {
        panic!("one waiting message");
    };
    assert_eq!(waiting.get("host"), Ok("127.0.0.1"));
    assert_eq!(waiting.get("port"), Ok(i32::from(server.port())));
}

#[test]
fn nothing_waits_by_default() {
    let server = ServerFixture::with_recording(90, SMALL, "").play();
    server.wait_for_clean_end();
    assert!(server.element_messages("b64jpeg-waiting").is_empty());
    assert_eq!(server.stat("frames"), 90);
}

#[test]
fn two_clients_before_first_frame_get_everything() {
    // The first client ends the wait, but there is no frame yet.
    let server = ServerFixture::with_appsrc(WAIT).play();
    let viewers = [server.viewer(), server.viewer()];
    server.push(0..20);
    server.push_eos();
    for viewer in viewers {
        assert_complete(&remaining_numbers(viewer), 20);
    }
    server.wait_for_clean_end();
}

#[test]
fn one_of_two_clients_gets_whole_recording() {
    let server = ServerFixture::with_recording(90, SMALL, WAIT).play();
    server.wait_until_waiting();
    let viewers = [(); 2].map(|()| Viewer::connect(server.address()));
    let [first, second] = viewers.map(read_in_background);
    let numbers = [first.rest(), second.rest()];
    server.wait_for_clean_end();
    for numbers in &numbers {
        assert_consecutive(numbers);
        assert!(numbers.last().is_none_or(|last| *last == 89));
    }
    assert!(numbers.iter().any(|numbers| numbers.len() == 90));
}

/// Frames of a live source are dropped while the server waits.
#[test]
fn live_frames_are_dropped_while_waiting() {
    let server = ServerFixture::with_live_appsrc(WAIT);
    let feed: gst::Element = server.pipeline.element("feed");
    let (sender, passed) = mpsc::channel();
    let pad = feed.static_pad("src").expect("a pad");
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        sender.send(()).expect("the test runs");
        gst::PadProbeReturn::Ok
    });
    let server = server.play();
    server.push(0..50);
    // If the server held the first frame, no other frame would pass.
    (0..50).for_each(|_| passed.recv().expect("it passes"));
    assert!(server.is_waiting());
    let mut viewer = server.viewer();
    server.push(50..60);
    let first = next_number(&mut viewer);
    // Frame 49 may reach the server after the client.
    assert!((49..=50).contains(&first), "{first}");
    for number in first + 1..60 {
        assert_eq!(next_number(&mut viewer), number);
    }
    assert!(!server.is_waiting());
    server.expect_no_messages();
}

#[test]
fn client_that_disconnects_at_once_ends_the_wait() {
    let server = ServerFixture::with_appsrc(WAIT).play();
    drop(server.viewer());
    server.wait_for_clients(0);
    let staying = server.viewer();
    server.push(0..20);
    server.push_eos();
    assert_complete(&remaining_numbers(staying), 20);
    server.wait_for_clean_end();

    // With a recording, the stream continues, or the next client gets it from the start.
    for _ in 0..20 {
        let server = ServerFixture::with_recording(90, SMALL, WAIT).play();
        server.wait_until_waiting();
        Viewer::connect(server.address()).reset();
        let numbers = remaining_numbers(Viewer::connect(server.address()));
        assert_consecutive(&numbers);
        assert!(numbers.last().is_none_or(|last| *last == 89));
        server.wait_for_clean_end();
    }
}

#[test]
fn stopping_ends_the_wait() {
    for source in [ServerFixture::with_live_appsrc, ServerFixture::with_appsrc] {
        for state in [gst::State::Null, gst::State::Ready] {
            let server = source(WAIT).play();
            server.push(0..3);
            server.set_state(state);
            server.expect_no_messages();
        }
    }
    let server = ServerFixture::with_recording(5, SMALL, WAIT);
    for state in [gst::State::Null, gst::State::Ready] {
        for _ in 0..20 {
            server.pipeline.play();
            server.set_state(state);
        }
        server.pipeline.play();
        wait_until("the server to wait for a client", || server.is_waiting());
        server.set_state(state);
        server.expect_no_messages();
    }
}

#[test]
fn eos_ends_the_wait() {
    for server in [
        ServerFixture::with_recording(5, SMALL, WAIT),
        ServerFixture::with_appsrc(WAIT),
        ServerFixture::with_live_appsrc(WAIT),
    ] {
        let server = server.play();
        if let Some(feed) = server.pipeline.0.by_name("feed") {
            server.push(0..3);
            if feed.property("is-live") {
                // In GStreamer 1.22, EOS sent to a live source before it plays hangs with
                // any sink.
                server.pipeline.wait_for_state();
            }
        }
        server.wait_until_waiting();
        server.send_eos();
        server.wait_for_clean_end();
        assert_eq!(server.stat("clients-total"), 0);
        assert_eq!(server.stat("frames"), 0);
    }
}

/// GStreamer forwards EOS into a bin only if the bin is marked as a source.
#[test]
fn eos_ends_the_wait_in_bins() {
    let pipeline = Pipeline::launch(
        "videotestsrc ! jpegenc
         ! ( queue ! ( name=inner queue ! b64jpegserversink port=0 wait-for-client=true ) )",
    );
    let inner = pipeline.element::<gst::Element>("inner");
    let bus = pipeline.0.bus().expect("a bus");
    for _ in 0..3 {
        pipeline.play();
        bus.iter_timed_filtered(gst::ClockTime::NONE, &[gst::MessageType::Element])
            .find(|message| message.has_name("b64jpeg-waiting"));
        pipeline.0.send_event(gst::event::Eos::new());
        pipeline.wait_for_clean_end();
        pipeline
            .0
            .set_state(gst::State::Ready)
            .expect("a state change");
        assert!(!inner.element_flags().contains(gst::ElementFlags::SOURCE));
    }
}

/// EOS is sent before the server has begun to wait.
#[test]
fn early_eos_ends_the_wait() {
    let server = ServerFixture::launch("videotestsrc num-buffers=1000 ! jpegenc", WAIT);
    for _ in 0..50 {
        server.pipeline.play();
        server.send_eos();
        server.wait_for_clean_end();
        server.set_state(gst::State::Null);
    }
}

/// A stream without a frame ends although no client has connected.
#[test]
fn eos_without_frames_ends_the_wait() {
    let server = ServerFixture::with_appsrc(WAIT).play();
    server.push_eos();
    server.wait_for_clean_end();
}

/// Output of `gst-launch-1.0 -m` when the pipeline reaches PLAYING.
const PLAYING: &str = "element \"pipeline0\" (state-changed): GstMessageStateChanged, \
    old-state=(GstState)paused, new-state=(GstState)playing";

#[test]
fn ctrl_c_ends_the_wait() {
    let recording = recording(5, SMALL);
    let live = "videotestsrc is-live=true ! jpegenc";
    // A live pipeline plays while the server waits; see `eos_ends_the_wait`.
    for (source, ready) in [
        (&*recording_source(&recording), "b64jpeg-waiting"),
        (live, PLAYING),
    ] {
        for eos in [&["-e"][..], &[]] {
            let mut launch = Command::new("gst-launch-1.0");
            launch.arg("-m").args(eos);
            launch.args(source.split_whitespace());
            launch.args(["!", "b64jpegserversink", "port=0", "wait-for-client=true"]);
            let mut launch = Program::start(with_plugin(&mut launch));
            launch.expect_line(ready);
            launch.signal_group("INT");
            let (status, output) = launch.wait();
            assert!(status.success(), "{status}: {output}");
            for word in ["CRITICAL", "WARNING", "ERROR"] {
                assert!(!output.contains(word), "{output}");
            }
            assert_eq!(output.contains("EOS received"), !eos.is_empty(), "{output}");
        }
    }
    std::fs::remove_file(recording).expect("our file");
}

#[test]
fn pausing_does_not_end_the_wait() {
    let server = ServerFixture::with_recording(90, SMALL, WAIT).play();
    for _ in 0..3 {
        server.set_state(gst::State::Paused);
        server.set_state(gst::State::Playing);
    }
    server.wait_until_waiting();
    server.set_state(gst::State::Paused);
    assert!(server.is_waiting());
    server.set_state(gst::State::Playing);
    assert_held(&server);
    assert_complete(&remaining_numbers(server.viewer()), 90);
    server.wait_for_clean_end();
    assert_eq!(server.element_messages("b64jpeg-waiting").len(), 1);
}

/// A client that connects while the pipeline is paused gets the preroll frame at once, and the
/// next one only when the pipeline plays.
#[test]
fn client_during_pause_gets_preroll_frame() {
    let server = ServerFixture::with_recording(90, SMALL, WAIT);
    server.set_state(gst::State::Paused);
    server.wait_until_waiting();
    let viewer = server.viewer();
    server.pipeline.wait_for_state();
    assert!(server.stat("frames") <= 1);
    server.pipeline.play();
    assert_complete(&remaining_numbers(viewer), 90);
    server.wait_for_clean_end();
}

#[test]
fn seek_during_the_wait_changes_first_frame() {
    let server = ServerFixture::with_recording(90, SMALL, WAIT).play();
    server.wait_until_waiting();
    for number in [60, 10, 0, 30] {
        server.seek(number);
        wait_until("the server to wait for a client", || server.is_waiting());
    }
    assert_held(&server);
    assert_eq!(remaining_numbers(server.viewer()), Vec::from_iter(30..90));
    server.wait_for_clean_end();
    assert_eq!(server.element_messages("b64jpeg-waiting").len(), 1);
}

/// Expects every frame at its time, counted from the first client's connection.
#[track_caller]
fn assert_frame_times(options: &str) {
    let server = ServerFixture::with_recording(
        20,
        SMALL,
        &format!("wait-for-client=true sync=true {options}"),
    );
    let clock = gst_check::TestClock::new();
    server.pipeline.0.use_clock(Some(&clock));
    let server = server.play();
    for start in [1000, 3000].map(gst::ClockTime::from_seconds) {
        wait_until("the server to wait for a client", || server.is_waiting());
        clock.set_time(start);
        let mut viewer = server.viewer();
        for number in 0..20 {
            clock.wait_for_pending_id_count(1);
            let due = start + FRAME_TIME * number;
            assert_eq!(clock.next_entry_time(), Some(due), "picture {number}");
            assert_eq!(server.stat("frames"), number, "no frame is sent early");
            assert!(clock.crank());
            assert_eq!(next_number(&mut viewer), number as usize);
        }
        // A restart behaves the same.
        server.set_state(gst::State::Ready);
        assert_eq!(server.sink.property::<i64>("ts-offset"), 0);
        server.pipeline.play();
    }
}

#[test]
fn frame_times_start_at_first_client() {
    assert_frame_times("");
}

/// With `async=false` the pipeline plays, and its clock runs, while the server waits.
#[test]
fn frame_times_start_at_first_client_without_async() {
    assert_frame_times("async=false");
}

/// The server is added to a pipeline that already plays.
#[test]
fn server_added_to_playing_pipeline_waits() {
    let server = ServerFixture::launch(
        "videotestsrc is-live=true ! tee name=tee ! fakesink async=false
         tee. ! queue ! jpegenc name=encoder",
        "wait-for-client=true",
    );
    let (bin, sink) = (&server.pipeline.0, &server.sink);
    let encoder: gst::Element = server.pipeline.element("encoder");
    let pad = encoder.static_pad("src").expect("a pad");
    encoder.unlink(sink);
    bin.remove(sink).expect("it is in");
    let block = gst::PadProbeType::BLOCK_DOWNSTREAM;
    let block = pad.add_probe(block, |_, _| gst::PadProbeReturn::Ok);
    bin.set_state(gst::State::Playing)
        .expect("a playing pipeline");

    bin.add(sink).expect("it is out");
    encoder.link(sink).expect("it fits");
    sink.sync_state_with_parent().expect("it plays along");
    pad.remove_probe(block.expect("a probe"));
    server.wait_until_waiting();
    assert_eq!(server.viewer().take(5).count(), 5);
    server.send_eos();
    server.wait_for_clean_end();
}
