// SPDX-License-Identifier: MPL-2.0

//! Capture times and origins in comment segments: written and read.

use super::*;

/// The texts of the comment segments in front, and the JPEG without these segments.
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

#[test]
fn stamping_leaves_picture_unchanged() {
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
        assert_eq!(
            capture_time(&buffer),
            Some(time),
            "the capture time is on the buffer, too"
        );
    }
}

#[test]
fn stamping_shares_memory_and_keeps_metadata() {
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

/// The age by the pipeline's clock is subtracted, and a time from the source is kept.
#[test]
fn capture_time_follows_running_time() {
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
    let time = capture_time(&scenario.buffers()[0]).expect("a time");
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

/// A relay keeps the capture time of the original sender and adds its own origin.
#[test]
fn relayed_jpeg_keeps_capture_time_and_gets_new_origin() {
    let time = 1_234_567_890_123_456_789;
    let jpeg = of("hall", &stamped(&pictures(1)[0], time));
    let scenario = &mut Scenario::check()
        .with("capture-time", "true")
        .with("origin", "relay");
    scenario.feed(&jpeg);
    let output = scenario.buffers().remove(0);
    assert_eq!(capture_time(&output), Some(time));
    let out = bytes(&output);
    assert_eq!(out, of("relay", &jpeg));
    assert_eq!(scenario.stats().get("origin"), Ok("hall"));

    let next = &mut Scenario::check();
    next.feed(&out).expect_frames(std::slice::from_ref(&out));
    assert_eq!(
        next.stats().get("origin"),
        Ok("relay"),
        "the first comment wins"
    );
}

#[test]
fn invalid_origin_is_refused_at_start() {
    for (name, part) in [
        (
            "two\nlines".to_owned(),
            "`origin` \"two\\nlines\" is not a valid name",
        ),
        ("ü".repeat(101), "up to 200 bytes"),
    ] {
        let element = Scenario::check().element.clone();
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        element.set_property("origin", &name);
        assert!(element.set_state(gst::State::Paused).is_err(), "{name}");
        let error = bus.pop_filtered(&[gst::MessageType::Error]);
        let error = text(&error.expect("an error"));
        assert!(error.contains(part), "{error}");

        // The element starts once the property is corrected.
        element.set_state(gst::State::Null).expect("a state change");
        element.set_property("origin", "ü".repeat(100));
        element
            .set_state(gst::State::Paused)
            .expect("a state change");
        element.set_state(gst::State::Null).expect("a state change");
    }
}

#[test]
fn comments_are_read_into_meta_and_stats() {
    const AGO: i64 = 3_600_000_000_000;
    let jpeg = &pictures(1)[0];
    let time = now() - AGO as u64;
    let scenario = &mut Scenario::check();
    scenario
        .feed(stamped(&of("hall", jpeg), time))
        .feed(of("hall", &stamped(jpeg, time)))
        .feed(of("hall", jpeg));
    let latest = now();
    let times: Vec<_> = scenario.buffers().iter().map(|b| capture_time(b)).collect();
    assert_eq!(times, [Some(time), Some(time), None]);
    let stats = scenario.stats();
    assert_eq!(stats.get("origin"), Ok("hall"));
    for name in ["delay-last", "delay-median", "delay-p99"] {
        let delay: i64 = stats.get(name).expect("a delay");
        assert!((AGO..=(latest - time) as i64).contains(&delay), "{stats}");
    }
}
