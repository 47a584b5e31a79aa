// SPDX-License-Identifier: MPL-2.0

//! Programs that know OpenCV only: `cv2.VideoCapture` with OpenCV's own GStreamer
//! backend, which Debian's and Ubuntu's python3-opencv has and the one from PyPI has not.

mod common;

use std::{fs, path::PathBuf, process::Command};

use common::{
    pipeline::{Pipeline, scratch},
    process::{Program, with_plugin},
    raw_server::{RawConnection, RawServer},
};

const FRAMES: usize = 50;
/// What OpenCV's users put at the end of a pipeline.
const TAIL: &str = "videoconvert ! video/x-raw,format=BGR ! appsink";

/// Pictures that move, and the files they are in.
fn pictures() -> (Vec<PathBuf>, Vec<Vec<u8>>) {
    let files = scratch("opencv");
    fs::create_dir_all(&files).expect("a directory");
    let pipeline = Pipeline::launch(&format!(
        "videotestsrc num-buffers={FRAMES} pattern=smpte75 horizontal-speed=9
         ! video/x-raw,width=320,height=240 ! jpegenc ! multifilesink location={}/%02d.jpg",
        files.display()
    ));
    pipeline.play();
    pipeline.wait_for_clean_end();
    let files: Vec<_> = (0..FRAMES)
        .map(|i| files.join(format!("{i:02}.jpg")))
        .collect();
    let jpegs = files.iter().map(|file| fs::read(file).expect("a picture"));
    let jpegs = jpegs.collect();
    (files, jpegs)
}

fn frame(jpeg: &[u8]) -> Vec<u8> {
    use base64::prelude::*;
    let text = BASE64_STANDARD.encode(jpeg);
    [&(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// Runs `capture.py` on a server that does as `serve` says; returns what it printed.
fn capture(source: &str, files: &[PathBuf], serve: impl FnOnce(RawConnection)) -> String {
    let server = RawServer::new();
    let source = source.replace("PORT", &server.port().to_string());
    // Not the Python of a virtual environment: the one that Debian's packages are for.
    let mut command = Command::new("/usr/bin/python3");
    command
        .args(["-W", "error"])
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/peers/capture.py"
        ))
        .arg(source)
        .args(files);
    let program = Program::start(with_plugin(&mut command));
    serve(server.accept());
    program.finish()
}

/// Expects every frame, in order, the right picture, and the end.
#[track_caller]
fn expect_all(printed: &str, frames: usize) {
    let lines: Vec<_> = printed.lines().collect();
    let seen = lines.iter().filter_map(|line| line.strip_prefix("frame "));
    let seen: Vec<_> = seen.filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(seen.len(), frames, "{printed}");
    for (size, psnr) in seen {
        assert_eq!(size, "320x240");
        // With another frame of this clip, or other colours, it is below 14.
        let psnr: f64 = psnr.parse().expect("a number");
        assert!(psnr > 25.0, "{printed}");
    }
    assert_eq!(lines.last(), Some(&"end"), "{printed}");
    for word in ["CRITICAL", "GStreamer-WARNING", "Traceback"] {
        assert!(!printed.contains(word), "{printed}");
    }
}

#[test]
fn opencv_captures_our_streams() {
    let (files, jpegs) = pictures();
    let stream: Vec<u8> = jpegs.iter().flat_map(|jpeg| frame(jpeg)).collect();
    for source in [
        format!("b64jpegclientsrc host=127.0.0.1 port=PORT reconnect=false ! jpegdec ! {TAIL}"),
        format!("uridecodebin uri=b64jpeg://localhost:PORT?reconnect=false ! {TAIL}"),
        // No pipeline at all: OpenCV makes one.
        "b64jpeg://localhost:PORT?reconnect=false".into(),
    ] {
        let printed = capture(&source, &files, |mut peer| {
            peer.send(&stream);
            peer.close();
        });
        expect_all(&printed, FRAMES);
    }
}

/// As for a camera: frame by frame, each read before the next one is there.
#[test]
fn opencv_captures_frame_by_frame() {
    let (files, jpegs) = pictures();
    let source =
        format!("b64jpegclientsrc host=localhost port=PORT reconnect=false ! jpegdec ! {TAIL}");
    let printed = capture(&source, &files, |mut peer| {
        for jpeg in &jpegs {
            peer.send(frame(jpeg));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        peer.close();
    });
    expect_all(&printed, FRAMES);
}
