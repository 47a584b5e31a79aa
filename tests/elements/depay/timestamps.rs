// SPDX-License-Identifier: MPL-2.0

//! Timestamps, capture times and latency.

use super::*;

fn ms(ms: u64) -> Option<gst::ClockTime> {
    Some(gst::ClockTime::from_mseconds(ms))
}

/// A buffer with a timestamp, as from a live source.
fn timed(data: &[u8], pts: Option<gst::ClockTime>) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_slice(data.to_vec());
    buffer.get_mut().expect("new").set_pts(pts);
    buffer
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
