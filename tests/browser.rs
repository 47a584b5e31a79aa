// SPDX-License-Identifier: MPL-2.0

//! The page of `socketioserversink` in Chromium.
#![cfg(feature = "web")]

mod common;

use std::{fs, path::PathBuf};

use common::{
    peer::peer,
    pipeline::{Pipeline, scratch},
    process::Program,
    raw_server::ReservedPort,
};
use gst::prelude::*;
use serde_json::Value;

/// Frames per second.
const RATE: &str = "15";
const RED: [u8; 3] = [200, 16, 16];
const BLUE: [u8; 3] = [16, 16, 200];

/// A camera that shows a moving white ball on a coloured background, and its sink.
fn camera([r, g, b]: [u8; 3], port: &ReservedPort, properties: &str) -> String {
    let colour = u32::from_be_bytes([0xff, r, g, b]);
    let port = port.number();
    format!(
        "videotestsrc is-live=true pattern=ball background-color={colour}
         ! video/x-raw,format=RGB,width=320,height=240,framerate={RATE}/1 ! jfifconvert
         ! jpegenc ! socketioserversink port={port} {properties} "
    )
}

fn one_camera(port: &ReservedPort, properties: &str) -> Pipeline {
    let pipeline = Pipeline::launch(&camera(RED, port, &format!("name=red {properties}")));
    pipeline.play();
    pipeline
}

fn two_cameras(port: &ReservedPort) -> Pipeline {
    let front = camera(RED, port, "name=red camera=front");
    let back = camera(BLUE, port, "name=blue camera=back");
    let pipeline = Pipeline::launch(&(front + &back));
    pipeline.play();
    pipeline
}

/// A browser that plays a scene of `page.py`.
struct BrowserViewer {
    program: Program,
    /// For downloads and screenshots.
    directory: PathBuf,
    host: String,
}

impl BrowserViewer {
    fn new(scene: &str, port: &ReservedPort) -> Self {
        let directory = scratch(&format!("browser-{scene}"));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        let host = format!("127.0.0.1:{}", port.number());
        let mut page = peer("page.py");
        page.args([scene, &format!("http://{host}/")])
            .args(["--rate", RATE, "--token", "secret", "--directory"])
            .arg(&directory);
        Self {
            program: Program::start(&mut page),
            directory,
            host,
        }
    }

    /// Waits for the next finding.
    #[track_caller]
    fn finding(&mut self) -> Value {
        let line = self.program.expect_line("{");
        serde_json::from_str(&line).unwrap_or_else(|err| panic!("{line}: {err}"))
    }

    /// Expects the next finding to be this one.
    #[track_caller]
    fn expect(&mut self, finding: &str) {
        let expected = finding.replace("HOST", &self.host);
        let expected: Value = serde_json::from_str(&expected).expect("JSON");
        assert_eq!(self.finding(), expected);
    }
}

#[track_caller]
fn assert_colour(found: &Value, expected: [u8; 3]) {
    let found: [u8; 3] = serde_json::from_value(found.clone()).expect("a colour");
    let near = |(a, b): (u8, u8)| a.abs_diff(b) <= 6;
    assert!(
        found.into_iter().zip(expected).all(near),
        "{found:?} instead of {expected:?}"
    );
}

#[test]
fn page_of_two_cameras_supports_all_actions() {
    let port = ReservedPort::new();
    let pipeline = two_cameras(&port);
    let sent = ["red", "blue"].map(|sink| pipeline.collect(sink, "sink"));
    let mut viewer = BrowserViewer::new("watch", &port);
    viewer.expect(r#"{"title": "2 cameras – HOST"}"#);
    let colours = &viewer.finding()["colours"];
    assert_colour(&colours["front"], RED);
    assert_colour(&colours["back"], BLUE);

    let measured = viewer.finding();
    assert_eq!(measured["sizes"], Value::from(["320×240"; 2].to_vec()));
    for delay in measured["delays"].as_array().expect("delays") {
        // Measured with the clock of the captures; with another one it would be years, or zero.
        assert!((1..60_000).contains(&delay.as_u64().expect("a number")));
    }

    viewer.expect(r#"{"alone": ["back"], "title": "back – HOST"}"#);
    viewer.expect(r#"{"alone": ["front"], "title": "front – HOST"}"#);
    viewer.expect(r#"{"all": ["back", "front"]}"#);
    viewer.expect(r#"{"paused": true}"#);

    let snapshots = [viewer.finding(), viewer.finding()];
    let sent = sent.map(|pictures| pictures.take());
    for snapshot in &snapshots {
        let name = snapshot["snapshot"].as_str().expect("a name");
        let camera = usize::from(name.starts_with("back "));
        assert!(name.starts_with(["front ", "back "][camera]), "{name}");
        let jpeg = fs::read(viewer.directory.join(name)).expect("a file");
        assert!(
            sent[camera].contains(&jpeg),
            "{name}: not the bytes that were sent"
        );
    }

    let finding = viewer.finding();
    let quit = finding["quit"].as_str().expect("a text");
    assert!(quit.contains("You have stopped watching"), "{quit}");
    viewer.expect(r#"{"console": []}"#);
    viewer.program.finish();
    assert_eq!(pipeline.messages(), [""; 0]);
}

#[test]
fn page_on_phone_fits_the_screen() {
    let port = ReservedPort::new();
    let _pipeline = two_cameras(&port);
    let mut viewer = BrowserViewer::new("phone", &port);
    viewer.expect(r#"{"inside": true, "upright": true, "width": 378}"#);
    viewer.expect(r#"{"alone": ["back"]}"#);
    viewer.expect(r#"{"console": []}"#);
    viewer.program.finish();
}

#[test]
fn page_with_token_is_served_and_hides_it_from_url() {
    let port = ReservedPort::new();
    let _pipeline = one_camera(&port, "token=secret");
    let mut viewer = BrowserViewer::new("token", &port);
    let finding = viewer.finding();
    let wrong = finding["wrong"].as_str().expect("a text");
    assert!(wrong.contains("does not accept this token"), "{wrong}");
    assert_eq!(finding["pictures"], 0);
    viewer.expect(r#"{"console": []}"#);
    for _link in ["?token=", "#token="] {
        viewer.expect(r#"{"url": "http://HOST/", "console": []}"#);
    }
    viewer.program.finish();
}

#[test]
fn page_of_full_server_says_so() {
    let port = ReservedPort::new();
    let _pipeline = one_camera(&port, "max-clients=1");
    let mut viewer = BrowserViewer::new("full", &port);
    let finding = viewer.finding();
    let full = finding["full"].as_str().expect("a text");
    assert!(full.contains("no more viewers"), "{full}");
    viewer.expect(r#"{"console": []}"#);
    viewer.program.finish();
}

#[test]
fn page_after_stall_or_restart_shows_new_frames() {
    let port = ReservedPort::new();
    let pipeline = one_camera(&port, "");
    let mut viewer = BrowserViewer::new("restart", &port);
    viewer.expect(r#"{"stop": "source"}"#);
    pipeline.settle(gst::State::Paused);
    viewer.expect(r#"{"start": "source"}"#);
    pipeline.play();
    viewer.expect(r#"{"console": []}"#);

    viewer.expect(r#"{"stop": "server"}"#);
    pipeline.settle(gst::State::Null);
    let finding = viewer.finding();
    let lost = finding["lost"].as_str().expect("a text");
    assert!(
        lost.contains("The server has closed the connection"),
        "{lost}"
    );
    assert_eq!(finding["title"], format!("Reconnecting – {}", viewer.host));
    assert_eq!(finding["cameras"], 1);
    viewer.expect(r#"{"start": "server"}"#);
    pipeline.play();
    viewer.expect(r#"{"console": []}"#);
    viewer.program.finish();
}

/// The page used to keep the picture of every name that a camera ever had.
#[test]
fn page_of_renamed_camera_keeps_a_limited_number_of_names() {
    let port = ReservedPort::new();
    let _front = one_camera(&port, "camera=front");
    let mut viewer = BrowserViewer::new("renamed", &port);
    viewer.expect(r#"{"watching": true}"#);
    let renamed = Pipeline::launch(&camera(BLUE, &port, "name=blue"));
    let sink: gst::Element = renamed.element("blue");
    for number in 0..30 {
        sink.set_property("camera", format!("back-{number:02}"));
        renamed.play();
        renamed.settle(gst::State::Null);
    }
    sink.set_property("camera", "last");
    renamed.play();
    let finding = viewer.finding();
    let names = finding["cameras"].as_array().expect("names");
    // The two cameras, and the last of the removed ones.
    assert!(
        (3..=18).contains(&names.len()) && names.contains(&"front".into()),
        "{names:?}"
    );
    viewer.expect(r#"{"console": []}"#);
    viewer.program.finish();
}
