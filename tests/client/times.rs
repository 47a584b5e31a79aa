// SPDX-License-Identifier: MPL-2.0

//! When pictures were captured, and how old they are when they come.

use std::{process::Command, sync::mpsc, time::Duration};

use gst::prelude::*;

use super::{
    fixture::ClientFixture,
    wire::{DEFAULT, FRAMINGS, capture_time, now, pictures, stamped},
};
use crate::common::{
    process::{PATIENCE, Program, with_plugin},
    raw_server::RawServer,
    wait::wait_for,
};

const SECOND: u64 = 1_000_000_000;

fn told_delays(viewer: &ClientFixture) -> [Option<i64>; 3] {
    let stats = viewer.stats();
    ["delay-last", "delay-median", "delay-p99"].map(|name| stats.get(name).ok())
}

#[test]
fn capture_times_come_with_the_pictures() {
    for framing in FRAMINGS {
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "");
        let mut peer = server.accept();
        // From 2000 up to a day ahead.
        let times = [
            946_684_800 * SECOND,
            1_234_567_890 * SECOND,
            1_700_000_000 * SECOND + 123_456_789,
            now() + 86_000 * SECOND,
        ];
        let jpegs: Vec<_> = times
            .iter()
            .zip(pictures(4))
            .map(|(time, jpeg)| stamped(jpeg, *time))
            .collect();
        peer.send(framing.stream(&jpegs));
        // They are stamped and not touched otherwise.
        let got = viewer.expect_frames(&jpegs);
        let got: Vec<_> = got
            .iter()
            .map(|picture| capture_time(&picture.buffer))
            .collect();
        assert_eq!(got, times.map(Some), "{framing:?}");
    }
}

#[test]
fn pictures_without_a_capture_time() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    let got = viewer.expect_frames(pictures(3));
    assert!(
        got.iter()
            .all(|picture| capture_time(&picture.buffer).is_none())
    );
    assert_eq!(told_delays(&viewer), [None; 3]);
}

/// The delay is the time from then to now; between clocks that differ it may be less
/// than nothing.
#[test]
fn delays() {
    let patience = PATIENCE.as_nanos() as i64;
    for ago in [0, 5, 86_400, -5, -86_400_i64] {
        let ago = ago * SECOND as i64;
        let server = RawServer::new();
        let mut viewer = ClientFixture::of(&server, "");
        let mut peer = server.accept();
        for jpeg in pictures(3) {
            let jpeg = stamped(jpeg, now().wrapping_add_signed(-ago));
            peer.send(DEFAULT.frame(&jpeg));
            viewer.expect_frames(&[jpeg]);
        }
        for delay in told_delays(&viewer) {
            let delay = delay.expect("there were three");
            assert!((ago..ago + patience).contains(&delay), "{ago}, {delay}");
        }
    }
}

/// Only the newest 256 count: a delay that was is soon forgotten.
#[test]
fn the_newest_delays_count() {
    let hour = 3600 * SECOND;
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    let mut send = |n: usize, ago: u64| {
        let jpeg = stamped(&pictures(1)[0], now() - ago);
        peer.send(DEFAULT.frame(&jpeg).repeat(n));
        viewer.next(n);
        told_delays(&viewer).map(|delay| delay.expect("there were some") as u64 >= hour)
    };
    assert_eq!(send(300, hour), [true, true, true]);
    assert_eq!(send(1, 0), [false, true, true]);
    assert_eq!(send(200, 0), [false, false, true]);
    assert_eq!(send(56, 0), [false, false, false]);
    assert_eq!(send(1, hour), [true, false, false]);
}

/// What the payloader stamps, the client reads.
#[test]
fn from_the_payloader() {
    use crate::common::pipeline::Pipeline;

    let server = Pipeline::launch(
        "videotestsrc is-live=true ! video/x-raw,width=32,height=24 ! jpegenc
         ! b64jpegpay capture-time=true ! tcpserversink name=server host=127.0.0.1 port=0",
    );
    let begin = now();
    server.play();
    let sink: gst::Element = server.element("server");
    let port = sink.property::<i32>("current-port");
    let mut viewer = ClientFixture::playing(&format!("host=127.0.0.1 port={port}"));
    for picture in viewer.next(10) {
        let time = capture_time(&picture.buffer).expect("a stamp");
        assert!((begin..now()).contains(&time), "{begin}, {time}");
    }
    let [last, ..] = told_delays(&viewer);
    assert!(last.is_some_and(|delay| delay >= 0), "{last:?}");
    drop(server);
    viewer.stop();
    viewer.pictures.clear();
    viewer.warnings.clear();
}

/// How often somebody who looks at `stats` is told to look.
#[track_caller]
fn notifications(viewer: &ClientFixture) -> mpsc::Receiver<gst::Structure> {
    let (sender, receiver) = mpsc::channel();
    viewer.element.connect_notify(Some("stats"), move |src, _| {
        let _ = sender.send(src.property("stats"));
    });
    receiver
}

#[test]
fn statistics_are_announced() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::new(&format!(
        "stats-interval=20000000 host=127.0.0.1 port={}",
        server.port()
    ));
    let announced = notifications(&viewer);
    viewer.pipeline.play();
    let mut peer = server.accept();
    let mut seen = vec![];
    wait_for("statistics, three times", || {
        peer.send(DEFAULT.frame(&stamped(&pictures(1)[0], now() - SECOND)));
        viewer.next(1);
        seen.extend(announced.try_iter());
        (seen.len() >= 3).then_some(())
    });
    let frames: Vec<u64> = seen
        .iter()
        .map(|s| s.get("frames").expect("frames"))
        .collect();
    assert!(frames.is_sorted() && frames[0] < frames[2], "{frames:?}");
    let delay = seen[2].get::<i64>("delay-median").expect("a delay");
    assert!(delay >= SECOND as i64, "{delay}");
}

#[test]
fn statistics_are_not_announced_unasked() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::new(&format!("host=127.0.0.1 port={}", server.port()));
    let announced = notifications(&viewer);
    viewer.pipeline.play();
    let mut peer = server.accept();
    for jpeg in pictures(20) {
        peer.send(DEFAULT.frame(jpeg));
        std::thread::sleep(Duration::from_millis(5));
    }
    viewer.expect_frames(pictures(20));
    assert_eq!(announced.try_iter().count(), 0);
}

/// `gst-launch-1.0 -v` prints what is announced: the delay, live.
#[test]
fn statistics_on_the_command_line() {
    let server = RawServer::new();
    let mut command = Command::new("gst-launch-1.0");
    command.args(["-v", "b64jpegclientsrc", "stats-interval=1000000"]);
    command.arg(format!("uri=b64jpeg://localhost:{}", server.port()));
    let mut program = Program::start(with_plugin(command.args(["!", "fakesink"])));
    let mut peer = server.accept();
    for jpeg in pictures(20) {
        peer.send(DEFAULT.frame(&stamped(jpeg, now() - SECOND)));
        std::thread::sleep(Duration::from_millis(5));
    }
    let line = program.expect_line("delay-median=");
    for part in ["stats = ", "connected=(boolean)true", "frames=(guint64)"] {
        assert!(line.contains(part), "{line}");
    }
}
