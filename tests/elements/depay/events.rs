// SPDX-License-Identifier: MPL-2.0

//! Discontinuities, gaps, flushes, EOS and restarts.

use super::*;

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
fn not_linked_is_returned_upstream() {
    let scenario = &mut Scenario::depay();
    scenario.harness();
    let src = scenario.element.static_pad("src").unwrap();
    src.unlink(&src.peer().unwrap()).unwrap();
    scenario.feed(DEFAULT.stream(pictures(3)));
    assert_eq!(scenario.flow, Err(gst::FlowError::NotLinked));
    scenario.outputs();
}
