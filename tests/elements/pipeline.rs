// SPDX-License-Identifier: MPL-2.0

//! The elements among stock elements: key presses, threads, restarts.

use std::{fs, io::Write, net::TcpListener, os::fd::AsRawFd, thread};

use gst::prelude::*;

use super::wire::{DEFAULT, FRAMINGS, Framing, assert_same, framing, pictures};
use crate::common::pipeline::{Pipeline, key_press, scratch};

fn press(pipeline: &Pipeline, sink: &str, key: &str) {
    let sink: gst::Element = pipeline.element(sink);
    let pad = sink.static_pad("sink").expect("a pad");
    pad.push_event(key_press(key));
}

/// Writes a recording of 250 frames, which last ten seconds.
fn recording(name: &str) -> String {
    let path = scratch(name);
    fs::write(&path, DEFAULT.stream(pictures(250))).expect("a file");
    path.display().to_string()
}

/// Pipelines that do not end by themselves, each with a quit key somewhere.
const ENDLESS: [&str; 6] = [
    "videotestsrc is-live=true ! jpegenc ! b64jpegpay quit-key=q ! fakesink name=sink",
    "videotestsrc is-live=true ! jpegenc ! b64jpegpay ! b64jpegdepay quit-key=q ! jpegdec
     ! fakesink name=sink",
    "videotestsrc ! jpegenc ! b64jpegpay quit-key=q ! fakesink name=sink sync=true",
    // Sources that wait for data.
    "appsrc format=time caps=image/jpeg ! b64jpegpay quit-key=q ! fakesink name=sink async=false",
    "appsrc ! b64jpegdepay quit-key=q ! fakesink name=sink async=false",
    // A bin inside the pipeline.
    "( videotestsrc is-live=true ! jpegenc ! b64jpegpay quit-key=q ! b64jpegdepay )
     ! fakesink name=sink",
];

#[test]
fn quit_key_ends_pipeline() {
    for line in ENDLESS {
        let pipeline = Pipeline::launch(line);
        pipeline.settle(gst::State::Playing);
        for other in ["x", "Q", "Escape", ""] {
            press(&pipeline, "sink", other);
        }
        // Other keys do nothing: the pipeline still plays.
        assert_eq!(pipeline.messages(), [""; 0]);
        let bus = pipeline.0.bus().unwrap();
        assert!(
            bus.pop_filtered(&[gst::MessageType::Eos]).is_none(),
            "{line}"
        );
        assert_eq!(pipeline.0.current_state(), gst::State::Playing);
        press(&pipeline, "sink", "q");
        pipeline.wait_for_clean_end();
    }
}

#[test]
fn quit_key_ends_recording_early() {
    let path = recording("quit-key");
    for line in ["filesrc name=src", "filesrc name=src ! queue"] {
        let pipeline = Pipeline::launch(&format!(
            "{line} ! b64jpegdepay name=depay quit-key=Escape ! fakesink name=sink sync=true"
        ));
        pipeline
            .element::<gst::Element>("src")
            .set_property("location", &path);
        pipeline.settle(gst::State::Playing);
        press(&pipeline, "sink", "q");
        press(&pipeline, "sink", "Escape");
        pipeline.wait_for_clean_end();
        let sink: gst::Element = pipeline.element("sink");
        let stats: gst::Structure = sink.property("stats");
        assert!(
            stats.get::<u64>("rendered").unwrap() < 250,
            "the end of the file was not reached"
        );
    }
}

/// A frame that is incomplete when the user quits is not reported.
#[test]
fn quit_key_inside_frame_ends_without_warning() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("bound").port();
    let pipeline = Pipeline::launch(&format!(
        "tcpclientsrc host=127.0.0.1 port={port} ! b64jpegdepay quit-key=q ! fakesink name=sink"
    ));
    pipeline.play();
    let (mut client, _) = server.accept().expect("a connection");
    let stream = DEFAULT.stream(pictures(5));
    client
        .write_all(&stream[..stream.len() - 100])
        .expect("a reading peer");
    pipeline.wait_for_state();
    press(&pipeline, "sink", "q");
    pipeline.wait_for_clean_end();
}

#[test]
fn no_key_ends_pipeline_without_quit_key() {
    let path = recording("no-quit-key");
    let pipeline = Pipeline::launch(&format!(
        "filesrc location={path} ! b64jpegdepay ! b64jpegpay ! b64jpegdepay ! fakesink name=sink"
    ));
    let frames = pipeline.collect("sink", "sink");
    pipeline.settle(gst::State::Paused);
    for key in ["q", "", "Escape"] {
        press(&pipeline, "sink", key);
    }
    pipeline.play();
    pipeline.wait_for_clean_end();
    assert_same(&frames.take(), pictures(250), "all");
}

/// The same elements are started and stopped repeatedly, each time with new threads.
#[test]
fn pipeline_can_be_restarted() {
    let path = recording("restarts");
    for source in ["filesrc", "filesrc ! queue"] {
        let pipeline = Pipeline::launch(&format!(
            "{} ! b64jpegdepay ! queue ! b64jpegpay ! b64jpegdepay ! fakesink name=sink",
            source.replace("filesrc", &format!("filesrc location={path}"))
        ));
        let frames = pipeline.collect("sink", "sink");
        for _ in 0..5 {
            for state in [gst::State::Null, gst::State::Ready] {
                pipeline.play();
                pipeline.wait_for_clean_end();
                pipeline.0.set_state(state).expect("a state change");
                assert_same(&frames.take(), pictures(250), source);
            }
        }
        // Stop at any moment. A pipeline that is stopped while its first events travel may post a
        // stream error; stock elements do so as well.
        for _ in 0..30 {
            pipeline.play();
            pipeline
                .0
                .set_state(gst::State::Ready)
                .expect("a state change");
        }
        for message in pipeline.messages() {
            assert!(message.contains("Internal data stream error"), "{message}");
        }
        frames.take();
        pipeline.play();
        pipeline.wait_for_clean_end();
        assert_same(&frames.take(), pictures(250), source);
    }
}

/// The same depayloader plays a live stream, a recording, and a live stream again.
#[test]
fn depayloader_switches_between_live_and_file() {
    let path = recording("live-and-file");
    let depay =
        Pipeline::launch("b64jpegdepay name=depay ! fakesink").element::<gst::Element>("depay");
    let times = |source: &str| {
        let pipeline = Pipeline::launch(&format!("{source} ! identity name=id"));
        let sink = gst::ElementFactory::make("fakesink").build().unwrap();
        if let Some(parent) = depay.parent().and_downcast::<gst::Bin>() {
            parent.remove(&depay).unwrap();
        }
        pipeline.0.add_many([&depay, &sink]).unwrap();
        gst::Element::link_many([&pipeline.element("id"), &depay, &sink]).unwrap();
        let (sender, times) = std::sync::mpsc::channel();
        let pad = sink.static_pad("sink").unwrap();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            let buffer = info.buffer().unwrap();
            sender.send((buffer.pts(), buffer.duration())).unwrap();
            gst::PadProbeReturn::Ok
        });
        pipeline.play();
        pipeline.wait_for_clean_end();
        pipeline.0.set_state(gst::State::Null).unwrap();
        pipeline.0.remove(&depay).unwrap();
        times.try_iter().collect::<Vec<_>>()
    };
    for _ in 0..2 {
        // A pipe is not seekable.
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        let stream = DEFAULT.stream(pictures(50));
        let writer = thread::spawn(move || writer.write_all(&stream));
        let live = times(&format!("fdsrc fd={}", reader.as_raw_fd()));
        writer.join().unwrap().expect("a reading peer");
        assert_eq!(live.len(), 50);
        assert!(live.is_sorted(), "{live:?}");
        for (pts, duration) in live {
            assert!(pts.is_some() && duration.is_none());
        }

        let file = times(&format!("filesrc location={path} ! queue"));
        let frame = gst::ClockTime::from_mseconds(40);
        for (i, time) in file.iter().enumerate() {
            assert_eq!(*time, (Some(frame * i as u64), Some(frame)));
        }
        assert_eq!(file.len(), 250);
    }
}

/// Payloader and depayloader in separate threads.
#[test]
fn every_framing_passes_from_pay_to_depay() {
    for Framing { header, payload } in FRAMINGS {
        let path = recording(&format!("through-{header}-{payload}"));
        let pipeline = Pipeline::launch(&format!(
            "filesrc location={path} ! b64jpegdepay ! b64jpegpay header={header} payload={payload}
             ! queue ! b64jpegdepay name=depay ! fakesink name=sink"
        ));
        let frames = pipeline.collect("sink", "sink");
        pipeline.play();
        pipeline.wait_for_clean_end();
        assert_same(&frames.take(), pictures(250), header);
    }
}

/// A socket stays open after the last frame; no frame waits for more data.
#[test]
fn frames_from_open_socket_are_shown_at_once() {
    for framing in [DEFAULT, framing("none", "jpeg"), framing("lines", "base64")] {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = server.local_addr().expect("bound").port();
        let pipeline = Pipeline::launch(&format!(
            "tcpclientsrc host=127.0.0.1 port={port} ! b64jpegdepay ! fakesink name=sink"
        ));
        let frames = pipeline.collect("sink", "sink");
        pipeline.play();
        let (mut client, _) = server.accept().expect("a connection");
        client
            .write_all(&framing.stream(pictures(50)))
            .expect("a reading peer");
        // The pipeline reaches PLAYING only when the sink has a frame.
        pipeline.wait_for_state();
        drop(client);
        pipeline.wait_for_clean_end();
        assert_same(&frames.take(), pictures(50), framing.header);
    }
}
