// SPDX-License-Identifier: MPL-2.0

//! One origin at a time, statistics and restarts.

use super::*;

/// A timeout that never expires.
const FOREVER: &str = "9223372036854775807";

#[test]
fn other_origins_are_dropped_while_first_sends() {
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
    assert_same(
        &got,
        &[hall[0].clone(), hall[3].clone()],
        "the JPEGs of the first origin",
    );
    scenario.expect_stats(&[
        ("frames", 2),
        ("strangers", 2),
        ("dropped", 2),
        ("errors", 0),
    ]);

    // More than a nanosecond has passed.
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
fn all_origins_pass_without_timeout() {
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
fn stopped_element_starts_anew() {
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

/// Every buffer can cause a notification, but only if the interval is set.
#[test]
fn stats_interval_notifies_stats() {
    for (interval, expected) in [("0", 0), ("1", 3), (FOREVER, 0)] {
        let announced = Arc::<AtomicUsize>::default();
        let scenario = &mut Scenario::check().with("stats-interval", interval);
        let count = announced.clone();
        scenario
            .element
            .connect_notify(Some("stats"), move |element, _| {
                // A handler may read the property.
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

/// The documented pipelines, with the network between them replaced.
#[test]
fn documented_pipelines_work() {
    const FRAMES: usize = 25;
    let lines: Vec<_> = include_str!("../../../src/elements/jpegcheck/imp.rs")
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
    // Without dropping, the first and the last frame arrive.
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
