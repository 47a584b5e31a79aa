// SPDX-License-Identifier: MPL-2.0

//! Our elements against real OpenCV programs, which are in `tests/peers`.

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

/// Decoded pictures come within 33 to 35 dB of the clip; its frames are 16 dB apart, and
/// a picture whose range was relabelled and not converted has 26 dB.
const MIN_PSNR: f64 = 31.0;

/// What the width of 800 makes of the clip, on both sides.
const SIZE: &str = "800x450";
const RGB: &str = "videoconvert ! videoscale ! video/x-raw,format=RGB,width=800,height=450";

#[test]
fn opencv_to_us() {
    let (sent, got) = from_opencv(&[], "b64jpegdepay");
    assert_eq!(sent.len(), FRAMES);
    got.is_clean();
    assert_eq!(got.sums(), sent);
}

#[test]
fn opencv_to_our_picture() {
    let (_, got) = from_opencv(&[], &format!("b64jpegdepay ! jpegdec ! {RGB}"));
    is_the_clip(&got);
}

/// Expects the pictures of the clip, in RGB.
#[track_caller]
fn is_the_clip(got: &Outcome) {
    let source = run(&format!("{} ! {RGB}", decoded_clip()));
    assert_eq!(got.buffers.len(), FRAMES);
    assert_eq!(source.buffers.len(), FRAMES);
    for (i, (got, source)) in got.buffers.iter().zip(&source.buffers).enumerate() {
        let psnr = psnr(got, source);
        assert!(psnr > MIN_PSNR, "frame {i}: {psnr:.1} dB");
    }
}

#[test]
fn opencv_to_us_in_every_framing() {
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
fn us_to_opencv() {
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
fn us_to_opencv_in_every_framing() {
    for Framing { header, payload } in FRAMINGS {
        let (sent, got) = to_opencv(160, header, payload);
        assert_eq!(sent.len(), FRAMES);
        let got: Vec<_> = got.into_iter().map(|frame| frame.sha256).collect();
        assert_eq!(got, sent, "{header} {payload}");
    }
}

/// The scripts people have, with only their server replaced by ours.
#[test]
fn our_server_to_a_script() {
    let source = format!("{} ! {}", decoded_clip(), jpegs(800));
    let expected = run(&source).sums();
    assert_eq!(expected.len(), FRAMES);
    for pace in ["sync=false", ""] {
        let mut server = launch(&format!(
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

/// With only their client replaced.
#[test]
fn a_script_to_our_client() {
    let directory = scratch("to-our-client");
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).expect("a directory");
    let mut sender = Program::start(peer("sender.py").arg(&*CLIP));
    let line = sender.expect_line("port ");
    let client = launch(&format!(
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

    // Shown, they are what the clip shows.
    let shown = run(&format!(
        "multifilesrc location={}/%05d.jpg caps=image/jpeg,framerate=30/1 ! jpegdec ! {RGB}",
        directory.display()
    ));
    shown.is_clean();
    is_the_clip(&shown);
}

/// Both ends by themselves: a clean end, and nothing said but every frame.
#[test]
fn a_script_to_our_client_in_every_framing() {
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

/// Which frames arrive when a fault befalls one.
enum Arrive {
    All,
    AllButThatOne,
    OnlyThoseBefore,
}
use Arrive::{All, AllButThatOne, OnlyThoseBefore};

/// Faults within a stream: a name in `faults.py`, and what the warning says about it
/// in the default framing.
const FAULTS: &[(&str, Arrive, Option<&str>)] = &[
    ("chops", All, None),
    ("bytes", All, None),
    ("garbage", All, Some("")),
    ("garbage-log-line", All, Some("")),
    ("garbage-small-frame", All, Some("not begin like a JPEG")),
    ("torn", All, Some("not base64")),
    ("beheaded", AllButThatOne, Some("")),
    ("zero-length", All, None),
    (
        "length-4gib",
        AllButThatOne,
        Some("4294967295 bytes is over the limit"),
    ),
    ("length-50mib", AllButThatOne, Some("")),
    (
        "length-short",
        AllButThatOne,
        Some("inside a group of four"),
    ),
    ("length-long", AllButThatOne, Some("not base64")),
    ("length-far-too-long", AllButThatOne, Some("not base64")),
    (
        "not-a-jpeg",
        AllButThatOne,
        Some("not begin like a JPEG but with"),
    ),
    (
        "flipped-character",
        AllButThatOne,
        Some("byte 100 of its text is 0x21"),
    ),
    (
        "stop-in-frame",
        OnlyThoseBefore,
        Some("ended inside it, after 1000 of "),
    ),
    (
        "stop-in-header",
        OnlyThoseBefore,
        Some("ended inside it, after 3 bytes"),
    ),
];

/// Whether the bytes of a framing can show that there is such a fault.
fn is_visible(fault: &str, header: &str, payload: &str) -> bool {
    match fault {
        "flipped-character" => payload == "base64",
        // What ends without a line feed is the start of the next line.
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
            AllButThatOne => [&jpegs[..at], &jpegs[at + 1..]].concat(),
            OnlyThoseBefore => jpegs[..at].to_vec(),
        };
        assert_same(&got.buffers, &expected, &label);
    }
}

/// Bytes of a frame.
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
fn faults_anywhere() {
    for at in [1, FRAMES / 2, FRAMES - 2] {
        check_faults(at, "be32", "base64");
    }
}

#[test]
fn faults_in_other_framings() {
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
fn foreign_protocols_are_refused_by_name() {
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
fn vectors_are_what_python_writes() {
    let mut make = Command::new(&*PYTHON);
    make.args(["-W", "error", "tests/vectors/make.py", "--check"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    Program::start(&mut make).finish();
}

/// What a pipeline put into its appsink and onto its bus.
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

/// The checksum of each picture.
fn sums(pictures: &[Vec<u8>]) -> Vec<String> {
    pictures.iter().map(|picture| sum(picture)).collect()
}

/// Plays a pipeline, less its sink, to its end.
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

/// What makes pictures of a width of decoded ones.
fn jpegs(width: u32) -> String {
    format!(
        "jfifconvert ! videoscale ! video/x-raw,width={width},pixel-aspect-ratio=1/1
         ! jpegenc quality=80"
    )
}

/// Starts `gst-launch-1.0` with these words.
fn launch(words: &str) -> Program {
    let mut launch = Command::new("gst-launch-1.0");
    Program::start(with_plugin(launch.args(words.split_whitespace())))
}

/// The OpenCV sender's stream in a file, in small.
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

/// Starts a peer that serves, and runs on its port what `client` makes of it.
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

/// Runs the OpenCV sender of the clip; returns the checksums of its JPEGs, and what arrived.
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

/// The checksums that the OpenCV sender printed.
fn sent(printed: &str) -> Vec<String> {
    let sums = printed
        .lines()
        .filter_map(|line| line.strip_prefix("sent "));
    sums.map(String::from).collect()
}

/// What the OpenCV receiver says of a frame.
#[derive(Debug)]
struct Seen {
    size: String,
    psnr: f64,
    sha256: String,
}

/// Sends the clip to the OpenCV receiver; returns the checksums of our JPEGs, and what it saw.
fn to_opencv(width: u32, header: &str, payload: &str) -> (Vec<String>, Vec<Seen>) {
    let pipeline = Pipeline::launch(&format!(
        "{} ! {} ! b64jpegpay name=pay header={header} payload={payload}
         ! tcpserversink name=server host=127.0.0.1 port=0 sync=false",
        decoded_clip(),
        jpegs(width)
    ));
    let server: gst::Element = pipeline.element("server");

    let sent = pipeline.collect("pay", "sink");

    // The stock server neither waits for its first client nor, when it is stopped,
    // for what that client has yet to read.
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

/// What the OpenCV receiver printed.
fn seen(printed: &str) -> Vec<Seen> {
    let seen = printed.lines().filter_map(|line| {
        let [size, psnr, sha256] = line
            .strip_prefix("frame ")?
            .split(' ')
            .collect::<Vec<_>>()
            .try_into()
            .expect("size, PSNR, checksum");
        Some(Seen {
            size: size.into(),
            psnr: psnr.parse().expect("a number"),
            sha256: sha256.into(),
        })
    });
    seen.collect()
}
