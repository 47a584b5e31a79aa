// SPDX-License-Identifier: MPL-2.0

//! The clip: 720p H.264 that needs as much CPU time in a decoder, a scaler and an encoder as
//! films and camera streams do.
//!
//! It shows "dead leaves", as the charts for testing cameras do: overlapping discs of all sizes,
//! more small ones than large ones. Their edges, surfaces and spectrum are like those of
//! photographs: JPEGs of quality 80 have one bit per pixel, where those of colour bars have a
//! third of a bit and those of noise three bits. The camera pans and pauses, an object always
//! moves in front of it, there is noise as from a sensor, and x264 has its default settings.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use gst::prelude::*;

use crate::common::{Result, launch};

const WIDTH: usize = 3200;
const HEIGHT: usize = 1920;
const DISCS: usize = 20_000;
/// Minimum and maximum radius; twice the radius is an eighth as likely. Two pixels here are one in
/// the video.
const RADII: [f64; 2] = [24.0, 800.0];

const FILM: &str = "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,gblur=2,\
    loop=-1:1,split[a][b];\
    [a]crop=2560:1440:320+300*clip(2*sin(n/61)\\,-1\\,1):240+200*clip(2*sin(n/43)\\,-1\\,1)[far];\
    [b]crop=700:900:2000:500[near];\
    [far][near]overlay=900+800*sin(n/29):300+60*sin(n/7),scale=1280:720,noise=alls=6:allf=t";

const H264: &str = "-c:v libx264 -colorspace bt709 -color_primaries bt709 -color_trc bt709 \
    -color_range tv -f mp4";

/// Pseudo-random numbers from 0 to 1, the same in every run.
fn numbers() -> impl FnMut() -> f64 {
    let mut state = 1_u64;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f64 / (1 << 24) as f64
    }
}

/// The canvas in RGB.
fn leaves() -> Vec<u8> {
    let mut number = numbers();
    let mut canvas = vec![0; 3 * WIDTH * HEIGHT];
    for _ in 0..DISCS {
        let [small, large] = RADII.map(|radius| radius.powi(-2));
        let radius = (small + number() * (large - small)).powf(-0.5);
        let (x, y) = (number() * WIDTH as f64, number() * HEIGHT as f64);
        let light = 40.0 + 160.0 * number();
        let colour = [(); 3].map(|()| light + 40.0 * (number() - 0.5));
        let slope = [(); 2].map(|()| 60.0 * (number() - 0.5) / radius);
        let within = |middle: f64, half: f64, end: usize| {
            (middle - half).max(0.0) as usize..((middle + half) as usize).min(end)
        };
        for row in within(y, radius, HEIGHT) {
            let dy = row as f64 - y;
            let half = (radius.powi(2) - dy.powi(2)).max(0.0).sqrt();
            for column in within(x, half, WIDTH) {
                let shade = slope[0] * (column as f64 - x) + slope[1] * dy;
                let pixel = colour.map(|part| (part + shade) as u8);
                canvas[3 * (row * WIDTH + column)..][..3].copy_from_slice(&pixel);
            }
        }
    }
    canvas
}

/// Makes a clip of this many frames, unless it exists.
pub fn film(frames: u64) -> Result<PathBuf> {
    let scratch = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let clip = scratch.join(format!("leaves-{frames}.mp4"));
    if clip.exists() {
        return Ok(clip);
    }
    let canvas = scratch.join("leaves.rgb");
    fs::write(&canvas, leaves())?;
    let part = clip.with_extension("part");
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-y", "-v", "error"])
        .args([
            "-f",
            "rawvideo",
            "-pixel_format",
            "rgb24",
            "-framerate",
            "30",
        ])
        .args(["-video_size", &format!("{WIDTH}x{HEIGHT}"), "-i"])
        .arg(&canvas)
        .args(["-filter_complex", FILM, "-frames:v", &frames.to_string()])
        .args(H264.split(' '))
        .arg(&part)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("ffmpeg, which makes the clip: {error}"))?;
    if !status.success() {
        return Err("ffmpeg cannot make the clip; pass one as an argument".into());
    }
    fs::rename(part, &clip)?;
    Ok(clip)
}

/// Converts a clip to JPEGs, as from a camera with a JPEG encoder.
pub fn as_jpegs(clip: &Path) -> Result<PathBuf> {
    let jpegs = Path::new(env!("CARGO_TARGET_TMPDIR")).join("leaves.avi");
    let words = launch::words(
        "filesrc name=clip ! decodebin ! jfifconvert ! videoscale \
         ! video/x-raw,width=800,pixel-aspect-ratio=1/1 ! jpegenc quality=80 ! avimux \
         ! filesink name=jpegs",
    );
    let pipeline = launch::pipeline(&words)?;
    for (name, path) in [("clip", clip), ("jpegs", &jpegs)] {
        let file = pipeline.by_name(name).ok_or("no such element")?;
        file.set_property("location", path);
    }
    super::child::play(&pipeline)?;
    Ok(jpegs)
}
