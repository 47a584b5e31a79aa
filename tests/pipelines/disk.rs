// SPDX-License-Identifier: MPL-2.0

//! Recordings that end early: on a full disk, or because the recorder is killed.

use std::fs;

use super::{
    script::script,
    video::{frames, fresh, record, size},
};
use crate::common::{
    isolation::in_own_namespaces,
    process::PATIENCE,
    raw_server::RawServer,
    wait::wait_for,
    wire::{DEFAULT, encode},
};

/// Size of the small disk in bytes.
const DISK: usize = 3 << 20;

/// A file system mounted here is removed with the process.
const SMALL_DISK: &str = r#"mount -t tmpfs -o size=3m none /mnt && exec "$@""#;

/// The number in front of `word` in a text.
#[track_caller]
fn number_before(word: &str, text: &str) -> usize {
    let (before, _) = text.split_once(word).unwrap_or_else(|| panic!("{text}"));
    let number = before.rsplit(' ').next().unwrap_or_default();
    number
        .parse()
        .unwrap_or_else(|_| panic!("{number:?}: {text}"))
}

#[test]
fn recording_on_a_full_disk_keeps_whole_frames() {
    in_own_namespaces(&["--mount"], SMALL_DISK, PATIENCE, || {
        let pictures = encode(8, 640, 360);
        let stream = DEFAULT.stream(&pictures).repeat(DISK / (8 * 100_000) * 3);
        assert!(stream.len() > 2 * DISK, "{}", stream.len());
        let all = frames(&stream);
        // With less space on the disk, fewer frames fit, or none.
        for used in [0, 2 << 20, DISK] {
            fs::write("/mnt/other", vec![1; used]).expect("it fits");
            let server = RawServer::new().serve(stream.clone());
            let address = format!("127.0.0.1:{}", server.port);
            let path = "/mnt/full disk.b64jpeg";
            let (status, output) = script("record", &[&address, path]).start().wait();
            assert_eq!(status.code(), Some(1), "{output}");
            assert_eq!(output.matches("record.sh: ").count(), 1, "{output}");
            assert!(output.contains("the disk is full"), "{output}");
            assert!(output.contains(path), "{output}");
            if used == DISK {
                assert!(!fs::exists(path).expect("a disk"), "{output}");
                assert!(output.contains("is empty"), "{output}");
                continue;
            }
            let recording = fs::read(path).expect("a recording");
            let kept = frames(&recording);
            assert!(!kept.is_empty() && all.starts_with(&kept), "{output}");
            assert_eq!(number_before(" whole frames", &output), kept.len());
            assert_eq!(number_before(" bytes;", &output), recording.len());
            assert!(output.contains("play it with pipelines/replay.sh"));
            // Only the frame that did not fit is missing.
            let next = 4 + all[kept.len()].len();
            assert!(recording.len() + next > DISK - used - 8192, "{output}");
            fs::remove_file(path).expect("it is there");
        }
    });
}

#[test]
fn recording_of_a_killed_pipeline_keeps_whole_frames() {
    let pictures = encode(8, 640, 360);
    for signal in ["KILL", "SEGV"] {
        let server = RawServer::new();
        let address = format!("127.0.0.1:{}", server.port());
        let path = fresh(&format!("until {signal}.b64jpeg"));
        let recorder = script("record", &[&address, &path]).start();
        server.accept().send(DEFAULT.stream(&pictures));
        wait_for("a recording", || (size(&path) > 0).then_some(()));
        recorder.signal_pipeline(signal);
        let (status, output) = recorder.wait();
        assert_eq!(status.code(), Some(1), "{output}");
        assert!(output.contains(&format!("(SIG{signal})")), "{output}");
        assert!(output.contains("whole frames in"), "{output}");
        let recording = fs::read(&path).expect("a recording");
        let sent = DEFAULT.stream(&pictures);
        assert!(frames(&sent).starts_with(&frames(&recording)), "{output}");
    }
}

/// A power cut leaves such a recording.
#[test]
fn recording_truncated_inside_frame_replays_to_there() {
    let pictures = encode(4, 320, 240);
    let stream = DEFAULT.stream(&pictures);
    let all = frames(&stream);
    let last = stream.len() - 4 - all[3].len();
    let path = fresh("cut off.b64jpeg");
    for end in [last + 2, last + 4, last + 1000, stream.len() - 1] {
        fs::write(&path, &stream[..end]).expect("a file");
        let mut server = script("replay", &["--port=0", "--fast", &path]).start();
        let again = record(&server.address(), "cut off again.b64jpeg");
        let output = server.finish();
        assert!(frames(&again) == all[..3], "{end}: {output}");
        let place = format!("Frame 3 at byte {last}: the stream ended inside it");
        assert!(output.contains(&place), "{end}: {output}");
    }
}
