// SPDX-License-Identifier: MPL-2.0

//! Many clients, bad clients, many starts: nothing grows.

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

fn files() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Eight clients, one of which never reads and one reads every tenth frame's time. What
/// waits for them would be some 300 MB.
#[test]
fn memory_does_not_grow_with_slow_clients() {
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
            for watcher in &healthy {
                assert_eq!(watcher.next(), Some(number));
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
        for watcher in healthy {
            assert_eq!(watcher.rest(), [0; 0]);
        }
    });
}

/// With clients that come and go in every way, and with none.
#[test]
fn two_hundred_starts_leak_nothing() {
    const ROUNDS: usize = 200;
    const WARM: usize = 20;
    in_own_process(|| {
        // One that is used again and again; others that are new each time.
        let old = ServerFixture::with_appsrc("");
        let (mut fds, mut threads) = (0, 0);
        for round in 0..ROUNDS {
            if round == WARM {
                (fds, threads) = (files(), process_status("Threads"));
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
        // GLib keeps a few threads for later.
        let (now, then) = (process_status("Threads"), threads);
        assert!(now <= then + 10, "{then} threads, then {now}");
        let (now, then) = (files(), fds);
        assert!(now <= then + 10, "{then} descriptors, then {now}");
    });
}

/// Descriptors are returned while it runs as well.
#[test]
fn a_thousand_visitors_leave_nothing() {
    in_own_process(|| {
        let server = ServerFixture::with_appsrc("max-clients=3").play();
        let staying = read_in_background(server.viewer());
        let mut before = 0;
        for round in 0..1000 {
            if round == 100 {
                before = files();
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
        let after = files();
        assert!(after <= before + 5, "{before} descriptors, then {after}");
        assert_eq!(server.stat("clients-total"), 1001);
        server.expect_no_messages();
    });
}

/// A process may only have so many connections: that is said once, and whoever is in
/// stays in.
#[test]
fn when_there_are_no_more_descriptors() {
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
    launch.expect_line("There is no room for another client");
    assert!(first.next().is_some());
    drop(others);
    // There is room again, if not at once.
    let mut late = Viewer::connect(server);
    assert!(late.next().is_some());
    assert!(first.next().is_some());
    launch.signal_group("INT");
    let output = launch.finish();
    let said = output.lines().filter(|line| line.starts_with("WARNING"));
    assert!(said.count() <= 1, "{output}");
}
