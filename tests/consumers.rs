// SPDX-License-Identifier: MPL-2.0

//! `socketioserversink` with programs that people have, none of which is written for it.
#![cfg(feature = "web")]

mod common;

use std::{collections::HashSet, fs, process::Command, sync::LazyLock, thread, time::Duration};

use common::{
    background::BackgroundThread,
    certificates::{Authority, Certified},
    element_fixture::ElementFixture,
    peer::{peer, sum},
    pipeline::{Buffers, Pipeline, scratch},
    process::Program,
    raw_server::ReservedPort,
    relay::viewers,
    wait::wait_for,
};
use gst::prelude::*;

const WIDTH: usize = 320;
const HEIGHT: usize = 240;

/// JPEGs of one shade of grey each; consecutive shades differ in brightness by this much.
const STEP: usize = 12;
static SHADES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let shade = |shade: usize| {
        let value = 0xff00_0000_u32 + 0x01_01_01 * (shade * STEP) as u32;
        let pipeline = Pipeline::launch(&format!(
            "videotestsrc num-buffers=1 pattern=solid-color foreground-color={value}
             ! video/x-raw,format=RGB,width={WIDTH},height={HEIGHT} ! jfifconvert
             ! jpegenc name=encoder ! fakesink"
        ));
        let jpegs = pipeline.collect("encoder", "src");
        pipeline.play();
        pipeline.wait_for_clean_end();
        jpegs.take().remove(0)
    };
    (1..20).map(shade).collect()
});

/// Number of the shade with this brightness.
#[track_caller]
fn number(brightness: &str) -> usize {
    let brightness: usize = brightness.parse().expect("a number");
    let number = (brightness + STEP / 2) / STEP;
    assert!(brightness.abs_diff(number * STEP) <= 2, "{brightness}");
    number - 1
}

/// A server of the JPEGs that the test pushes.
#[track_caller]
fn server(properties: &str) -> ElementFixture {
    let fixture = ElementFixture::launch(
        &format!(
            "appsrc name=feed format=time caps=image/jpeg is-live=true
             ! socketioserversink name=element port=0 {properties}"
        ),
        "",
    );
    fixture.pipeline.play();
    fixture
}

/// URL of a path on this server.
#[track_caller]
fn url(server: &ElementFixture, path: &str) -> String {
    let port = server.element.property::<i32>("current-port");
    assert!(port > 0);
    let secure = server
        .element
        .property::<Option<String>>("tls-certificate")
        .is_some_and(|file| !file.is_empty());
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://127.0.0.1:{port}{path}")
}

/// Starts a camera that sends all shades again and again, 25 times a second.
fn start_camera(server: &ElementFixture) -> BackgroundThread {
    let feed = server.pipeline.element::<gst_app::AppSrc>("feed");
    BackgroundThread::spawn(move |stop| {
        for jpeg in SHADES.iter().cycle() {
            let pushed = feed.push_buffer(gst::Buffer::from_slice(&jpeg[..]));
            if pushed.is_err() || stop.is_set() {
                break;
            }
            thread::sleep(Duration::from_millis(40));
        }
    })
}

/// Expects the numbers in the order of the camera. Fewer than half of the shades may be skipped
/// at once, and a shade may come twice if the next one is late.
#[track_caller]
fn expect_camera_order(numbers: &[usize]) {
    let len = SHADES.len();
    for pair in numbers.windows(2) {
        let step = (pair[1] + len - pair[0]) % len;
        assert!((0..len / 2).contains(&step), "{numbers:?}");
    }
}

/// Expects whole JPEGs in the order of the camera.
#[track_caller]
fn expect_jpegs(jpegs: &[Vec<u8>]) {
    let numbers: Vec<_> = jpegs
        .iter()
        .map(|jpeg| {
            let number = SHADES.iter().position(|shade| shade == jpeg);
            number.unwrap_or_else(|| panic!("{} bytes that were never sent", jpeg.len()))
        })
        .collect();
    expect_camera_order(&numbers);
}

#[test]
fn opencv_reads_mjpeg_stream() {
    let server = server("");
    let _camera = start_camera(&server);
    let mut capture = peer("mjpeg.py");
    let printed = Program::start(capture.args([&url(&server, "/stream.mjpg"), "50"])).finish();
    let frames = printed
        .lines()
        .filter_map(|line| line.strip_prefix("frame "));
    let numbers: Vec<_> = frames
        .map(|frame| {
            let (size, brightness) = frame.split_once(' ').expect("a brightness");
            assert_eq!(size, format!("{WIDTH}x{HEIGHT}"));
            number(brightness)
        })
        .collect();
    assert_eq!(numbers.len(), 50, "{printed}");
    expect_camera_order(&numbers);
}

#[test]
fn gstreamer_reads_mjpeg_stream() {
    let server = server("");
    let _camera = start_camera(&server);
    let viewer = Pipeline::launch(&format!(
        "souphttpsrc location={} is-live=true ! multipartdemux name=demux ! jpegdec
         ! videoconvert ! video/x-raw,format=GRAY8 ! fakesink name=sink num-buffers=50 sync=false",
        url(&server, "/stream.mjpg")
    ));
    let decoded = viewer.collect("sink", "sink");
    let jpegs = Buffers::default();
    let log = jpegs.clone();
    viewer
        .element::<gst::Element>("demux")
        .connect_pad_added(move |_, pad| log.add(pad));
    viewer.play();
    viewer.wait_for_clean_end();
    let decoded = decoded.take();
    assert_eq!(decoded.len(), 50);
    expect_jpegs(&jpegs.take());
}

#[test]
fn ffmpeg_reads_mjpeg_stream() {
    let server = server("");
    let _camera = start_camera(&server);
    let files = scratch("consumers-ffmpeg");
    let _ = fs::remove_dir_all(&files);
    fs::create_dir_all(&files).expect("a directory");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg
        .args(["-nostdin", "-loglevel", "error", "-i"])
        .arg(url(&server, "/stream.mjpg"))
        .args(["-frames:v", "50", "-c", "copy", "-f", "image2"])
        .arg(files.join("%02d.jpg"));
    let printed = Program::start(&mut ffmpeg).finish();
    assert_eq!(printed, "");
    let jpegs: Vec<_> = (1..=50)
        .map(|i| fs::read(files.join(format!("{i:02}.jpg"))).expect("a picture"))
        .collect();
    expect_jpegs(&jpegs);
}

/// An `<img>` in a page of another site, in Chromium.
struct ChromiumImage(Program);

impl ChromiumImage {
    fn of(server: &ElementFixture) -> Self {
        let mut image = peer("image.py");
        Self(Program::start(image.arg(url(server, "/stream.mjpg"))))
    }

    /// Number of the next shade that the image shows.
    #[track_caller]
    fn next(&mut self) -> usize {
        loop {
            let line = self.0.expect_line("brightness ");
            let brightness = line.trim_start_matches("brightness ");
            // The page is white before the first picture.
            if brightness != "255" {
                return number(brightness);
            }
        }
    }
}

#[test]
fn chromium_image_shows_every_shade() {
    let server = server("allowed-origins=null");
    let _camera = start_camera(&server);
    let mut image = ChromiumImage::of(&server);
    let mut seen = HashSet::new();
    while seen.len() < SHADES.len() {
        seen.insert(image.next());
    }
}

/// Chromium shows a part of the stream only when the next one begins.
#[test]
fn chromium_image_shows_still_picture() {
    let server = server("allowed-origins=null");
    server.push(&SHADES[0]);
    let mut image = ChromiumImage::of(&server);
    assert_eq!(image.next(), 0);
    for expected in 1..5 {
        server.push(&SHADES[expected]);
        assert_eq!(image.next(), expected);
    }
}

/// Runs curl; returns the status and the content type of the response, and its body.
#[track_caller]
fn curl(args: &[&str], url: &str) -> (String, Vec<u8>) {
    let file = scratch(&format!("curl-{:?}", thread::current().id()));
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--max-time", "60"])
        .args(["--write-out", "%{http_code} %{content_type}\n", "--output"])
        .arg(&file)
        .args(args)
        .arg(url);
    let printed = Program::start(&mut curl).finish();
    let body = fs::read(&file).expect("an answer");
    fs::remove_file(&file).expect("a file");
    (printed.trim().into(), body)
}

#[test]
fn curl_gets_newest_snapshot() {
    let server = server("");
    let snapshot = url(&server, "/snapshot.jpg");
    let (answer, _) = curl(&[], &snapshot);
    assert!(answer.starts_with("503 "), "{answer}");
    for (number, shade) in (1..).zip(&SHADES[..5]) {
        server.push(shade);
        wait_for("the server to have the picture", || {
            (server.stat("frames") == number).then_some(())
        });
        let (answer, body) = curl(&[], &snapshot);
        assert_eq!(answer, "200 image/jpeg");
        assert!(body == *shade, "not the newest picture");
    }
}

#[test]
fn token_guards_snapshot_and_socketio() {
    let server = server("token=secret");
    let picture = SHADES.last().expect("some");
    server.push(picture);
    wait_for("the server to have the picture", || {
        (server.stat("frames") == 1).then_some(())
    });
    let snapshot = url(&server, "/snapshot.jpg");
    for (args, query) in [
        (&[][..], ""),
        (&[], "?token=guess"),
        (&["--header", "Authorization: Bearer guess"], ""),
    ] {
        let (answer, body) = curl(args, &format!("{snapshot}{query}"));
        assert!(answer.starts_with("401 "), "{answer}");
        assert!(!body.windows(3).any(|bytes| bytes == b"\xff\xd8\xff"));
    }
    for (args, query) in [
        (&[][..], "?token=secret"),
        (&["--header", "Authorization: Bearer secret"], ""),
    ] {
        let (answer, body) = curl(args, &format!("{snapshot}{query}"));
        assert_eq!(answer, "200 image/jpeg");
        assert!(body == *picture);
    }
    expect_viewers_receive(&server, &[r#"--auth={"token":"secret"}"#]);
}

/// Expects that a viewer in Python and one in Node receive every JPEG.
#[track_caller]
fn expect_viewers_receive(server: &ElementFixture, args: &[&str]) {
    let mut viewers = viewers(&url(server, ""), args);
    let (first, rest) = SHADES.split_first().expect("some");
    server.push(first);
    for viewer in &mut viewers {
        // The viewer may have received an earlier JPEG.
        viewer.0.expect_line(&sum(first));
    }
    for shade in rest {
        server.push(shade);
        for viewer in &mut viewers {
            viewer.expect("", shade);
        }
    }
}

#[test]
fn relay_viewers_receive_every_picture() {
    expect_viewers_receive(&server(""), &[]);
}

#[test]
fn tls_works_for_viewers_and_curl() {
    let authority = Authority::new("consumers");
    let Certified { certificate, key } = authority.certify("127.0.0.1");
    let server = server(&format!("tls-certificate={certificate} tls-key={key}"));
    let ca = authority.file();
    expect_viewers_receive(&server, &["--ca", &ca]);
    let args = ["--cacert", &ca];
    let (answer, body) = curl(&args, &url(&server, "/snapshot.jpg"));
    assert_eq!(answer, "200 image/jpeg");
    assert!(
        body == *SHADES.last().expect("some"),
        "not the newest picture"
    );
}

/// Our client reads what is meant for programs in Python.
#[test]
fn client_source_receives_every_picture() {
    let server = server("token=secret camera=front");
    let mut client = ElementFixture::launch(
        &format!(
            "socketioclientsrc name=element url={} camera=front auth=\"{{\\\"token\\\":\\\"secret\\\"}}\"
             ! fakesink name=sink sync=false",
            url(&server, "")
        ),
        "socketio-connection",
    );
    client.pipeline.play();
    client.expect_states(&["connecting", "connected"]);
    for shade in &*SHADES {
        server.push(shade);
        client.expect_frames(std::slice::from_ref(shade));
    }
}

#[test]
fn two_cameras_share_one_port() {
    let port = ReservedPort::new();
    let server = ElementFixture::launch(
        &format!(
            "appsrc name=feed format=time caps=image/jpeg is-live=true
             ! socketioserversink name=element camera=front port={0}
             appsrc name=other format=time caps=image/jpeg is-live=true
             ! socketioserversink camera=back port={0}",
            port.number()
        ),
        "",
    );
    server.pipeline.play();
    let other = server.pipeline.element::<gst_app::AppSrc>("other");
    let mut viewers = viewers(&url(&server, ""), &[]);
    for pair in SHADES.chunks_exact(2) {
        server.push(&pair[0]);
        let back = gst::Buffer::from_slice(&pair[1][..]);
        other.push_buffer(back).expect("a playing pipeline");
        for viewer in &mut viewers {
            let mut missing = vec![("front", sum(&pair[0])), ("back", sum(&pair[1]))];
            while !missing.is_empty() {
                let line = viewer.0.expect_line("frame ");
                missing.retain(|(name, sum)| !(line.contains(name) && line.contains(sum)));
            }
        }
    }
    for (camera, expected) in [("front", &SHADES[16]), ("back", &SHADES[17])] {
        let snapshot = url(&server, &format!("/snapshot.jpg?camera={camera}"));
        let (answer, body) = curl(&[], &snapshot);
        assert_eq!(answer, "200 image/jpeg");
        assert!(body == *expected, "not the newest picture");
    }
}
