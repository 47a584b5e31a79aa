// SPDX-License-Identifier: MPL-2.0

//! Peers that connect too often, send too much or stall: other viewers are not affected.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpStream},
    process::Command,
    time::Duration,
};

use gst::prelude::*;
use socket2::SockRef;

use super::fixture::{
    HttpResponse, MultipartViewer, SocketIoViewer, UPGRADE, WebServerFixture, connect,
    connect_small, request,
};
use crate::common::{
    isolation::{in_own_process, process_status, raise_file_limit},
    numbered_pictures::number,
    process::{Program, with_plugin},
    wait::wait_until,
};

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Waits until the server closes a connection, and ignores what it sends before.
#[track_caller]
fn expect_close(mut stream: TcpStream) {
    let end = stream.read_to_end(&mut Vec::new());
    let kind = end.err().map(|error| error.kind());
    assert!(
        matches!(kind, None | Some(ErrorKind::ConnectionReset)),
        "{kind:?}"
    );
}

#[test]
fn incomplete_head_is_closed_and_counted() {
    let server = WebServerFixture::start("");
    let mut viewer = server.watch("/stream.mjpg");
    let slow: Vec<_> = (0..30)
        .map(|number| {
            let mut stream = connect(server.address());
            let part = &request("GET", "/", &["X-Long: yes"]).into_bytes()[..number * 2];
            stream.write_all(part).expect("a listening server");
            stream
        })
        .collect();
    for number in 0..50 {
        server.push(number..number + 1);
        assert_eq!(viewer.next(), number);
    }
    // Without a timeout they would stay open.
    slow.into_iter().for_each(expect_close);
    // One sent nothing at all, as browsers do that connect in advance.
    assert_eq!(server.refused("request"), 29);
    server.push(50..51);
    assert_eq!(viewer.next(), 50);
    server.expect_no_messages();
}

#[test]
fn oversized_or_malformed_head_is_refused_and_counted() {
    let server = WebServerFixture::start("");
    let one = format!("X-Long: {}", "x".repeat(100_000));
    let many: Vec<_> = (0..100).map(|number| format!("X-{number}: y")).collect();
    let many: Vec<_> = many.iter().map(|header| &**header).collect();
    let path = format!("/{}", "x".repeat(100_000));
    let long = [
        request("GET", "/", &[&one]),
        request("GET", "/", &many),
        request("GET", &path, &[]),
        "\u{0}\u{1}\u{2}\r\n\r\n".into(),
        "SSH-2.0-OpenSSH_9.2\r\n".into(),
        "GET / HTTP/9.9\r\n\r\n".into(),
    ];
    for (number, head) in long.iter().enumerate() {
        let mut stream = connect(server.address());
        // The server may close before it has read everything, which can lose its response.
        let _ = stream.write_all(head.as_bytes());
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        assert!(!response.starts_with(b"HTTP/1.1 2"), "{number}");
        wait_until("a counted refusal", || {
            server.refused("request") == number as u64 + 1
        });
    }
    assert_eq!(server.get("/").status, 200);
    server.expect_no_messages();
}

/// A body that is too long or incomplete is refused.
#[test]
fn oversized_or_incomplete_body_is_refused() {
    let server = WebServerFixture::start("");
    let path = "/socket.io/?EIO=4&transport=polling";
    let open = server.get(path);
    let open: serde_json::Value = serde_json::from_str(&open.text()[1..]).expect("JSON");
    let path = format!("{path}&sid={}", open["sid"].as_str().expect("a session"));
    let mut slow = connect(server.address());
    let head = request("POST", &path, &["Content-Length: 1000"]);
    slow.write_all(head.as_bytes()).expect("a listening server");
    assert_eq!(server.post(&path, &"4".repeat(90_000)).status, 413);
    assert_eq!(HttpResponse::read(slow, false).status, 408);
    server.expect_no_messages();
}

/// A viewer of each kind that reads nothing.
enum StalledViewer {
    Multipart(#[expect(dead_code, reason = "kept open")] MultipartViewer),
    SocketIo(#[expect(dead_code, reason = "kept open")] SocketIoViewer),
}

fn stall(server: &WebServerFixture, way: usize) -> StalledViewer {
    let stream = connect_small(server.address());
    match way % 3 {
        0 => StalledViewer::Multipart(MultipartViewer::request(stream, "/stream.mjpg")),
        1 => StalledViewer::SocketIo(
            SocketIoViewer::join(stream, "/", "").expect("an admitted viewer"),
        ),
        _ => StalledViewer::SocketIo(
            SocketIoViewer::join(stream, "/view", "").expect("an admitted viewer"),
        ),
    }
}

/// Sixty stalled viewers are disconnected without cost in memory, while another viewer gets every
/// frame.
#[test]
fn stalled_viewers_are_disconnected_without_memory_growth() {
    const BIG: usize = 200_000;
    in_own_process(|| {
        let server = WebServerFixture::start("");
        let mut viewer = server.watch("/stream.mjpg");
        let mut number = 0;
        let mut next = || {
            server.push_sized(number, BIG);
            assert_eq!(viewer.next(), number);
            number += 1;
        };
        (0..50).for_each(|_| next());
        let (fds, before) = (open_files(), process_status("VmRSS"));
        let stalled: Vec<_> = (0..60).map(|way| stall(&server, way)).collect();
        server.wait_for_viewers(61);
        let mut most = 0;
        wait_until("disconnection", || {
            next();
            most = most.max(process_status("VmRSS"));
            server.viewers() == 1
        });
        // For the frames in flight to each, in the buffers of the kernel and of the process.
        assert!(most < before + 60_000, "{before} kB, then {most} kB");
        drop(stalled);
        wait_until("closed descriptors", || open_files() <= fds);
        next();
        assert_eq!(server.element_messages("socketio-viewer-removed").len(), 60);
        server.expect_no_messages();
    });
}

#[test]
fn ten_thousand_connections_leak_no_descriptors() {
    in_own_process(|| {
        let server = WebServerFixture::start("max-connections-per-address=0");
        let mut viewer = server.watch("/stream.mjpg");
        let mut before = 0;
        let visit = |way: usize| {
            let mut stream = connect(server.address());
            let text = match way % 5 {
                0 => String::new(),
                1 => "GET".into(),
                2 => request("GET", "/stats", &[]),
                3 => request("GET", "/stream.mjpg", &[]),
                _ => request("GET", "/socket.io/?EIO=4&transport=websocket", &UPGRADE),
            };
            stream
                .write_all(text.as_bytes())
                .expect("a listening server");
            if way.is_multiple_of(2) {
                let linger = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                linger.expect("a reset on close");
            }
        };
        for way in 0..10_000 {
            if way == 1000 {
                server.wait_for_viewers(1);
                before = open_files();
            }
            visit(way);
            // No faster than they are accepted, because connections in the backlog are no leak.
            if way % 200 == 0 {
                assert_eq!(server.get("/stats").status, 200);
                server.push(way..way + 1);
                assert_eq!(viewer.next(), way);
            }
        }
        server.wait_for_viewers(1);
        wait_until("closed descriptors", || open_files() <= before + 5);
        server.push(0..1);
        assert_eq!(viewer.next(), 0);
        server.expect_no_messages();
    });
}

#[test]
fn connection_beyond_a_thousand_is_refused() {
    const MAX: usize = 1000;
    in_own_process(|| {
        raise_file_limit(3 * MAX);
        let server = WebServerFixture::start("max-connections-per-address=0");
        server.show(0);
        let viewer = server.watch("/stream.mjpg");
        let pages: Vec<_> = (0..MAX - 1)
            .map(|_| server.join("/view", "").expect("an admitted viewer"))
            .collect();
        expect_close(connect(server.address()));
        assert_eq!(server.refused("connections"), 1);
        drop(viewer);
        wait_until("an admitted viewer", || server.viewers() == MAX as u32 - 1);
        assert_eq!(number(&server.get("/snapshot.jpg").body), 0);
        drop(pages);
        server.wait_for_viewers(0);
        server.expect_no_messages();
    });
}

/// Engine.IO sessions that open no namespace.
#[test]
fn sessions_without_namespace_are_no_viewers() {
    let server = WebServerFixture::start("max-clients=1 max-connections-per-address=0");
    let path = "/socket.io/?EIO=4&transport=polling";
    for _ in 0..300 {
        assert_eq!(server.get(path).status, 200);
    }
    assert_eq!(server.viewers(), 0);
    let mut viewer = server.join("/", "").expect("an admitted viewer");
    server.push(0..1);
    assert_eq!(viewer.next(), 0);
    assert_eq!(server.sink.property::<u32>("viewers"), 1);
}

/// Most programs do not ignore SIGPIPE, and a viewer that disconnects must not end them.
#[test]
fn disconnecting_viewers_raise_no_sigpipe() {
    const LINE: &str = "gst-launch-1.0 -v videotestsrc is-live=true ! video/x-raw,framerate=100/1 \
                        ! jpegenc ! socketioserversink name=server port=0 sync=false";
    let mut words = LINE.split_whitespace();
    let mut command = Command::new(words.next().expect("a program"));
    let mut program = Program::start(with_plugin(&mut command).args(words));
    let port = loop {
        let line = program.expect_line(":server: current-port = ");
        let port = line.rsplit(' ').next().and_then(|port| port.parse().ok());
        if let Some(port @ 1..) = port {
            break port;
        }
    };
    let request = |path: &str| {
        let mut viewer =
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("a listening server");
        let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        viewer.write_all(head.as_bytes()).expect("a reading server");
        let mut response = [0; 1000];
        viewer.read_exact(&mut response).expect("a response");
        viewer
    };
    for _ in 0..1000 {
        // The viewer first shuts down its side; data that arrives later is answered with a reset.
        let viewer = request("/stream.mjpg");
        viewer.shutdown(Shutdown::Write).expect("a connection");
    }
    request("/snapshot.jpg");
    program.signal_group("INT");
    program.finish();
}
