// SPDX-License-Identifier: MPL-2.0

//! The `gst-launch-1.0` lines of the README and of `docs/`, as they are written there.

mod common;

use std::{fs, path::Path};

use common::pipeline::{Pipeline, make_file, scratch};
use gst::prelude::*;

/// The text of the README and of each page in `docs/`.
fn documents() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let entries = fs::read_dir(root.join("docs")).expect("docs/ is a directory");
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("docs/ can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    paths.push(root.join("README.md"));
    let mut documents = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path);
        documents.push(text.unwrap_or_else(|error| panic!("{}: {error}", path.display())));
    }
    documents
}

/// The arguments of a `gst-launch-1.0` line.
fn arguments(line: &str) -> Vec<String> {
    let words = gst::glib::shell_parse_argv(line).expect("a shell takes it");
    let words = words.into_iter().skip(1);
    words
        .map(|word| word.into_string().expect("UTF-8"))
        .collect()
}

/// The arguments of each `gst-launch-1.0` line in all documents.
fn lines() -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for document in documents() {
        let text = document.replace("\\\n", " ");
        let launched = text
            .lines()
            .filter(|line| line.starts_with("gst-launch-1.0 "));
        lines.extend(launched.map(arguments));
    }
    lines
}

/// The only line with all these words, some of them replaced by others.
#[track_caller]
fn launch(words: &[&str], replaced: &[(&str, &str)]) -> Pipeline {
    let mut lines = lines();
    lines.retain(|line| words.iter().all(|word| line.iter().any(|w| w == word)));
    let [line] = &mut lines[..] else {
        panic!("{words:?} are not in exactly one line, but in {lines:?}");
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
fn launch_line_in_each_document_parses() {
    let mut lines = lines();
    assert!(lines.len() >= 11, "{lines:?}");
    if cfg!(not(feature = "web")) {
        lines.retain(|line| !line.iter().any(|word| word.starts_with("socketio")));
    }
    for line in lines {
        parse(&line);
    }
}

const FRAMES: usize = 50;

/// Serves a file to the line that watches.
#[test]
fn file_line_with_one_client_delivers_every_frame() {
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

/// One encoder with a TCP server, a web server and a recording, each with a receiver.
#[cfg(feature = "web")]
#[test]
fn tee_line_with_three_sinks_delivers_to_each() {
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
    let port = |server| {
        all.element::<gst::Element>(server)
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
    let receivers = [tcp, web];
    let seen = receivers
        .each_ref()
        .map(|receiver| receiver.collect("decoder", "sink"));
    for (receiver, seen) in receivers.iter().zip(&seen) {
        receiver.play();
        let mut count = 0;
        common::wait::wait_for("pictures", || {
            count += seen.take().len();
            (count >= 5).then_some(())
        });
        assert_eq!(receiver.messages(), Vec::<String>::new());
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
