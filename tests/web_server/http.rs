// SPDX-License-Identifier: MPL-2.0

//! What there is to ask for by HTTP.

use std::io::Write;

use serde_json::Value;

use super::fixture::{HttpResponse, WebServerFixture, connect};
use crate::common::{
    film::{SMALL, number, picture},
    guard::wait_until,
};

#[test]
fn the_page_is_whole() {
    let server = WebServerFixture::start("");
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"));
    for outside in [
        "src=\"http",
        "src=\"//",
        "href=\"http",
        "@import",
        "url(http",
    ] {
        assert!(!page.text().contains(outside), "{outside}");
    }
    let head = server.ask("HEAD", "/", &[]);
    assert_eq!(head.header("content-length"), page.header("content-length"));
    for client in ["/socket.io/socket.io.js", "/socket.io/socket.io.min.js"] {
        let client = server.get(client);
        assert_eq!(
            client.header("content-type"),
            Some("text/javascript; charset=utf-8")
        );
        assert!(client.text().contains("Socket.IO v4"));
    }
    server.expect_silence();
}

#[test]
fn a_snapshot_is_the_newest_picture() {
    let server = WebServerFixture::start("");
    let early = server.get("/snapshot.jpg");
    assert_eq!(
        (early.status, early.header("retry-after")),
        (503, Some("1"))
    );
    for number in [3, 4] {
        server.show(number);
        let snapshot = server.get("/snapshot.jpg");
        assert_eq!(snapshot.status, 200);
        assert_eq!(snapshot.header("content-type"), Some("image/jpeg"));
        assert_eq!(snapshot.body, picture(number, SMALL));
        let time: f64 = snapshot
            .header("x-timestamp")
            .expect("a time")
            .parse()
            .expect("a number");
        assert!(time > 1e9);
    }
    let head = server.ask("HEAD", "/snapshot.jpg", &[]);
    assert_eq!(head.header("content-length"), Some(&*SMALL.to_string()));
    // After the end the last one stays.
    server.end_feed();
    server.pipeline.wait_for_clean_end();
    assert_eq!(number(&server.get("/snapshot.jpg").body), 4);
    assert_eq!(server.viewers(), 0, "it is nobody who watches");
}

#[test]
fn a_stream_has_every_picture_for_who_is_fast() {
    let server = WebServerFixture::start("");
    let mut viewer = server.watch("/stream.mjpg");
    server.wait_for_viewers(1);
    for number in 0..30 {
        server.push(number..number + 1);
        assert_eq!(viewer.next(), number);
    }
    // Whoever comes later begins with what is there.
    let mut late = server.watch("/stream.mjpg?camera=");
    assert_eq!(late.next(), 29);
    let [said, _] = &server.said("socketio-viewer-added")[..] else {
        panic!("two came");
    };
    let address = viewer.stream().local_addr().expect("connected").to_string();
    assert_eq!(said.get::<String>("address").unwrap(), address);
    assert_eq!(said.get::<String>("kind").unwrap(), "mjpeg");
    assert_eq!(said.get::<u32>("viewers").unwrap(), 1);
    drop(viewer);
    server.wait_for_viewers(1);
    let gone = server.said("socketio-viewer-removed");
    assert_eq!(gone[0].get::<u64>("frames").unwrap(), 30);
    assert_eq!(gone[0].get::<u64>("dropped").unwrap(), 0);
    server.expect_silence();
}

/// Browsers show a picture when they see another one begin.
#[test]
fn a_picture_that_stays_is_sent_twice() {
    let server = WebServerFixture::start("");
    let mut viewer = server.watch("/stream.mjpg");
    for number in [1, 2] {
        server.show(number);
        for _ in 0..2 {
            let jpeg = viewer.next_bytes().expect("a picture");
            assert_eq!(jpeg, picture(number, SMALL));
        }
    }
    drop(viewer);
    server.wait_for_viewers(0);
    let gone = &server.said("socketio-viewer-removed")[0];
    assert_eq!(gone.get::<u64>("frames").unwrap(), 2);
    assert_eq!(gone.get::<u64>("dropped").unwrap(), 0);
}

/// Somebody who asks what there is does not watch.
#[test]
fn heads_have_no_body() {
    let server = WebServerFixture::start("");
    let head = server.ask("HEAD", "/stream.mjpg", &[]);
    assert_eq!(head.status, 200);
    let boundary = "multipart/x-mixed-replace; boundary=frame";
    assert_eq!(head.header("content-type"), Some(boundary));
    assert_eq!(server.said("socketio-viewer-added").len(), 0);
    assert_eq!(server.ask("HEAD", "/stats", &[]).status, 200);
}

#[test]
fn what_is_not_there() {
    let server = WebServerFixture::start("camera=front");
    for (method, path, status, text) in [
        ("GET", "/nothing", 404, "/stream.mjpg"),
        ("GET", "/snapshot.jpg?camera=back", 404, "front"),
        ("GET", "/stream.mjpg?camera=back", 404, "front"),
        ("GET", "/stream.mjpg/", 404, "/stream.mjpg"),
        ("POST", "/stats", 405, "GET"),
        ("DELETE", "/", 405, "GET"),
        ("GET", "/socket.io/", 400, "Transport unknown"),
        (
            "GET",
            "/socket.io/?EIO=3&transport=polling",
            400,
            "protocol version",
        ),
        (
            "GET",
            "/socket.io/?EIO=4&transport=polling&sid=none",
            400,
            "SocketIoViewer ID",
        ),
    ] {
        let answer = server.ask(method, path, &[]);
        assert_eq!(answer.status, status, "{method} {path}");
        assert!(
            answer.text().contains(text),
            "{method} {path}: {}",
            answer.text()
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    }
    server.expect_silence();
}

#[test]
fn several_requests_over_one_connection() {
    let server = WebServerFixture::start("");
    server.show(7);
    let stream = connect(server.address());
    for _ in 0..3 {
        let request = "GET /snapshot.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n";
        (&stream).write_all(request.as_bytes()).expect("it listens");
        assert_eq!(number(&HttpResponse::read(&stream, false).body), 7);
    }
}

/// The property and the page tell the same.
#[test]
fn stats_tell_the_same_everywhere() {
    let server = WebServerFixture::start("camera=front");
    let mut viewer = server.watch("/stream.mjpg");
    for number in 0..5 {
        server.push(number..number + 1);
        assert_eq!(viewer.next(), number);
    }
    server.push_bytes(b"no picture".to_vec(), 5);
    wait_until("it is refused", || server.count("errors") == 1);
    let stats = server.get("/stats");
    assert_eq!(stats.header("content-type"), Some("application/json"));
    let json = stats.json();
    let camera = &json["cameras"][0];
    assert_eq!(camera["name"], "front");
    assert_eq!(camera["frames"], 5);
    assert_eq!(camera["errors"], 1);
    assert_eq!(camera["bytes"], 5 * SMALL + 10);
    assert!(camera["width"].as_u64() > Some(0) && camera["height"].as_u64() > Some(0));
    let watching = &json["viewers"][0];
    assert_eq!(
        (&watching["kind"], &watching["frames"]),
        (&Value::from("mjpeg"), &Value::from(5))
    );
    assert!(json["bytes-served"].as_u64() > Some(5 * SMALL as u64));

    let structure = server.stats();
    let first = |name: &str| {
        let array: gst::Array = structure.get(name).expect("an array");
        array[0].get::<gst::Structure>().expect("a structure")
    };
    assert_eq!(first("cameras").get::<u64>("frames").unwrap(), 5);
    assert_eq!(first("cameras").get::<String>("name").unwrap(), "front");
    assert_eq!(first("viewers").get::<u64>("frames").unwrap(), 5);
    for (name, count) in json["refused"].as_object().expect("counts") {
        assert_eq!(server.refused(name), count.as_u64().expect("a count"));
    }
    let warnings = server.pipeline.messages();
    assert!(
        matches!(&warnings[..], [one] if one.contains("Picture 5 is dropped")),
        "{warnings:?}"
    );
}

#[test]
fn a_token_is_needed_but_for_the_page() {
    let server = WebServerFixture::start("token=geheim");
    server.show(0);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/socket.io/socket.io.js").status, 200);
    for path in ["/stream.mjpg", "/snapshot.jpg", "/stats", "/nothing"] {
        for wrong in ["", "?token=", "?token=geheimx", "?token=gehei"] {
            let answer = server.get(&format!("{path}{wrong}"));
            assert_eq!(answer.status, 401, "{path}{wrong}");
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(server.refused("token"), 16);
    let right = server.ask("GET", "/snapshot.jpg", &["Authorization: Bearer geheim"]);
    assert_eq!(right.status, 200);
    assert_eq!(server.watch("/stream.mjpg?token=geheim").next(), 0);
    server.expect_silence();
}

#[test]
fn foreign_pages_are_refused() {
    let server = WebServerFixture::start("allowed-origins=https://friend.example");
    server.show(0);
    let ours = format!("Origin: http://localhost:{}", server.port());
    for path in [
        "/stream.mjpg",
        "/snapshot.jpg",
        "/stats",
        "/socket.io/?EIO=4&transport=polling",
    ] {
        for foreign in ["Origin: http://evil.example", "Origin: null", &ours] {
            // Asked as localhost without a port, the one with is another site.
            let answer = server.ask("GET", path, &[foreign]);
            assert_eq!((path, answer.status), (path, 403));
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    assert_eq!(server.refused("origin"), 12);
    for friend in ["https://friend.example", "http://localhost"] {
        let answer = server.ask("GET", "/snapshot.jpg", &[&format!("Origin: {friend}")]);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some(friend));
    }
    let asked = [
        "Origin: https://friend.example",
        "Access-Control-Request-Method: GET",
    ];
    let preflight = server.ask("OPTIONS", "/stats", &asked);
    assert_eq!(preflight.status, 204);
    let headers = preflight.header("access-control-allow-headers");
    assert!(headers.expect("headers").contains("authorization"));
    assert_eq!(
        server
            .ask("GET", "/", &["Origin: http://evil.example"])
            .status,
        200
    );
}
