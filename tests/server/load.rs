// SPDX-License-Identifier: MPL-2.0

//! Many clients, bad clients, many starts: nothing grows.

use std::{fs, process::Command, thread};

use super::scene::{Server, Watcher, next, port_in, rest, watch};
use crate::common::{
    alone::{alone, status},
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
    alone(|| {
        let server = Server::feed("").play();
        let _stalled = server.small_viewer();
        let mut slow = server.small_viewer();
        let healthy: Vec<Watcher> = (0..6).map(|_| watch(server.viewer())).collect();
        let mut seen = Vec::new();
        let mut early = 0;
        for number in 0..FRAMES {
            server.push_sized(number, BIG);
            for watcher in &healthy {
                assert_eq!(watcher.next(), Some(number));
            }
            if number % 10 == 0 {
                seen.push(next(&mut slow));
            }
            if number == FRAMES / 4 {
                early = status("VmRSS");
            }
        }
        let late = status("VmRSS");
        assert!(late < early + 20_000, "{early} kB, then {late} kB");
        assert!(seen.is_sorted_by(|a, b| a < b), "{seen:?}");
        assert_eq!(server.clients(), 8);
        server.expect_silence();
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
    alone(|| {
        // One that is used again and again; others that are new each time.
        let old = Server::feed("");
        let (mut fds, mut threads) = (0, 0);
        for round in 0..ROUNDS {
            if round == WARM {
                (fds, threads) = (files(), status("Threads"));
            }
            let new;
            let options = ["wait-for-client=true", ""][round / 2 % 2];
            let server = match round % 2 {
                0 => &old,
                _ => {
                    new = Server::feed(options);
                    &new
                }
            };
            server.pipeline.play();
            match round % 5 {
                0 => {}
                1 => drop(server.viewer()),
                2 => server.viewer().vanish(),
                clients => {
                    let mut staying = server.viewer();
                    let reading = (clients == 4).then(|| watch(server.viewer()));
                    server.push(0..2);
                    assert_eq!(next(&mut staying), 0);
                    let staying = thread::spawn(move || rest(staying));
                    server.set_state(gst::State::Null);
                    assert!(staying.join().unwrap().len() <= 1);
                    reading.map(Watcher::rest);
                }
            }
            server.set_state(gst::State::Null);
            server.expect_silence();
        }
        old.set_state(gst::State::Null);
        // GLib keeps a few threads for later.
        let (now, then) = (status("Threads"), threads);
        assert!(now <= then + 10, "{then} threads, then {now}");
        let (now, then) = (files(), fds);
        assert!(now <= then + 10, "{then} descriptors, then {now}");
    });
}

/// Descriptors are returned while it runs as well.
#[test]
fn a_thousand_visitors_leave_nothing() {
    alone(|| {
        let server = Server::feed("max-clients=3").play();
        let staying = watch(server.viewer());
        let mut before = 0;
        for round in 0..1000 {
            if round == 100 {
                before = files();
            }
            let visitor = server.viewer();
            match round % 2 {
                0 => drop(visitor),
                _ => visitor.vanish(),
            }
            server.wait_for_clients(1);
        }
        server.push(0..1);
        assert_eq!(staying.next(), Some(0));
        let after = files();
        assert!(after <= before + 5, "{before} descriptors, then {after}");
        assert_eq!(server.stat("clients-total"), 1001);
        server.expect_silence();
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
    let server = port_in(&launch.expect_line("b64jpeg-waiting"));
    let mut first = Viewer::connect(server);
    assert!(first.next().is_some());
    let others: Vec<_> = (0..FILES).map(|_| Viewer::connect(server)).collect();
    launch.expect_line("Cannot accept a connection");
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
