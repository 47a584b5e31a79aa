// SPDX-License-Identifier: MPL-2.0

//! The lines of the README, as they stand there.

mod common;

use common::pipeline::{Pipeline, make_file, scratch};
use gst::prelude::*;

/// The arguments of each `gst-launch-1.0` line.
fn lines() -> Vec<Vec<String>> {
    let text = include_str!("../README.md").replace("\\\n", " ");
    let lines = text
        .lines()
        .filter(|line| line.starts_with("gst-launch-1.0 "));
    let words = |line: &str| {
        let words = gst::glib::shell_parse_argv(line).expect("a shell takes it");
        let words = words.into_iter().skip(1);
        words
            .map(|word| word.into_string().expect("UTF-8"))
            .collect()
    };
    lines.map(words).collect()
}

/// The only line with all these words, some of them replaced by others.
#[track_caller]
fn launch(words: &[&str], replaced: &[(&str, &str)]) -> Pipeline {
    let mut lines = lines();
    lines.retain(|line| words.iter().all(|word| line.iter().any(|w| w == word)));
    let [line] = &mut lines[..] else {
        panic!("{words:?} stand in {lines:?}");
    };
    for (old, new) in replaced {
        let at = line.iter().position(|word| word == old).expect(old);
        line.splice(at..=at, new.split(' ').map(String::from));
    }
    parse(line)
}

#[track_caller]
fn parse(line: &[String]) -> Pipeline {
    common::init();
    let words: Vec<_> = line.iter().map(String::as_str).collect();
    let pipeline = gst::parse::launchv(&words).unwrap_or_else(|error| panic!("{line:?}: {error}"));
    Pipeline(pipeline.downcast().expect("more than one element"))
}

#[test]
fn every_line_can_be_launched() {
    let mut lines = lines();
    assert!(lines.len() >= 5, "{lines:?}");
    if cfg!(not(feature = "web")) {
        lines.retain(|line| !line.iter().any(|word| word.starts_with("socketio")));
    }
    for line in lines {
        parse(&line);
    }
}

const FRAMES: usize = 50;

/// Serves a file to the line that watches: all of it, from the first picture to the last.
#[test]
fn a_file_is_served_and_watched() {
    let clip = scratch("readme.avi");
    let pictures = format!(
        "videotestsrc num-buffers={FRAMES} ! video/x-raw,width=640,height=360,framerate=25/1"
    );
    make_file(&format!("{pictures} ! jpegenc ! avimux"), &clip);

    let server = launch(
        &["b64jpegserversink", "decodebin"],
        &[
            ("location=clip.mp4", &format!("location={}", clip.display())),
            ("b64jpegserversink", "b64jpegserversink name=server"),
            ("host=0.0.0.0", "host=127.0.0.1"),
            ("port=9999", "port=0"),
        ],
    );
    server.play();
    let port: i32 = server
        .element::<gst::Element>("server")
        .property("current-port");
    let viewer = launch(
        &["b64jpegclientsrc"],
        &[
            ("port=9999", &format!("port={port} reconnect=false")),
            ("jpegdec", "jpegdec name=decoder"),
            ("video-sink=autovideosink", "video-sink=fakesink"),
        ],
    );
    let pictures = viewer.collect("decoder", "sink");
    viewer.play();
    server.wait_for_clean_end();
    viewer.wait_for_clean_end();
    assert_eq!(pictures.take().len(), FRAMES);
}

/// One encoder, three doors, and somebody at each.
#[cfg(feature = "web")]
#[test]
fn all_doors_at_once() {
    let recording = scratch("readme.b64jpeg");
    let all = launch(
        &["b64jpegserversink", "socketioserversink"],
        &[
            ("b64jpegserversink", "b64jpegserversink name=tcp"),
            ("port=9999", "port=0"),
            ("socketioserversink", "socketioserversink name=web"),
            ("port=8080", "port=0"),
            (
                "location=tonight.b64jpeg",
                &format!("location={}", recording.display()),
            ),
        ],
    );
    all.play();
    let port = |door| {
        all.element::<gst::Element>(door)
            .property::<i32>("current-port")
    };
    let tcp = launch(
        &["b64jpegclientsrc", "fpsdisplaysink"],
        &[
            ("port=9999", &format!("port={}", port("tcp"))),
            ("jpegdec", "jpegdec name=decoder"),
            ("video-sink=autovideosink", "video-sink=fakesink"),
        ],
    );
    let web = launch(
        &["souphttpsrc"],
        &[
            (
                "location=http://localhost:8080/stream.mjpg",
                &format!("location=http://localhost:{}/stream.mjpg", port("web")),
            ),
            ("jpegdec", "jpegdec name=decoder"),
            ("autovideosink", "fakesink"),
        ],
    );
    let doors = [tcp, web];
    let seen = doors.each_ref().map(|door| door.collect("decoder", "sink"));
    for (door, seen) in doors.iter().zip(&seen) {
        door.play();
        let mut count = 0;
        common::sender::eventually("pictures", || {
            count += seen.take().len();
            (count >= 5).then_some(())
        });
        assert_eq!(door.messages(), Vec::<String>::new());
    }
    all.0.send_event(gst::event::Eos::new());
    all.wait_for_clean_end();
    let played = Pipeline::launch(&format!(
        "filesrc location={} ! b64jpegdepay name=depay ! fakesink",
        recording.display()
    ));
    let pictures = played.collect("depay", "src");
    played.play();
    played.wait_for_clean_end();
    assert!(pictures.take().len() >= 10);
}
