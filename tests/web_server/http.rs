// SPDX-License-Identifier: MPL-2.0

//! The paths that the server has for HTTP.

use std::io::Write;

use serde_json::Value;

use super::fixture::{HttpResponse, WebServerFixture, connect};
use crate::common::{
    numbered_pictures::{SMALL, number, picture},
    wait::wait_until,
};

#[test]
fn page_is_self_contained() {
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
    let head = server.request("HEAD", "/", &[]);
    assert_eq!(head.header("content-length"), page.header("content-length"));
    for client in ["/socket.io/socket.io.js", "/socket.io/socket.io.min.js"] {
        let client = server.get(client);
        assert_eq!(
            client.header("content-type"),
            Some("text/javascript; charset=utf-8")
        );
        assert!(client.text().contains("Socket.IO v4"));
    }
    server.expect_no_messages();
}

#[test]
fn snapshot_is_newest_frame() {
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
    let head = server.request("HEAD", "/snapshot.jpg", &[]);
    assert_eq!(head.header("content-length"), Some(&*SMALL.to_string()));
    // The last frame stays available after EOS.
    server.push_eos();
    server.pipeline.wait_for_clean_end();
    assert_eq!(number(&server.get("/snapshot.jpg").body), 4);
    assert_eq!(server.viewers(), 0, "a snapshot is no viewer");
}

#[test]
fn stream_fast_viewer_gets_every_frame() {
    let server = WebServerFixture::start("");
    let mut viewer = server.watch("/stream.mjpg");
    server.wait_for_viewers(1);
    for number in 0..30 {
        server.push(number..number + 1);
        assert_eq!(viewer.next(), number);
    }
    // A later viewer begins with the newest frame.
    let mut late = server.watch("/stream.mjpg?camera=");
    assert_eq!(late.next(), 29);
    let [added, _] = &server.element_messages("socketio-viewer-added")[..] else {
        panic!("two viewers");
    };
    let address = viewer.stream().local_addr().expect("connected").to_string();
    assert_eq!(added.get::<String>("address").unwrap(), address);
    assert_eq!(added.get::<String>("kind").unwrap(), "mjpeg");
    assert_eq!(added.get::<u32>("viewers").unwrap(), 1);
    drop(viewer);
    server.wait_for_viewers(1);
    let removed = server.element_messages("socketio-viewer-removed");
    assert_eq!(removed[0].get::<u64>("frames").unwrap(), 30);
    assert_eq!(removed[0].get::<u64>("dropped").unwrap(), 0);
    server.expect_no_messages();
}

/// Chromium shows a frame only when the next one begins.
#[test]
fn stream_unreplaced_frame_is_sent_twice() {
    let server = WebServerFixture::start("");
    let mut viewer = server.watch("/stream.mjpg");
    for number in [1, 2] {
        server.show(number);
        for _ in 0..2 {
            let jpeg = viewer.next_bytes().expect("a frame");
            assert_eq!(jpeg, picture(number, SMALL));
        }
    }
    drop(viewer);
    server.wait_for_viewers(0);
    let removed = &server.element_messages("socketio-viewer-removed")[0];
    assert_eq!(removed.get::<u64>("frames").unwrap(), 2);
    assert_eq!(removed.get::<u64>("dropped").unwrap(), 0);
}

/// A HEAD request makes no viewer.
#[test]
fn head_request_gets_headers_only() {
    let server = WebServerFixture::start("");
    let head = server.request("HEAD", "/stream.mjpg", &[]);
    assert_eq!(head.status, 200);
    let boundary = "multipart/x-mixed-replace; boundary=frame";
    assert_eq!(head.header("content-type"), Some(boundary));
    assert_eq!(server.element_messages("socketio-viewer-added").len(), 0);
    assert_eq!(server.request("HEAD", "/stats", &[]).status, 200);
}

#[test]
fn unknown_path_or_method_gets_error_with_alternatives() {
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
            "Session ID",
        ),
    ] {
        let response = server.request(method, path, &[]);
        assert_eq!(response.status, status, "{method} {path}");
        assert!(
            response.text().contains(text),
            "{method} {path}: {}",
            response.text()
        );
        assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    }
    server.expect_no_messages();
}

#[test]
fn connection_is_reused_for_several_requests() {
    let server = WebServerFixture::start("");
    server.show(7);
    let stream = connect(server.address());
    for _ in 0..3 {
        let request = "GET /snapshot.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n";
        (&stream)
            .write_all(request.as_bytes())
            .expect("a listening server");
        assert_eq!(number(&HttpResponse::read(&stream, false).body), 7);
    }
}

/// The property and the path `/stats` agree.
#[test]
fn stats_property_and_path_agree() {
    let server = WebServerFixture::start("camera=front");
    let mut viewer = server.watch("/stream.mjpg");
    for number in 0..5 {
        server.push(number..number + 1);
        assert_eq!(viewer.next(), number);
    }
    server.push_bytes(b"no picture".to_vec(), 5);
    wait_until("an error", || server.count("errors") == 1);
    let stats = server.get("/stats");
    assert_eq!(stats.header("content-type"), Some("application/json"));
    let json = stats.json();
    let camera = &json["cameras"][0];
    assert_eq!(camera["name"], "front");
    assert_eq!(camera["frames"], 5);
    assert_eq!(camera["errors"], 1);
    assert_eq!(camera["bytes"], 5 * SMALL + 10);
    assert!(camera["width"].as_u64() > Some(0) && camera["height"].as_u64() > Some(0));
    let viewer_stats = &json["viewers"][0];
    assert_eq!(
        (&viewer_stats["kind"], &viewer_stats["frames"]),
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
fn request_without_token_is_refused_except_for_page() {
    let server = WebServerFixture::start("token=geheim");
    server.show(0);
    assert_eq!(server.get("/").status, 200);
    assert_eq!(server.get("/socket.io/socket.io.js").status, 200);
    for path in ["/stream.mjpg", "/snapshot.jpg", "/stats", "/nothing"] {
        for wrong in ["", "?token=", "?token=geheimx", "?token=gehei"] {
            let response = server.get(&format!("{path}{wrong}"));
            assert_eq!(response.status, 401, "{path}{wrong}");
            assert_eq!(response.header("www-authenticate"), Some("Bearer"));
        }
    }
    assert_eq!(server.refused("token"), 16);
    let accepted = server.request("GET", "/snapshot.jpg", &["Authorization: Bearer geheim"]);
    assert_eq!(accepted.status, 200);
    assert_eq!(server.watch("/stream.mjpg?token=geheim").next(), 0);
    server.expect_no_messages();
}

#[test]
fn request_from_foreign_origin_is_refused() {
    let server = WebServerFixture::start("allowed-origins=https://friend.example");
    server.show(0);
    let other_port = format!("Origin: http://localhost:{}", server.port());
    for path in [
        "/stream.mjpg",
        "/snapshot.jpg",
        "/stats",
        "/socket.io/?EIO=4&transport=polling",
    ] {
        for foreign in ["Origin: http://evil.example", "Origin: null", &other_port] {
            // The request names localhost without a port, so the origin with a port is foreign.
            let response = server.request("GET", path, &[foreign]);
            assert_eq!((path, response.status), (path, 403));
            assert_eq!(response.header("access-control-allow-origin"), None);
        }
    }
    assert_eq!(server.refused("origin"), 12);
    for friend in ["https://friend.example", "http://localhost"] {
        let response = server.request("GET", "/snapshot.jpg", &[&format!("Origin: {friend}")]);
        assert_eq!(response.status, 200);
        assert_eq!(response.header("access-control-allow-origin"), Some(friend));
    }
    let headers = [
        "Origin: https://friend.example",
        "Access-Control-Request-Method: GET",
    ];
    let preflight = server.request("OPTIONS", "/stats", &headers);
    assert_eq!(preflight.status, 204);
    let allowed = preflight.header("access-control-allow-headers");
    assert!(allowed.expect("headers").contains("authorization"));
    assert_eq!(
        server
            .request("GET", "/", &["Origin: http://evil.example"])
            .status,
        200
    );
}
