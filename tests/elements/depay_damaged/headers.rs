// SPDX-License-Identifier: MPL-2.0

//! Wrong lengths, zero lengths and missing headers.

use super::*;

#[test]
fn wrong_length_costs_one_frame() {
    let jpegs = pictures(6);
    for at in [0, 1, 3, 5] {
        let payload = DEFAULT.payload(&jpegs[at]);
        let with_len = |len: u32| [&len.to_be_bytes()[..], &payload].concat();
        let n = payload.len() as u32;
        for (len, parts) in [
            (
                u32::MAX,
                &["4294967295 bytes", "67108864", "max-frame-size"][..],
            ),
            (100 << 20, &["104857600 bytes"]),
            (n - 4, &[]),
            (n - 6, &[]),
            (n - 3, &[]),
            (n + 1, &[]),
            (n + 5, &[]),
            (n + 40_000, &[]),
        ] {
            for given in [false, true] {
                let faulty = Faulty::in_place(DEFAULT, jpegs, at, &with_len(len));
                let what = format!("{len} in place of {n} for frame {at}, told: {given}");
                let mut scenario = Scenario::depay().pieces(Pieces::Of(1000));
                if given {
                    scenario = scenario.with("header", "be32").with("payload", "base64");
                }
                scenario.feed(&faulty.stream).eos();
                // Before two frames agree, a length that is too long in one framing may be right in
                // another.
                let parts = if at < 2 && !given { &[] } else { parts };
                expect_fault(&mut scenario, at, faulty.offset, parts);
                expect_good(&mut scenario, &without(jpegs, at), &what);
            }
        }
    }
}

#[test]
fn invalid_header_costs_one_frame() {
    let jpegs = pictures(4);
    for (framing, header) in [
        (framing("le64", "jpeg"), [0xff; 8].to_vec()),
        (
            framing("be64", "base64"),
            [0x80, 0, 0, 0, 0, 0, 0, 0].to_vec(),
        ),
        (framing("ascii16", "jpeg"), b"9999999999999999".to_vec()),
        (framing("ascii16", "base64"), b"-4              ".to_vec()),
        (framing("ascii16", "jpeg"), b"                ".to_vec()),
        (framing("ascii16", "jpeg"), b"12 34           ".to_vec()),
    ] {
        let bad = [&header[..], &framing.payload(&jpegs[2])].concat();
        let faulty = Faulty::in_place(framing, jpegs, 2, &bad);
        let scenario = &mut Scenario::depay().pieces(Pieces::Of(1000));
        scenario.feed(&faulty.stream).eos();
        expect_fault(scenario, 2, faulty.offset, &[]);
        expect_good(scenario, &without(jpegs, 2), &format!("{header:?}"));
    }
}

#[test]
fn zero_lengths_are_skipped() {
    let jpegs = pictures(4);
    for (framing, zero) in [
        (DEFAULT, &[0; 4][..]),
        (framing("le32", "jpeg"), &[0; 4]),
        (framing("be64", "jpeg"), &[0; 8]),
        (framing("le64", "base64"), &[0; 8]),
        (framing("ascii16", "base64"), b"0               "),
        (framing("ascii16", "jpeg"), b"0000000000000000"),
        (framing("lines", "base64"), b"\n"),
    ] {
        for count in [1, 3, 1000] {
            for at in [0, 2] {
                for pieces in [Pieces::Whole, Pieces::Of(3)] {
                    let faulty = Faulty::before(framing, jpegs, at, &zero.repeat(count));
                    Scenario::depay()
                        .with("header", framing.header)
                        .with("payload", framing.payload)
                        .pieces(pieces)
                        .feed(&faulty.stream)
                        .eos()
                        .expect_frames(jpegs)
                        .expect_silence();
                }
            }
        }
    }
}

#[test]
fn megabytes_of_zero_lengths_are_skipped() {
    let jpegs = pictures(4);
    for pieces in [Pieces::Whole, Pieces::Of(4096), Pieces::Of(99_999)] {
        for at in [0, 2] {
            let faulty = Faulty::before(DEFAULT, jpegs, at, &vec![0; 5 * MIB]);
            Scenario::depay()
                .with("header", "be32")
                .pieces(pieces)
                .feed(&faulty.stream)
                .eos()
                .expect_frames(jpegs)
                .expect_silence();
        }
    }
}

#[test]
fn zero_length_is_no_discontinuity() {
    let scenario = &mut Scenario::depay();
    let frames = pictures(3)
        .iter()
        .map(|jpeg| [DEFAULT.frame(jpeg), vec![0; 4]].concat());
    scenario.feed(frames.collect::<Vec<_>>().concat());
    let disconts: Vec<_> = scenario
        .buffers()
        .iter()
        .map(|buffer| buffer.flags().contains(gst::BufferFlags::DISCONT))
        .collect();
    assert_eq!(disconts, [true, false, false]);
}

/// A frame without its header counts as one error, not as one per skipped byte.
#[test]
fn frame_without_header_is_one_error() {
    let jpegs = pictures(6);
    for framing in FRAMINGS {
        if framing.header == "none" {
            continue;
        }
        let frame = framing.frame(&jpegs[2]);
        let headless = &frame[20..];
        let faulty = Faulty::in_place(framing, jpegs, 2, headless);
        let scenario = &mut Scenario::depay()
            .with("max-errors", "1")
            .pieces(Pieces::Of(512));
        scenario.feed(&faulty.stream).eos();
        scenario.expect_warning(&[&format!("Frame 2 at byte {}: ", faulty.offset)]);
        scenario.expect_frames(&without(jpegs, 2));
        scenario.expect_stats(&[("errors", 1), ("resyncs", 1), ("frames", 5)]);
    }
}

#[test]
fn wrong_framing_property_delivers_nothing() {
    for (header, payload) in [
        ("le32", "base64"),
        ("be64", "base64"),
        ("ascii16", "jpeg"),
        ("be32", "jpeg"),
    ] {
        let scenario = &mut Scenario::depay()
            .with("header", header)
            .with("payload", payload)
            .pieces(Pieces::Of(4096));
        scenario.feed(DEFAULT.stream(pictures(20))).eos();
        scenario.expect_warning(&["Frame 0 at byte 0: "]);
        while let Some(message) = scenario.message() {
            let text = text(&message);
            assert!(
                text.contains("Frame 0 at byte") || text.contains("No valid frames"),
                "{text}"
            );
        }
        scenario.expect_frames(&[]);
    }
}
