// SPDX-License-Identifier: MPL-2.0

//! The programs in `examples/`, each with one of the elements at the other end.

mod common;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use common::{
    pipeline::{Pipeline, make_file, scratch},
    process::{Program, with_plugin},
    raw_server::ReservedPort,
    viewer::Viewer,
    wait::wait_for,
};
use gst::prelude::*;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");

/// An example in Rust, which cargo has built for this test.
fn rust(name: &str) -> Command {
    let exe = env::current_exe().expect("a test has a path");
    // target/<profile>/deps/<test>
    let dir = exe.ancestors().nth(2).expect("cargo's layout");
    let program = dir.join("examples").join(name);
    assert!(program.exists(), "run cargo build --examples");
    let mut command = Command::new(program);
    // The program registers the elements itself.
    command.env_remove("GST_PLUGIN_PATH");
    command.env("G_DEBUG", "fatal-warnings");
    command
}

/// The example in Python; every warning is an error.
fn python() -> Command {
    // Debian's bindings work with Debian's Python only, and cause this warning themselves.
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-W", "error", "-W", "ignore::ImportWarning"]);
    command.arg(format!("{EXAMPLES}/receive.py"));
    with_plugin(&mut command);
    command
}

/// The example in C, compiled as its own comment says; every warning is an error.
fn c() -> Command {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let program = scratch("example-in-c");
        let source = fs::read_to_string(format!("{EXAMPLES}/serve.c")).expect("text");
        let says = source
            .lines()
            .find_map(|line| line.strip_prefix(" *   cc "));
        let arguments = says
            .expect("how to compile it")
            .replace("-o serve", "-o $0");
        let mut compiler = Command::new("sh");
        compiler
            .args(["-c", &format!("cc -Wall -Wextra -Werror {arguments}")])
            .arg(&program)
            .current_dir(env!("CARGO_MANIFEST_DIR"));
        assert_eq!(Program::start(&mut compiler).finish(), "");
        program
    });
    let mut command = Command::new(&*PROGRAM);
    with_plugin(&mut command);
    command
}

/// The port that a program prints.
#[track_caller]
fn port_of(program: &mut Program) -> u16 {
    let line = program.expect_line("Serving on port ");
    let port = line.rsplit(' ').next().and_then(|port| port.parse().ok());
    port.expect("a number")
}

/// A server of frames of one brightness, with odd width and height.
fn server(pattern: &str, port: u16) -> Pipeline {
    let pipeline = Pipeline::launch(&format!(
        "videotestsrc name=pictures pattern={pattern} is-live=true
         ! video/x-raw,format=RGB,width=317,height=211,framerate=25/1
         ! videoconvert ! video/x-raw,format=I420,colorimetry=1:4:0:0 ! jpegenc
         ! b64jpegserversink name=server port={port}"
    ));
    pipeline.play();
    pipeline
}

fn address(server: &Pipeline) -> String {
    let server: gst::Element = server.element("server");
    format!("127.0.0.1:{}", server.property::<i32>("current-port"))
}

#[test]
fn examples_are_short() {
    for example in fs::read_dir(EXAMPLES).expect("they are there") {
        let path = example.expect("an entry").path();
        let lines = fs::read_to_string(&path).expect("text").lines().count();
        assert!(lines < 80, "{} has {lines} lines", path.display());
    }
}

/// Position of the white bar in a frame.
fn bar_position(picture: &[u8]) -> usize {
    let row = &picture[100 * 320..][..320];
    let start = row.iter().position(|&pixel| pixel > 128).expect("a bar");
    for (x, &pixel) in row.iter().enumerate() {
        let inside = (start..start + 16).contains(&x);
        assert_eq!(pixel > 128, inside, "pixel {x} of {row:?}");
    }
    start
}

#[test]
fn rust_sender_sends_what_it_draws() {
    let mut program = Program::start(rust("send").arg("127.0.0.1:0"));
    let client = Pipeline::launch(&format!(
        "b64jpegclientsrc port={} reconnect=false ! jpegdec ! videoconvert
         ! video/x-raw,format=GRAY8,width=320,height=240 ! fakesink name=sink sync=false",
        port_of(&mut program)
    ));
    let pictures = client.collect("sink", "sink");
    client.play();
    let mut seen = Vec::new();
    wait_for("five frames", || {
        seen.extend(pictures.take().iter().map(|picture| bar_position(picture)));
        (seen.len() >= 5).then_some(())
    });
    program.signal_group("INT");
    program.finish();
    client.wait_for_clean_end();
    for pair in seen.windows(2) {
        // Frames may be dropped, but the bar moves with each frame.
        assert!(pair[0] != pair[1] && pair[1] % 16 == 0, "{seen:?}");
    }
}

#[test]
fn rust_sender_reports_used_port() {
    let server = server("black", 0);
    let address = address(&server);
    let (status, output) = Program::start(rust("send").arg(&address)).wait();
    assert!(!status.success(), "{output}");
    for word in address.split(':') {
        assert!(output.contains(word), "{output}");
    }
}

#[test]
fn rust_receiver_reports_frames_and_reconnects() {
    let port = ReservedPort::new();
    let address = format!("127.0.0.1:{}", port.number());
    let mut program = Program::start(rust("receive").arg(&address));
    program.expect_line(&port.number().to_string());
    let white = server("white", port.number());
    program.expect_line("317x211, brightness 25");
    drop(white);
    let _black = server("black", port.number());
    program.expect_line("317x211, brightness 0");
    program.signal_group("INT");
    program.finish();
}

#[test]
fn rust_receiver_refuses_invalid_address() {
    let (status, output) = Program::start(rust("receive").arg("localhost:http")).wait();
    assert!(!status.success(), "{output}");
    assert!(output.contains("http"), "{output}");
}

#[test]
fn python_receiver_reports_frames() {
    let white = server("white", 0);
    let mut program = Program::start(python().arg(address(&white)));
    program.expect_line("picture 0: 317x211, brightness 25");
    let pictures: gst::Element = white.element("pictures");
    pictures.set_property_from_str("pattern", "black");
    program.expect_line("brightness 0");
    // The program ends with the stream.
    white.0.send_event(gst::event::Eos::new());
    program.finish();
}

#[test]
fn python_receiver_can_be_interrupted() {
    let white = server("white", 0);
    let mut program = Program::start(python().arg(address(&white)));
    program.expect_line("picture 2");
    program.signal_group("INT");
    let output = program.finish();
    assert!(!output.contains("Traceback"), "{output}");
}

#[test]
fn python_receiver_reports_refused_connection() {
    let port = ReservedPort::new().number();
    let (status, output) = Program::start(python().arg(format!("127.0.0.1:{port}"))).wait();
    assert_eq!(status.code(), Some(1), "{output}");
    assert!(output.contains(&port.to_string()), "{output}");
    assert!(!output.contains("Traceback"), "{output}");
}

/// Number of frames in a video that any program can play.
const FRAMES: usize = 30;

fn video() -> &'static Path {
    static VIDEO: LazyLock<PathBuf> = LazyLock::new(|| {
        let path = scratch("example.avi");
        let pictures = format!(
            "videotestsrc num-buffers={FRAMES} ! video/x-raw,width=320,height=240,framerate=30/1"
        );
        make_file(&format!("{pictures} ! jpegenc ! avimux"), &path);
        path
    });
    &VIDEO
}

#[test]
fn c_server_serves_every_frame() {
    let mut program = Program::start(c().arg(video()).arg("0"));
    let client = Pipeline::launch(&format!(
        "b64jpegclientsrc port={} reconnect=false ! image/jpeg,width=320 ! fakesink name=sink",
        port_of(&mut program)
    ));
    let pictures = client.collect("sink", "sink");
    client.play();
    client.wait_for_clean_end();
    assert_eq!(pictures.take().len(), FRAMES);
    let output = program.finish();
    let connected = output.lines().find(|line| line.ends_with(" connected"));
    let disconnected = output
        .lines()
        .find(|line| line.contains(" disconnected: ended"));
    assert!(connected.is_some() && disconnected.is_some(), "{output}");
}

#[test]
fn c_server_reports_clients() {
    let mut program = Program::start(c().arg(video()).arg("0"));
    let server = ([127, 0, 0, 1], port_of(&mut program)).into();
    let mut viewer = Viewer::connect(server);
    let address = viewer.address();
    program.expect_line(&format!("{address} connected"));
    viewer.next().expect("a picture");
    drop(viewer);
    program.expect_line(&format!("{address} disconnected"));
    program.signal_group("INT");
    program.finish();
}

#[test]
fn c_server_can_be_interrupted_while_waiting() {
    let mut program = Program::start(c().arg(video()).arg("0"));
    port_of(&mut program);
    program.signal_group("INT");
    program.finish();
}

#[test]
fn c_server_reports_invalid_arguments() {
    let taken = server("black", 0);
    let address = address(&taken);
    let (_, port) = address.split_once(':').expect("a port");
    let video = video().to_str().expect("UTF-8");
    for (args, expected) in [
        (&[][..], "Usage"),
        (&["/no/such/video"], "/no/such/video"),
        (&[video, port], port),
        (&[video, "0", "192.0.2.1"], "192.0.2.1"),
    ] {
        let (status, output) = Program::start(c().args(args)).wait();
        assert!(!status.success(), "{output}");
        assert!(output.contains(expected), "{output}");
    }
}
