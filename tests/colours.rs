// SPDX-License-Identifier: MPL-2.0

//! Colours from a video to the viewer, compared with the colours of the scene.
//!
//! The scenes are functions of position, so that the correct pixels of a frame of any size are
//! known without a converter.

mod common;

use std::{f64::consts::TAU, fs, path::PathBuf};

use common::{
    peer::peer,
    pipeline::{Pipeline, make_file, scratch},
    process::Program,
    psnr,
    server_fixture::ServerFixture,
};

/// How `pipelines/serve.sh` encodes JPEGs 800 pixels wide.
const ENCODE: &str = "jfifconvert ! videoscale ! video/x-raw,width=800,pixel-aspect-ratio=1/1
    ! jpegenc quality=80";

/// Decodes JPEGs for conversion to RGB. The default method of `jpegdec` decodes white as 254.
const DECODE: &str = "jpegdec idct-method=islow ! videoconvert";

const WIDTH: usize = 800;
/// Number of scenes; a black and a white frame follow them.
const SCENES: usize = 3;
const FRAMES: usize = SCENES + 2;

/// Our frames reach 43 dB. OpenCV's reach 42 dB, or 28 where OpenCV assumes the wrong matrix. With
/// limited range taken for full range it is 25, and stock elements reach 36 at most.
const MIN_PSNR: f64 = 40.0;
/// OpenCV's frames decoded by us reach 40 dB, or 38 in Y'CbCr; with the wrong range, 27.
const MIN_SHOWN: f64 = 36.0;

/// The luma weights of red and blue.
type Matrix = (f64, f64);
const BT601: Matrix = (0.299, 0.114);
const BT709: Matrix = (0.2126, 0.0722);

/// A lossless video of limited range.
struct Clip {
    path: PathBuf,
    width: usize,
    height: usize,
}

impl Clip {
    /// A clip of this size and matrix; `says` is the colorimetry in its header.
    fn new(
        name: &str,
        (width, height): (usize, usize),
        matrix: Matrix,
        says: Option<&str>,
    ) -> Self {
        let path = scratch(&format!("colours-{name}.mkv"));
        let raw = path.with_extension("yuv");
        let frames =
            (0..FRAMES).flat_map(|frame| i420(&picture(frame, width, height), width, matrix));
        fs::write(&raw, frames.collect::<Vec<_>>()).expect("a file");
        let elements = format!(
            "filesrc location={} ! rawvideoparse format=i420 width={width} height={height}
               framerate=25/1
             ! avenc_ffv1 ! capssetter caps=video/x-ffv,colorimetry=(string){}
             ! matroskamux",
            raw.display(),
            says.unwrap_or("0:0:0:0"),
        );
        make_file(&elements, &path);
        Self {
            path,
            width,
            height,
        }
    }

    /// The correct RGB pixels of each frame at a width of [`WIDTH`].
    fn expected(&self) -> Vec<Vec<u8>> {
        let height = self.height * WIDTH / self.width;
        let byte = |part: &f64| (part * 255.0).round() as u8;
        (0..FRAMES)
            .map(|frame| {
                picture(frame, WIDTH, height)
                    .iter()
                    .flatten()
                    .map(byte)
                    .collect()
            })
            .collect()
    }

    fn decoded(&self) -> String {
        format!("filesrc location={} ! decodebin", self.path.display())
    }

    /// The frames as sent by the OpenCV sender and decoded by OpenCV.
    fn sent_by_opencv(&self) -> Vec<Vec<u8>> {
        let stream = self.path.with_extension("b64jpeg");
        let mut sender = peer("sender.py");
        sender.arg("--record").arg(&stream).arg(&self.path);
        Program::start(&mut sender).finish();
        self.decoded_by_opencv("file", &stream.display().to_string())
    }

    /// The frames as sent by our server and decoded by OpenCV.
    fn sent_by_us(&self) -> Vec<Vec<u8>> {
        let source = format!("{} ! {ENCODE}", self.decoded());
        let server = ServerFixture::launch(&source, "wait-for-client=true max-clients=1").play();
        let decoded_by_opencv = self.decoded_by_opencv("port", &server.port().to_string());
        server.wait_for_clean_end();
        decoded_by_opencv
    }

    /// Frames of a stream as OpenCV decodes them.
    fn decoded_by_opencv(&self, kind: &str, place: &str) -> Vec<Vec<u8>> {
        let out = self.path.with_extension("rgb");
        let mut decoder = peer("opencv_decoder.py");
        decoder.arg(format!("--{kind}={place}")).arg(&out);
        Program::start(&mut decoder).finish();
        let decoded_by_opencv = fs::read(out).expect("pictures");
        let len = 3 * WIDTH * (self.height * WIDTH / self.width);
        decoded_by_opencv.chunks(len).map(<[u8]>::to_vec).collect()
    }
}

/// Red, green and blue, from 0 to 1, of each pixel of a frame.
///
/// The scene contains every colour, but no detail that scaling would change.
fn picture(frame: usize, width: usize, height: usize) -> Vec<[f64; 3]> {
    let pixel = |at: usize| {
        let x = ((at % width) as f64 + 0.5) / width as f64;
        let y = ((at / width) as f64 + 0.5) / height as f64;
        let t = frame as f64;
        let wave = |turns: f64| 0.5 + 0.44 * (TAU * turns).sin();
        let grain = 0.06 * (TAU * 60.0 * x).sin() * (TAU * 34.0 * y).sin();
        [
            wave(1.5 * x + 0.7 * y + 0.13 * t),
            wave(1.1 * x - 1.3 * y + 0.29 * t),
            wave(1.7 * y - 0.6 * x + 0.41 * t),
        ]
        .map(|part| part + grain)
    };
    (0..width * height)
        .map(|at| match frame {
            ..SCENES => pixel(at),
            SCENES => [0.0; 3],
            _ => [1.0; 3],
        })
        .collect()
}

/// Samples of a frame in I420 and limited range.
fn i420(rgb: &[[f64; 3]], width: usize, (kr, kb): Matrix) -> Vec<u8> {
    let luma = |[r, g, b]: [f64; 3]| kr * r + (1.0 - kr - kb) * g + kb * b;
    let blocks = rgb.chunks(2 * width).flat_map(|rows| {
        let (upper, lower) = rows.split_at(width);
        let columns = upper.chunks(2).zip(lower.chunks(2));
        columns.map(|(upper, lower)| {
            let block = [upper[0], upper[1], lower[0], lower[1]];
            [0, 1, 2].map(|part| block.iter().map(|rgb| rgb[part]).sum::<f64>() / 4.0)
        })
    });
    let blocks: Vec<_> = blocks.collect();
    let y = rgb.iter().map(|&rgb| 16.0 + 219.0 * luma(rgb));
    let chroma = |part: usize, weight: f64| {
        let chroma = move |rgb: &[f64; 3]| (rgb[part] - luma(*rgb)) / (2.0 * (1.0 - weight));
        blocks.iter().map(move |rgb| 128.0 + 224.0 * chroma(rgb))
    };
    y.chain(chroma(2, kb))
        .chain(chroma(0, kr))
        .map(|sample| sample.round() as u8)
        .collect()
}

/// Expects the black frame to be black and the white one to be white, in every pixel.
#[track_caller]
fn expect_black_and_white(pictures: &[Vec<u8>], label: &str) {
    let all = |frame: usize, value: u8| pictures[frame].iter().all(|&part| part == value);
    assert_eq!(pictures.len(), FRAMES, "{label}");
    assert!(all(SCENES, 0), "{label}: black is not black");
    assert!(all(SCENES + 1, 255), "{label}: white is not white");
}

#[test]
fn opencv_decodes_our_frames_in_true_colours() {
    let hd = (1280, 720);
    let sd = (640, 480);
    for (name, size, matrix, says) in [
        ("hd-bt709", hd, BT709, Some("bt709")),
        ("hd-bt601", hd, BT601, Some("bt601")),
        ("sd-bt709", sd, BT709, Some("bt709")),
        // Without colorimetry in the header, the size decides.
        ("hd", hd, BT709, None),
        ("sd", sd, BT601, None),
    ] {
        let clip = Clip::new(name, size, matrix, says);
        let expected = clip.expected();
        let ours = clip.sent_by_us();
        let opencv = clip.sent_by_opencv();
        expect_black_and_white(&ours, name);
        assert_eq!(opencv.len(), FRAMES);
        for frame in 0..SCENES {
            let ours = psnr(&ours[frame], &expected[frame]);
            let opencv = psnr(&opencv[frame], &expected[frame]);
            println!("{name}, frame {frame}: {ours:.2} dB, the OpenCV sender {opencv:.2} dB");
            assert!(ours >= MIN_PSNR, "{name}, frame {frame}: {ours:.2} dB");
            assert!(
                ours >= opencv,
                "{name}, frame {frame}: {ours:.2} < {opencv:.2} dB"
            );
        }
    }
}

/// In a sink that takes RGB, and in one that takes only Y'CbCr and assumes limited range whatever
/// the caps say, as `xvimagesink` 1.22 does.
#[test]
fn frames_of_opencv_are_shown_in_true_colours() {
    type Rgb = fn(&[u8]) -> Vec<u8>;
    let clip = Clip::new("sent", (1280, 720), BT601, Some("bt601"));
    let expected = clip.expected();
    let tails: [(&str, Rgb); 2] = [
        ("video/x-raw,format=RGB", <[u8]>::to_vec),
        // Through RGB, because videoconvert 1.22 only relabels when just the range differs.
        (
            "video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=I420",
            rgb_of_i420,
        ),
    ];
    for (tail, rgb) in tails {
        let mut sender = Program::start(peer("sender.py").arg(&clip.path));
        let line = sender.expect_line("port ");
        let pipeline = Pipeline::launch(&format!(
            "b64jpegclientsrc port={} reconnect=false ! {DECODE} ! {tail}
             ! fakesink name=sink sync=false",
            line.trim_start_matches("port ")
        ));
        let buffers = pipeline.collect("sink", "sink");
        pipeline.play();
        pipeline.wait_for_clean_end();
        sender.finish();
        let shown: Vec<_> = buffers.take().iter().map(|picture| rgb(picture)).collect();
        expect_black_and_white(&shown, tail);
        for (frame, (shown, expected)) in shown.iter().zip(&expected).take(SCENES).enumerate() {
            let psnr = psnr(shown, expected);
            println!("{tail}, frame {frame}: {psnr:.2} dB");
            assert!(psnr >= MIN_SHOWN, "{tail}, frame {frame}: {psnr:.2} dB");
        }
    }
}

/// RGB of a frame in I420, [`WIDTH`] wide, of limited range and BT.601.
fn rgb_of_i420(picture: &[u8]) -> Vec<u8> {
    let (kr, kb) = BT601;
    let (luma, chroma) = picture.split_at(picture.len() / 3 * 2);
    let (cb, cr) = chroma.split_at(chroma.len() / 2);
    let pixel = |(at, &y): (usize, &u8)| {
        let block = at / WIDTH / 2 * (WIDTH / 2) + at % WIDTH / 2;
        let y = (f64::from(y) - 16.0) / 219.0;
        let chroma = |plane: &[u8]| (f64::from(plane[block]) - 128.0) / 112.0;
        let b = y + (1.0 - kb) * chroma(cb);
        let r = y + (1.0 - kr) * chroma(cr);
        let g = (y - kr * r - kb * b) / (1.0 - kr - kb);
        [r, g, b].map(|part| (part * 255.0).round() as u8)
    };
    luma.iter().enumerate().flat_map(pixel).collect()
}
