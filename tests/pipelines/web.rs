// SPDX-License-Identifier: MPL-2.0

//! Frames in browsers and through relays.

use std::{io::Write, process::Command};

use serde_json::Value;

use super::{
    script::{Display, Running, script},
    video::{FRAMES, clip},
};
use crate::common::{
    certificates::Authority,
    pipeline::{make_file, scratch},
    process::PATIENCE,
    raw_server::ReservedPort,
    relay::{Relay, RelayKind},
    wait::wait_for,
};

/// Sends a GET request; returns the status and the body.
#[track_caller]
fn get(url: &str, options: &[&str]) -> (u16, Vec<u8>) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--write-out", "%{stderr}%{http_code}"]);
    curl.args(["--max-time", &PATIENCE.as_secs().to_string()]);
    let output = curl.args(options).arg(url).output().expect("curl");
    // curl prints 000 if there is no response.
    let status = String::from_utf8(output.stderr).expect("UTF-8");
    (status.parse().expect("a status"), output.stdout)
}

/// The newest JPEG, once there is one.
#[track_caller]
fn snapshot(url: &str) -> Vec<u8> {
    let jpeg = wait_for("a picture", || match get(url, &[]) {
        (503, _) => None,
        (status, jpeg) => {
            assert_eq!(status, 200, "{url}");
            Some(jpeg)
        }
    });
    assert!(jpeg.starts_with(b"\xff\xd8\xff"), "{url}");
    jpeg
}

/// Number of frames a camera has sent.
#[track_caller]
fn frames(address: &str, camera: &str) -> u64 {
    let (_, stats) = get(&format!("{address}/stats"), &[]);
    let stats: Value = serde_json::from_slice(&stats).expect("JSON");
    let mut cameras = stats["cameras"].as_array().expect("cameras").iter();
    let camera = cameras.find(|found| found["name"] == camera);
    camera.expect("it is there")["frames"]
        .as_u64()
        .expect("a number")
}

/// Expects a snapshot other than this one.
#[track_caller]
fn expect_change(url: &str, old: &[u8]) {
    wait_for("another picture", || (snapshot(url) != old).then_some(()));
}

impl Running {
    /// The URL to open in a browser, without its token, and the token.
    #[track_caller]
    fn page(&mut self) -> (String, Option<String>) {
        let line = self.program.expect_line(" in a browser.");
        let url = line.split(' ').find(|word| word.starts_with("http"));
        let url = url.expect("a URL");
        match url.split_once("/#token=") {
            Some((address, token)) => (address.into(), Some(token.into())),
            None => (url.trim_end_matches('/').into(), None),
        }
    }

    /// Ends the script as its user does.
    #[track_caller]
    fn interrupt(self) -> String {
        self.signal("INT");
        self.finish()
    }
}

#[test]
fn web_serves_page_stream_and_snapshot() {
    let mut web = script("web", &["--port", "0", "test"]).start();
    let (address, token) = web.page();
    assert_eq!(token, None);
    web.expect("/stream.mjpg");
    web.expect("Only this machine can watch");
    let (status, page) = get(&format!("{address}/"), &[]);
    assert_eq!(status, 200);
    assert!(page.starts_with(b"<!DOCTYPE html>"));
    let url = format!("{address}/snapshot.jpg");
    expect_change(&url, &snapshot(&url));

    // A viewer watches for a while.
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null"]);
    let curl = curl.arg(format!("{address}/stream.mjpg")).spawn();
    let mut curl = curl.expect("curl");
    web.expect("watches stream.mjpg (1 viewer)");
    curl.kill().expect("a running process");
    curl.wait().expect("it ends");
    web.expect("left (0 viewers)");
    assert!(web.interrupt().contains("Stopped."));
}

#[test]
fn web_allow_lets_pages_of_a_site_embed_pictures() {
    let options = ["--allow", "https://a.example", "--allow=http://b.example"];
    let args = [&["--port", "0"], &options[..], &["test"]].concat();
    let mut web = script("web", &args).start();
    let (address, _) = web.page();
    let (_, head) = get(&address, &["--head"]);
    let head = String::from_utf8(head).expect("ASCII");
    for header in [
        "cross-origin-resource-policy: cross-origin",
        "frame-ancestors 'self' https://a.example http://b.example",
    ] {
        assert!(head.contains(header), "{head}");
    }
    assert!(web.interrupt().contains("Stopped."));
}

#[test]
fn web_per_address_refuses_one_connection_more() {
    let mut web = script("web", &["--port", "0", "--per-address", "1", "test"]).start();
    let (address, _) = web.page();
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--output", "/dev/null"]);
    let curl = curl.arg(format!("{address}/stream.mjpg")).spawn();
    let mut curl = curl.expect("curl");
    web.expect("watches stream.mjpg (1 viewer)");
    let status = || get(&format!("{address}/snapshot.jpg"), &[]).0;
    assert_eq!(status(), 0, "no response");
    curl.kill().expect("a running process");
    curl.wait().expect("it ends");
    web.expect("left (0 viewers)");
    wait_for("a free connection", || (status() == 200).then_some(()));
    assert!(web.interrupt().contains("Stopped."));
}

/// A server that other machines can reach has a token, unless it is disabled.
#[test]
fn web_on_all_addresses_has_token() {
    let port = ReservedPort::new();
    let snapshot = format!("http://127.0.0.1:{}/snapshot.jpg", port.number());
    let start = |options: &[&str]| {
        let port = port.number().to_string();
        let args = [&["--host=0.0.0.0", "--port", &port], options, &["test"]];
        script("web", &args.concat()).start()
    };
    let mut tokens = Vec::new();
    for options in [&[][..], &[], &["--token", "secret & \"more\""]] {
        let mut web = start(options);
        let (_, token) = web.page();
        let token = token.expect("a token");
        assert_eq!(get(&snapshot, &[]).0, 401);
        assert_eq!(get(&format!("{snapshot}?token={token}x"), &[]).0, 401);
        self::snapshot(&format!("{snapshot}?token={token}"));
        let output = web.interrupt();
        assert!(!output.contains("warning"), "{output}");
        tokens.push(token);
    }
    assert!(
        tokens[0] != tokens[1] && tokens[0].len() == 32,
        "{tokens:?}"
    );
    assert_eq!(tokens[2], "secret%20%26%20%22more%22");

    let mut open = start(&["--token="]);
    assert_eq!(open.page().1, None);
    self::snapshot(&snapshot);
    let output = open.interrupt();
    assert!(output.contains("warning"), "{output}");
}

/// The last frame of a video stays available.
#[test]
fn web_serves_live_camera_and_ended_video() {
    let port = ReservedPort::new();
    let port = port.number().to_string();
    let args = ["--port", &port, &clip(), "door=test"];
    let mut web = script("web", &args).start();
    let (address, _) = web.page();
    let url = |camera: &str| format!("{address}/snapshot.jpg?camera={camera}");
    let door = snapshot(&url("door"));
    let name = r#"a 'clip' "ü" \ !"#;
    wait_for("the end of the clip", || {
        (frames(&address, name) == FRAMES as u64).then_some(())
    });
    let clip = url("a%20%27clip%27%20%22%C3%BC%22%20%5C%20%21");
    let last = snapshot(&clip);
    expect_change(&url("door"), &door);
    assert!(snapshot(&clip) == last);
    assert_eq!(get(&url("garden"), &[]).0, 404);
    web.interrupt();
}

#[test]
fn web_ends_with_its_videos() {
    let clip = clip();
    let port = ReservedPort::new();
    let port = port.number().to_string();
    let output = script("web", &["--port", &port, &clip, &format!("again={clip}")])
        .start()
        .finish();
    assert!(output.contains("Every video has ended."), "{output}");
}

/// Videos of different length are repeated independently.
#[test]
fn web_loop_restarts_each_video() {
    let port = ReservedPort::new();
    let port = port.number().to_string();
    let short = scratch("loop.avi");
    make_file("videotestsrc num-buffers=9 ! jpegenc ! avimux", &short);
    let short = format!("short={}", short.display());
    let long = format!("long={}", clip());
    let args = ["--loop", "--port", &port, "--width=64", &short, &long];
    let mut web = script("web", &args).start();
    let (address, _) = web.page();
    for (camera, round) in [("short", 9), ("long", FRAMES as u64)] {
        wait_for("the third round", || {
            (frames(&address, camera) > 2 * round).then_some(())
        });
    }
    assert!(web.interrupt().contains("Stopped."));
}

#[test]
fn web_with_tls_serves_trusting_clients_only() {
    let authority = Authority::new("web.sh");
    let certified = authority.certify("127.0.0.1");
    let args = [
        "--port=0",
        "--tls",
        &certified.certificate,
        &certified.key,
        "test",
    ];
    let mut web = script("web", &args).start();
    let (address, _) = web.page();
    assert!(address.starts_with("https://"), "{address}");
    let ca = authority.file();
    let (status, _) = get(&address, &["--cacert", &ca]);
    assert_eq!(status, 200);

    // A Socket.IO client is accepted too, but not without that certificate.
    let watch = |options: &[&str]| {
        let args = [&["--no-display"], options, &[&address]].concat();
        script("relay-in", &args).start()
    };
    let mut trusting = watch(&["--ca-file", &ca]);
    trusting.expect("frames/s");
    trusting.interrupt();
    let (status, output) = watch(&["--once"]).wait();
    let served = web.interrupt();
    assert_eq!(status.code(), Some(1), "{output}\n{served}");
    assert!(output.contains("certificate"), "{output}\n{served}");
}

/// Each change of the relay is reported once at both ends.
#[test]
fn relay_scripts_reconnect_and_report_each_change_once() {
    let port = ReservedPort::new();
    let port = port.number().to_string();
    let url = format!("http://127.0.0.1:{port}");
    let form = ["--event", "camera", "--camera", "door"];
    let mut sender = script("relay-out", &[&form[..], &[&url, "test"]].concat()).start();
    let args = [&form[..], &["--delay", "--no-display", &url]].concat();
    let mut viewer = script("relay-in", &args).start();
    sender.expect("is not there");
    viewer.expect("is not there");
    for round in 0..2 {
        let relay = Relay::start(RelayKind::Flask, &["--port", &port, "--event", "camera"]);
        sender.expect(if round == 0 {
            "Sending test to"
        } else {
            "is back"
        });
        viewer.expect("; waiting for frames");
        viewer.expect(", delay ");
        drop(relay);
        sender.expect("has gone");
        viewer.expect("has gone");
    }
    for script in [sender, viewer] {
        let output = script.interrupt();
        let count = |what| output.matches(&format!("{url} {what}")).count();
        assert_eq!(count("is not there"), 1, "{output}");
        assert_eq!(count("has gone"), 2, "{output}");
        assert_eq!(count("is back"), 1, "{output}");
        assert!(!output.contains("warning"), "{output}");
    }
}

#[test]
fn relay_scripts_transfer_file_with_token() {
    let relay = Relay::start(
        RelayKind::Node,
        &["--namespace", "/cameras", "--auth", "open sesame"],
    );
    let form = [
        "--namespace=/cameras",
        "--auth",
        r#"{"token": "open sesame"}"#,
    ];
    let mut viewer = script(
        "relay-in",
        &[&form[..], &["--no-display", &relay.url]].concat(),
    )
    .start();
    viewer.expect("; waiting for frames");
    let clip = clip();
    let args = [&form[..], &["--binary", "--width=0", &relay.url, &clip]].concat();
    let output = script("relay-out", &args).start().finish();
    assert!(output.contains("The video has ended."), "{output}");
    viewer.expect("frames/s");
    viewer.interrupt();

    // With a wrong token, or with none.
    for args in [
        &["relay-in", "--namespace=/cameras", &relay.url][..],
        &[
            "relay-out",
            "--auth={}",
            "--namespace=/cameras",
            &relay.url,
            "test",
        ],
    ] {
        let (status, output) = script(args[0], &args[1..]).start().wait();
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(output.contains("wrong token"), "{output}");
    }
}

#[test]
fn web_and_relay_failures_are_one_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let taken = taken.local_addr().expect("an address").port().to_string();
    let keeper = ReservedPort::new();
    let closed_address = format!("127.0.0.1:{}", keeper.number());
    let mut web = script("web", &["--port=0", "--token=t", "test"]).start();
    let (address, _) = web.page();
    let cases: [(&str, &[&str], &str); 8] = [
        ("web", &["--port", &taken, "test"], "already in use"),
        (
            "web",
            &["--host", "192.0.2.1", "test"],
            "no address of this machine",
        ),
        (
            "web",
            &["--port=0", "--tls", file!(), file!(), "test"],
            "has no certificate",
        ),
        (
            "web",
            &["--port", &taken, "test", "x=/dev/video99"],
            "no camera /dev/video99",
        ),
        (
            "relay-in",
            &["--once", &closed_address],
            "Connection refused",
        ),
        ("relay-in", &["ftp://localhost"], "ftp"),
        ("relay-in", &[&address], "token"),
        ("relay-out", &["--auth=x", &address, "test"], "JSON"),
    ];
    for (name, args, text) in cases {
        let (status, output) = script(name, args).start().wait();
        assert_eq!(status.code(), Some(1), "{name} {args:?}: {output}");
        let last = output.lines().last().expect("a sentence");
        assert!(last.contains(text), "{name} {args:?}: {output}");
    }
    web.interrupt();
}

#[test]
fn q_in_terminal_ends_web_scripts() {
    let keeper = ReservedPort::new();
    let closed_address = format!("127.0.0.1:{}", keeper.number());
    let cases: [(&[&str], &str); 3] = [
        (&["web", "--port=0", "--loop", &clip()], "in a browser"),
        (&["relay-out", &closed_address, "test"], "is not there"),
        (
            &["relay-in", "--no-display", &closed_address],
            "is not there",
        ),
    ];
    for (words, reached) in cases {
        let mut running = script(words[0], &words[1..]).in_terminal().start();
        running.expect("q or Ctrl-C ends it");
        running.expect(reached);
        let mut keyboard = running.program.stdin().expect("a keyboard");
        keyboard.write_all(b"q").expect("a reading peer");
        assert!(running.finish().contains("Stopped by q."));
    }
}

#[test]
fn q_in_window_ends_relay_in() {
    let display = Display::open();
    let mut web = script("web", &["--port=0", "test"]).start();
    let (address, _) = web.page();
    let viewer = script("relay-in", &[&address]).env("DISPLAY", &display.name);
    let mut viewer = viewer.start();
    viewer.expect("frames/s");
    display.act_on("RECIBIDO", &["key", "--window", "%1", "q"]);
    assert!(viewer.finish().contains("Stopped by q."));
    web.expect("left (0 viewers)");
    web.interrupt();
}
