// SPDX-License-Identifier: MPL-2.0

//! Started, stopped and started again, whoever watches.

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
    alone::{alone, status},
    film::number,
    guard::wait_until,
    pipeline::Pipeline,
};

/// It stops although some take nothing, and others only as much as they are told to.
#[test]
fn stopped_while_viewers_hang() {
    let server = WebServerFixture::new("");
    for state in [gst::State::Ready, gst::State::Null].repeat(3) {
        server.pipeline.play();
        let port = server.port();
        let mut viewer = server.watch("/stream.mjpg");
        let mut page = server.join("/view", "").expect("it is let in");
        let hung = || connect_small(server.address());
        let _parts = MultipartViewer::ask(hung(), "/stream.mjpg");
        let _others = ["/", "/view"].map(|namespace| SocketIoViewer::join(hung(), namespace, ""));
        server.wait_for_viewers(5);
        for number in 0..20 {
            server.push_sized(number, 200_000);
        }
        wait_until("the newest is shown", || server.count("frames") == 20);
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
        // The port is free, and everybody is told.
        TcpListener::bind(("127.0.0.1", port)).expect("it is free");
        while let Some(jpeg) = viewer.next_bytes() {
            assert!(number(&jpeg) >= first);
        }
        while page.maybe_event().is_some() {}
        assert_eq!(server.count("frames"), 20, "they are still told");
        server.expect_silence();
    }
    let added = server.said("socketio-viewer-added");
    let removed = server.said("socketio-viewer-removed");
    assert_eq!((added.len(), removed.len()), (30, 30));
}

/// By somebody who is told of a viewer, in the thread of the server.
#[test]
fn stopped_from_within() {
    let server = WebServerFixture::start("");
    let pipeline = server.pipeline.0.downgrade();
    let bus = server.pipeline.0.bus().expect("a bus");
    bus.unset_sync_handler();
    bus.set_sync_handler(move |_, message| {
        let said = message
            .structure()
            .is_some_and(|said| said.name() == "socketio-viewer-added");
        if let (true, Some(pipeline)) = (said, pipeline.upgrade()) {
            let _ = pipeline.set_state(gst::State::Null);
        }
        gst::BusSyncReply::Pass
    });
    let mut viewer = MultipartViewer::ask(connect(server.address()), "/stream.mjpg");
    assert!(viewer.next_bytes().is_none());
    wait_until("it is stopped", || {
        server.sink.property::<i32>("current-port") == 0
    });
}

#[test]
fn starts_leak_nothing() {
    let files = || fs::read_dir("/proc/self/fd").expect("Linux").count();
    alone(|| {
        let server = WebServerFixture::new("");
        let (mut fds, mut threads) = (0, 0);
        for round in 0..60 {
            if round == 10 {
                (fds, threads) = (files(), status("Threads"));
            }
            server.pipeline.play();
            let viewer = (round % 2 == 0).then(|| server.watch("/stream.mjpg"));
            let page = (round % 3 == 0).then(|| server.join("/view", ""));
            // Neither of these comes to anything before the end.
            let polling = "/socket.io/?EIO=4&transport=polling";
            let websocket = "/socket.io/?EIO=4&transport=websocket";
            assert_eq!(server.get(polling).status, 200);
            let upgrade = request("GET", websocket, &UPGRADE);
            let mut stream = connect(server.address());
            stream.write_all(upgrade.as_bytes()).expect("it listens");
            stream.read_exact(&mut [0; 12]).expect("an answer");
            server.push(0..2);
            server.set_state(gst::State::Null);
            drop((viewer, page));
        }
        let (now, then) = (status("Threads"), threads);
        assert!(now <= then + 5, "{then} threads, then {now}");
        let (now, then) = (files(), fds);
        assert!(now <= then + 5, "{then} descriptors, then {now}");
        server.expect_silence();
    });
}

#[test]
fn what_to_open() {
    let server = WebServerFixture::start("");
    let url = |server: &WebServerFixture| server.sink.property::<Option<String>>("url");
    let expected = format!("http://127.0.0.1:{}/", server.port());
    assert_eq!(url(&server), Some(expected));
    let server = WebServerFixture::start("host=0.0.0.0 token=geheim");
    let expected = format!("http://localhost:{}/", server.port());
    assert_eq!(url(&server), Some(expected));
    server.expect_silence();
}

/// At its own rate, as files are played, unless somebody says otherwise; and with what it
/// has before it plays.
#[test]
fn in_a_pipeline() {
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

/// The pipeline does not wait for anybody.
#[test]
fn what_is_no_picture_is_dropped() {
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
