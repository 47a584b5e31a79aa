// SPDX-License-Identifier: MPL-2.0

//! Mistakes and foreign data are reported once, and valid streams continue.

use std::{io::Write, net::TcpStream, path::Path, time::Duration};

use super::{
    net::{Machine, Role, network},
    participants::{
        EdgeViewer, KEY, PATIENCE, camera, certify, edge, endpoint, origin, prepare_publishers,
        publisher, start_script, tls,
    },
};
use crate::common::{
    certificates::{Authority, Certified},
    peer::{OLD_ZENOH, ZENOH},
};

/// Number of times a text was printed.
fn count(role: &mut Role, what: &str) -> usize {
    role.0.printed().matches(what).count()
}

#[test]
fn edge_waits_for_late_origin() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let camera = camera();
        let mut edge = edge(&serving, &["--connect", &home.address()]);
        edge.0
            .expect_line("is not there (Connection refused); waiting.");
        // The edge has tried again by then.
        std::thread::sleep(Duration::from_secs(8));
        let first = origin(&home, &camera, &[]);
        edge.0.expect_line("Receiving cam/main/jpeg");
        drop(first);
        edge.0.expect_line("no more frames");
        let _second = origin(&home, &camera, &[]);
        edge.0.expect_line("cam/main/jpeg is back");
        let output = edge.0.printed();
        assert_eq!(output.matches("waiting.").count(), 2, "{output}");
    });
}

#[test]
fn origin_and_edge_wait_for_late_router() {
    network(PATIENCE, || {
        let [home, serving, between] = ["home", "serving", "between"].map(Machine::new);
        let camera = camera();
        let to = ["--router", &between.address()];
        let mut origin = origin(&home, &camera, &to);
        let mut edge = edge(&serving, &to);
        let not_there = "is not there (Connection refused)";
        origin.0.expect_line(not_there);
        edge.0.expect_line(not_there);
        let _router = start_script(&between, "router", &[]);
        edge.0.expect_line("Receiving cam/main/jpeg");
        origin.0.expect_line("Frames get through");
    });
}

#[test]
fn edge_with_wrong_key_reports_existing_keys() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let camera = camera();
        let _origin = origin(&home, &camera, &["--key", "cam/door/jpeg"]);
        let mut edge = edge(&serving, &["--connect", &home.address()]);
        let output = edge.0.expect_line("no frames");
        assert!(
            output.contains("the cameras there are cam/door/jpeg;"),
            "{output}"
        );
    });
}

#[test]
fn second_origin_on_one_key_is_reported() {
    network(PATIENCE, || {
        let names = ["one", "two", "between", "serving"];
        let [one, two, between, serving] = names.map(Machine::new);
        let _router = start_script(&between, "router", &[]);
        let [first, second] = [camera(), camera()];
        let to = ["--router", &between.address()];
        let _one = origin(&one, &first, &to);
        let mut edge = edge(&serving, &to);
        let viewer = EdgeViewer::start(&serving, &first);
        viewer.expect_new_frames();
        let mut late = origin(&two, &second, &to);
        late.0.expect_line("sends cam/main/jpeg, too");
        edge.0.expect_line("two senders use one stream");
        viewer.expect_new_frames();
        assert_eq!(count(&mut edge, "two senders"), 1);
    });
}

#[test]
fn non_jpeg_is_dropped_with_warning() {
    prepare_publishers();
    network(PATIENCE, || {
        let names = ["home", "between", "serving", "elsewhere"];
        let [home, between, serving, elsewhere] = names.map(Machine::new);
        let _router = start_script(&between, "router", &[]);
        let camera = camera();
        let to = ["--router", &between.address()];
        let _origin = origin(&home, &camera, &to);
        let mut edge = edge(&serving, &to);
        let viewer = EdgeViewer::start(&serving, &camera);
        viewer.expect_new_frames();
        let connect = ["--connect", &endpoint("tcp", &between), KEY];
        for (what, output) in [
            ("text", "does not begin like a JPEG but with 68 65 6c 6c 6f"),
            ("zeros", "does not begin like a JPEG but with 00 00 00 00"),
            ("picture", "Frames of a sender without a name are dropped"),
        ] {
            let args = [&connect[..], &[what]].concat();
            let sent = publisher(&elsewhere, &ZENOH, &args).finish();
            assert!(sent.contains("done"), "{sent}");
            edge.0.expect_line(output);
            viewer.expect_new_frames();
        }
        // Warnings about the first, the second, the fourth and the eighth frame.
        assert_eq!(count(&mut edge, "is dropped: it does not begin"), 4);
        let args = [&connect[..], &["nothing", "beginning", "20 MB"]].concat();
        publisher(&elsewhere, &ZENOH, &args).finish();
        viewer.expect_new_frames();
    });
}

#[test]
fn missing_or_false_caps_do_no_harm() {
    prepare_publishers();
    network(PATIENCE, || {
        let [between, serving, elsewhere] = ["between", "serving", "elsewhere"].map(Machine::new);
        let _router = start_script(&between, "router", &[]);
        let mut command = serving.script("edge");
        // GStreamer warns about caps that change or are invalid.
        command.env_remove("G_DEBUG");
        command.args(["--host", "0.0.0.0", "--tcp", "9999"]);
        let mut edge = Role::start(command.args(["--router", &between.address()]));
        edge.0.expect_line("Serving cam/main/jpeg at");
        let connect = ["--connect", &endpoint("tcp", &between), KEY];
        let whats = [
            "picture",
            "garbage attached",
            "false caps",
            "open caps",
            "endless caps",
            "picture",
        ];
        let sent = publisher(&elsewhere, &ZENOH, &[&connect[..], &whats].concat()).finish();
        assert!(sent.contains("done"), "{sent}");
        edge.0.expect_line("Receiving cam/main/jpeg");
        // Ignore what was printed so far.
        edge.0.printed();
        publisher(
            &elsewhere,
            &ZENOH,
            &[&connect[..], &["picture"; 5]].concat(),
        )
        .finish();
        edge.0.expect_line("frames/s");
        assert_eq!(count(&mut edge, "warning"), 0);
    });
}

#[test]
fn names_of_cameras_are_not_interpreted() {
    prepare_publishers();
    network(PATIENCE, || {
        let [between, serving, elsewhere] = ["between", "serving", "elsewhere"].map(Machine::new);
        let _router = start_script(&between, "router", &[]);
        let to = ["--router", &between.address()];
        let mut edge = edge(&serving, &[&to[..], &["--key", "cam/*/jpeg"]].concat());
        edge.0.expect_line("has no camera; waiting.");
        let hello = format!("{KEY}/@hello");
        let args = ["--connect", &endpoint("tcp", &between), &hello, "evil"];
        publisher(&elsewhere, &ZENOH, &args).finish();
        // A valid announcement follows, to know when the invalid ones have been handled.
        let args = ["--connect", &endpoint("tcp", &between), &hello, "hello"];
        publisher(&elsewhere, &ZENOH, &args).finish();
        edge.0.expect_line("Serving cam/good/jpeg at");
        edge.0.expect_line("cam/good/jpeg: no frames");
        let output = edge.0.printed();
        assert_eq!(output.matches("Serving ").count(), 1, "{output}");
        assert!(
            !output.contains("evil") && !output.contains('\u{1b}'),
            "{output}"
        );
        assert!(!Path::new("evil").exists());
    });
}

#[test]
fn other_zenoh_version_is_reported() {
    prepare_publishers();
    network(PATIENCE, || {
        let [home, serving, old] = ["home", "serving", "old"].map(Machine::new);
        let camera = camera();
        let _origin = origin(&home, &camera, &[]);
        let _edge = edge(&serving, &["--connect", &home.address()]);
        let viewer = EdgeViewer::start(&serving, &camera);
        viewer.expect_new_frames();
        let to = endpoint("tcp", &home);
        let output = publisher(&old, &OLD_ZENOH, &["--connect", &to, KEY, "text"]).finish();
        assert!(output.contains("refused"), "{output}");
        viewer.expect_new_frames();

        let listen = endpoint("tcp", &old);
        let texts = ["text"; 100];
        let args = [&["--mode", "router", "--listen", &listen, KEY][..], &texts].concat();
        let mut publisher = publisher(&old, &OLD_ZENOH, &args);
        publisher.expect_line("connected");
        let mut edge = edge(&home, &["--router", &old.address()]);
        edge.0
            .expect_line("speaks another version of Zenoh; waiting.");
    });
}

#[test]
fn origin_survives_bytes_at_its_port() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let camera = camera();
        let _origin = origin(&home, &camera, &[]);
        let _edge = edge(&serving, &["--connect", &home.address()]);
        let viewer = EdgeViewer::start(&serving, &camera);
        viewer.expect_new_frames();
        let to = (home.access_address(), 7447);
        let mut idle = Vec::new();
        for n in 0..2000_usize {
            let Ok(mut stream) = TcpStream::connect(&to) else {
                continue;
            };
            let handshake = b"\x19\x00\xc1\x09\xf2\x05\xe5\xfc\x71\xe3\x76\x5c\x8d\xf3\x2a\x51\x2e";
            let len = n % handshake.len();
            let mut bytes = handshake[..len].to_vec();
            if let Some(byte) = bytes.get_mut(n / 7 % 17) {
                *byte = byte.wrapping_add(u8::try_from(n % 251).expect("a byte"));
            }
            let _ = stream.write_all(&bytes);
            if n % 4 == 0 {
                idle.push(stream);
            }
        }
        assert!(idle.len() > 400);
        viewer.expect_new_frames();
        drop(idle);
        let mut late = edge(&home, &["--connect", &home.address()]);
        late.0.expect_line("Receiving cam/main/jpeg");
    });
}

#[test]
fn first_of_two_routers_may_be_missing() {
    network(PATIENCE, || {
        let names = ["home", "serving", "missing", "between"];
        let [home, serving, missing, between] = names.map(Machine::new);
        let camera = camera();
        let to = [
            "--router",
            &missing.address(),
            "--router",
            &between.address(),
        ];
        let _router = start_script(&between, "router", &[]);
        let _origin = origin(&home, &camera, &to);
        let _edge = edge(&serving, &to);
        EdgeViewer::start(&serving, &camera).expect_new_frames();
    });
}

#[test]
fn reason_for_failed_start_is_one_sentence() {
    network(PATIENCE, || {
        let home = Machine::new("home");
        let authority = Authority::new("zenoh-keys");
        let ca = authority.file();
        let [one, other] = certify(&authority, [&home.address(), "other"]);
        let mixed = Certified {
            key: other.key,
            certificate: one.certificate.clone(),
        };
        let mut first = start_script(&home, "router", &[]);
        first.0.expect_line("connect to it with");
        let camera = camera();
        let mixed = &tls(&mixed, &ca)[..];
        for (options, why) in [(mixed, "is not the key of"), (&[], "is already in use")] {
            origin(&home, &camera, options).0.expect_line(why);
            start_script(&home, "router", options).0.expect_line(why);
        }
    });
}
