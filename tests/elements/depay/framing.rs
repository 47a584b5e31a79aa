// SPDX-License-Identifier: MPL-2.0

//! Framings, caps and negotiation.

use super::*;

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
