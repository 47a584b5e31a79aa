// SPDX-License-Identifier: MPL-2.0

//! The server among other elements, started, stopped, paused and moved.

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
fn again_and_again() {
    let server = ServerFixture::with_recording(50, SMALL, LOSSLESS);
    for state in [gst::State::Ready, gst::State::Null, gst::State::Paused].repeat(4) {
        server.pipeline.play();
        // Waiting for the second time, it is as new.
        wait_until("it waits", || server.is_waiting());
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
    // Each time it said where.
    assert_eq!(server.element_messages("b64jpeg-waiting").len(), 12);
}

#[test]
fn stopped_with_clients() {
    let server = ServerFixture::with_appsrc("");
    for state in [gst::State::Ready, gst::State::Null].repeat(5) {
        server.pipeline.play();
        let viewers = [server.viewer(), server.viewer()];
        server.push(0..1);
        let watchers = viewers.map(read_in_background);
        for watcher in &watchers {
            assert_eq!(watcher.next(), Some(0));
        }
        server.set_state(state);
        for watcher in watchers {
            assert_eq!(watcher.rest(), [0; 0]);
        }
        assert_eq!(server.clients(), 0);
        server.expect_no_messages();
    }
}

#[test]
fn paused_and_played() {
    let server = ServerFixture::with_recording(300, 20_000, LOSSLESS).play();
    let watcher = read_in_background(server.viewer());
    for number in 0..60 {
        assert_eq!(watcher.next(), Some(number));
        if number % 3 == 0 {
            server.set_state(gst::State::Paused);
            server.set_state(gst::State::Playing);
        }
    }
    assert_eq!(watcher.rest(), Vec::from_iter(60..300));
    server.wait_for_clean_end();
}

#[test]
fn moved_while_it_plays() {
    const FRAMES: usize = 400;
    let server =
        ServerFixture::with_recording(FRAMES, 20_000, &format!("{LOSSLESS} queue-frames=2")).play();
    let mut viewer = server.viewer();
    let mut number = next_number(&mut viewer);
    assert_eq!(number, 0);
    // Farther apart than what is on its way.
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

/// The frame that a paused pipeline holds is sent when it plays, and once.
#[test]
fn the_first_frame_of_a_paused_pipeline() {
    let server = ServerFixture::with_recording(50, SMALL, "queue-frames=1000");
    server.pipeline.settle(gst::State::Paused);
    let viewer = server.viewer();
    server.pipeline.play();
    assert_complete(&remaining_numbers(viewer), 50);
    server.wait_for_clean_end();
}

/// A film that has ended can be played again without a stop.
#[test]
fn moved_after_its_end() {
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

/// Whoever stops reading a film for good does not keep it from its end.
#[test]
fn left_in_the_middle() {
    for leave in [drop, Viewer::reset] {
        let server = ServerFixture::with_recording(300, 20_000, LOSSLESS).play();
        let mut viewer = server.viewer();
        (0..10).for_each(|number| assert_eq!(next_number(&mut viewer), number));
        leave(viewer);
        server.wait_for_clients(0);
        // The next one gets what is left, if anything is.
        let numbers = remaining_numbers(Viewer::connect(server.address()));
        assert_consecutive(&numbers);
        assert!(numbers.last().is_none_or(|last| *last == 299));
        server.wait_for_clean_end();
    }
}

/// At its own rate, as files are played, unless somebody says otherwise.
#[test]
fn it_is_paced_by_default() {
    crate::common::init();
    let sink = gst::ElementFactory::make("b64jpegserversink").build();
    let sink = sink.expect("it is registered");
    assert!(sink.property::<bool>("sync"));
    assert!(sink.property::<bool>("async"));
}

/// The other branch of a tee gets everything as well, and the wait holds both.
#[test]
fn beside_another_branch() {
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

/// Clients that slept through everything do not stop the other branch.
#[test]
fn another_branch_is_not_held() {
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
    wait_until("all are there", || {
        others += other.take().len();
        others == 100
    });
    server.expect_no_messages();
}

/// Two servers in one pipeline, each with its own clients.
#[test]
fn two_servers() {
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
    wait_until("it is taken", || other.property::<u32>("clients") == 1);
    server.push(0..5);
    server.push_eos();
    assert_complete(&remaining_numbers(viewer), 5);
    assert_eq!(raw.bytes_until_closed().len(), 5 * (4 + SMALL));
    server.wait_for_clean_end();
}
