// SPDX-License-Identifier: MPL-2.0

//! State changes with and without viewers.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
};

use gst::prelude::*;

use super::fixture::{
    MultipartViewer, SocketIoViewer, UPGRADE, WebServerFixture, connect, connect_small, request,
};
use crate::common::{
    isolation::{in_own_process, process_status},
    numbered_pictures::number,
    pipeline::Pipeline,
    wait::wait_until,
};

/// Some viewers read nothing at all, others only a part.
#[test]
fn stop_with_stalled_viewers_is_bounded_and_frees_port() {
    let server = WebServerFixture::new("");
    for state in [gst::State::Ready, gst::State::Null].repeat(3) {
        server.pipeline.play();
        let port = server.port();
        let mut viewer = server.watch("/stream.mjpg");
        let mut page = server.join("/view", "").expect("an admitted viewer");
        let stalled = || connect_small(server.address());
        let _parts = MultipartViewer::request(stalled(), "/stream.mjpg");
        let _others =
            ["/", "/view"].map(|namespace| SocketIoViewer::join(stalled(), namespace, ""));
        server.wait_for_viewers(5);
        for number in 0..20 {
            server.push_sized(number, 200_000);
        }
        wait_until("all frames", || server.count("frames") == 20);
        let first = viewer.next();
        server.set_state(state);
        assert_eq!(
            (
                server.viewers(),
                server.sink.property::<i32>("current-port")
            ),
            (0, 0)
        );
        assert_eq!(server.sink.property::<Option<String>>("url"), None);
        // The port is free, and the streams of all viewers end.
        TcpListener::bind(("127.0.0.1", port)).expect("a free port");
        while let Some(jpeg) = viewer.next_bytes() {
            assert!(number(&jpeg) >= first);
        }
        while page.maybe_event().is_some() {}
        assert_eq!(server.count("frames"), 20, "statistics stay available");
        server.expect_no_messages();
    }
    let added = server.element_messages("socketio-viewer-added");
    let removed = server.element_messages("socketio-viewer-removed");
    assert_eq!((added.len(), removed.len()), (30, 30));
}

/// The handler of a message stops the pipeline in a thread of the server.
#[test]
fn stop_from_server_thread_succeeds() {
    let server = WebServerFixture::start("");
    let pipeline = server.pipeline.0.downgrade();
    let bus = server.pipeline.0.bus().expect("a bus");
    bus.unset_sync_handler();
    bus.set_sync_handler(move |_, message| {
        let is_added = message
            .structure()
            .is_some_and(|structure| structure.name() == "socketio-viewer-added");
        if let (true, Some(pipeline)) = (is_added, pipeline.upgrade()) {
            let _ = pipeline.set_state(gst::State::Null);
        }
        gst::BusSyncReply::Pass
    });
    let mut viewer = MultipartViewer::request(connect(server.address()), "/stream.mjpg");
    assert!(viewer.next_bytes().is_none());
    wait_until("the stop", || {
        server.sink.property::<i32>("current-port") == 0
    });
}

#[test]
fn restarts_leak_no_threads_or_descriptors() {
    let files = || fs::read_dir("/proc/self/fd").expect("Linux").count();
    in_own_process(|| {
        let server = WebServerFixture::new("");
        let (mut fds, mut threads) = (0, 0);
        for round in 0..60 {
            if round == 10 {
                (fds, threads) = (files(), process_status("Threads"));
            }
            server.pipeline.play();
            let viewer = (round % 2 == 0).then(|| server.watch("/stream.mjpg"));
            let page = (round % 3 == 0).then(|| server.join("/view", ""));
            // Neither of these sessions opens a namespace.
            let polling = "/socket.io/?EIO=4&transport=polling";
            let websocket = "/socket.io/?EIO=4&transport=websocket";
            assert_eq!(server.get(polling).status, 200);
            let upgrade = request("GET", websocket, &UPGRADE);
            let mut stream = connect(server.address());
            stream
                .write_all(upgrade.as_bytes())
                .expect("a listening server");
            stream.read_exact(&mut [0; 12]).expect("a response");
            server.push(0..2);
            server.set_state(gst::State::Null);
            drop((viewer, page));
        }
        let (now, then) = (process_status("Threads"), threads);
        assert!(now <= then + 5, "{then} threads, then {now}");
        let (now, then) = (files(), fds);
        assert!(now <= then + 5, "{then} descriptors, then {now}");
        server.expect_no_messages();
    });
}

#[test]
fn url_is_one_that_a_browser_can_open() {
    let server = WebServerFixture::start("");
    let url = |server: &WebServerFixture| server.sink.property::<Option<String>>("url");
    let expected = format!("http://127.0.0.1:{}/", server.port());
    assert_eq!(url(&server), Some(expected));
    let server = WebServerFixture::start("host=0.0.0.0 token=geheim");
    let expected = format!("http://localhost:{}/", server.port());
    assert_eq!(url(&server), Some(expected));
    server.expect_no_messages();
}

/// By default the sink is synchronised and prerolls.
#[test]
fn pipeline_with_default_sync_shows_every_frame() {
    let pipeline = Pipeline::launch(
        "videotestsrc num-buffers=5 ! video/x-raw,framerate=50/1 ! jpegenc
         ! socketioserversink name=server port=0",
    );
    let sink = pipeline.element::<gst::Element>("server");
    assert!(sink.property::<bool>("sync") && sink.property::<bool>("async"));
    pipeline.play();
    pipeline.wait_for_clean_end();
    let stats: gst::Structure = sink.property("stats");
    assert_eq!(stats.get::<u64>("frames").unwrap(), 5);
}

/// A buffer without a JPEG is dropped with a warning.
#[test]
fn buffer_without_jpeg_is_dropped_with_warning() {
    let server = WebServerFixture::start("");
    let mut viewer = server.watch("/stream.mjpg");
    server.push(0..1);
    assert_eq!(viewer.next(), 0);
    server.push_bytes(b"\x89PNG".to_vec(), 1);
    server.push_bytes(vec![], 2);
    server.push(3..4);
    assert_eq!(viewer.next(), 3);
    let warnings = server.pipeline.messages();
    let [png, empty] = &warnings[..] else {
        panic!("{warnings:?}");
    };
    assert!(png.contains("Picture 1 is dropped") && empty.contains("Picture 2 is dropped"));
    assert_eq!(server.count("errors"), 2);
}
