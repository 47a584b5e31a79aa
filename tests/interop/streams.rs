// SPDX-License-Identifier: MPL-2.0

//! Complete streams between OpenCV programs and our elements, in both directions.

use std::{fs, process::Command, sync::Mutex};

use gst::prelude::*;

use super::fixture::{CLIP, FRAMES, Outcome, receive, run, stock_client, sums};
use crate::common::{
    peer::{PYTHON, peer},
    pipeline::{Pipeline, scratch},
    process::{Program, with_plugin},
    psnr,
    wait::wait_until,
    wire::{FRAMINGS, Framing, framing},
};

/// Decoded frames are within 33 to 35 dB of the clip. Frames of the clip differ by 16 dB, and a
/// frame whose range is mislabelled reaches 26 dB.
const MIN_PSNR: f64 = 31.0;

/// Size of the clip's frames when scaled to a width of 800.
const SIZE: &str = "800x450";

const RGB: &str = "videoconvert ! videoscale ! video/x-raw,format=RGB,width=800,height=450";

#[test]
fn opencv_sender_to_depayloader() {
    let (sent, got) = from_opencv(&[], "b64jpegdepay");
    assert_eq!(sent.len(), FRAMES);
    got.is_clean();
    assert_eq!(got.sums(), sent);
}

#[test]
fn opencv_sender_to_decoded_picture() {
    let (_, got) = from_opencv(&[], &format!("b64jpegdepay ! jpegdec ! {RGB}"));
    assert_is_clip(&got);
}

/// Expects the frames of the clip, in RGB.
#[track_caller]
fn assert_is_clip(got: &Outcome) {
    let source = run(&format!("{} ! {RGB}", decoded_clip()));
    assert_eq!(got.buffers.len(), FRAMES);
    assert_eq!(source.buffers.len(), FRAMES);
    for (i, (got, source)) in got.buffers.iter().zip(&source.buffers).enumerate() {
        let psnr = psnr(got, source);
        assert!(psnr > MIN_PSNR, "frame {i}: {psnr:.1} dB");
    }
}

#[test]
fn opencv_sender_to_depayloader_in_every_framing() {
    for Framing { header, payload } in FRAMINGS
        .into_iter()
        .chain(["base64", "jpeg"].map(|payload| framing("ascii16-zero", payload)))
    {
        let args = ["--width", "160", "--header", header, "--payload", payload];
        let (sent, got) = from_opencv(&args, "b64jpegdepay");
        assert_eq!(sent.len(), FRAMES);
        got.is_clean();
        assert_eq!(got.sums(), sent, "{header} {payload}");
    }
}

#[test]
fn payloader_to_opencv_receiver() {
    let (sent, got) = to_opencv(800, "be32", "base64");
    assert_eq!(sent.len(), FRAMES);
    assert_eq!(got.len(), FRAMES);
    for (sent, got) in sent.iter().zip(&got) {
        assert_eq!(*sent, got.sha256);
        assert_eq!(got.size, SIZE);
        assert!(got.psnr > MIN_PSNR, "{got:?}");
    }
}

#[test]
fn payloader_to_opencv_receiver_in_every_framing() {
    for Framing { header, payload } in FRAMINGS {
        let (sent, got) = to_opencv(160, header, payload);
        assert_eq!(sent.len(), FRAMES);
        let got: Vec<_> = got.into_iter().map(|frame| frame.sha256).collect();
        assert_eq!(got, sent, "{header} {payload}");
    }
}

/// The usual receiver script, with our server instead of its own.
#[test]
fn server_sink_to_receiver_script() {
    let source = format!("{} ! {}", decoded_clip(), jpegs(800));
    let expected = run(&source).sums();
    assert_eq!(expected.len(), FRAMES);
    for pace in ["sync=false", ""] {
        let mut server = gst_launch(&format!(
            "-m {source} ! b64jpegserversink port=0 wait-for-client=true max-clients=1 {pace}"
        ));
        let line = server.expect_line("b64jpeg-waiting");
        let (_, port) = line.split_once("port=(int)").expect("a port");
        let port = port.split([',', ';']).next().expect("a number");
        let mut receiver = peer("receiver.py");
        receiver
            .args(["--as-most-do", &format!("--port={port}")])
            .arg(&*CLIP);
        let seen = seen(&Program::start(&mut receiver).finish());
        server.finish();
        assert_eq!(seen.len(), FRAMES);
        for (frame, sent) in seen.iter().zip(&expected) {
            assert_eq!((&frame.sha256, &frame.size[..]), (sent, SIZE));
            assert!(frame.psnr > MIN_PSNR, "{frame:?}");
        }
    }
}

/// The usual sender script, with our client instead of its own.
#[test]
fn sender_script_to_client_source() {
    let directory = scratch("to-our-client");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    let mut sender = Program::start(peer("sender.py").arg(&*CLIP));
    let line = sender.expect_line("port ");
    let client = gst_launch(&format!(
        "b64jpegclientsrc host=localhost port={} reconnect=false
         ! multifilesink location={}/%05d.jpg",
        line.trim_start_matches("port "),
        directory.display()
    ));
    let sent = sent(&sender.finish());
    client.finish();
    assert_eq!(sent.len(), FRAMES);
    let mut files: Vec<_> = fs::read_dir(&directory)
        .expect("pictures")
        .map(|entry| entry.expect("a picture").path())
        .collect();
    files.sort();
    let got: Vec<_> = files
        .iter()
        .map(|file| fs::read(file).expect("a picture"))
        .collect();
    assert_eq!(sums(&got), sent);

    // Decoded, the frames are those of the clip.
    let shown = run(&format!(
        "multifilesrc location={}/%05d.jpg caps=image/jpeg,framerate=30/1 ! jpegdec ! {RGB}",
        directory.display()
    ));
    shown.is_clean();
    assert_is_clip(&shown);
}

/// The stream ends cleanly and every frame arrives without a warning.
#[test]
fn sender_script_to_client_source_in_every_framing() {
    for Framing { header, payload } in FRAMINGS {
        let args = ["--width", "160", "--header", header, "--payload", payload];
        let mut sender = peer("sender.py");
        let (printed, got) = receive(sender.args(args).arg(&*CLIP), |port| {
            format!("b64jpegclientsrc host=127.0.0.1 port={port} reconnect=false")
        });
        got.is_clean();
        assert_eq!(got.sums(), sent(&printed), "{header} {payload}");
        assert_eq!(got.buffers.len(), FRAMES);
    }
}

#[test]
fn vectors_match_python() {
    let mut make = Command::new(&*PYTHON);
    make.args(["-W", "error", "tests/vectors/make.py", "--check"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    Program::start(&mut make).finish();
}

fn decoded_clip() -> String {
    format!("filesrc location={} ! decodebin", CLIP.display())
}

/// Elements that scale to a width and encode.
fn jpegs(width: u32) -> String {
    format!(
        "jfifconvert ! videoscale ! video/x-raw,width={width},pixel-aspect-ratio=1/1
         ! jpegenc quality=80"
    )
}

/// Starts `gst-launch-1.0` with these arguments.
fn gst_launch(words: &str) -> Program {
    let mut gst_launch = Command::new("gst-launch-1.0");
    Program::start(with_plugin(gst_launch.args(words.split_whitespace())))
}

/// Runs the OpenCV sender; returns the checksums of its JPEGs, and what arrived.
fn from_opencv(args: &[&str], tail: &str) -> (Vec<String>, Outcome) {
    let mut sender = peer("sender.py");
    let (printed, got) = receive(sender.args(args).arg(&*CLIP), |port| {
        stock_client(port, tail)
    });
    (sent(&printed), got)
}

/// Checksums printed by the OpenCV sender.
fn sent(printed: &str) -> Vec<String> {
    let sums = printed
        .lines()
        .filter_map(|line| line.strip_prefix("sent "));
    sums.map(String::from).collect()
}

/// A frame as the OpenCV receiver reports it.
#[derive(Debug)]
struct SeenFrame {
    size: String,
    psnr: f64,
    sha256: String,
}

/// Sends the clip to the OpenCV receiver; returns the checksums of our JPEGs, and its reports.
fn to_opencv(width: u32, header: &str, payload: &str) -> (Vec<String>, Vec<SeenFrame>) {
    let pipeline = Pipeline::launch(&format!(
        "{} ! {} ! b64jpegpay name=pay header={header} payload={payload}
         ! tcpserversink name=server host=127.0.0.1 port=0 sync=false",
        decoded_clip(),
        jpegs(width)
    ));
    let server: gst::Element = pipeline.element("server");

    let sent = pipeline.collect("pay", "sink");

    // The stock server waits neither for its first client nor, at the stop, for what that client
    // has not read yet.
    let pay: gst::Element = pipeline.element("pay");
    let src = pay.static_pad("src").expect("a pad");
    let block = gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER;
    let blocked = src.add_probe(block, |_, _| gst::PadProbeReturn::Ok);
    let blocked = Mutex::new(blocked);
    server.connect("client-added", false, move |_| {
        if let Some(probe) = blocked.lock().unwrap().take() {
            src.remove_probe(probe);
        }
        None
    });

    pipeline.play();
    let port = server.property::<i32>("current-port");
    let mut receiver = peer("receiver.py");
    receiver
        .args(["--header", header, "--payload", payload])
        .arg(format!("--port={port}"))
        .arg(&*CLIP);
    let receiver = Program::start(&mut receiver);
    pipeline.wait_for_clean_end();
    wait_until("the receiver to read everything", || {
        server.property::<u64>("bytes-served") >= server.property::<u64>("bytes-to-serve")
    });
    drop(pipeline);

    let printed = receiver.finish();
    (sums(&sent.take()), seen(&printed))
}

/// Frames that the OpenCV receiver printed.
fn seen(printed: &str) -> Vec<SeenFrame> {
    let seen = printed.lines().filter_map(|line| {
        let [size, psnr, sha256] = line
            .strip_prefix("frame ")?
            .split(' ')
            .collect::<Vec<_>>()
            .try_into()
            .expect("size, PSNR, checksum");
        Some(SeenFrame {
            size: size.into(),
            psnr: psnr.parse().expect("a number"),
            sha256: sha256.into(),
        })
    });
    seen.collect()
}
