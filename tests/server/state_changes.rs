// SPDX-License-Identifier: MPL-2.0

//! State changes and seeks, and the server beside other elements.

use gst::prelude::*;

use super::{
    numbered_pictures::{SMALL, number, recording},
    server_fixture::{
        ServerFixture, assert_complete, assert_consecutive, next_number, read_in_background,
        recording_source, remaining_numbers, wait_until,
    },
};
use crate::common::viewer::Viewer;

const LOSSLESS: &str = "wait-for-client=true max-clients=1";

#[test]
fn server_can_be_restarted() {
    let server = ServerFixture::with_recording(50, SMALL, LOSSLESS);
    for state in [gst::State::Ready, gst::State::Null, gst::State::Paused].repeat(4) {
        server.pipeline.play();
        // When it waits again, its statistics have been reset.
        wait_until("the server to wait for a client", || server.is_waiting());
        assert_eq!((server.stat("frames"), server.clients()), (0, 0));
        assert_complete(&remaining_numbers(Viewer::connect(server.address())), 50);
        server.wait_for_clean_end();
        assert_eq!(server.stat("frames"), 50);
        assert_eq!(server.stat("clients-total"), 1);
        server.set_state(state);
        if state == gst::State::Paused {
            server.set_state(gst::State::Ready);
        }
    }
    // The address is reported at each start.
    assert_eq!(server.element_messages("b64jpeg-waiting").len(), 12);
}

#[test]
fn stopping_closes_clients_cleanly() {
    let server = ServerFixture::with_appsrc("");
    for state in [gst::State::Ready, gst::State::Null].repeat(5) {
        server.pipeline.play();
        let viewers = [server.viewer(), server.viewer()];
        server.push(0..1);
        let readers = viewers.map(read_in_background);
        for reader in &readers {
            assert_eq!(reader.next(), Some(0));
        }
        server.set_state(state);
        for reader in readers {
            assert_eq!(reader.rest(), [0; 0]);
        }
        assert_eq!(server.clients(), 0);
        server.expect_no_messages();
    }
}

#[test]
fn pausing_loses_no_frame() {
    let server = ServerFixture::with_recording(300, 20_000, LOSSLESS).play();
    let reader = read_in_background(server.viewer());
    for number in 0..60 {
        assert_eq!(reader.next(), Some(number));
        if number % 3 == 0 {
            server.set_state(gst::State::Paused);
            server.set_state(gst::State::Playing);
        }
    }
    assert_eq!(reader.rest(), Vec::from_iter(60..300));
    server.wait_for_clean_end();
}

#[test]
fn seek_while_playing_continues_at_target() {
    const FRAMES: usize = 400;
    let server =
        ServerFixture::with_recording(FRAMES, 20_000, &format!("{LOSSLESS} queue-frames=2")).play();
    let mut viewer = server.viewer();
    let mut number = next_number(&mut viewer);
    assert_eq!(number, 0);
    // The targets are farther apart than the frames in flight.
    for place in [300, 100, 200] {
        server.seek(place);
        while number != place {
            let following = next_number(&mut viewer);
            assert!(
                following == number + 1 || following == place,
                "{number}, {following}"
            );
            number = following;
        }
    }
    assert_eq!(remaining_numbers(viewer), Vec::from_iter(201..FRAMES));
    server.wait_for_clean_end();
}

/// The preroll frame of a paused pipeline is sent once, when the pipeline plays.
#[test]
fn preroll_frame_is_sent_once() {
    let server = ServerFixture::with_recording(50, SMALL, "queue-frames=1000");
    server.pipeline.settle(gst::State::Paused);
    let viewer = server.viewer();
    server.pipeline.play();
    assert_complete(&remaining_numbers(viewer), 50);
    server.wait_for_clean_end();
}

/// After EOS the pipeline can seek and play again without a stop.
#[test]
fn seek_after_eos_plays_again() {
    let server = ServerFixture::with_recording(50, SMALL, "queue-frames=1000").play();
    server.wait_for_clean_end();
    for place in [0, 20] {
        server.pipeline.settle(gst::State::Paused);
        server.seek(place);
        server.pipeline.wait_for_state();
        let viewer = server.viewer();
        server.pipeline.play();
        assert_eq!(remaining_numbers(viewer), Vec::from_iter(place..50));
        server.wait_for_clean_end();
    }
}

/// A client that disconnects for good does not keep the stream from ending.
#[test]
fn disconnecting_client_does_not_stop_recording() {
    for leave in [drop, Viewer::reset] {
        let server = ServerFixture::with_recording(300, 20_000, LOSSLESS).play();
        let mut viewer = server.viewer();
        (0..10).for_each(|number| assert_eq!(next_number(&mut viewer), number));
        leave(viewer);
        server.wait_for_clients(0);
        // The next client gets the remaining frames, if there are any.
        let numbers = remaining_numbers(Viewer::connect(server.address()));
        assert_consecutive(&numbers);
        assert!(numbers.last().is_none_or(|last| *last == 299));
        server.wait_for_clean_end();
    }
}

/// Like other sinks, the server synchronises to the clock by default.
#[test]
fn sync_and_async_are_on_by_default() {
    crate::common::init();
    let sink = gst::ElementFactory::make("b64jpegserversink").build();
    let sink = sink.expect("the element is registered");
    assert!(sink.property::<bool>("sync"));
    assert!(sink.property::<bool>("async"));
}

/// The other branch of a tee gets every frame, and waiting holds both branches.
#[test]
fn other_tee_branch_gets_every_frame() {
    let path = recording(60, SMALL);
    let server = ServerFixture::launch(
        &format!(
            "{} ! tee name=tee
             tee. ! queue ! fakesink name=other sync=false
             tee. ! queue",
            recording_source(&path)
        ),
        LOSSLESS,
    );
    let other = server.pipeline.collect("other", "sink");
    let server = server.play();
    server.wait_until_waiting();
    assert_complete(&remaining_numbers(server.viewer()), 60);
    server.wait_for_clean_end();
    let other = other.take();
    assert_eq!(other.len(), 60);
    let numbers: Vec<_> = other.iter().map(|jpeg| number(jpeg)).collect();
    assert_consecutive(&numbers);
    std::fs::remove_file(path).expect("our file");
}

/// Stalled clients do not hold the other branch of a tee.
#[test]
fn stalled_client_does_not_hold_other_tee_branch() {
    let server = ServerFixture::launch(
        "appsrc name=feed format=time caps=image/jpeg ! tee name=tee
         tee. ! queue ! fakesink name=other sync=false
         tee. ! queue",
        "queue-frames=2",
    );
    let other = server.pipeline.collect("other", "sink");
    let server = server.play();
    let _stalled = server.small_viewer();
    for number in 0..100 {
        server.push_sized(number, 60_000);
    }
    let mut others = 0;
    wait_until("all frames in the other branch", || {
        others += other.take().len();
        others == 100
    });
    server.expect_no_messages();
}

/// Each of two servers in one pipeline has its own clients.
#[test]
fn two_servers_in_one_pipeline_are_independent() {
    let server = ServerFixture::launch(
        "appsrc name=feed format=time caps=image/jpeg ! tee name=tee
         tee. ! queue ! b64jpegserversink name=other port=0 payload=jpeg sync=false
         tee. ! queue",
        "",
    )
    .play();
    let other: gst::Element = server.pipeline.element("other");
    let port = other.property::<i32>("current-port");
    assert_ne!(port, i32::from(server.port()));
    let viewer = server.viewer();
    let raw = Viewer::connect(([127, 0, 0, 1], port as u16).into());
    wait_until("the client to be accepted", || {
        other.property::<u32>("clients") == 1
    });
    server.push(0..5);
    server.push_eos();
    assert_complete(&remaining_numbers(viewer), 5);
    assert_eq!(raw.bytes_until_closed().len(), 5 * (4 + SMALL));
    server.wait_for_clean_end();
}
