// SPDX-License-Identifier: MPL-2.0

//! The elements with the OpenCV programs in `tests/peers`.

mod common;

use std::{
    env, fs,
    path::PathBuf,
    process::Command,
    sync::{LazyLock, Mutex},
};

use base64::prelude::*;
use common::{
    peer::{PYTHON, peer, sum},
    pipeline::{Pipeline, make_clip, scratch},
    process::{Program, with_plugin},
    psnr,
    wait::wait_until,
    wire::{FRAMINGS, Framing, assert_same, framing},
};
use gst::prelude::*;

const FRAMES: usize = 90;

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

/// Which frames arrive when one is damaged.
enum Arriving {
    All,
    AllButDamaged,
    OnlyEarlier,
}
use Arriving::{All, AllButDamaged, OnlyEarlier};

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

#[test]
fn vectors_match_python() {
    let mut make = Command::new(&*PYTHON);
    make.args(["-W", "error", "tests/vectors/make.py", "--check"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    Program::start(&mut make).finish();
}

/// Buffers and messages of a pipeline.
struct Outcome {
    buffers: Vec<Vec<u8>>,
    warnings: Vec<String>,
    error: Option<String>,
}

impl Outcome {
    #[track_caller]
    fn is_clean(&self) {
        assert_eq!((&self.warnings[..], &self.error), (&[][..], &None));
    }

    fn sums(&self) -> Vec<String> {
        sums(&self.buffers)
    }
}

/// The checksum of each JPEG.
fn sums(pictures: &[Vec<u8>]) -> Vec<String> {
    pictures.iter().map(|picture| sum(picture)).collect()
}

/// Runs a pipeline, given without its sink, to its end.
fn run(line: &str) -> Outcome {
    let pipeline = Pipeline::launch(&format!("{line} ! fakesink name=sink sync=false"));
    let buffers = pipeline.collect("sink", "sink");
    pipeline.play();
    let (warnings, error) = pipeline.wait();
    Outcome {
        buffers: buffers.take(),
        warnings,
        error,
    }
}

static CLIP: LazyLock<PathBuf> = LazyLock::new(|| make_clip("clip.mkv", FRAMES));

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

/// Starts a serving peer, and runs the pipeline that `client` makes of its port.
fn receive(server: &mut Command, client: impl FnOnce(&str) -> String) -> (String, Outcome) {
    let mut server = Program::start(server);
    let line = server.expect_line("port ");
    let got = run(&client(line.trim_start_matches("port ")));
    let (status, printed) = server.wait();
    assert!(
        status.success(),
        "{:?}; the peer printed:\n{printed}",
        got.error
    );
    (printed, got)
}

/// Runs the OpenCV sender; returns the checksums of its JPEGs, and what arrived.
fn from_opencv(args: &[&str], tail: &str) -> (Vec<String>, Outcome) {
    let mut sender = peer("sender.py");
    let (printed, got) = receive(sender.args(args).arg(&*CLIP), |port| {
        stock_client(port, tail)
    });
    (sent(&printed), got)
}

fn from_faults(args: &[&str]) -> Outcome {
    let mut faults = peer("faults.py");
    let faults = faults.args(args).arg(&RECORDING.path);
    receive(faults, |port| stock_client(port, "b64jpegdepay")).1
}

fn stock_client(port: &str, tail: &str) -> String {
    format!("tcpclientsrc host=127.0.0.1 port={port} ! {tail}")
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
