// SPDX-License-Identifier: MPL-2.0

//! Several cameras on one edge, and a video file that ends.

use std::{process::Command, time::Duration};

use super::{
    fixture::Camera,
    net::{Machine, network},
    participants::{PATIENCE, edge, origin, start_script},
};
use crate::common::{
    pipeline::{make_file, scratch},
    process::Program,
    wait::wait_until,
};

/// Length of the newest frame of a camera, once the web server of an edge has one.
#[track_caller]
fn snapshot(at: &Machine, query: &str) -> usize {
    let url = format!("http://{}:8080/snapshot.jpg?{query}", at.access_address());
    let mut jpeg = Vec::new();
    wait_until(&url, || {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--fail", "--max-time", "10", &url]);
        jpeg = curl.output().expect("curl").stdout;
        !jpeg.is_empty()
    });
    assert!(jpeg.starts_with(b"\xff\xd8\xff"), "{url}");
    jpeg.len()
}

#[test]
fn key_expression_includes_later_cameras() {
    network(PATIENCE, || {
        let [here, there, serving] = ["here", "there", "serving"].map(Machine::new);
        // The frame size identifies the camera.
        let [door, yard, other] =
            [160_000, 180_000, 200_000].map(|size| Camera::start(size, Duration::from_millis(100)));
        let _door = origin(&here, &door, &["--key", "cam/door/jpeg"]);
        let _other = origin(
            &here,
            &other,
            &["--port=7448", "--key", "cam/other/secret/jpeg"],
        );
        let origins = [
            &here.address(),
            &format!("{}:7448", here.address()),
            &there.address(),
        ];
        let options = origins.map(|at| format!("--connect={at}"));
        let [first, second, third] = options.each_ref().map(String::as_str);
        let outputs = ["--tcp=9999", "--web=8080", "--token=secret"];
        let cameras = [first, second, third, "--key=cam/*/jpeg"];
        let mut edge = start_script(&serving, "edge", &[&cameras[..], &outputs].concat());
        edge.0.expect_line("Receiving cam/door/jpeg");
        let _yard = origin(&there, &yard, &["--key", "cam/yard/jpeg"]);
        let output = edge.0.expect_line("Serving cam/yard/jpeg at");
        assert!(output.contains(":10000; watch it"), "{output}");
        edge.0.expect_line("Receiving cam/yard/jpeg");
        for (name, sizes) in [("door", 160_000..161_000), ("yard", 180_000..181_000)] {
            let size = snapshot(&serving, &format!("camera={name}&token=secret"));
            assert!(sizes.contains(&size), "{name}: {size}");
        }
        let output = edge.0.printed();
        assert!(!output.contains("Serving cam/other"), "{output}");
        assert!(!output.contains("warning"), "{output}");
    });
}

#[test]
fn video_file_is_sent_at_its_frame_rate_and_ends() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let clip = scratch("origin.avi");
        let pictures = "videotestsrc num-buffers=75 ! video/x-raw,framerate=25/1 ! jpegenc";
        make_file(&format!("{pictures} ! avimux"), &clip);
        let mut edge = edge(&serving, &["--connect", &home.address()]);
        edge.0.expect_line("Serving cam/main/jpeg at");
        let mut command = home.script("origin");
        command.args(["--host", "0.0.0.0"]).arg(&clip);
        let output = Program::start(&mut command).finish();
        assert!(output.ends_with("The video has ended."), "{output}");
        edge.0.expect_line("Receiving cam/main/jpeg");
        edge.0.expect_line("no more frames");
        // An origin that connects to a router ends with its video, too.
        let _router = start_script(&serving, "router", &[]);
        let mut command = home.script("origin");
        command.args(["--router", &serving.address()]).arg(&clip);
        let output = Program::start(&mut command).finish();
        assert!(output.ends_with("The video has ended."), "{output}");
    });
}
