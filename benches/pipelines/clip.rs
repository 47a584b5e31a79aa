// SPDX-License-Identifier: MPL-2.0

//! The clip: 720p H.264 that costs a decoder, a scaler and an encoder what films and
//! cameras cost them.
//!
//! It shows leaves: discs of every size in front of each other, small ones more often, as
//! the charts do on which cameras are tested. Their edges, surfaces and spectrum are those
//! of photographs: their JPEGs of quality 80 have a bit per pixel, where colour bars have a
//! third of that and noise has three. The camera pans and rests, something always moves in
//! front of it, there is noise as from a sensor, and x264 is left as it is.

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
/// Their radius, of which twice as large is an eighth as likely. Two pixels are one of the
/// video's.
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

/// RGB.
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

/// Films so many frames, unless it was done before.
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
        return Err("ffmpeg cannot make the clip; name one".into());
    }
    fs::rename(part, &clip)?;
    Ok(clip)
}

/// A clip as a camera that makes JPEGs itself would have filmed it.
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
