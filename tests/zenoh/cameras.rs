// SPDX-License-Identifier: MPL-2.0

//! Many cameras on one edge, and one that comes to its end.

use std::{process::Command, time::Duration};

use super::{
    fixture::Camera,
    net::{Machine, network},
    participants::{PATIENCE, edge, open, origin},
};
use crate::common::{
    pipeline::{make_file, scratch},
    process::Program,
    wait::wait_until,
};

/// How long the newest picture of a camera is, once the page's server has one.
#[track_caller]
fn snapshot(at: &Machine, query: &str) -> usize {
    let url = format!("http://{}:8080/snapshot.jpg?{query}", at.doorstep());
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
fn an_expression_is_every_camera_also_later() {
    network(PATIENCE, || {
        let [here, there, serving] = ["here", "there", "serving"].map(Machine::new);
        // They are known by the size of their pictures.
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
        let doors = ["--tcp=9999", "--web=8080", "--token=secret"];
        let cameras = [first, second, third, "--key=cam/*/jpeg"];
        let mut edge = open(&serving, "edge", &[&cameras[..], &doors].concat());
        edge.0.expect_line("cam/door/jpeg comes");
        let _yard = origin(&there, &yard, &["--key", "cam/yard/jpeg"]);
        let said = edge.0.expect_line("Serving cam/yard/jpeg at");
        assert!(said.contains(":10000; watch it"), "{said}");
        edge.0.expect_line("cam/yard/jpeg comes");
        for (name, sizes) in [("door", 160_000..161_000), ("yard", 180_000..181_000)] {
            let size = snapshot(&serving, &format!("camera={name}&token=secret"));
            assert!(sizes.contains(&size), "{name}: {size}");
        }
        let said = edge.0.printed();
        assert!(!said.contains("Serving cam/other"), "{said}");
        assert!(!said.contains("warning"), "{said}");
    });
}

#[test]
fn a_file_is_sent_at_its_own_rate_and_ends() {
    network(PATIENCE, || {
        let [home, serving] = ["home", "serving"].map(Machine::new);
        let clip = scratch("origin.avi");
        let pictures = "videotestsrc num-buffers=75 ! video/x-raw,framerate=25/1 ! jpegenc";
        make_file(&format!("{pictures} ! avimux"), &clip);
        let mut edge = edge(&serving, &["--connect", &home.address()]);
        edge.0.expect_line("Serving cam/main/jpeg at");
        let mut command = home.script("origin");
        command.args(["--host", "0.0.0.0"]).arg(&clip);
        let said = Program::start(&mut command).finish();
        assert!(said.ends_with("The video has ended."), "{said}");
        edge.0.expect_line("cam/main/jpeg comes");
        edge.0.expect_line("no more pictures");
        // Who knocks at a router does not outlive the video either.
        let _router = open(&serving, "router", &[]);
        let mut command = home.script("origin");
        command.args(["--router", &serving.address()]).arg(&clip);
        let said = Program::start(&mut command).finish();
        assert!(said.ends_with("The video has ended."), "{said}");
    });
}
