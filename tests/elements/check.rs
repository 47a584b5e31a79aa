// SPDX-License-Identifier: MPL-2.0

//! `jpegcheck`.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use gst::prelude::*;

use super::{
    scenario::{Output, Scenario},
    wire::{
        assert_same, bytes, commented, decode, encode, now, odd_pictures, pictures, stamped, told,
    },
};
use crate::common::pipeline::{Pipeline, key_press};

/// Nobody is silent for so long.
const FOREVER: &str = "9223372036854775807";

fn buffer(jpeg: &[u8]) -> gst::Buffer {
    gst::Buffer::from_slice(jpeg.to_vec())
}

/// A picture that says whose it is.
fn of(origin: &str, jpeg: &[u8]) -> Vec<u8> {
    commented(jpeg, &format!("b64jpeg origin={origin}"))
}

/// What the comments in front of a picture say, and the picture without them.
fn comments(mut jpeg: Vec<u8>) -> (Vec<String>, Vec<u8>) {
    let mut texts = vec![];
    while jpeg[..4] == *b"\xff\xd8\xff\xfe" {
        let len = usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
        let text = String::from_utf8(jpeg[6..4 + len].to_vec());
        texts.push(text.expect("text"));
        jpeg.drain(2..4 + len);
    }
    (texts, jpeg)
}

fn jpeg_caps(width: i32, height: i32) -> gst::Caps {
    gst::Caps::builder("image/jpeg")
        .field("parsed", true)
        .field("width", width)
        .field("height", height)
        .build()
}

/// The events that came out, without those of the harness before the first picture.
fn event_types(outputs: &[Output]) -> Vec<gst::EventType> {
    let types = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.type_()),
        Output::Buffer(..) => None,
    });
    types.collect()
}

// What passes

#[test]
fn pictures_pass_as_they_are() {
    let jpegs = [&odd_pictures(), pictures(5)].concat();
    let total = jpegs.iter().map(Vec::len).sum::<usize>() as u64;
    let scenario = &mut Scenario::check();
    let buffers: Vec<_> = jpegs.iter().map(|jpeg| buffer(jpeg)).collect();
    let addresses: Vec<_> = buffers.iter().map(|buffer| buffer.as_ptr()).collect();
    for buffer in buffers {
        scenario.push(buffer);
    }
    let got = scenario.buffers();
    let same: Vec<_> = got.iter().map(|buffer| buffer.as_ptr()).collect();
    assert_eq!(same, addresses, "the very same buffers");
    assert!(got.iter().all(|buffer| told(buffer).is_none()));
    let got: Vec<_> = got.iter().map(|buffer| bytes(buffer)).collect();
    assert_same(&got, &jpegs, "pictures");
    scenario.expect_stats(&[
        ("frames", 8),
        ("bytes-in", total),
        ("bytes-out", total),
        ("errors", 0),
        ("dropped", 0),
        ("strangers", 0),
    ]);
    let stats = scenario.stats();
    assert!(!stats.has_field("delay-median"), "{stats}");
    assert_eq!(stats.get("origin"), Ok(""));
}

/// Caps may be missing, late or wrong where pictures come from other machines.
#[test]
fn caps_are_what_the_pictures_say() {
    for caps in [
        None,
        Some("image/jpeg,width=1,height=2,framerate=30/1"),
        Some("video/x-raw,format=I420,width=32,height=24"),
        Some("text/plain"),
    ] {
        let mut scenario = Scenario::check();
        if let Some(caps) = caps {
            scenario = scenario.caps(caps);
        }
        for jpeg in pictures(2) {
            scenario.feed(jpeg);
        }
        if caps.is_some() {
            scenario.event(gst::event::Caps::new(&"image/png".parse().unwrap()));
        }
        scenario.feed(&encode(1, 64, 48)[0]).feed(&pictures(3)[2]);
        let outputs = scenario.outputs();
        let got: Vec<_> = outputs
            .iter()
            .filter_map(|output| match output {
                Output::Buffer(_, caps) => caps.clone(),
                Output::Event(_) => None,
            })
            .collect();
        let expected = [(32, 24), (32, 24), (64, 48), (32, 24)].map(|(w, h)| jpeg_caps(w, h));
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(&expected) {
            assert!(got.is_strictly_equal(expected), "{got} of {caps:?}");
        }
        use gst::EventType::{Caps, Segment, StreamStart};
        let types = event_types(&outputs);
        assert_eq!(types, [StreamStart, Caps, Segment, Caps, Caps], "{caps:?}");
    }
}

/// As the doors have it: what begins like a JPEG is one, whatever a camera leaves out.
#[test]
fn half_a_picture_passes() {
    let half = &pictures(1)[0][..300];
    let start = b"\xff\xd8\xff\xd9";
    let scenario = &mut Scenario::check();
    scenario.feed(half).feed(start);
    let got = scenario.buffers_and_caps();
    assert_eq!(bytes(&got[0].0), half);
    assert_eq!(bytes(&got[1].0), start);
    let caps = got[1].1.as_ref().expect("caps").to_string();
    assert_eq!(caps, "image/jpeg, parsed=(boolean)true");
}

#[test]
fn lists_of_buffers() {
    let scenario = &mut Scenario::check();
    let source = scenario.harness().srcpad().expect("a pad");
    let list: gst::BufferList = pictures(5).iter().map(|jpeg| buffer(jpeg)).collect();
    assert_eq!(source.push_list(list), Ok(gst::FlowSuccess::Ok));
    scenario.expect_frames(pictures(5));
}

// What does not

#[test]
fn what_is_no_picture_is_dropped() {
    let jpegs = pictures(3);
    let scenario = &mut Scenario::check();
    scenario
        .feed(&jpegs[0])
        .feed(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        .push(gst::Buffer::new())
        .feed(&jpegs[1])
        .feed(b"\xff\xd8")
        .feed(b"hello")
        .feed(&jpegs[2])
        .expect_warning(&[
            "Frame 1 is dropped: it does not begin like a JPEG",
            "89 50 4e 47",
            "it came without caps",
            "bad frames so far: 1 ",
        ])
        .expect_warning(&["Frame 2 is dropped", "no picture", "bad frames so far: 2 "])
        .expect_warning(&["Frame 5 is dropped", "68 65 6c 6c 6f (\"hello\")"])
        .expect_silence()
        .expect_stats(&[
            ("frames", 3),
            ("errors", 4),
            ("dropped", 4),
            ("strangers", 0),
            (
                "bytes-in",
                16 + 2 + 5 + jpegs.iter().map(Vec::len).sum::<usize>() as u64,
            ),
        ]);
    assert_eq!(scenario.flow, Ok(gst::FlowSuccess::Ok));
    let got = scenario.buffers();
    let gaps: Vec<_> = got
        .iter()
        .map(|buffer| buffer.flags().contains(gst::BufferFlags::DISCONT))
        .collect();
    assert_eq!(gaps, [false, true, true]);
    let got: Vec<_> = got.iter().map(|buffer| bytes(buffer)).collect();
    assert_same(&got, jpegs, "what was good");
}

/// A stream that a good sender shares with a bad one.
#[test]
fn a_flood_is_told_in_a_few_words() {
    let scenario = &mut Scenario::check();
    for _ in 0..100 {
        scenario.feed(b"bad").feed(&pictures(1)[0]);
    }
    for told in [1, 2, 4, 8, 16, 32, 64] {
        let number = format!("Frame {} is dropped", 2 * (told - 1));
        scenario.expect_warning(&[&number, &format!("bad frames so far: {told} ")]);
    }
    scenario
        .expect_silence()
        .expect_stats(&[("frames", 100), ("errors", 100)]);
    assert_eq!(scenario.buffers().len(), 100);
}

/// Whoever sends the pictures may have sent the caps as well.
#[test]
fn a_warning_is_not_as_long_as_the_caps() {
    let scenario = &mut Scenario::check().caps(&format!("x/y,z={}", "z".repeat(100_000)));
    scenario.feed(b"bad");
    let text = super::scenario::text(&scenario.message().expect("a warning"));
    assert!(text.contains("it came as x/y") && text.len() < 1_000);
}

/// A stream of nothing else ends as it should.
#[test]
fn nothing_good_at_all() {
    let scenario = &mut Scenario::check().caps("text/plain");
    scenario
        .feed(b"bad")
        .eos()
        .expect_warning(&["Frame 0 is dropped", "it came as text/plain; "]);
    assert_eq!(scenario.flow, Ok(gst::FlowSuccess::Ok));
    assert_eq!(scenario.log(), ["stream-start", "eos"]);
}

// Events

#[test]
fn what_comes_before_the_first_picture_waits_for_it() {
    let mut tags = gst::TagList::new();
    let title = "The hall";
    tags.get_mut()
        .unwrap()
        .add::<gst::tags::Title>(&title, gst::TagMergeMode::Append);
    let gap = || gst::event::Gap::new(gst::ClockTime::ZERO, gst::ClockTime::NONE);
    let custom = || gst::event::CustomDownstream::new(gst::Structure::new_empty("custom"));
    let scenario = &mut Scenario::check();
    scenario
        .event(gst::event::Tag::new(tags))
        .event(gap())
        .event(custom());
    assert_eq!(scenario.log(), ["stream-start", "custom-downstream"]);
    scenario.feed(&pictures(1)[0]).event(gap()).event(custom());
    assert_eq!(
        scenario.log(),
        [
            "caps",
            "segment",
            "tag",
            "buffer",
            "gap",
            "custom-downstream"
        ]
    );
}

fn segments(scenario: &mut Scenario) -> Vec<gst::Segment> {
    let outputs = scenario.outputs().into_iter();
    let segments = outputs.filter_map(|output| match output {
        Output::Event(event) => match event.view() {
            gst::EventView::Segment(segment) => Some(segment.segment().clone()),
            _ => None,
        },
        Output::Buffer(..) => None,
    });
    segments.collect()
}

#[test]
fn segments_are_of_time() {
    let scenario = &mut Scenario::check().byte_segment();
    scenario
        .feed(&pictures(1)[0])
        .event(gst::event::Segment::new(&gst::FormattedSegment::<
            gst::format::Bytes,
        >::new()));
    let made = segments(scenario);
    assert_eq!(made.len(), 2);
    for segment in made {
        let time = segment.downcast::<gst::ClockTime>().expect("time");
        let limits = (time.start(), time.stop());
        assert_eq!(limits, (Some(gst::ClockTime::ZERO), None));
    }

    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_seconds(3));
    scenario.event(gst::event::Segment::new(&segment));
    assert_eq!(segments(scenario), [segment.upcast()]);
}

#[test]
fn flush_and_end() {
    let scenario = &mut Scenario::check();
    scenario
        .flush()
        .feed(&pictures(1)[0])
        .flush()
        .feed(&pictures(2)[1])
        .eos();
    assert_eq!(
        scenario.log(),
        [
            "stream-start",
            "flush-start",
            "flush-stop",
            "caps",
            "segment",
            "buffer",
            "flush-start",
            "flush-stop",
            "segment",
            "buffer",
            "eos"
        ]
    );
}

/// Caps that were lost to a flush come with the next picture.
#[test]
fn a_flush_downstream() {
    let scenario = &mut Scenario::check();
    scenario.harness();
    let src = scenario.element.static_pad("src").unwrap();
    src.push_event(gst::event::FlushStart::new());
    scenario.feed(&pictures(1)[0]);
    assert_eq!(scenario.flow, Err(gst::FlowError::Flushing));
    scenario.flow = Ok(gst::FlowSuccess::Ok);
    src.push_event(gst::event::FlushStop::new(true));
    scenario.outputs();
    scenario.feed(&pictures(1)[0]);
    assert_eq!(scenario.log(), ["caps", "segment", "buffer"]);
}

#[test]
fn an_unlinked_pad_downstream_is_told_upstream() {
    let scenario = &mut Scenario::check();
    scenario.harness();
    let src = scenario.element.static_pad("src").unwrap();
    src.unlink(&src.peer().unwrap()).unwrap();
    scenario.feed(&pictures(1)[0]);
    assert_eq!(scenario.flow, Err(gst::FlowError::NotLinked));
    scenario.outputs();
}

/// Keys in the video window and questions about the delay go to the source.
#[test]
fn what_travels_upstream() {
    let latency = gst::ClockTime::from_mseconds(42);
    let scenario = &mut Scenario::check();
    let source = scenario.harness().srcpad().expect("a pad");
    source.add_probe(gst::PadProbeType::QUERY_UPSTREAM, move |_, info| match info
        .query_mut()
        .map(|query| query.view_mut())
    {
        Some(gst::QueryViewMut::Latency(query)) => {
            query.set(true, latency, None);
            gst::PadProbeReturn::Handled
        }
        _ => gst::PadProbeReturn::Ok,
    });
    let mut query = gst::query::Latency::new();
    assert!(scenario.element.query(&mut query));
    assert_eq!(query.result(), (true, latency, None));

    let harness = scenario.harness();
    harness.push_upstream_event(key_press("q"));
    let types: Vec<_> =
        std::iter::from_fn(|| harness.try_pull_upstream_event().map(|e| e.type_())).collect();
    assert!(types.contains(&gst::EventType::Navigation), "{types:?}");
}

#[test]
fn caps_queries() {
    let scenario = &mut Scenario::check();
    scenario.harness();
    let pad = |name| scenario.element.static_pad(name).expect("a pad");
    assert!(pad("sink").query_caps(None).is_any());
    let src = pad("src").query_caps(None);
    assert!(src.can_intersect(&jpeg_caps(9, 9)), "{src}");
    assert!(!src.can_intersect(&gst::Caps::new_empty_simple("image/png")));
    scenario
        .feed(&pictures(1)[0])
        .expect_frames(&pictures(1)[..1]);
    let src = scenario.element.static_pad("src").expect("a pad");
    assert!(src.query_caps(None).is_strictly_equal(&jpeg_caps(32, 24)));
}

// Stamps

#[test]
fn a_stamped_picture_is_the_same_picture() {
    for jpeg in [&odd_pictures(), pictures(2)].concat() {
        let scenario = &mut Scenario::check()
            .with("capture-time", "true")
            .with("origin", "hall");
        let before = now();
        scenario.feed(&jpeg);
        let after = now();
        let buffer = scenario.buffers().remove(0);
        let out = bytes(&buffer);
        assert_eq!(decode(&out), decode(&jpeg));
        scenario.expect_stats(&[
            ("bytes-in", jpeg.len() as u64),
            ("bytes-out", out.len() as u64),
        ]);
        let (texts, rest) = comments(out);
        assert_eq!(rest, jpeg);
        let [time, origin] = &texts[..] else {
            panic!("{texts:?}");
        };
        assert_eq!(origin, "b64jpeg origin=hall");
        let time = time.strip_prefix("b64jpeg capture-time-unix-ns=");
        let time: u64 = time.expect("a time").parse().expect("a number");
        assert!((before..=after).contains(&time));
        assert_eq!(told(&buffer), Some(time), "whoever is next is told, too");
    }
}

#[test]
fn stamping_copies_no_picture() {
    let ms = gst::ClockTime::from_mseconds;
    let flags = gst::BufferFlags::DISCONT | gst::BufferFlags::LIVE;
    let ntp: gst::Caps = "timestamp/x-ntp".parse().unwrap();
    let mut input = buffer(&pictures(1)[0]);
    {
        let input = input.get_mut().unwrap();
        input.set_pts(ms(120));
        input.set_dts(ms(80));
        input.set_duration(ms(40));
        input.set_flags(flags);
        gst::ReferenceTimestampMeta::add(input, &ntp, ms(7), None);
    }
    let address = |buffer: &gst::BufferRef, memory| {
        let memory = buffer.peek_memory(memory).map_readable();
        memory.expect("readable memory").as_ptr() as usize
    };
    let picture = address(&input, 0);
    let scenario = &mut Scenario::check().with("origin", "hall");
    scenario.push(input);
    let output = scenario.buffers().remove(0);
    assert_eq!(output.n_memory(), 2);
    assert_eq!(address(&output, 1), picture + 2);
    assert_eq!(
        (output.pts(), output.dts(), output.duration()),
        (Some(ms(120)), Some(ms(80)), Some(ms(40)))
    );
    assert!(output.flags().contains(flags));
    let meta = output
        .meta::<gst::ReferenceTimestampMeta>()
        .expect("a meta");
    assert_eq!((meta.reference(), meta.timestamp()), (&*ntp, ms(7)));
}

/// What was captured earlier by the pipeline's clock, or says so itself.
#[test]
fn capture_time_is_not_when_it_comes() {
    let s = gst::ClockTime::from_seconds;
    let scenario = &mut Scenario::check().with("capture-time", "true");
    let harness = scenario.harness();
    harness.use_testclock();
    harness.set_time(s(10)).expect("a test clock");
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_base(s(2));
    scenario.event(gst::event::Segment::new(&segment));
    let mut picture = buffer(&pictures(1)[0]);
    picture.get_mut().unwrap().set_pts(s(5));
    let before = now();
    scenario.push(picture.clone());
    let after = now();
    let time = told(&scenario.buffers()[0]).expect("a time");
    let age = s(3).nseconds();
    assert!((before - age..=after - age).contains(&time));

    let unix: gst::Caps = "timestamp/x-unix".parse().unwrap();
    gst::ReferenceTimestampMeta::add(picture.make_mut(), &unix, s(1_000_000_000), None);
    scenario.push(picture);
    let output = scenario.buffers().remove(0);
    let (texts, _) = comments(bytes(&output));
    assert_eq!(texts, ["b64jpeg capture-time-unix-ns=1000000000000000000"]);
    assert_eq!(output.iter_meta::<gst::ReferenceTimestampMeta>().count(), 1);
}

/// A picture that is sent on was captured when its first sender says, and is ours.
#[test]
fn a_picture_that_is_sent_on() {
    let time = 1_234_567_890_123_456_789;
    let jpeg = of("hall", &stamped(&pictures(1)[0], time));
    let scenario = &mut Scenario::check()
        .with("capture-time", "true")
        .with("origin", "relay");
    scenario.feed(&jpeg);
    let output = scenario.buffers().remove(0);
    assert_eq!(told(&output), Some(time));
    let out = bytes(&output);
    assert_eq!(out, of("relay", &jpeg));
    assert_eq!(scenario.stats().get("origin"), Ok("hall"));

    let next = &mut Scenario::check();
    next.feed(&out).expect_frames(std::slice::from_ref(&out));
    assert_eq!(next.stats().get("origin"), Ok("relay"), "the outermost");
}

#[test]
fn a_name_that_is_none() {
    for (name, part) in [
        (
            "two\nlines".to_owned(),
            "`origin` \"two\\nlines\" is no name",
        ),
        ("ü".repeat(101), "up to 200 bytes"),
    ] {
        let element = Scenario::check().element.clone();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        element.set_property("origin", &name);
        assert!(element.set_state(gst::State::Paused).is_err(), "{name}");
        let error = bus.pop_filtered(&[gst::MessageType::Error]);
        let error = super::scenario::text(&error.expect("an error"));
        assert!(error.contains(part), "{error}");

        // It can be put right.
        element.set_state(gst::State::Null).expect("it stops");
        element.set_property("origin", "ü".repeat(100));
        element.set_state(gst::State::Paused).expect("it starts");
        element.set_state(gst::State::Null).expect("it stops");
    }
}

// Arrivals

#[test]
fn stamps_are_read() {
    const AGO: i64 = 3_600_000_000_000;
    let jpeg = &pictures(1)[0];
    let time = now() - AGO as u64;
    let scenario = &mut Scenario::check();
    scenario
        .feed(stamped(&of("hall", jpeg), time))
        .feed(of("hall", &stamped(jpeg, time)))
        .feed(of("hall", jpeg));
    let latest = now();
    let times: Vec<_> = scenario.buffers().iter().map(|b| told(b)).collect();
    assert_eq!(times, [Some(time), Some(time), None]);
    let stats = scenario.stats();
    assert_eq!(stats.get("origin"), Ok("hall"));
    for name in ["delay-last", "delay-median", "delay-p99"] {
        let delay: i64 = stats.get(name).expect("a delay");
        assert!((AGO..=(latest - time) as i64).contains(&delay), "{stats}");
    }
}

#[test]
fn strangers_are_dropped_while_the_first_one_sends() {
    let jpegs = pictures(6);
    let hall: Vec<_> = jpegs.iter().map(|jpeg| of("hall", jpeg)).collect();
    let yard: Vec<_> = jpegs.iter().map(|jpeg| of("yard", jpeg)).collect();
    let scenario = &mut Scenario::check().with("origin-timeout", FOREVER);
    scenario
        .feed(&hall[0])
        .feed(&yard[1])
        .feed(&jpegs[2])
        .feed(&hall[3])
        .expect_warning(&[
            "Frames of \"yard\" are dropped while those of \"hall\" arrive",
            "a stream of its own",
        ])
        .expect_silence();
    let got = scenario.buffers();
    assert!(got[1].flags().contains(gst::BufferFlags::DISCONT));
    let got: Vec<_> = got.iter().map(|buffer| bytes(buffer)).collect();
    assert_same(&got, &[hall[0].clone(), hall[3].clone()], "the first one's");
    scenario.expect_stats(&[
        ("frames", 2),
        ("strangers", 2),
        ("dropped", 2),
        ("errors", 0),
    ]);

    // More than a nanosecond later.
    scenario.element.set_property("origin-timeout", 1_u64);
    scenario.feed(&yard[4]).expect_frames(&yard[4..5]);
    assert_eq!(scenario.stats().get("origin"), Ok("yard"));
    scenario
        .element
        .set_property_from_str("origin-timeout", FOREVER);
    scenario
        .feed(&hall[5])
        .feed(b"bad")
        .expect_warning(&["Frames of \"hall\" are dropped while those of \"yard\" arrive"])
        .expect_warning(&["Frame 6 is dropped", "bad frames so far: 1 "])
        .expect_stats(&[
            ("frames", 3),
            ("strangers", 3),
            ("dropped", 4),
            ("errors", 1),
        ]);
}

#[test]
fn everybody_s_pictures_pass() {
    let jpeg = &pictures(1)[0];
    let all = [of("hall", jpeg), of("yard", jpeg), jpeg.clone()];
    let scenario = &mut Scenario::check().with("origin-timeout", "0");
    for jpeg in &all {
        scenario.feed(jpeg);
    }
    scenario
        .expect_frames(&all)
        .expect_silence()
        .expect_stats(&[("frames", 3), ("strangers", 0)]);
}

#[test]
fn a_stopped_element_starts_anew() {
    let hall = of("hall", &pictures(1)[0]);
    let yard = of("yard", &pictures(1)[0]);
    let scenario = &mut Scenario::check().with("origin-timeout", FOREVER);
    scenario
        .feed(&hall)
        .feed(b"bad")
        .expect_warning(&["Frame 1 "])
        .expect_frames(std::slice::from_ref(&hall));
    for jpeg in [&yard, &hall] {
        let element = scenario.element.clone();
        element.set_state(gst::State::Ready).unwrap();
        element.set_state(gst::State::Playing).unwrap();
        assert!(!scenario.stats().has_field("origin"));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        scenario
            .expect_stats(&[("frames", 0), ("dropped", 0), ("errors", 0)])
            .event(gst::event::StreamStart::new("again"))
            .event(gst::event::Segment::new(&segment))
            .feed(jpeg)
            .feed(b"bad")
            .expect_warning(&["Frame 1 ", "bad frames so far: 1 "]);
        assert_eq!(
            scenario.log(),
            ["stream-start", "caps", "segment", "buffer"]
        );
    }
}

/// Of whatever comes, good or bad, and only if that is wanted.
#[test]
fn statistics_are_announced() {
    for (interval, expected) in [("0", 0), ("1", 3), (FOREVER, 0)] {
        let announced = Arc::<AtomicUsize>::default();
        let scenario = &mut Scenario::check().with("stats-interval", interval);
        let count = announced.clone();
        scenario
            .element
            .connect_notify(Some("stats"), move |element, _| {
                // Whoever hears of it may ask.
                element.property::<gst::Structure>("stats");
                count.fetch_add(1, Ordering::Relaxed);
            });
        scenario
            .feed(&pictures(1)[0])
            .feed(b"bad")
            .feed(&pictures(2)[1])
            .expect_warning(&["Frame 1 "])
            .expect_frames(pictures(2));
        assert_eq!(announced.load(Ordering::Relaxed), expected, "{interval}");
    }
}

/// The examples in the documentation, as they stand there, but for what is between them.
#[test]
fn the_examples() {
    const FRAMES: usize = 25;
    let lines: Vec<_> = include_str!("../../src/elements/jpegcheck/imp.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! gst-launch-1.0 "))
        .collect();
    let [origin, edge] = lines[..] else {
        panic!("{lines:?}");
    };
    let (sender, _) = origin.split_once("zenohsink ").expect("an end");
    let sender = sender.replace("is-live=true", &format!("num-buffers={FRAMES}"));
    let sender = Pipeline::launch(&format!("{sender} fakesink name=sink"));
    let sent = sender.collect("sink", "sink");
    sender.play();
    sender.wait_for_clean_end();

    let (_, receiver) = edge.split_once(" ! ").expect("a source");
    // For the first and the last picture to come, none may be dropped.
    let receiver = receiver
        .replace("leaky=downstream max-size-buffers=1 ", "")
        .replace("jpegcheck ", "jpegcheck name=check ")
        .replace("autovideosink", "fakesink name=sink");
    let receiver = Pipeline::launch(&format!("appsrc name=source format=time ! {receiver}"));
    let source: gst_app::AppSrc = receiver.element("source");
    let seen = receiver.collect("sink", "sink");
    receiver.play();
    for jpeg in sent.take() {
        source.push_buffer(buffer(&jpeg)).expect("it takes it");
    }
    source.end_of_stream().expect("it ends");
    receiver.wait_for_clean_end();
    assert_eq!(seen.take().len(), FRAMES);
    let check: gst::Element = receiver.element("check");
    let stats: gst::Structure = check.property("stats");
    assert_eq!(stats.get("origin"), Ok("hall"), "{stats}");
    assert!(
        stats
            .get::<i64>("delay-median")
            .is_ok_and(|delay| delay > 0)
    );
}
