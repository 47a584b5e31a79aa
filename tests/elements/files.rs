// SPDX-License-Identifier: MPL-2.0

//! `b64jpegdepay` with recordings: timestamps, durations and seeks.

use std::fs;

use gst::prelude::*;

use super::wire::{DEFAULT, FRAMINGS, assert_same, bytes, decode, framing, pictures};
use crate::common::pipeline::{Pipeline, scratch};

const FRAME: gst::ClockTime = gst::ClockTime::from_mseconds(40);

/// The depayloader pulls from the file, or the file is pushed to it.
const SOURCES: [&str; 2] = ["filesrc name=src", "filesrc name=src ! queue"];

/// A pipeline that plays a recording.
struct Player {
    pipeline: Pipeline,
    sink: gst_app::AppSink,
}

impl Player {
    fn new(name: &str, source: &str, stream: &[u8], properties: &str) -> Self {
        let push = source.contains("queue");
        let path = scratch(&format!("{name}-{push}"));
        fs::write(&path, stream).expect("a file");
        let pipeline = Pipeline::launch(&format!(
            "{source} ! b64jpegdepay name=depay {properties} ! appsink name=sink sync=false"
        ));
        pipeline
            .element::<gst::Element>("src")
            .set_property("location", path.to_str().expect("UTF-8"));
        let sink = pipeline.element("sink");
        Self { pipeline, sink }
    }

    /// A player that is paused at the first frame.
    fn paused(name: &str, source: &str, stream: &[u8], properties: &str) -> Self {
        let player = Self::new(name, source, stream, properties);
        player.pipeline.settle(gst::State::Paused);
        player
    }

    /// The frame shown in PAUSED, and its timestamp.
    #[track_caller]
    fn shown(&self) -> (Vec<u8>, Option<gst::ClockTime>) {
        let sample = self.sink.pull_preroll().expect("a frame");
        let buffer = sample.buffer().expect("a buffer");
        (bytes(buffer), buffer.pts())
    }

    #[track_caller]
    fn seek(&self, flags: gst::SeekFlags, to: gst::ClockTime) {
        let flags = flags | gst::SeekFlags::FLUSH;
        self.pipeline
            .0
            .seek_simple(flags, to)
            .expect("a seekable pipeline");
        self.pipeline.wait_for_state();
    }

    /// Plays to the end; returns every remaining frame with its timestamp and duration.
    fn rest(&self) -> Vec<(Vec<u8>, Option<gst::ClockTime>, Option<gst::ClockTime>)> {
        self.pipeline.play();
        std::iter::from_fn(|| self.sink.pull_sample().ok())
            .map(|sample| {
                let buffer = sample.buffer().expect("a buffer");
                (bytes(buffer), buffer.pts(), buffer.duration())
            })
            .collect()
    }

    fn duration(&self) -> Option<gst::ClockTime> {
        self.pipeline.0.query_duration()
    }
}

fn frames(rest: Vec<(Vec<u8>, Option<gst::ClockTime>, Option<gst::ClockTime>)>) -> Vec<Vec<u8>> {
    rest.into_iter().map(|(frame, ..)| frame).collect()
}

#[test]
fn frames_have_exact_timestamps() {
    for source in SOURCES {
        for (properties, rate) in [
            ("", Some(gst::Fraction::new(25, 1))),
            ("framerate=50/1", Some(gst::Fraction::new(50, 1))),
            (
                "framerate=30000/1001",
                Some(gst::Fraction::new(30000, 1001)),
            ),
            ("framerate=0/1", None),
        ] {
            let player = Player::new("timed", source, &DEFAULT.stream(pictures(100)), properties);
            let rest = player.rest();
            let caps = player
                .sink
                .static_pad("sink")
                .unwrap()
                .current_caps()
                .unwrap();
            assert_eq!(caps.structure(0).unwrap().get("framerate").ok(), rate);
            for (i, (_, pts, duration)) in rest.iter().enumerate() {
                let Some(rate) = rate else {
                    assert_eq!(*duration, None);
                    continue;
                };
                let (numer, denom) = (rate.numer() as u64, rate.denom() as u64);
                let time = |i: u64| {
                    gst::ClockTime::SECOND
                        .mul_div_floor(i * denom, numer)
                        .unwrap()
                };
                assert_eq!(*duration, Some(time(1)), "{rate}");
                // GstBaseParse adds up rounded durations.
                let error = pts.unwrap().absdiff(time(i as u64));
                assert!(
                    error.nseconds() <= i as u64,
                    "{pts:?} for frame {i} at {rate}"
                );
            }
            assert_same(&frames(rest), pictures(100), source);
        }
    }
}

#[test]
fn every_framing_plays_from_file() {
    for source in SOURCES {
        for framing in FRAMINGS {
            let name = format!("plays-{}-{}", framing.header, framing.payload);
            let player = Player::new(&name, source, &framing.stream(pictures(100)), "");
            assert_same(&frames(player.rest()), pictures(100), &name);
            assert_eq!(player.pipeline.messages(), [""; 0]);
        }
    }
}

#[test]
fn recording_has_duration_and_is_seekable() {
    for source in SOURCES {
        for n in [250, 100, 30, 2, 1] {
            let name = format!("duration-{n}");
            let player = Player::paused(&name, source, &DEFAULT.stream(pictures(n)), "");
            let expected = FRAME * n as u64;
            let about = |duration: Option<gst::ClockTime>| {
                duration.is_some_and(|d| d.absdiff(expected) <= FRAME + expected / 5)
            };
            let duration = player.duration();
            assert!(
                about(duration),
                "{source}, {n} frames: {duration:?} of {expected}"
            );

            let mut query = gst::query::Seeking::new(gst::Format::Time);
            assert!(player.pipeline.0.query(&mut query));
            let (seekable, start, _) = query.result();
            assert!(seekable, "{source}, {n} frames");
            assert_eq!(start, Some(gst::ClockTime::ZERO).into());

            player.rest();
            let duration = player.duration();
            assert!(
                about(duration),
                "{source}, {n} frames, at the end: {duration:?}"
            );
        }
    }
}

#[test]
fn accurate_seek_shows_exact_frame() {
    for source in SOURCES {
        for framing in [
            DEFAULT,
            framing("le64", "jpeg"),
            framing("ascii16", "base64"),
            framing("lines", "base64"),
            framing("none", "jpeg"),
        ] {
            let name = format!("accurate-{}", framing.header);
            let player = Player::paused(&name, source, &framing.stream(pictures(150)), "");
            assert_eq!(
                player.shown(),
                (pictures(1)[0].clone(), Some(gst::ClockTime::ZERO))
            );
            for i in [75, 0, 149, 1, 148, 74, 75, 76, 30, 100, 0, 149, 12] {
                let to = FRAME * i;
                for within in [gst::ClockTime::ZERO, FRAME / 2] {
                    player.seek(gst::SeekFlags::ACCURATE, to + within);
                    let (frame, pts) = player.shown();
                    let what = pictures(150).iter().position(|picture| *picture == frame);
                    assert_eq!(
                        (what, pts),
                        (Some(i as usize), Some(to)),
                        "{source}, {framing:?}, {within}"
                    );
                    let position = player.pipeline.0.query_position::<gst::ClockTime>();
                    assert!(
                        position.is_some_and(|p| p.absdiff(to + within) <= FRAME),
                        "{position:?} after a seek to {to}"
                    );
                }
            }
            // Playing continues from the target of the seek.
            player.seek(gst::SeekFlags::ACCURATE, FRAME * 100);
            assert_same(&frames(player.rest()), &pictures(150)[100..], &name);
            assert_eq!(player.pipeline.messages(), [""; 0]);
        }
    }
}

#[test]
fn key_unit_seek_shows_nearby_frame() {
    for source in SOURCES {
        let player = Player::paused("quick", source, &DEFAULT.stream(pictures(250)), "");
        for i in [125, 10, 240, 0, 200] {
            player.seek(gst::SeekFlags::KEY_UNIT, FRAME * i);
            let (frame, pts) = player.shown();
            let what = pictures(250).iter().position(|picture| *picture == frame);
            let what = what.expect("a whole frame");
            assert!(what.abs_diff(i as usize) <= 10, "{what} in place of {i}");
            assert!(pts.unwrap().absdiff(FRAME * i) <= FRAME * 10, "{pts:?}");
        }
        assert_eq!(player.pipeline.messages(), [""; 0]);
    }
}

#[test]
fn seek_past_end_ends_with_eos() {
    for source in SOURCES {
        let player = Player::paused("end", source, &DEFAULT.stream(pictures(60)), "");
        for to in [FRAME * 60, FRAME * 1000] {
            player
                .pipeline
                .0
                .seek_simple(gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE, to)
                .expect("a seekable pipeline");
            player.pipeline.play();
            player.pipeline.wait_for_clean_end();
        }
        player.pipeline.0.set_state(gst::State::Paused).unwrap();
        player.seek(gst::SeekFlags::ACCURATE, gst::ClockTime::ZERO);
        assert_same(&frames(player.rest()), pictures(60), source);
    }
}

#[test]
fn seek_with_stop_plays_exact_range() {
    for source in SOURCES {
        let player = Player::paused("between", source, &DEFAULT.stream(pictures(100)), "");
        player
            .pipeline
            .0
            .seek(
                1.0,
                gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
                gst::SeekType::Set,
                FRAME * 25,
                gst::SeekType::Set,
                FRAME * 50,
            )
            .expect("a seekable pipeline");
        player.pipeline.wait_for_state();
        assert_same(&frames(player.rest()), &pictures(100)[25..50], source);
    }
}

#[test]
fn seeks_while_playing_show_whole_frames() {
    for source in SOURCES {
        let player = Player::paused("playing", source, &DEFAULT.stream(pictures(250)), "");
        player.sink.set_sync(true);
        player.pipeline.play();
        for i in 0..50 {
            let to = FRAME * (i * 37 % 250);
            let flags = if i % 2 == 0 {
                gst::SeekFlags::ACCURATE
            } else {
                gst::SeekFlags::KEY_UNIT
            };
            player.seek(flags, to);
            let sample = player.sink.pull_sample().expect("a frame");
            let frame = bytes(sample.buffer().unwrap());
            assert!(
                pictures(250).contains(&frame),
                "a truncated frame after seek {i}"
            );
        }
        player.sink.set_sync(false);
        player.pipeline.0.set_state(gst::State::Paused).unwrap();
        player.seek(gst::SeekFlags::ACCURATE, gst::ClockTime::ZERO);
        assert_same(&frames(player.rest()), pictures(250), source);
        assert_eq!(player.pipeline.messages(), [""; 0]);
    }
}

/// Reverse playback works only where the depayloader pulls, as with every parser. The decoder
/// reverses each group of frames.
#[test]
fn recording_plays_backwards() {
    let player = Player::new(
        "backwards",
        SOURCES[0],
        &DEFAULT.stream(pictures(100)),
        "! jpegdec",
    );
    player.pipeline.settle(gst::State::Paused);
    player
        .pipeline
        .0
        .seek(
            -1.0,
            gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::Set,
            FRAME * 100,
        )
        .expect("a seekable pipeline");
    player.pipeline.wait_for_state();
    let rest = player.rest();
    assert_eq!(rest.len(), 100);
    for (i, (picture, pts, _)) in rest.iter().rev().enumerate() {
        assert_eq!(*pts, Some(FRAME * i as u64));
        assert!(*picture == decode(&pictures(100)[i]), "picture {i}");
    }
}

#[test]
fn garbage_in_recording_is_skipped() {
    let jpegs = pictures(100);
    for source in SOURCES {
        let mut stream = DEFAULT.stream(&jpegs[..50]);
        let offset = stream.len();
        stream.extend_from_slice(&[b'x'; 3 << 20]);
        stream.extend(DEFAULT.stream(&jpegs[50..]));
        let player = Player::new("fault", source, &stream, "");
        assert_same(&frames(player.rest()), jpegs, source);
        let messages = player.pipeline.messages();
        assert!(
            messages[0].contains(&format!("Frame 50 at byte {offset}: ")),
            "{messages:?}"
        );
        assert_eq!(messages.len(), 1, "{messages:?}");
    }
}

#[test]
fn recording_truncated_inside_frame_plays_to_there() {
    let jpegs = pictures(100);
    for source in SOURCES {
        let last = DEFAULT.frame(&jpegs[99]);
        for have in [2, 4, 500, last.len() - 1] {
            let mut stream = DEFAULT.stream(&jpegs[..99]);
            let offset = stream.len();
            stream.extend_from_slice(&last[..have]);
            let player = Player::new("torn", source, &stream, "");
            assert_same(&frames(player.rest()), &jpegs[..99], source);
            let messages = player.pipeline.messages();
            assert_eq!(messages.len(), 1, "{messages:?}");
            assert!(
                messages[0].contains(&format!("Frame 99 at byte {offset}: "))
                    && messages[0].contains(&format!("after {have} "))
                    && (have < 4 || messages[0].contains(&format!("of {} bytes", last.len()))),
                "{messages:?}"
            );
        }
    }
}

#[test]
fn foreign_file_is_an_error() {
    for source in SOURCES {
        for (content, says) in [
            (&b"HTTP/1.0 200 OK\r\n\r\n"[..], "HTTP"),
            (
                b"\x80\x04\x95\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
                "pickle",
            ),
            (&[b'x'; 100_000], "no known framing begins with"),
        ] {
            let player = Player::new("else", source, content, "");
            player.pipeline.play();
            let (warnings, error) = player.pipeline.wait();
            let all = format!("{warnings:?} {error:?}");
            assert!(error.is_some() && all.contains(says), "{all}");
        }
    }
}

/// Frames larger than one read of the file.
#[test]
fn large_frames_are_seekable() {
    let jpegs = super::wire::encode(20, 800, 600);
    assert!(jpegs[0].len() > 200_000);
    for source in SOURCES {
        let player = Player::paused("large", source, &DEFAULT.stream(&jpegs), "");
        player.seek(gst::SeekFlags::ACCURATE, FRAME * 13);
        assert_same(&[player.shown().0], &jpegs[13..14], source);
        player.seek(gst::SeekFlags::ACCURATE, gst::ClockTime::ZERO);
        assert_same(&frames(player.rest()), &jpegs, source);
    }
}
