// SPDX-License-Identifier: MPL-2.0

//! `b64jpegdepay` with valid streams.

use gst::prelude::*;

use super::{
    scenario::{Output, Pieces, Scenario},
    wire::{
        DEFAULT, FRAMINGS, Framing, assert_same, bytes, encode, framing, odd_pictures, pictures,
        stamped,
    },
};

fn ms(ms: u64) -> Option<gst::ClockTime> {
    Some(gst::ClockTime::from_mseconds(ms))
}

/// A buffer with a timestamp, as from a live source.
fn timed(data: &[u8], pts: Option<gst::ClockTime>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(data.to_vec());
    buffer.get_mut().expect("new").set_pts(pts);
    buffer
}

/// The three ways to set the framing: detection, properties and caps.
fn scenarios_for(framing: Framing) -> [Scenario; 3] {
    let Framing { header, payload } = framing;
    [
        Scenario::depay(),
        Scenario::depay()
            .with("header", header)
            .with("payload", payload),
        Scenario::depay().caps(&format!(
            "application/x-b64jpeg,header={header},payload={payload}"
        )),
    ]
}

#[test]
fn every_framing_is_parsed_in_pieces_of_any_size() {
    let jpegs = [&odd_pictures(), pictures(4)].concat();
    for framing in FRAMINGS {
        let stream = framing.stream(&jpegs);
        for pieces in [
            Pieces::Whole,
            Pieces::Of(4096),
            Pieces::Of(1),
            Pieces::Random(700),
        ] {
            for scenario in scenarios_for(framing) {
                scenario
                    .pieces(pieces)
                    .feed(&stream)
                    .eos()
                    .expect_frames(&jpegs)
                    .expect_silence()
                    .expect_framing(framing)
                    .expect_stats(&[
                        ("frames", jpegs.len() as u64),
                        ("bytes-in", stream.len() as u64),
                        (
                            "bytes-out",
                            jpegs.iter().map(Vec::len).sum::<usize>() as u64,
                        ),
                        ("errors", 0),
                        ("resyncs", 0),
                        ("dropped", 0),
                    ]);
            }
        }
    }
}

/// A live frame is delivered with its last byte, without waiting for the next frame.
#[test]
fn frame_is_delivered_with_its_last_byte() {
    for framing in FRAMINGS {
        let scenario = &mut Scenario::depay();
        for jpeg in pictures(3) {
            let frame = framing.frame(jpeg);
            let (most, last) = frame.split_at(frame.len() - 1);
            scenario
                .feed(most)
                .expect_frames(&[])
                .feed(last)
                .expect_frames(std::slice::from_ref(jpeg));
        }
    }
}

#[test]
fn properties_override_caps() {
    Scenario::depay()
        .caps("application/x-b64jpeg,header=le32,payload=jpeg")
        .with("header", "be32")
        .with("payload", "base64")
        .feed(DEFAULT.stream(pictures(3)))
        .expect_frames(pictures(3));
}

#[test]
fn caps_with_invalid_framing_are_refused() {
    for (fields, why) in [
        ("header=ninety", "unknown header or payload \"ninety\""),
        ("header=lines,payload=jpeg", "do not go together"),
    ] {
        let scenario = &mut Scenario::depay().caps(&format!("application/x-b64jpeg,{fields}"));
        scenario.harness();
        scenario.expect_error(&[why]);
        // Caps are sticky: the harness sends them again with the segment.
        while scenario.message().is_some() {}
    }
}

#[test]
fn changed_framerate_in_caps_is_passed_on() {
    let scenario = &mut Scenario::depay()
        .caps("application/x-b64jpeg,framerate=5/1")
        .byte_segment()
        .seekable();
    let frames = pictures(2);
    scenario.feed(DEFAULT.frame(&frames[0]));
    let caps = "application/x-b64jpeg,framerate=10/1".parse().unwrap();
    scenario.event(gst::event::Caps::new(&caps));
    scenario.feed(DEFAULT.frame(&frames[1]));
    let rates: Vec<_> = scenario
        .buffers_and_caps()
        .into_iter()
        .map(|(_, caps)| {
            let caps = caps.expect("caps");
            caps.structure(0)
                .unwrap()
                .get::<gst::Fraction>("framerate")
                .unwrap()
        })
        .collect();
    assert_eq!(rates, [gst::Fraction::new(5, 1), gst::Fraction::new(10, 1)]);
}

#[test]
fn framerate_property_sets_timestamps() {
    let scenario = &mut Scenario::depay().byte_segment().with("framerate", "5/1");
    scenario.feed(DEFAULT.stream(pictures(3)));
    let times: Vec<_> = scenario
        .buffers()
        .iter()
        .map(|buffer| buffer.pts())
        .collect();
    let times_of = |ms| Some(gst::ClockTime::from_mseconds(ms));
    assert_eq!(times, [0, 200, 400].map(times_of));
}

#[test]
fn caps_change_switches_framing() {
    let other = framing("le64", "jpeg");
    Scenario::depay()
        .caps("application/x-b64jpeg,header=be32,payload=base64")
        .feed(DEFAULT.stream(pictures(3)))
        .event(gst::event::Caps::new(
            &"application/x-b64jpeg,header=le64,payload=jpeg"
                .parse()
                .expect("caps"),
        ))
        .feed(other.stream(pictures(5)))
        .expect_frames(&[pictures(3), pictures(5)].concat())
        .expect_silence()
        .expect_framing(other);
}

#[test]
fn variants_that_python_accepts_are_accepted() {
    let file = |name: &str| {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors");
        std::fs::read(format!("{dir}/{name}")).expect(name)
    };
    for name in [
        "ascii16-zero-base64.bin",
        "ascii16-zero-jpeg.bin",
        "be32-line-breaks.bin",
        "be32-unpadded.bin",
        "be32-zero-lengths.bin",
        "lines-blank.bin",
        "lines-crlf.bin",
    ] {
        for pieces in [Pieces::Whole, Pieces::Of(1)] {
            Scenario::depay()
                .pieces(pieces)
                .feed(file(name))
                .eos()
                .expect_frames(&odd_pictures())
                .expect_silence();
        }
    }
}

#[test]
fn caps_follow_frame_size() {
    let small = pictures(3);
    let large = &encode(3, 640, 480)[..];
    let scenario = &mut Scenario::depay();
    scenario.feed(DEFAULT.stream(&[small, large, small].concat()));
    let (mut sizes, mut changes) = (Vec::new(), 0);
    for output in scenario.outputs() {
        match output {
            Output::Event(event) if event.type_() == gst::EventType::Caps => changes += 1,
            Output::Event(_) => {}
            Output::Buffer(_, caps) => {
                let caps = caps.expect("caps");
                let s = caps.structure(0).expect("one");
                assert_eq!(s.name(), "image/jpeg");
                assert_eq!(s.get("parsed"), Ok(true));
                assert!(!s.has_field("framerate"), "{s}: a live stream has none");
                sizes.push((s.get("width").unwrap(), s.get("height").unwrap()));
            }
        }
    }
    let (small, large) = ((32, 24), (640, 480));
    assert_eq!(
        sizes,
        [
            small, small, small, large, large, large, small, small, small
        ]
    );
    assert_eq!(changes, 3);
}

#[test]
fn caps_without_size_when_jpeg_has_none() {
    // SOI, COM, EOI: no segment with a size.
    let jpeg = b"\xff\xd8\xff\xfe\0\x04ab\xff\xd9".to_vec();
    let scenario = &mut Scenario::depay();
    scenario.feed(DEFAULT.frame(&jpeg)).eos();
    let (buffer, caps) = scenario.buffers_and_caps().remove(0);
    assert_eq!(bytes(&buffer), jpeg);
    assert_eq!(caps, Some("image/jpeg,parsed=true".parse().unwrap()));
}

#[test]
fn framerate_in_caps_is_passed_on() {
    let scenario = &mut Scenario::depay().caps("application/x-b64jpeg,framerate=30/1");
    scenario.feed(DEFAULT.frame(&pictures(1)[0]));
    let (_, caps) = scenario.buffers_and_caps().remove(0);
    assert_eq!(
        caps.unwrap().structure(0).unwrap().get("framerate"),
        Ok(gst::Fraction::new(30, 1))
    );
}

#[test]
fn pad_events_are_in_order() {
    let scenario = &mut Scenario::depay();
    scenario.feed(DEFAULT.stream(pictures(2))).eos();
    let mut log = scenario.log();
    log.retain(|name| name != "tag");
    assert_eq!(
        log,
        ["stream-start", "caps", "segment", "buffer", "buffer", "eos"]
    );
}

/// Timestamps of the output buffers.
fn times(scenario: &mut Scenario) -> Vec<Option<gst::ClockTime>> {
    let buffers = scenario.buffers().into_iter();
    buffers.map(|buffer| buffer.pts()).collect()
}

#[test]
fn untimed_live_frames_have_arrival_time() {
    let s = gst::ClockTime::from_seconds;
    let scenario = &mut Scenario::depay();
    scenario.harness().use_testclock();
    for (i, jpeg) in pictures(5).iter().enumerate() {
        let arrival = s(10 + 3 * i as u64);
        let frame = DEFAULT.frame(jpeg);
        scenario.feed(&frame[..300]);
        scenario.harness().set_time(arrival).expect("a test clock");
        scenario.feed(&frame[300..]);
        let buffer = scenario.buffers().remove(0);
        assert_eq!((buffer.pts(), buffer.duration()), (Some(arrival), None));
    }
}

/// As `tcpclientsrc do-timestamp=true` and a demuxer provide timestamps.
#[test]
fn frame_has_timestamp_of_buffer_in_which_it_begins() {
    for scenario in [Scenario::depay(), Scenario::depay().time_segment()] {
        let mut scenario = scenario;
        let jpegs = pictures(6);
        let stream = DEFAULT.stream(jpegs);
        let mut begins = Vec::new();
        let mut at = 0;
        for jpeg in jpegs {
            begins.push(at);
            at += DEFAULT.frame(jpeg).len();
        }
        for (i, piece) in stream.chunks(300).enumerate() {
            scenario.push(timed(piece, ms(1000 + i as u64 * 10)));
        }
        let got = scenario.buffers();
        for (buffer, begin) in got.iter().zip(&begins) {
            assert_eq!(buffer.pts(), ms(1000 + *begin as u64 / 300 * 10));
        }
        assert_eq!(got.len(), 6);
    }
}

#[test]
fn frames_in_one_buffer_do_not_invent_timestamps() {
    for scenario in [Scenario::depay(), Scenario::depay().time_segment()] {
        let mut scenario = scenario;
        for i in 0..3 {
            let two = DEFAULT.stream(&pictures(6)[2 * i..2 * i + 2]);
            scenario.push(timed(&two, ms(40 * i as u64)));
        }
        let times = times(&mut scenario);
        for i in 0..3 {
            assert_eq!(times[2 * i], ms(40 * i as u64));
            // Both frames arrived at that moment; an invented timestamp for the
            // second one would lie in the future.
            assert!(
                [None, times[2 * i]].contains(&times[2 * i + 1]),
                "{times:?}"
            );
        }
    }
}

#[test]
fn whole_frames_keep_timestamps() {
    let scenario = &mut Scenario::depay().time_segment();
    for (i, jpeg) in pictures(4).iter().enumerate() {
        scenario.push(timed(&DEFAULT.frame(jpeg), ms(33 * i as u64)));
    }
    let times = times(scenario);
    assert_eq!(times, [ms(0), ms(33), ms(66), ms(99)]);
}

fn with_flags(data: &[u8], flags: gst::BufferFlags) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(data.to_vec());
    buffer.get_mut().expect("new").set_flags(flags);
    buffer
}

fn discont(buffer: &gst::Buffer) -> bool {
    buffer.flags().contains(gst::BufferFlags::DISCONT)
}

#[test]
fn only_first_buffer_is_discont() {
    let scenario = &mut Scenario::depay().pieces(Pieces::Of(1000));
    scenario.feed(DEFAULT.stream(pictures(4)));
    let disconts: Vec<_> = scenario.buffers().iter().map(discont).collect();
    assert_eq!(disconts, [true, false, false, false]);
}

#[test]
fn discont_between_frames_is_passed_on() {
    let scenario = &mut Scenario::depay();
    scenario
        .feed(DEFAULT.stream(&pictures(2)[..2]))
        .push(with_flags(
            &DEFAULT.stream(&pictures(4)[2..]),
            gst::BufferFlags::DISCONT,
        ));
    let got = scenario.buffers();
    let disconts: Vec<_> = got.iter().map(discont).collect();
    assert_eq!(disconts, [true, false, true, false]);
    let got: Vec<_> = got.iter().map(|buffer| bytes(buffer)).collect();
    assert_same(&got, pictures(4), "around the discontinuity");
}

#[test]
fn discont_inside_frame_drops_it() {
    for framing in FRAMINGS {
        let jpegs = pictures(6);
        let torn = framing.frame(&jpegs[2]);
        let scenario = &mut Scenario::depay();
        scenario.feed(framing.stream(&jpegs[..2]));
        scenario
            .feed(&torn[..torn.len() / 2])
            .push(with_flags(
                &[&torn[torn.len() / 2 + 300..], &framing.stream(&jpegs[3..])].concat(),
                gst::BufferFlags::DISCONT,
            ))
            .eos();
        scenario.expect_warning(&["Frame 2 at byte", "ended inside it"]);
        while let Some(more) = scenario.message() {
            assert_eq!(more.type_(), gst::MessageType::Warning);
        }
        let got = scenario.buffers();
        let disconts: Vec<_> = got.iter().map(discont).collect();
        let got: Vec<_> = got.iter().map(|buffer| bytes(buffer)).collect();
        assert_same(
            &got,
            &[&jpegs[..2], &jpegs[3..]].concat(),
            &format!("{framing:?}"),
        );
        assert_eq!(disconts, [true, false, true, false, false], "{framing:?}");
    }
}

#[test]
fn gap_inside_frame_keeps_it() {
    let jpegs = pictures(3);
    let frame = DEFAULT.frame(&jpegs[1]);
    let gap = || gst::event::Gap::builder(gst::ClockTime::ZERO).build();
    let scenario = &mut Scenario::depay();
    scenario
        .event(gap())
        .feed(DEFAULT.frame(&jpegs[0]))
        .feed(&frame[..100])
        .event(gap())
        .feed(&frame[100..])
        .feed(DEFAULT.frame(&jpegs[2]));
    let mut log = scenario.log();
    log.retain(|name| name != "tag");
    assert_eq!(
        log,
        [
            "stream-start",
            "caps",
            "segment",
            "buffer",
            "gap",
            "buffer",
            "buffer"
        ]
    );
}

/// Elements downstream ignore a gap before their first segment.
#[test]
fn gap_after_flush_follows_segment() {
    let scenario = &mut Scenario::depay().time_segment();
    scenario.feed(DEFAULT.frame(&pictures(1)[0])).flush();
    scenario.outputs();
    scenario
        .event(gst::event::Gap::builder(gst::ClockTime::ZERO).build())
        .feed(DEFAULT.frame(&pictures(2)[1]));
    let mut log = scenario.log();
    log.retain(|name| name != "tag");
    let gap = log.iter().position(|name| name == "gap");
    let segment = log.iter().position(|name| name == "segment");
    assert!(
        segment.is_some() && (gap.is_none() || segment < gap),
        "{log:?}"
    );
}

#[test]
fn stream_resumes_at_frame_after_flush() {
    for framing in FRAMINGS {
        let jpegs = pictures(8);
        let torn = framing.frame(&jpegs[3]);
        Scenario::depay()
            .feed(framing.stream(&jpegs[..3]))
            .feed(&torn[..torn.len() / 2])
            .flush()
            .feed(framing.stream(&jpegs[4..]))
            .eos()
            .expect_frames(&[&jpegs[..3], &jpegs[4..]].concat())
            .expect_silence();
    }
}

#[test]
fn stream_resumes_inside_frame_after_flush() {
    for framing in FRAMINGS {
        let jpegs = pictures(8);
        let rest = framing.stream(&jpegs[3..]);
        Scenario::depay()
            .pieces(Pieces::Of(500))
            .feed(framing.stream(&jpegs[..3]))
            .flush()
            .feed(&rest[700..])
            .eos()
            .expect_frames(&[&jpegs[..3], &jpegs[4..]].concat())
            .expect_silence();
    }
}

#[test]
fn first_frame_after_flush_is_discont() {
    let jpegs = pictures(5);
    let rest = DEFAULT.stream(&jpegs[2..]);
    for cut in [0, 700] {
        let scenario = &mut Scenario::depay();
        scenario
            .feed(DEFAULT.stream(&jpegs[..2]))
            .flush()
            .feed(&rest[cut..]);
        let disconts: Vec<_> = scenario.buffers().iter().map(discont).collect();
        assert_eq!(disconts[..4], [true, false, true, false], "cut at {cut}");
    }
}

#[test]
fn flush_before_first_frame_is_harmless() {
    Scenario::depay()
        .flush()
        .feed(DEFAULT.stream(pictures(3)))
        .eos()
        .expect_frames(pictures(3));
}

#[test]
fn stream_can_restart_after_eos() {
    let scenario = &mut Scenario::depay();
    scenario
        .feed(DEFAULT.stream(pictures(3)))
        .eos()
        .expect_frames(pictures(3));
    scenario
        .flush()
        .feed(DEFAULT.stream(pictures(5)))
        .eos()
        .expect_frames(pictures(5))
        .expect_silence();
}

#[test]
fn eos_without_data_passes() {
    let scenario = &mut Scenario::depay();
    scenario.eos();
    assert_eq!(scenario.log().last().map(String::as_str), Some("eos"));
    scenario.expect_silence();
}

#[test]
fn stopped_element_starts_anew() {
    let scenario = &mut Scenario::depay();
    let frame = framing("le64", "jpeg").frame(&pictures(1)[0]);
    scenario.feed(&frame).feed(&frame[..200]);
    scenario
        .expect_frames(pictures(1))
        .expect_stats(&[("frames", 1)]);

    // PAUSED and PLAYING keep a partly received frame.
    let state = |scenario: &Scenario, state| {
        let change = scenario.element.set_state(state);
        assert_eq!(change, Ok(gst::StateChangeSuccess::Success));
    };
    state(scenario, gst::State::Paused);
    state(scenario, gst::State::Playing);
    scenario.feed(&frame[200..]).expect_frames(pictures(1));

    scenario.feed(&frame[..200]);
    for _ in 0..20 {
        state(scenario, gst::State::Ready);
        scenario.expect_stats(&[]);
        state(scenario, gst::State::Playing);
        scenario.expect_stats(&[("frames", 0), ("bytes-in", 0)]);
        assert!(!scenario.stats().has_field("header"));
        scenario
            .event(gst::event::StreamStart::new("again"))
            .event(gst::event::Segment::new(&gst::FormattedSegment::<
                gst::format::Bytes,
            >::new()))
            .feed(DEFAULT.stream(pictures(4)))
            .expect_frames(pictures(4))
            .expect_framing(DEFAULT)
            .feed(b"\0\0\x01");
    }
    scenario.expect_silence();
}

#[test]
fn capture_time_becomes_reference_timestamp() {
    let time = 1_795_163_520_123_456_789;
    let jpeg = &pictures(1)[0];
    let scenario = &mut Scenario::depay();
    scenario.feed(DEFAULT.stream(&[stamped(jpeg, time), jpeg.clone()]));
    let times: Vec<_> = scenario
        .buffers()
        .iter()
        .map(|buffer| {
            let meta = buffer.meta::<gst::ReferenceTimestampMeta>()?;
            assert!(
                meta.reference()
                    .is_strictly_equal(&gst::Caps::new_empty_simple("timestamp/x-unix"))
            );
            Some(meta.timestamp().nseconds())
        })
        .collect();
    assert_eq!(times, [Some(time), None]);
}

#[test]
fn two_instances_are_independent() {
    let (a, b) = (&mut Scenario::depay(), &mut Scenario::depay());
    let (one, two) = (
        framing("le32", "jpeg").stream(pictures(20)),
        framing("lines", "base64").stream(&odd_pictures()),
    );
    let longest = one.len().max(two.len());
    for at in (0..longest).step_by(100) {
        let piece =
            |stream: &[u8]| stream[at.min(stream.len())..stream.len().min(at + 100)].to_vec();
        a.feed(piece(&one));
        b.feed(piece(&two));
    }
    a.eos().expect_frames(pictures(20));
    b.eos().expect_frames(&odd_pictures());
}

#[test]
fn latency_is_that_of_source() {
    let latency = gst::ClockTime::from_mseconds(42);
    let source_says = |scenario: &mut Scenario, live| {
        let source = scenario.harness().srcpad().expect("a pad");
        source.add_probe(gst::PadProbeType::QUERY_UPSTREAM, move |_, info| match info
            .query_mut()
            .map(|query| query.view_mut())
        {
            Some(gst::QueryViewMut::Latency(query)) => {
                query.set(live, latency, gst::ClockTime::NONE);
                gst::PadProbeReturn::Handled
            }
            _ => gst::PadProbeReturn::Ok,
        });
    };
    // A socket source does not report that it is live.
    for (scenario, says, expected) in [
        (Scenario::depay(), true, true),
        (Scenario::depay(), false, true),
        (Scenario::depay().seekable(), false, false),
    ] {
        let mut scenario = scenario;
        source_says(&mut scenario, says);
        scenario
            .feed(DEFAULT.frame(&pictures(1)[0]))
            .expect_frames(pictures(1));
        let mut query = gst::query::Latency::new();
        assert!(scenario.element.query(&mut query));
        assert_eq!(query.result(), (expected, latency, None));
    }
}

#[test]
fn caps_queries_are_answered() {
    let scenario = &mut Scenario::depay();
    scenario.harness();
    let goes = |pad, caps: &str| {
        let pad = scenario.element.static_pad(pad).expect("a pad");
        pad.query_caps(None)
            .can_intersect(&caps.parse::<gst::Caps>().expect("caps"))
    };
    assert!(goes("sink", "application/x-b64jpeg"));
    assert!(goes("sink", "application/x-b64jpeg,header=be32"));
    assert!(!goes("sink", "image/jpeg"));
    assert!(goes("src", "image/jpeg,width=9"));
    assert!(!goes("src", "image/png"));
}

#[test]
fn not_linked_is_returned_upstream() {
    let scenario = &mut Scenario::depay();
    scenario.harness();
    let src = scenario.element.static_pad("src").unwrap();
    src.unlink(&src.peer().unwrap()).unwrap();
    scenario.feed(DEFAULT.stream(pictures(3)));
    assert_eq!(scenario.flow, Err(gst::FlowError::NotLinked));
    scenario.outputs();
}
