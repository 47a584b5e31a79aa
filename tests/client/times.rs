// SPDX-License-Identifier: MPL-2.0

//! Capture times of frames, and the delays computed from them.

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

fn delays(client: &ClientFixture) -> [Option<i64>; 3] {
    let stats = client.stats();
    ["delay-last", "delay-median", "delay-p99"].map(|name| stats.get(name).ok())
}

#[test]
fn capture_times_are_attached_to_buffers() {
    for framing in FRAMINGS {
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, "");
        let mut peer = server.accept();
        // From the year 2000 up to one day in the future.
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
        // The JPEG itself is unchanged.
        let got = client.expect_frames(&jpegs);
        let got: Vec<_> = got
            .iter()
            .map(|picture| capture_time(&picture.buffer))
            .collect();
        assert_eq!(got, times.map(Some), "{framing:?}");
    }
}

#[test]
fn frames_without_capture_time_have_no_delay() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    let got = client.expect_frames(pictures(3));
    assert!(
        got.iter()
            .all(|picture| capture_time(&picture.buffer).is_none())
    );
    assert_eq!(delays(&client), [None; 3]);
}

/// The delay is the time from capture to arrival. It is negative if the sender's clock is
/// ahead.
#[test]
fn delay_is_arrival_minus_capture_time() {
    let patience = PATIENCE.as_nanos() as i64;
    for ago in [0, 5, 86_400, -5, -86_400_i64] {
        let ago = ago * SECOND as i64;
        let server = RawServer::new();
        let mut client = ClientFixture::of(&server, "");
        let mut peer = server.accept();
        for jpeg in pictures(3) {
            let jpeg = stamped(jpeg, now().wrapping_add_signed(-ago));
            peer.send(DEFAULT.frame(&jpeg));
            client.expect_frames(&[jpeg]);
        }
        for delay in delays(&client) {
            let delay = delay.expect("a delay");
            assert!((ago..ago + patience).contains(&delay), "{ago}, {delay}");
        }
    }
}

/// The statistics cover the newest 256 delays.
#[test]
fn delay_statistics_cover_newest_256_frames() {
    let hour = 3600 * SECOND;
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, "");
    let mut peer = server.accept();
    let mut send = |n: usize, ago: u64| {
        let jpeg = stamped(&pictures(1)[0], now() - ago);
        peer.send(DEFAULT.frame(&jpeg).repeat(n));
        client.next(n);
        delays(&client).map(|delay| delay.expect("a delay") as u64 >= hour)
    };
    assert_eq!(send(300, hour), [true, true, true]);
    assert_eq!(send(1, 0), [false, true, true]);
    assert_eq!(send(200, 0), [false, false, true]);
    assert_eq!(send(56, 0), [false, false, false]);
    assert_eq!(send(1, hour), [true, false, false]);
}

/// The client reads the capture times that the payloader writes.
#[test]
fn capture_times_of_payloader_are_read() {
    use crate::common::pipeline::Pipeline;

    let server = Pipeline::launch(
        "videotestsrc is-live=true ! video/x-raw,width=32,height=24 ! jpegenc
         ! b64jpegpay capture-time=true ! tcpserversink name=server host=127.0.0.1 port=0",
    );
    let begin = now();
    server.play();
    let sink: gst::Element = server.element("server");
    let port = sink.property::<i32>("current-port");
    let mut client = ClientFixture::playing(&format!("host=127.0.0.1 port={port}"));
    for picture in client.next(10) {
        let time = capture_time(&picture.buffer).expect("a stamp");
        assert!((begin..now()).contains(&time), "{begin}, {time}");
    }
    let [last, ..] = delays(&client);
    assert!(last.is_some_and(|delay| delay >= 0), "{last:?}");
    drop(server);
    client.stop();
    client.pictures.clear();
    client.warnings.clear();
}

/// Receives the statistics at each `notify::stats`.
#[track_caller]
fn notifications(client: &ClientFixture) -> mpsc::Receiver<gst::Structure> {
    let (sender, receiver) = mpsc::channel();
    client.element.connect_notify(Some("stats"), move |src, _| {
        let _ = sender.send(src.property("stats"));
    });
    receiver
}

#[test]
fn stats_interval_notifies_stats() {
    let server = RawServer::new();
    let mut client = ClientFixture::new(&format!(
        "stats-interval=20000000 host=127.0.0.1 port={}",
        server.port()
    ));
    let notified = notifications(&client);
    client.pipeline.play();
    let mut peer = server.accept();
    let mut seen = vec![];
    wait_for("three notifications", || {
        peer.send(DEFAULT.frame(&stamped(&pictures(1)[0], now() - SECOND)));
        client.next(1);
        seen.extend(notified.try_iter());
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
fn stats_are_not_notified_by_default() {
    let server = RawServer::new();
    let mut client = ClientFixture::new(&format!("host=127.0.0.1 port={}", server.port()));
    let notified = notifications(&client);
    client.pipeline.play();
    let mut peer = server.accept();
    for jpeg in pictures(20) {
        peer.send(DEFAULT.frame(jpeg));
        std::thread::sleep(Duration::from_millis(5));
    }
    client.expect_frames(pictures(20));
    assert_eq!(notified.try_iter().count(), 0);
}

/// `gst-launch-1.0 -v` prints each notification, and with it the current delay.
#[test]
fn gst_launch_prints_stats() {
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
