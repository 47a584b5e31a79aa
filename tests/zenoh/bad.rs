// SPDX-License-Identifier: MPL-2.0

//! What is wrong is named, once, and what is good goes on.

use std::{io::Write, net::TcpStream, path::Path, time::Duration};

use super::{
    cast::{
        KEY, PATIENCE, Watching, camera, certify, edge, endpoint, open, origin, prepare_publishers,
        publisher, tls,
    },
    net::{Machine, Role, network},
};
use crate::common::{
    certificates::{Authority, Certified},
    peer::{OLD_ZENOH, ZENOH},
};

/// How often something is said.
fn count(role: &mut Role, what: &str) -> usize {
    role.0.printed().matches(what).count()
}

#[test]
fn nobody_is_there_and_then_somebody_is() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let camera = camera();
        let mut edge = edge(&serving, &["--connect", &home.address()]);
        edge.0
            .expect_line("is not there (Connection refused); waiting.");
        // It has knocked again by then.
        std::thread::sleep(Duration::from_secs(8));
        let first = origin(&home, &camera, &[]);
        edge.0.expect_line("cam/main/jpeg comes");
        drop(first);
        edge.0.expect_line("no more pictures");
        let _second = origin(&home, &camera, &[]);
        edge.0.expect_line("cam/main/jpeg is back");
        let said = edge.0.printed();
        assert_eq!(said.matches("waiting.").count(), 2, "{said}");
    });
}

#[test]
fn no_router_is_there_and_then_one_is() {
    network(PATIENCE, || {
        let [home, serving, between] = ["home", "serving", "between"].map(Machine::new);
        let camera = camera();
        let to = ["--router", &between.address()];
        let mut origin = origin(&home, &camera, &to);
        let mut edge = edge(&serving, &to);
        let not_there = "is not there (Connection refused)";
        origin.0.expect_line(not_there);
        edge.0.expect_line(not_there);
        let _router = open(&between, "router", &[]);
        edge.0.expect_line("cam/main/jpeg comes");
        origin.0.expect_line("Pictures get through");
    });
}

#[test]
fn for_a_wrong_key_the_right_ones_are_named() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let camera = camera();
        let _origin = origin(&home, &camera, &["--key", "cam/door/jpeg"]);
        let mut edge = edge(&serving, &["--connect", &home.address()]);
        let said = edge.0.expect_line("no pictures");
        assert!(
            said.contains("the cameras there are cam/door/jpeg;"),
            "{said}"
        );
    });
}

#[test]
fn of_two_origins_on_one_key_one_is_shown_and_both_are_named() {
    network(PATIENCE, || {
        let names = ["one", "two", "between", "serving"];
        let [one, two, between, serving] = names.map(Machine::new);
        let _router = open(&between, "router", &[]);
        let [first, second] = [camera(), camera()];
        let to = ["--router", &between.address()];
        let _one = origin(&one, &first, &to);
        let mut edge = edge(&serving, &to);
        let watching = Watching::start(&serving, &first);
        watching.goes_on();
        let mut late = origin(&two, &second, &to);
        late.0.expect_line("sends cam/main/jpeg, too");
        edge.0.expect_line("two senders use one stream");
        watching.goes_on();
        assert_eq!(count(&mut edge, "two senders"), 1);
    });
}

#[test]
fn what_is_no_picture_is_named_and_hurts_nobody() {
    prepare_publishers();
    network(PATIENCE, || {
        let names = ["home", "between", "serving", "elsewhere"];
        let [home, between, serving, elsewhere] = names.map(Machine::new);
        let _router = open(&between, "router", &[]);
        let camera = camera();
        let to = ["--router", &between.address()];
        let _origin = origin(&home, &camera, &to);
        let mut edge = edge(&serving, &to);
        let watching = Watching::start(&serving, &camera);
        watching.goes_on();
        let connect = ["--connect", &endpoint("tcp", &between), KEY];
        for (what, said) in [
            ("text", "does not begin like a JPEG but with 68 65 6c 6c 6f"),
            ("zeros", "does not begin like a JPEG but with 00 00 00 00"),
            ("picture", "Frames of a sender without a name are dropped"),
        ] {
            let args = [&connect[..], &[what]].concat();
            let sent = publisher(&elsewhere, &ZENOH, &args).finish();
            assert!(sent.contains("done"), "{sent}");
            edge.0.expect_line(said);
            watching.goes_on();
        }
        // The first, the second, the fourth and the eighth.
        assert_eq!(count(&mut edge, "is dropped: it does not begin"), 4);
        let args = [&connect[..], &["nothing", "beginning", "20 MB"]].concat();
        publisher(&elsewhere, &ZENOH, &args).finish();
        watching.goes_on();
    });
}

#[test]
fn pictures_need_no_caps_and_false_ones_do_no_harm() {
    prepare_publishers();
    network(PATIENCE, || {
        let [between, serving, elsewhere] = ["between", "serving", "elsewhere"].map(Machine::new);
        let _router = open(&between, "router", &[]);
        let mut command = serving.script("edge");
        // GStreamer warns of caps that come in the middle, or are none.
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
        edge.0.expect_line("cam/main/jpeg comes");
        // What it has printed so far does not count.
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
fn what_cameras_say_of_themselves_is_text() {
    prepare_publishers();
    network(PATIENCE, || {
        let [between, serving, elsewhere] = ["between", "serving", "elsewhere"].map(Machine::new);
        let _router = open(&between, "router", &[]);
        let to = ["--router", &between.address()];
        let mut edge = edge(&serving, &[&to[..], &["--key", "cam/*/jpeg"]].concat());
        edge.0.expect_line("has no camera; waiting.");
        let hello = format!("{KEY}/@hello");
        let args = ["--connect", &endpoint("tcp", &between), &hello, "evil"];
        publisher(&elsewhere, &ZENOH, &args).finish();
        // Until a good one has been heard, and that it is good.
        let args = ["--connect", &endpoint("tcp", &between), &hello, "hello"];
        publisher(&elsewhere, &ZENOH, &args).finish();
        edge.0.expect_line("Serving cam/good/jpeg at");
        edge.0.expect_line("cam/good/jpeg: no pictures");
        let said = edge.0.printed();
        assert_eq!(said.matches("Serving ").count(), 1, "{said}");
        assert!(!said.contains("evil") && !said.contains('\u{1b}'), "{said}");
        assert!(!Path::new("evil").exists());
    });
}

#[test]
fn another_version_of_zenoh_is_named() {
    prepare_publishers();
    network(PATIENCE, || {
        let [home, serving, old] = ["home", "serving", "old"].map(Machine::new);
        let camera = camera();
        let _origin = origin(&home, &camera, &[]);
        let _edge = edge(&serving, &["--connect", &home.address()]);
        let watching = Watching::start(&serving, &camera);
        watching.goes_on();
        let to = endpoint("tcp", &home);
        let said = publisher(&old, &OLD_ZENOH, &["--connect", &to, KEY, "text"]).finish();
        assert!(said.contains("not let in"), "{said}");
        watching.goes_on();

        let listen = endpoint("tcp", &old);
        let texts = ["text"; 100];
        let args = [&["--mode", "router", "--listen", &listen, KEY][..], &texts].concat();
        let mut publisher = publisher(&old, &OLD_ZENOH, &args);
        publisher.expect_line("let in");
        let mut edge = edge(&home, &["--router", &old.address()]);
        edge.0
            .expect_line("speaks another version of Zenoh; waiting.");
    });
}

#[test]
fn an_origin_survives_what_comes_in_at_its_port() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let camera = camera();
        let _origin = origin(&home, &camera, &[]);
        let _edge = edge(&serving, &["--connect", &home.address()]);
        let watching = Watching::start(&serving, &camera);
        watching.goes_on();
        let to = (home.doorstep(), 7447);
        let mut silent = Vec::new();
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
                silent.push(stream);
            }
        }
        assert!(silent.len() > 400);
        watching.goes_on();
        drop(silent);
        let mut late = edge(&home, &["--connect", &home.address()]);
        late.0.expect_line("cam/main/jpeg comes");
    });
}

#[test]
fn the_first_of_two_routers_need_not_be_there() {
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
        let _router = open(&between, "router", &[]);
        let _origin = origin(&home, &camera, &to);
        let _edge = edge(&serving, &to);
        Watching::start(&serving, &camera).goes_on();
    });
}

#[test]
fn what_keeps_zenoh_from_starting_is_one_sentence() {
    network(PATIENCE, || {
        let home = Machine::new("home");
        let authority = Authority::new("zenoh-keys");
        let ca = authority.file();
        let [one, other] = certify(&authority, [&home.address(), "other"]);
        let mixed = Certified {
            key: other.key,
            certificate: one.certificate.clone(),
        };
        let mut first = open(&home, "router", &[]);
        first.0.expect_line("meet there with");
        let camera = camera();
        let mixed = &tls(&mixed, &ca)[..];
        for (options, why) in [(mixed, "is not the key of"), (&[], "is already in use")] {
            origin(&home, &camera, options).0.expect_line(why);
            open(&home, "router", options).0.expect_line(why);
        }
    });
}
