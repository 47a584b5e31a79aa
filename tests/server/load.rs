// SPDX-License-Identifier: MPL-2.0

//! Many clients, slow clients and many starts do not leak anything.

use std::{fs, process::Command, thread};

use super::server_fixture::{
    BackgroundReader, ServerFixture, next_number, parse_address, read_in_background,
    remaining_numbers,
};
use crate::common::{
    isolation::{in_own_process, process_status},
    process::{Program, with_plugin},
    viewer::Viewer,
};

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Of eight clients, one never reads and one reads every tenth frame. Their queues would hold
/// some 300 MB.
#[test]
fn slow_clients_do_not_grow_memory() {
    const BIG: usize = 90_000;
    const FRAMES: usize = 1500;
    in_own_process(|| {
        let server = ServerFixture::with_appsrc("").play();
        let _stalled = server.small_viewer();
        let mut slow = server.small_viewer();
        let healthy: Vec<BackgroundReader> = (0..6)
            .map(|_| read_in_background(server.viewer()))
            .collect();
        let mut seen = Vec::new();
        let mut early = 0;
        for number in 0..FRAMES {
            server.push_sized(number, BIG);
            for reader in &healthy {
                assert_eq!(reader.next(), Some(number));
            }
            if number % 10 == 0 {
                seen.push(next_number(&mut slow));
            }
            if number == FRAMES / 4 {
                early = process_status("VmRSS");
            }
        }
        let late = process_status("VmRSS");
        assert!(late < early + 20_000, "{early} kB, then {late} kB");
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        assert_eq!(server.clients(), 8);
        server.expect_no_messages();
        server.set_state(gst::State::Null);
        for reader in healthy {
            assert_eq!(reader.rest(), [0; 0]);
        }
    });
}

/// With clients that disconnect in every way, and without clients.
#[test]
fn two_hundred_starts_leak_nothing() {
    const ROUNDS: usize = 200;
    const WARM: usize = 20;
    in_own_process(|| {
        // Half of the rounds reuse a server, the others make a new one.
        let old = ServerFixture::with_appsrc("");
        let (mut descriptors, mut threads) = (0, 0);
        for round in 0..ROUNDS {
            if round == WARM {
                (descriptors, threads) = (open_files(), process_status("Threads"));
            }
            let new;
            let options = ["wait-for-client=true", ""][round / 2 % 2];
            let server = match round % 2 {
                0 => &old,
                _ => {
                    new = ServerFixture::with_appsrc(options);
                    &new
                }
            };
            server.pipeline.play();
            match round % 5 {
                0 => {}
                1 => drop(server.viewer()),
                2 => server.viewer().reset(),
                clients => {
                    let mut staying = server.viewer();
                    let reading = (clients == 4).then(|| read_in_background(server.viewer()));
                    server.push(0..2);
                    assert_eq!(next_number(&mut staying), 0);
                    let staying = thread::spawn(move || remaining_numbers(staying));
                    server.set_state(gst::State::Null);
                    assert!(staying.join().unwrap().len() <= 1);
                    reading.map(BackgroundReader::rest);
                }
            }
            server.set_state(gst::State::Null);
            server.expect_no_messages();
        }
        old.set_state(gst::State::Null);
        // GLib keeps a few idle threads.
        let (now, then) = (process_status("Threads"), threads);
        assert!(now <= then + 10, "{then} threads, then {now}");
        let (now, then) = (open_files(), descriptors);
        assert!(now <= then + 10, "{then} descriptors, then {now}");
    });
}

/// File descriptors are freed while the server runs, too.
#[test]
fn thousand_short_connections_leak_nothing() {
    in_own_process(|| {
        let server = ServerFixture::with_appsrc("max-clients=3").play();
        let staying = read_in_background(server.viewer());
        let mut before = 0;
        for round in 0..1000 {
            if round == 100 {
                before = open_files();
            }
            let visitor = server.viewer();
            match round % 2 {
                0 => drop(visitor),
                _ => visitor.reset(),
            }
            server.wait_for_clients(1);
        }
        server.push(0..1);
        assert_eq!(staying.next(), Some(0));
        let after = open_files();
        assert!(after <= before + 5, "{before} descriptors, then {after}");
        assert_eq!(server.stat("clients-total"), 1001);
        server.expect_no_messages();
    });
}

/// When the process has no file descriptors left, the server warns once and keeps its clients.
#[test]
fn exhausted_descriptors_are_warned_about_once() {
    const FILES: usize = 40;
    let mut launch = Command::new("prlimit");
    launch.arg(format!("--nofile={FILES}"));
    launch.args("gst-launch-1.0 -m videotestsrc is-live=true ! jpegenc".split_whitespace());
    launch.args("! b64jpegserversink port=0 wait-for-client=true".split_whitespace());
    let mut launch = Program::start(with_plugin(&mut launch));
    let server = parse_address(&launch.expect_line("b64jpeg-waiting"));
    let mut first = Viewer::connect(server);
    assert!(first.next().is_some());
    let others: Vec<_> = (0..FILES).map(|_| Viewer::connect(server)).collect();
    launch.expect_line("Cannot accept a connection");
    assert!(first.next().is_some());
    drop(others);
    // The server accepts clients again after a retry delay.
    let mut late = Viewer::connect(server);
    assert!(late.next().is_some());
    assert!(first.next().is_some());
    launch.signal_group("INT");
    let output = launch.finish();
    let said = output.lines().filter(|line| line.starts_with("WARNING"));
    assert!(said.count() <= 1, "{output}");
}
