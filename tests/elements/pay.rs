// SPDX-License-Identifier: MPL-2.0

//! `b64jpegpay`.

use base64::prelude::*;
use gst::prelude::*;

use super::{
    scenario::{Output, Scenario},
    wire::{
        DEFAULT, FRAMINGS, Framing, bytes, decode, encode, framing, now, odd_pictures, pictures,
    },
};

fn pay(framing: Framing) -> Scenario {
    Scenario::pay()
        .with("header", framing.header)
        .with("payload", framing.payload)
}

fn frames(framing: Framing, jpegs: &[Vec<u8>]) -> Vec<Vec<u8>> {
    jpegs.iter().map(|jpeg| framing.frame(jpeg)).collect()
}

fn buffer(jpeg: &[u8]) -> gst::Buffer {
    gst::Buffer::from_slice(jpeg.to_vec())
}

#[test]
fn every_framing_is_written() {
    let jpegs = [&odd_pictures(), pictures(5)].concat();
    for framing in FRAMINGS {
        let mut scenario = pay(framing);
        for jpeg in &jpegs {
            scenario.feed(jpeg).expect_frames(&[framing.frame(jpeg)]);
        }
        scenario.expect_framing(framing).expect_stats(&[
            ("frames", 8),
            ("errors", 0),
            ("dropped", 0),
            ("bytes-in", jpegs.iter().map(Vec::len).sum::<usize>() as u64),
            ("bytes-out", framing.stream(&jpegs).len() as u64),
        ]);
        let fps = scenario.stats().get::<f64>("fps");
        assert!(fps.is_ok_and(|fps| fps >= 0.0));
    }
}

#[test]
fn default_framing_is_that_of_python() {
    let mut scenario = Scenario::pay();
    scenario
        .feed(&pictures(1)[0])
        .expect_frames(&frames(DEFAULT, pictures(1)));
}

#[test]
fn non_jpeg_is_dropped_with_warning() {
    let jpegs = pictures(3);
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
    let scenario = &mut Scenario::pay();
    scenario
        .feed(&jpegs[0])
        .feed(png)
        .push(gst::Buffer::new())
        .feed(&jpegs[1])
        .feed(b"\xff\xd8")
        .feed(&jpegs[2])
        .expect_warning(&[
            "Picture 1 is dropped",
            "89 50 4e 47",
            "not begin like a JPEG",
        ])
        .expect_warning(&["Picture 2 is dropped", "no picture"])
        .expect_warning(&["Picture 4 is dropped", "ff d8"])
        .expect_frames(&frames(DEFAULT, jpegs))
        .expect_stats(&[("frames", 3), ("dropped", 3), ("errors", 3)]);
    assert_eq!(scenario.flow, Ok(gst::FlowSuccess::Ok));
}

/// More than four gigabytes of text. Only the first page of the input is ever touched, so it
/// takes address space but no memory.
#[test]
fn frame_longer_than_header_allows_is_an_error() {
    let long = || {
        let mut jpeg = vec![0; 3 << 30];
        jpeg[..3].copy_from_slice(b"\xff\xd8\xff");
        gst::Buffer::from_mut_slice(jpeg)
    };
    for header in ["be32", "le32"] {
        let scenario = &mut pay(framing(header, "base64"));
        scenario
            .feed(&pictures(1)[0])
            .push(long())
            .expect_error(&[
                "Picture 1 cannot be sent",
                "4294967296 bytes",
                "4294967295",
                "another header",
            ])
            .expect_flow_error()
            .expect_frames(&frames(framing(header, "base64"), pictures(1)));
    }
}

#[test]
fn buffer_metadata_is_kept() {
    let ms = gst::ClockTime::from_mseconds;
    let flags = gst::BufferFlags::DISCONT | gst::BufferFlags::LIVE;
    let mut input = buffer(&pictures(1)[0]);
    {
        let input = input.get_mut().unwrap();
        input.set_pts(ms(120));
        input.set_dts(ms(80));
        input.set_duration(ms(40));
        input.set_flags(flags);
    }
    let scenario = &mut Scenario::pay();
    scenario.push(input).feed(&pictures(2)[1]);
    let got = scenario.buffers();
    assert_eq!(
        (got[0].pts(), got[0].dts(), got[0].duration()),
        (Some(ms(120)), Some(ms(80)), Some(ms(40)))
    );
    assert!(got[0].flags().contains(flags));
    assert_eq!(
        (got[1].pts(), got[1].dts(), got[1].duration()),
        (None, None, None)
    );
    assert!(
        !got[1]
            .flags()
            .intersects(flags | gst::BufferFlags::DELTA_UNIT)
    );
}

#[test]
fn buffer_list_is_framed() {
    let scenario = &mut Scenario::pay();
    let source = scenario.harness().srcpad().expect("a pad");
    let list: gst::BufferList = pictures(5).iter().map(|jpeg| buffer(jpeg)).collect();
    assert_eq!(source.push_list(list), Ok(gst::FlowSuccess::Ok));
    scenario.expect_frames(&frames(DEFAULT, pictures(5)));
}

#[test]
fn byte_segment_becomes_time_segment() {
    let scenario = &mut Scenario::pay().byte_segment();
    scenario.feed(&pictures(1)[0]);
    let segments: Vec<_> = scenario
        .outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Event(event) => match event.view() {
                gst::EventView::Segment(segment) => Some(segment.segment().clone()),
                _ => None,
            },
            Output::Buffer(..) => None,
        })
        .collect();
    assert_eq!(segments.len(), 1);
    let time = segments[0].downcast_ref::<gst::ClockTime>().expect("time");
    assert_eq!(
        (time.start(), time.stop()),
        (Some(gst::ClockTime::ZERO), None)
    );
}

#[test]
fn time_segment_is_kept() {
    let scenario = &mut Scenario::pay();
    scenario.feed(&pictures(1)[0]);
    scenario.outputs();
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(gst::ClockTime::from_seconds(3));
    segment.set_rate(2.0);
    scenario
        .event(gst::event::Segment::new(&segment))
        .feed(&pictures(2)[1]);
    let Output::Event(event) = &scenario.outputs()[0] else {
        panic!("the first output is no event");
    };
    let gst::EventView::Segment(event) = event.view() else {
        panic!("{event:?}");
    };
    assert_eq!(event.segment(), segment.upcast_ref());
}

fn output_caps(scenario: &mut Scenario) -> Vec<String> {
    let buffers = scenario.buffers_and_caps().into_iter();
    buffers
        .map(|(_, caps)| caps.expect("caps").to_string())
        .collect()
}

#[test]
fn caps_contain_known_fields() {
    let scenario = &mut pay(framing("le64", "jpeg"));
    scenario.feed(&pictures(1)[0]);
    assert_eq!(
        output_caps(scenario),
        ["application/x-b64jpeg, header=(string)le64, payload=(string)jpeg"]
    );

    let scenario = &mut Scenario::pay()
        .caps("image/jpeg,width=32,height=24,framerate=30/1,parsed=true,sof-marker=0");
    scenario.feed(&pictures(1)[0]);
    let expected: gst::Caps =
        "application/x-b64jpeg,header=be32,payload=base64,width=32,height=24,framerate=30/1"
            .parse()
            .unwrap();
    let caps: gst::Caps = output_caps(scenario)[0].parse().unwrap();
    assert!(caps.is_strictly_equal(&expected), "{caps}");
}

#[test]
fn caps_change_is_passed_on() {
    let scenario = &mut Scenario::pay().caps("image/jpeg,width=32,height=24");
    let large = encode(1, 64, 48);
    scenario
        .feed(&pictures(1)[0])
        .event(gst::event::Caps::new(
            &"image/jpeg,width=64,height=48".parse().unwrap(),
        ))
        .feed(&large[0]);
    let caps = output_caps(scenario);
    assert!(caps[0].contains("width=(int)32"), "{caps:?}");
    assert!(caps[1].contains("width=(int)64"), "{caps:?}");
}

#[test]
fn caps_queries_are_answered() {
    let scenario = &mut pay(framing("le32", "jpeg"));
    scenario.harness();
    let caps = |pad| {
        scenario
            .element
            .static_pad(pad)
            .expect("a pad")
            .query_caps(None)
    };
    assert!(caps("sink").is_strictly_equal(&"image/jpeg".parse::<gst::Caps>().unwrap()));
    let src = caps("src");
    assert!(
        src.can_intersect(
            &"application/x-b64jpeg,header=le32,payload=jpeg"
                .parse::<gst::Caps>()
                .unwrap()
        ),
        "{src}"
    );
    let other = "application/x-b64jpeg,header=be32"
        .parse::<gst::Caps>()
        .unwrap();
    assert!(!src.can_intersect(&other), "{src}");
}

#[test]
fn downstream_caps_with_other_framing_are_not_negotiated() {
    let scenario = &mut Scenario::pay();
    scenario
        .harness()
        .set_sink_caps_str("application/x-b64jpeg,header=le32");
    scenario
        .feed(&pictures(1)[0])
        .expect_warning(&["not negotiated"]);
    assert_eq!(scenario.flow, Err(gst::FlowError::NotNegotiated));
}

#[test]
fn other_media_type_is_refused() {
    let scenario = &mut Scenario::pay().caps("image/png");
    scenario.feed(&pictures(1)[0]);
    assert_eq!(scenario.flow, Err(gst::FlowError::NotNegotiated));
}

#[test]
fn flush_and_eos_pass() {
    let scenario = &mut Scenario::pay();
    scenario
        .feed(&pictures(1)[0])
        .flush()
        .feed(&pictures(2)[1])
        .eos();
    let log = scenario.log();
    assert_eq!(
        log,
        [
            "stream-start",
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

#[test]
fn stopped_element_starts_anew() {
    let scenario = &mut Scenario::pay();
    scenario.feed(&pictures(1)[0]).feed(b"nothing");
    scenario
        .expect_warning(&["Picture 1 "])
        .expect_frames(&frames(DEFAULT, pictures(1)))
        .expect_stats(&[("frames", 1), ("dropped", 1)]);
    for other in FRAMINGS.iter().cycle().take(30) {
        let element = scenario.element.clone();
        element.set_state(gst::State::Ready).unwrap();
        element.set_property_from_str("header", other.header);
        element.set_property_from_str("payload", other.payload);
        element.set_state(gst::State::Playing).unwrap();
        scenario
            .expect_stats(&[
                ("frames", 0),
                ("dropped", 0),
                ("errors", 0),
                ("bytes-in", 0),
            ])
            .event(gst::event::StreamStart::new("again"))
            .event(gst::event::Caps::new(&"image/jpeg".parse().unwrap()))
            .event(gst::event::Segment::new(&gst::FormattedSegment::<
                gst::ClockTime,
            >::new()))
            .feed(&pictures(1)[0])
            .expect_frames(&frames(*other, pictures(1)))
            .expect_framing(*other);
    }
}

/// The capture time in a frame, and the JPEG without its comment segment.
fn stamp(frame: &[u8]) -> (u64, Vec<u8>) {
    let jpeg = BASE64_STANDARD.decode(&frame[4..]).expect("base64");
    // SOI, then a comment: FF FE, length, text.
    assert_eq!(jpeg[..4], *b"\xff\xd8\xff\xfe");
    let len = usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
    let comment = std::str::from_utf8(&jpeg[6..4 + len]).expect("text");
    let digits = comment
        .strip_prefix("b64jpeg capture-time-unix-ns=")
        .expect(comment);
    (
        digits.parse().expect("a number"),
        [&jpeg[..2], &jpeg[4 + len..]].concat(),
    )
}

/// Pushes a buffer; returns its capture time between the wall clock before and after.
fn stamped(scenario: &mut Scenario, pts: Option<gst::ClockTime>) -> (u64, u64, u64) {
    let mut input = buffer(&pictures(1)[0]);
    input.get_mut().unwrap().set_pts(pts);
    let before = now();
    scenario.push(input);
    let after = now();
    let frame = bytes(&scenario.buffers().remove(0));
    (before, stamp(&frame).0, after)
}

fn stamping() -> Scenario {
    Scenario::pay().with("capture-time", "true")
}

#[test]
fn capture_time_is_now_without_timestamp() {
    let (before, time, after) = stamped(&mut stamping(), None);
    assert!((before..=after).contains(&time));
}

#[test]
fn stamping_leaves_picture_unchanged() {
    for jpeg in [&odd_pictures(), pictures(2)].concat() {
        let scenario = &mut stamping();
        scenario.feed(&jpeg);
        let frame = bytes(&scenario.buffers().remove(0));
        let len = u32::from_be_bytes(*frame.first_chunk().unwrap());
        assert_eq!(frame.len(), 4 + len as usize);
        assert_eq!(stamp(&frame).1, jpeg);
        let stamped = BASE64_STANDARD.decode(&frame[4..]).unwrap();
        assert_eq!(decode(&stamped), decode(&jpeg));
    }
}

/// The age of a frame by the pipeline's clock is subtracted from the wall clock.
#[test]
fn capture_time_follows_running_time() {
    let s = gst::ClockTime::from_seconds;
    let scenario = &mut stamping();
    let harness = scenario.harness();
    harness.use_testclock();
    harness.set_time(s(10)).expect("a test clock");
    assert_eq!(scenario.element.current_running_time(), Some(s(10)));

    for (pts, age) in [(7, 3), (10, 0), (0, 10), (12, 0)] {
        let (before, time, after) = stamped(scenario, Some(s(pts)));
        let age = s(age).nseconds();
        assert!((before - age..=after - age).contains(&time), "PTS {pts} s");
    }

    // Running time 2 + (7 - 5) / 2 = 3 s.
    let mut segment = gst::FormattedSegment::<gst::ClockTime>::new();
    segment.set_start(s(5));
    segment.set_base(s(2));
    segment.set_rate(2.0);
    scenario.event(gst::event::Segment::new(&segment));
    let (before, time, after) = stamped(scenario, Some(s(7)));
    let age = s(7).nseconds();
    assert!((before - age..=after - age).contains(&time));

    // Outside the segment a timestamp has no running time.
    let (before, time, after) = stamped(scenario, Some(s(1)));
    assert!((before..=after).contains(&time));
}

#[test]
fn capture_time_of_source_is_kept() {
    let time = 1_234_567_890_123_456_789;
    let add = |buffer: &mut gst::BufferRef, caps: &str, time| {
        let caps: gst::Caps = caps.parse().unwrap();
        gst::ReferenceTimestampMeta::add(buffer, &caps, gst::ClockTime::from_nseconds(time), None);
    };
    let mut known = buffer(&pictures(1)[0]);
    add(known.get_mut().unwrap(), "timestamp/x-ntp", 42);
    add(known.get_mut().unwrap(), "timestamp/x-unix", time);
    let scenario = &mut stamping();
    scenario.push(known);
    let frame = bytes(&scenario.buffers().remove(0));
    assert_eq!(stamp(&frame).0, time);

    // The receiver gets the same time.
    let receiver = &mut Scenario::depay();
    receiver.feed(&frame);
    let picture = receiver.buffers().remove(0);
    let meta = picture
        .meta::<gst::ReferenceTimestampMeta>()
        .expect("a meta");
    assert_eq!(meta.timestamp().nseconds(), time);

    // A timestamp of another clock is ignored.
    let mut unknown = buffer(&pictures(1)[0]);
    add(unknown.get_mut().unwrap(), "timestamp/x-ntp", 42);
    let before = now();
    scenario.push(unknown);
    let frame = bytes(&scenario.buffers().remove(0));
    assert!((before..=now()).contains(&stamp(&frame).0));
}

#[test]
fn capture_time_passes_in_every_framing() {
    for framing in FRAMINGS {
        let sender = &mut pay(framing).with("capture-time", "true");
        for jpeg in pictures(3) {
            sender.feed(jpeg);
        }
        let receiver = &mut Scenario::depay();
        for frame in sender.buffers() {
            receiver.push(frame);
        }
        receiver.eos();
        let got = receiver.buffers();
        assert_eq!(got.len(), 3);
        for (buffer, jpeg) in got.iter().zip(pictures(3)) {
            assert!(buffer.meta::<gst::ReferenceTimestampMeta>().is_some());
            assert!(bytes(buffer).ends_with(&jpeg[2..]));
        }
    }
}
