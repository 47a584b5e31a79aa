// SPDX-License-Identifier: MPL-2.0

//! JPEGs pass unchanged, and everything else is dropped with a warning.

use super::*;

/// Types of the events that left the element.
fn event_types(outputs: &[Output]) -> Vec<gst::EventType> {
    let types = outputs.iter().filter_map(|output| match output {
        Output::Event(event) => Some(event.type_()),
        Output::Buffer(..) => None,
    });
    types.collect()
}

#[test]
fn jpegs_pass_unchanged() {
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
    assert_eq!(same, addresses, "the same buffers, not copies");
    assert!(got.iter().all(|buffer| capture_time(buffer).is_none()));
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

/// Caps from another machine may be missing, late or wrong.
#[test]
fn output_caps_come_from_jpegs() {
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

/// Data that begins like a JPEG passes, even if it is truncated.
#[test]
fn truncated_jpeg_passes() {
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
fn buffer_list_passes() {
    let scenario = &mut Scenario::check();
    let source = scenario.harness().srcpad().expect("a pad");
    let list: gst::BufferList = pictures(5).iter().map(|jpeg| buffer(jpeg)).collect();
    assert_eq!(source.push_list(list), Ok(gst::FlowSuccess::Ok));
    scenario.expect_frames(pictures(5));
}

#[test]
fn non_jpeg_is_dropped_with_warning() {
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
    assert_same(&got, jpegs, "the JPEGs");
}

/// A valid sender and a faulty one share a stream.
#[test]
fn repeated_warnings_thin_out() {
    let scenario = &mut Scenario::check();
    for _ in 0..100 {
        scenario.feed(b"bad").feed(&pictures(1)[0]);
    }
    for count in [1, 2, 4, 8, 16, 32, 64] {
        let number = format!("Frame {} is dropped", 2 * (count - 1));
        scenario.expect_warning(&[&number, &format!("bad frames so far: {count} ")]);
    }
    scenario
        .expect_silence()
        .expect_stats(&[("frames", 100), ("errors", 100)]);
    assert_eq!(scenario.buffers().len(), 100);
}

/// The caps may come from the faulty sender.
#[test]
fn warning_truncates_long_caps() {
    let scenario = &mut Scenario::check().caps(&format!("x/y,z={}", "z".repeat(100_000)));
    scenario.feed(b"bad");
    let text = text(&scenario.message().expect("a warning"));
    assert!(text.contains("it came as x/y") && text.len() < 1_000);
}

/// A stream without any JPEG is not an error.
#[test]
fn stream_without_jpegs_ends_with_eos() {
    let scenario = &mut Scenario::check().caps("text/plain");
    scenario
        .feed(b"bad")
        .eos()
        .expect_warning(&["Frame 0 is dropped", "it came as text/plain; "]);
    assert_eq!(scenario.flow, Ok(gst::FlowSuccess::Ok));
    assert_eq!(scenario.log(), ["stream-start", "eos"]);
}
