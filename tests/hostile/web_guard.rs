// SPDX-License-Identifier: MPL-2.0

//! Attacks on access control: guessed tokens, and pages of other sites.

use std::{io::Write, net::Ipv4Addr};

use gst::prelude::*;

use super::web::{attacker, connect_from};
use crate::{
    common::wait::wait_until,
    web_server_fixture::{HttpResponse, SocketIoViewer, WebServerFixture, request},
};

/// Sends a GET request from an address; returns the response.
#[track_caller]
fn ask_from(
    address: Ipv4Addr,
    server: &WebServerFixture,
    path: &str,
    headers: &[&str],
) -> HttpResponse {
    let mut stream = connect_from(address, server.address());
    let request = request("GET", path, headers);
    stream
        .write_all(request.as_bytes())
        .expect("a listening server");
    HttpResponse::read(stream, false)
}

/// Sends a GET request with this `Host` header; returns the response.
#[track_caller]
fn ask_as(host: &str, server: &WebServerFixture, path: &str) -> HttpResponse {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let mut stream = connect_from(Ipv4Addr::LOCALHOST, server.address());
    stream
        .write_all(head.as_bytes())
        .expect("a listening server");
    HttpResponse::read(stream, false)
}

#[test]
fn guessed_tokens_hold_up_the_address_that_guesses() {
    let server = WebServerFixture::start("token=geheim");
    server.show(0);
    let guess = |number: u32| {
        let path = format!("/snapshot.jpg?token={number}");
        ask_from(attacker(0), &server, &path, &[]).status
    };
    let answers: Vec<_> = (0..60).map(guess).collect();
    assert_eq!(answers[..20], [401; 20]);
    assert_eq!(answers[59], 429);
    // A correct token is refused as well; otherwise a guesser would learn it.
    let right = "/snapshot.jpg?token=geheim";
    let held = ask_from(attacker(0), &server, right, &[]);
    assert_eq!(held.status, 429);
    assert_eq!(held.header("retry-after"), Some("3"));
    assert!(held.text().contains("Too many wrong tokens"));
    let auth = r#"{"token":"geheim"}"#;
    let join = || SocketIoViewer::join(connect_from(attacker(0), server.address()), "/", auth);
    assert_eq!(join().expect_err("it is held up as well"), "token");
    // Other addresses are not affected, nor is the page that asks for the token.
    assert_eq!(server.get(right).status, 200);
    assert!(server.join("/", auth).is_ok());
    assert_eq!(ask_from(attacker(0), &server, "/", &[]).status, 200);
    wait_until("the end of the lock-out", || join().is_ok());
}

/// Otherwise an image in a page of another site could lock out the person who views that page.
#[test]
fn guesses_of_foreign_pages_do_not_lock_out_viewer() {
    let server = WebServerFixture::start("token=geheim");
    server.show(0);
    for number in 0..40 {
        let path = format!("/snapshot.jpg?token={number}");
        let status = server
            .request("GET", &path, &["Sec-Fetch-Site: cross-site"])
            .status;
        assert_eq!(status, if number < 20 { 401 } else { 429 }, "{number}");
    }
    assert_eq!(server.get("/snapshot.jpg?token=geheim").status, 200);
}

/// An unattended program may retry an old token for ever.
#[test]
fn repeated_old_token_does_not_lock_out_viewer() {
    let server = WebServerFixture::start("token=geheim");
    server.show(0);
    for _ in 0..100 {
        assert_eq!(server.get("/snapshot.jpg?token=alt").status, 401);
    }
    assert_eq!(server.get("/snapshot.jpg?token=geheim").status, 200);
}

/// An old page asks without a token or stops asking.
#[test]
fn requests_without_token_are_no_guesses() {
    let server = WebServerFixture::start("token=geheim");
    server.show(0);
    for _ in 0..100 {
        assert_eq!(server.get("/snapshot.jpg").status, 401);
    }
    assert_eq!(server.get("/snapshot.jpg?token=geheim").status, 200);
}

/// A page of evil.example whose name resolves to this server once it is loaded (DNS rebinding).
#[test]
fn foreign_host_names_are_refused_wherever_no_token_guards() {
    for host in ["127.0.0.1", "0.0.0.0"] {
        let server = WebServerFixture::start(&format!("host={host}"));
        server.show(0);
        for path in [
            "/",
            "/snapshot.jpg",
            "/stats",
            "/socket.io/?EIO=4&transport=polling",
        ] {
            let ask = |host: &str| ask_as(host, &server, path);
            for foreign in [
                "evil.example",
                "evil.example:8080",
                "localhost.evil.example",
            ] {
                let answer = ask(foreign);
                assert_eq!((path, answer.status), (path, 403), "{foreign} on {host}");
                assert!(
                    answer.text().contains("allowed-origins"),
                    "{}",
                    answer.text()
                );
            }
            for own in ["127.0.0.1", "localhost:8080", "[::1]"] {
                assert_eq!((path, ask(own).status), (path, 200), "{own} on {host}");
            }
            let reachable = host == "0.0.0.0";
            let by_name = ask("raspberrypi.local:8080").status == 200;
            assert_eq!(by_name, reachable, "{path} on {host}");
        }
        let guarded = WebServerFixture::start(&format!("host={host} token=geheim"));
        guarded.show(0);
        let path = "/snapshot.jpg?token=geheim";
        assert_eq!(ask_as("evil.example", &guarded, path).status, 200);
    }
}

#[test]
fn pages_of_other_sites_embed_nothing_unless_allowed() {
    let policy = |server: &WebServerFixture, path| {
        let answer = server.get(path);
        let header = |name| answer.header(name).unwrap_or_default().to_owned();
        (
            header("cross-origin-resource-policy"),
            header("content-security-policy"),
        )
    };
    let server = WebServerFixture::start("");
    server.show(0);
    for path in ["/", "/snapshot.jpg", "/stats", "/nothing"] {
        let (resources, frames) = policy(&server, path);
        assert_eq!(resources, "same-site", "{path}");
        assert!(
            frames.ends_with("frame-ancestors 'none'"),
            "{path}: {frames}"
        );
    }
    // The page's own policy still comes first.
    assert!(policy(&server, "/").1.starts_with("default-src 'none'; "));

    // A viewer who knows the token may embed the frames anywhere.
    let guarded = WebServerFixture::start("token=geheim");
    guarded.show(0);
    let (resources, frames) = policy(&guarded, "/snapshot.jpg?token=geheim");
    assert_eq!(resources, "cross-origin");
    assert!(frames.ends_with("frame-ancestors 'none'"), "{frames}");

    let open = WebServerFixture::start("allowed-origins=https://friend.example");
    open.show(0);
    let (resources, frames) = policy(&open, "/");
    assert_eq!(resources, "cross-origin");
    assert!(
        frames.ends_with("frame-ancestors 'self' https://friend.example"),
        "{frames}"
    );
}

#[test]
fn foreign_site_reads_not_even_the_page() {
    let server = WebServerFixture::start("allowed-origins=https://friend.example");
    let allowed = |origin: &str| {
        let answer = server.request("GET", "/", &[&format!("Origin: {origin}")]);
        assert_eq!(answer.status, 200);
        answer.header("access-control-allow-origin").is_some()
    };
    assert!(!allowed("http://evil.example") && !allowed("null"));
    assert!(allowed("https://friend.example"));
}

/// For embedded resources a browser sends no `Origin`, but it says that the site is another one.
#[test]
fn cross_site_requests_open_no_session() {
    let server = WebServerFixture::start("");
    let path = "/socket.io/?EIO=4&transport=polling";
    let ask = |site: &str| {
        server
            .request("GET", path, &[&format!("Sec-Fetch-Site: {site}")])
            .status
    };
    assert_eq!(ask("cross-site"), 403);
    assert_eq!(server.count("sessions"), 0);
    for own in ["same-origin", "same-site", "none"] {
        assert_eq!(ask(own), 200, "{own}");
    }
    assert_eq!(server.sink.property::<u32>("viewers"), 0);
    assert_eq!(server.refused("origin"), 1);
}
