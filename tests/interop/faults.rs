// SPDX-License-Identifier: MPL-2.0

//! Streams that a peer damages on purpose.

use std::{fs, path::PathBuf, sync::LazyLock};

use base64::prelude::*;

use self::Arriving::{All, AllButDamaged, OnlyEarlier};
use super::fixture::{CLIP, FRAMES, Outcome, receive, stock_client};
use crate::common::{peer::peer, pipeline::scratch, process::Program, wire::assert_same};

/// Which frames arrive when one is damaged.
enum Arriving {
    All,
    AllButDamaged,
    OnlyEarlier,
}

/// Faults within a stream: the name in `faults.py`, and a part of the warning in the default
/// framing.
const FAULTS: &[(&str, Arriving, Option<&str>)] = &[
    ("chops", All, None),
    ("bytes", All, None),
    ("garbage", All, Some("")),
    ("garbage-log-line", All, Some("")),
    ("garbage-small-frame", All, Some("not begin like a JPEG")),
    ("torn", All, Some("not base64")),
    ("beheaded", AllButDamaged, Some("")),
    ("zero-length", All, None),
    (
        "length-4gib",
        AllButDamaged,
        Some("4294967295 bytes is over the limit"),
    ),
    ("length-50mib", AllButDamaged, Some("")),
    (
        "length-short",
        AllButDamaged,
        Some("inside a group of four"),
    ),
    ("length-long", AllButDamaged, Some("not base64")),
    ("length-far-too-long", AllButDamaged, Some("not base64")),
    (
        "not-a-jpeg",
        AllButDamaged,
        Some("not begin like a JPEG but with"),
    ),
    (
        "flipped-character",
        AllButDamaged,
        Some("byte 100 of its text is 0x21"),
    ),
    (
        "stop-in-frame",
        OnlyEarlier,
        Some("ended inside it, after 1000 of "),
    ),
    (
        "stop-in-header",
        OnlyEarlier,
        Some("ended inside it, after 3 bytes"),
    ),
];

/// Whether a fault is visible in this framing.
fn is_visible(fault: &str, header: &str, payload: &str) -> bool {
    match fault {
        "flipped-character" => payload == "base64",
        // Garbage without a line feed becomes the start of the next line.
        "garbage" | "torn" => header != "lines",
        _ if fault.contains("length") => !matches!(header, "lines" | "none"),
        _ => true,
    }
}

#[track_caller]
fn check_faults(at: usize, header: &str, payload: &str) {
    let jpegs = &RECORDING.jpegs;
    let offset = jpegs[..at]
        .iter()
        .map(|jpeg| wire_len(jpeg, header, payload))
        .sum::<usize>();
    let place = format!("Frame {at} at byte {offset}: ");
    for (fault, arrive, warning) in FAULTS {
        if !is_visible(fault, header, payload) {
            continue;
        }
        let label = format!("{fault} at frame {at} of {header} {payload}");
        let got = from_faults(&[
            fault,
            "--header",
            header,
            "--payload",
            payload,
            "--at",
            &at.to_string(),
        ]);
        assert_eq!(got.error, None, "{label}");
        match (warning, &got.warnings[..]) {
            (None, []) => {}
            (Some(what), [one]) => {
                assert!(one.contains(&place), "{label}: {one}");
                let default = (header, payload) == ("be32", "base64");
                assert!(!default || one.contains(what), "{label}: {one}");
            }
            (_, warnings) => panic!("{label}: {warnings:#?}"),
        }
        let expected = match arrive {
            All => jpegs.clone(),
            AllButDamaged => [&jpegs[..at], &jpegs[at + 1..]].concat(),
            OnlyEarlier => jpegs[..at].to_vec(),
        };
        assert_same(&got.buffers, &expected, &label);
    }
}

/// Length of a frame in bytes.
fn wire_len(jpeg: &[u8], header: &str, payload: &str) -> usize {
    let body = match payload {
        "base64" => jpeg.len().div_ceil(3) * 4,
        _ => jpeg.len(),
    };
    body + match header {
        "be32" | "le32" => 4,
        "be64" | "le64" => 8,
        "ascii16" => 16,
        "lines" => 1,
        _ => 0,
    }
}

#[test]
fn fault_at_any_frame_is_handled() {
    for at in [1, FRAMES / 2, FRAMES - 2] {
        check_faults(at, "be32", "base64");
    }
}

#[test]
fn fault_in_any_framing_is_handled() {
    for (header, payload) in [
        ("le64", "jpeg"),
        ("ascii16", "base64"),
        ("lines", "base64"),
        ("none", "jpeg"),
    ] {
        check_faults(FRAMES / 3, header, payload);
    }
}

#[test]
fn too_many_faults_are_an_error() {
    let got = from_faults(&["all-flipped", "--at", "4"]);
    let error = got.error.expect("an error");
    assert!(error.contains("Frame 4 at byte "), "{error}");
    assert_eq!(got.warnings.len(), 10);
    assert_same(&got.buffers, &RECORDING.jpegs[..4], "all-flipped");
}

#[test]
fn foreign_protocol_is_named() {
    for (fault, name) in [
        ("pickle", "pickle"),
        ("pickle-protocol-0", "pickle"),
        ("pickle-be32", "pickle"),
        ("pickle-native", "pickle"),
        ("http", "HTTP"),
        ("multipart", "multipart"),
        ("data-url", "data: URL"),
    ] {
        let got = from_faults(&[fault]);
        let error = got.error.expect(fault);
        assert!(error.contains("frame 0 at byte 0: "), "{fault}: {error}");
        assert!(error.contains(name), "{fault}: {error}");
        assert_same(&got.buffers, &[], fault);
    }
}

/// A recording by the OpenCV sender, with small frames.
struct Recording {
    path: PathBuf,
    jpegs: Vec<Vec<u8>>,
}

static RECORDING: LazyLock<Recording> = LazyLock::new(|| {
    let path = scratch("recording.b64jpeg");
    let mut sender = peer("sender.py");
    sender
        .args(["--width", "160", "--record"])
        .arg(&path)
        .arg(&*CLIP);
    Program::start(&mut sender).finish();

    let bytes = fs::read(&path).expect("the recording");
    let (mut rest, mut jpegs) = (&bytes[..], vec![]);
    while let Some((header, tail)) = rest.split_first_chunk() {
        let (text, tail) = tail.split_at(u32::from_be_bytes(*header) as usize);
        jpegs.push(BASE64_STANDARD.decode(text).expect("base64"));
        rest = tail;
    }
    assert_eq!(jpegs.len(), FRAMES);
    Recording { path, jpegs }
});

fn from_faults(args: &[&str]) -> Outcome {
    let mut faults = peer("faults.py");
    let faults = faults.args(args).arg(&RECORDING.path);
    receive(faults, |port| stock_client(port, "b64jpegdepay")).1
}
