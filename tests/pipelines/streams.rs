// SPDX-License-Identifier: MPL-2.0

//! Streams through the scripts, from end to end.

use std::{fs, thread};

use gst::prelude::*;

use super::{
    script::script,
    video::{FRAMES, clip, frames, fresh, pictures, record, served_fast, size, unstamped},
};
use crate::common::{
    pipeline::{Pipeline, make_file, scratch},
    raw_server::ReservedPort,
    viewer::Viewer,
    wait::wait_for,
};

/// The usual receiver of lengths and JPEGs gets every frame, and both ends finish
/// cleanly.
#[test]
fn served_file_waits_for_first_viewer() {
    let clip = clip();
    let mut server = script("serve", &["--port", "0", &clip]).start();
    let viewer = server.viewer();
    let paced: Vec<_> = viewer.map(unstamped).collect();
    let output = server.finish();
    for text in [
        "No preview: there is no display",
        "It begins with the first viewer",
        "watches (1 client)",
        "frames/s",
        "The video has ended.",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    assert_eq!(paced.len(), FRAMES);
    assert!(paced == pictures(&served_fast(&clip, "whole.b64jpeg")));
}

/// A later viewer gets the rest, up to the last frame.
#[test]
fn served_file_plays_to_its_end_for_all_viewers() {
    let mut server = script("serve", &["--port", "0", &clip()]).start();
    let address = server.address();
    let viewer = script("watch", &["--once", "--no-display", &address]).start();
    server.expect("watches (1 client)");
    let first = Viewer::connect(address.parse().expect("an address"));
    server.expect("watches (2 clients)");
    let second = Viewer::connect(address.parse().expect("an address"));
    let second = thread::spawn(|| second.map(unstamped).collect::<Vec<_>>());
    let first: Vec<_> = first.map(unstamped).collect();
    let second = second.join().expect("it reads to the end");
    assert!(!second.is_empty() && first.ends_with(&second));
    let watched = viewer.finish();
    assert!(watched.contains("frames/s"), "{watched}");
    assert!(watched.contains("The stream has ended"), "{watched}");
    let served = server.finish();
    assert!(served.contains("(3 clients)"), "{served}");
    assert!(served.contains("(0 clients)"), "{served}");
}

/// A client above the limit is refused and retries until there is room.
#[test]
fn serve_clients_limit_refuses_further_viewer() {
    let mut server = script("serve", &["--port=0", "--clients=1", "test"]).start();
    let address = server.address();
    let connect = || Viewer::connect(address.parse().expect("an address"));
    let mut first = connect();
    assert!(first.next().is_some());
    assert_eq!(connect().bytes_until_closed(), b"");
    let mut second = script("watch", &["--no-display", &address]).start();
    second.expect("sends no frames");
    assert!(first.next().is_some());
    drop(first);
    server.expect("left (0 clients)");
    second.expect("Watching");
    second.signal("INT");
    let output = second.finish();
    assert_eq!(output.matches("sends no frames").count(), 1, "{output}");
    server.signal("INT");
    let output = server.finish();
    assert!(!output.contains("(2 clients)"), "{output}");
}

/// JPEGs are neither decoded nor encoded again, unless another size or quality is requested.
#[test]
fn jpeg_video_is_served_unchanged() {
    let video = scratch("video.avi");
    make_file("videotestsrc num-buffers=9 ! jpegenc ! avimux", &video);
    let video = video.to_str().expect("UTF-8");
    let demuxer = Pipeline::launch("filesrc name=file ! avidemux ! fakesink name=sink");
    let file = demuxer.element::<gst::Element>("file");
    file.set_property("location", video);
    let inside = demuxer.collect("sink", "sink");
    demuxer.play();
    demuxer.wait_for_clean_end();
    assert!(pictures(&served_fast(video, "video.b64jpeg")) == inside.take());
    for option in ["--width=64", "--quality=80"] {
        let line = script("serve", &["--dry-run", option, video])
            .start()
            .finish();
        assert!(line.contains("jpegenc"), "{line}");
    }
}

#[test]
fn serve_loop_restarts_file() {
    let clip = scratch("short.avi");
    make_file("videotestsrc num-buffers=9 ! jpegenc ! avimux", &clip);
    let clip = clip.to_str().expect("UTF-8");
    let all = pictures(&served_fast(clip, "short.b64jpeg"));
    let mut server = script("serve", &["--port=0", "--loop", clip]).start();
    let viewer = server.viewer().map(unstamped);
    let rounds: Vec<_> = viewer.take(3 * all.len() + 1).collect();
    assert!(rounds.iter().eq(all.iter().cycle().take(rounds.len())));
    server.signal("INT");
    server.finish();
}

#[test]
fn recording_replays_byte_for_byte() {
    let first = served_fast(&clip(), "a recording 'ü'.b64jpeg");
    let first = frames(&first);
    assert_eq!(first.len(), FRAMES);
    let path = scratch("a recording 'ü'.b64jpeg");
    let path = path.to_str().expect("UTF-8");
    for options in [
        ["--fast", "--framerate=1"],
        ["--clients=3", "--framerate=60"],
    ] {
        let mut server = script("replay", &[&["--port=0", path], &options[..]].concat()).start();
        let again = record(&server.address(), "again.b64jpeg");
        assert!(frames(&again) == first, "{options:?}");
        server.finish();
    }

    // With --loop it repeats until it is stopped.
    let mut endless = script("replay", &["--port=0", "--loop", "--framerate=200", path]).start();
    let path = fresh("rounds.b64jpeg");
    let recorder = script("record", &[&endless.address(), &path]).start();
    let round = first
        .iter()
        .map(|frame| 4 + frame.len() as u64)
        .sum::<u64>();
    wait_for("two rounds", || (size(&path) > 2 * round).then_some(()));
    recorder.signal("INT");
    recorder.finish();
    endless.signal("TERM");
    endless.finish();
    let rounds = fs::read(path).expect("a recording");
    let rounds = frames(&rounds);
    assert!(rounds.iter().eq(first.iter().cycle().take(rounds.len())));
}

/// White stays white: the limited range of the source becomes the full range of JPEG.
#[test]
fn served_colours_have_full_range() {
    let white = scratch("white.avi");
    make_file(
        "videotestsrc pattern=white num-buffers=5 ! avenc_mpeg4 ! avimux",
        &white,
    );
    served_fast(white.to_str().expect("UTF-8"), "white.b64jpeg");
    let player =
        Pipeline::launch("filesrc name=file ! b64jpegdepay ! jpegdec name=decoder ! fakesink");
    let file = player.element::<gst::Element>("file");
    gst::prelude::ObjectExt::set_property(&file, "location", scratch("white.b64jpeg").to_str());
    let pictures = player.collect("decoder", "src");
    player.play();
    player.wait_for_clean_end();
    // The first byte of a frame is the luma of its first pixel; white of limited range is 235.
    let luma: Vec<u8> = pictures.take().iter().map(|picture| picture[0]).collect();
    assert_eq!(luma.len(), 5);
    assert!(luma.iter().all(|luma| *luma > 250), "{luma:?}");
}

/// The server is killed and started again, twice.
#[test]
fn watch_and_record_wait_for_missing_server() {
    let port = ReservedPort::new();
    let port = port.number().to_string();
    let address = format!("127.0.0.1:{port}");
    let path = fresh("with gaps.b64jpeg");
    let mut viewer = script("watch", &["--no-display", &address]).start();
    let mut recorder = script("record", &[&address, &path]).start();
    viewer.expect("is not there");
    recorder.expect("is not there");
    for _ in 0..2 {
        let server = script("serve", &["--port", &port, "test"]).start();
        viewer.expect("frames/s");
        let before = size(&path);
        wait_for("a recording", || (size(&path) > before).then_some(()));
        server.kill_pipeline();
        let (status, output) = server.wait();
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(
            output.contains("gst-launch-1.0 failed with status 137"),
            "{output}"
        );
        viewer.expect("has gone");
        recorder.expect("has gone");
    }
    for viewer in [viewer, recorder] {
        viewer.signal("INT");
        let output = viewer.finish();
        // Each change is reported once, however many attempts there were.
        let count = |what| output.matches(&format!("{address} {what}")).count();
        assert_eq!(count("is not there"), 1, "{output}");
        assert_eq!(count("is back"), 1, "{output}");
        assert_eq!(count("has gone"), 2, "{output}");
    }
    assert!(!frames(&fs::read(path).expect("a recording")).is_empty());
}

#[test]
fn watch_prints_delay_of_frames_with_capture_time() {
    let mut server = script("serve", &["--port", "0", "test"]).start();
    let args = ["--delay", "--no-display", &server.address()];
    let mut viewer = script("watch", &args).start();
    viewer.expect("as their clocks");
    let line = viewer.program.expect_line(", delay ");
    let (rate, delay) = line.split_once(", delay ").expect("both in one line");
    assert!(rate.contains("frames/s"), "{line}");
    let (median, worst) = delay.split_once(" ms (99 %: ").expect("two numbers");
    let number = |text: &str| text.parse::<f64>().expect("a number");
    // Both ends use the same clock.
    assert!(number(median) >= 0.0, "{line}");
    assert!(
        number(worst.trim_end_matches(" ms)")) >= number(median),
        "{line}"
    );
    viewer.signal("INT");
    viewer.finish();
    server.signal("INT");
    server.finish();

    let path = scratch("unstamped.b64jpeg");
    make_file("videotestsrc num-buffers=9 ! jpegenc ! b64jpegpay", &path);
    let args = ["--port=0", "--loop", path.to_str().expect("UTF-8")];
    let mut server = script("replay", &args).start();
    let args = ["--delay", "--no-display", &server.address()];
    let mut viewer = script("watch", &args).start();
    viewer.expect("the frames have no capture time");
}
