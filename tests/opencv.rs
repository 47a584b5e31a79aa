// SPDX-License-Identifier: MPL-2.0

//! Programs that use only `cv2.VideoCapture` with OpenCV's GStreamer backend. The python3-opencv
//! package of Debian and Ubuntu has this backend, the one from PyPI does not.

mod common;

use std::{fs, path::PathBuf, process::Command};

use common::{
    pipeline::{Pipeline, scratch},
    process::{Program, with_plugin},
    raw_server::{RawConnection, RawServer},
    wire::DEFAULT,
};

const FRAMES: usize = 50;
/// What OpenCV's users put at the end of a pipeline.
const TAIL: &str = "videoconvert ! video/x-raw,format=BGR ! appsink";

/// JPEGs of a moving pattern, and the files that contain them.
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

/// Runs `capture.py` with a server that does `serve`; returns its output.
fn capture(source: &str, files: &[PathBuf], serve: impl FnOnce(RawConnection)) -> String {
    let server = RawServer::new();
    let source = source.replace("PORT", &server.port().to_string());
    // The system Python, for which Debian's package is made, and not a virtual environment.
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

/// Expects every frame in order, each close to its JPEG, and then the end.
#[track_caller]
fn expect_all(printed: &str, frames: usize) {
    let lines: Vec<_> = printed.lines().collect();
    let seen = lines.iter().filter_map(|line| line.strip_prefix("frame "));
    let seen: Vec<_> = seen.filter_map(|line| line.split_once(' ')).collect();
    assert_eq!(seen.len(), frames, "{printed}");
    for (size, psnr) in seen {
        assert_eq!(size, "320x240");
        // Another frame of this clip, or wrong colours, would be below 14.
        let psnr: f64 = psnr.parse().expect("a number");
        assert!(psnr > 25.0, "{printed}");
    }
    assert_eq!(lines.last(), Some(&"end"), "{printed}");
    for word in ["CRITICAL", "GStreamer-WARNING", "Traceback"] {
        assert!(!printed.contains(word), "{printed}");
    }
}

#[test]
fn opencv_captures_whole_stream() {
    let (files, jpegs) = pictures();
    let stream = DEFAULT.stream(&jpegs);
    for source in [
        format!("b64jpegclientsrc host=127.0.0.1 port=PORT reconnect=false ! jpegdec ! {TAIL}"),
        format!("uridecodebin uri=b64jpeg://localhost:PORT?reconnect=false ! {TAIL}"),
        // With a bare URI OpenCV builds the pipeline itself.
        "b64jpeg://localhost:PORT?reconnect=false".into(),
    ] {
        let printed = capture(&source, &files, |mut peer| {
            peer.send(&stream);
            peer.close();
        });
        expect_all(&printed, FRAMES);
    }
}

/// As from a camera: each frame is read before the next one is sent.
#[test]
fn opencv_captures_frame_by_frame() {
    let (files, jpegs) = pictures();
    let source =
        format!("b64jpegclientsrc host=localhost port=PORT reconnect=false ! jpegdec ! {TAIL}");
    let printed = capture(&source, &files, |mut peer| {
        for jpeg in &jpegs {
            peer.send(DEFAULT.frame(jpeg));
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        peer.close();
    });
    expect_all(&printed, FRAMES);
}
