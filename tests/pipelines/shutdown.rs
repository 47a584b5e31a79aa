// SPDX-License-Identifier: MPL-2.0

//! How the scripts end: by a key, a window, a signal, a crash, or by themselves.

use std::{fs, io::Write, path::Path};

use super::{
    script::{Display, Running, processes, script},
    video::{clip, frames, fresh, size},
};
use crate::common::{raw_server::ReservedPort, wait::wait_for};

#[test]
fn q_in_terminal_ends_script() {
    let mut server = script("serve", &["--port", "0", "test"])
        .in_terminal()
        .start();
    let mut server_keys = server.program.stdin().expect("a keyboard");
    let address = server.address();
    let keeper = ReservedPort::new();
    let closed_address = format!("127.0.0.1:{}", keeper.number());
    let (some, none) = (fresh("until q.b64jpeg"), fresh("nothing.b64jpeg"));
    let clip = clip();
    let cases: [(&[&str], &str); 5] = [
        (&["watch", "--no-display", &address], "Watching"),
        (&["record", "--force", &address, &some], "Recording"),
        (&["watch", "--no-display", &closed_address], "is not there"),
        (&["record", &closed_address, &none], "is not there"),
        (
            &["serve", "--port=0", &clip],
            "It begins with the first viewer",
        ),
    ];
    for (words, reached) in cases {
        for keys in [&b"xq"[..], b"\x03"] {
            let mut running = script(words[0], &words[1..]).in_terminal().start();
            running.expect("q or Ctrl-C ends it");
            running.expect(reached);
            // Wait until there is something to end.
            if words.contains(&&*some) {
                wait_for("a frame", || (size(&some) > 0).then_some(()));
            }
            let mut keyboard = running.program.stdin().expect("a keyboard");
            keyboard.write_all(keys).expect("a reading peer");
            let output = running.finish();
            let sentence = if keys == b"\x03" {
                "Stopped."
            } else {
                "Stopped by q."
            };
            assert!(output.contains(sentence), "{output}");
        }
    }
    assert!(!frames(&fs::read(some).expect("a recording")).is_empty());
    assert!(!Path::new(&none).exists(), "no frame arrived");
    server_keys.write_all(b"\x03").expect("a reading peer");
    assert!(server.finish().contains("Stopped."));
}

#[test]
fn window_ends_script() {
    let display = Display::open();
    let start = |name, args: &[&str]| script(name, args).env("DISPLAY", &display.name).start();
    let q = ["key", "--window", "%1", "q"];
    let close = ["windowclose", "%1"];
    let closed = "The window was closed.";

    let mut server = start("serve", &["--port", "0", "test"]);
    let address = server.address();
    for (action, sentence) in [(&q[..], "Stopped by q."), (&close, closed)] {
        let mut viewer = start("watch", &[&address]);
        viewer.expect("Watching");
        viewer.expect("frames/s");
        display.act_on("RECIBIDO", action);
        let output = viewer.finish();
        assert!(output.contains(sentence), "{output}");
        server.expect("left (0 clients)");
    }
    server.expect("frames/s");
    display.act_on("TRANSMITIENDO", &q);
    let output = server.finish();
    assert!(output.contains("q was pressed"), "{output}");

    // While a video waits for a viewer, its window shows the first frame. The window is not
    // redrawn, so that its sink does not notice when it is closed.
    let kill = ["windowkill", "%1"];
    for (action, sentence) in [(&q[..], "q was pressed"), (&kill, closed)] {
        let mut server = start("serve", &["--port", "0", &clip()]);
        server.expect("It begins with the first viewer");
        display.act_on("TRANSMITIENDO", action);
        let output = server.finish();
        assert!(output.contains(sentence), "{output}");
    }

    // While the server is away, the window shows the last frame.
    let mut server = start("serve", &["--port", "0", "--no-preview", "test"]);
    let mut viewer = start("watch", &[&server.address()]);
    viewer.expect("frames/s");
    server.signal("INT");
    server.finish();
    viewer.expect("has gone");
    display.act_on("RECIBIDO", &q);
    let output = viewer.finish();
    assert!(output.contains("Stopped by q."), "{output}");
}

#[test]
fn signal_ends_script_and_leaves_nothing() {
    let clip = clip();
    let mut server = script("serve", &["--port", "0", "test"]).start();
    let address = server.address();
    for signal in ["INT", "TERM", "HUP"] {
        // One server waits for its first client, the other for a client that does not read.
        let mut waiting = script("serve", &["--port", "0", &clip]).start();
        waiting.expect("It begins with the first viewer");
        let mut fast = script("serve", &["--port", "0", "--fast", &clip]).start();
        let idle_client = fast.viewer();
        fast.expect("watches (1 client)");
        let path = fresh(&format!("until {signal}.b64jpeg"));
        let recorder = script("record", &[&address, &path]).start();
        wait_for("a frame", || (size(&path) > 0).then_some(()));
        let mut viewer = script("watch", &["--no-display", &address]).start();
        viewer.expect("frames/s");
        for running in [waiting, fast, recorder, viewer] {
            running.signal(signal);
            running.finish();
        }
        drop(idle_client);
        assert!(!frames(&fs::read(path).expect("a recording")).is_empty());
    }
    server.signal("TERM");
    server.finish();
}

/// gst-launch-1.0 has a handler of its own that catches a crash and spins.
#[test]
fn crashed_pipeline_is_reported_with_its_signal() {
    let crash = |mut running: Running, signal: &str| {
        running.expect("frames/s");
        running.signal_pipeline(signal);
        expect_crash(running, signal);
    };
    for signal in ["SEGV", "ABRT", "BUS"] {
        let mut server = script("serve", &["--port", "0", "test"]).start();
        let viewer = script("watch", &["--no-display", &server.address()]).start();
        crash(viewer, signal);
        crash(server, signal);
    }
}

#[test]
fn crash_while_the_script_ends_is_reported() {
    let mut server = script("serve", &["--port", "0", "test"]).start();
    server.expect("frames/s");
    // A stopped pipeline cannot end before the crash.
    server.signal_pipeline("STOP");
    server.signal("TERM");
    server.signal_pipeline("SEGV");
    server.signal_pipeline("CONT");
    expect_crash(server, "SEGV");
}

#[track_caller]
fn expect_crash(running: Running, signal: &str) {
    let (status, output) = running.wait();
    assert_eq!(status.code(), Some(1), "{output}");
    for part in [&format!("(SIG{signal}): it crashed"), "gdb -batch"] {
        assert!(output.contains(part), "{part}: {output}");
    }
}

/// SIGKILL, which a script cannot handle, ends its processes as well.
#[test]
fn killed_script_leaves_nothing() {
    let mut server = script("serve", &["--port", "0", "test"]).start();
    server.address();
    server.signal("KILL");
    let mark = server.mark.clone();
    wait_for("all processes to end", || {
        processes(&mark).is_empty().then_some(())
    });
}

#[test]
fn demo_runs_without_display() {
    let output = script("demo", &[]).start().finish();
    for text in [
        "serve.sh | No preview: there is no display",
        "watch.sh | No window: there is no display",
        "watches (1 client)",
        "watch.sh | The stream has ended",
        "serve.sh | The video has ended.",
        "The demo has ended.",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    for end in ["serve.sh | ", "watch.sh | "] {
        let rate = |line: &&str| line.starts_with(end) && line.contains("frames/s");
        assert!(output.lines().filter(rate).count() > 1, "{end}: {output}");
    }
}

#[test]
fn demo_opens_two_windows() {
    let display = Display::open();
    let mut demo = script("demo", &[]).env("DISPLAY", &display.name).start();
    demo.expect("watch.sh | ");
    display.act_on("TRANSMITIENDO", &["getwindowgeometry"]);
    display.act_on("RECIBIDO", &["key", "--window", "%1", "q"]);
    assert!(demo.finish().contains("The demo has ended."));
}
