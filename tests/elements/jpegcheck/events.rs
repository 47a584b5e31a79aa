// SPDX-License-Identifier: MPL-2.0

//! Events and queries in both directions.

use super::*;

#[test]
fn sticky_events_wait_for_first_jpeg() {
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
fn output_segment_is_in_time_format() {
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
fn flush_and_eos_pass() {
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

/// The next JPEG brings the caps again if a flush discarded them.
#[test]
fn caps_are_sent_again_after_downstream_flush() {
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
fn not_linked_is_returned_upstream() {
    let scenario = &mut Scenario::check();
    scenario.harness();
    let src = scenario.element.static_pad("src").unwrap();
    src.unlink(&src.peer().unwrap()).unwrap();
    scenario.feed(&pictures(1)[0]);
    assert_eq!(scenario.flow, Err(gst::FlowError::NotLinked));
    scenario.outputs();
}

/// Navigation events and latency queries travel upstream.
#[test]
fn upstream_events_and_queries_reach_source() {
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
fn caps_queries_are_answered() {
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
