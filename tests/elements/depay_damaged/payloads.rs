// SPDX-License-Identifier: MPL-2.0

//! Payloads that are not a JPEG or not base64, and truncated streams.

use super::*;

#[test]
fn non_jpeg_payload_is_skipped_with_warning() {
    let jpegs = pictures(5);
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10".repeat(20);
    for framing in FRAMINGS {
        if framing.header == "none" {
            continue;
        }
        for at in [1, 4] {
            let faulty = Faulty::in_place(framing, jpegs, at, &framing.frame(&png));
            let scenario = &mut Scenario::depay().pieces(Pieces::Of(1000));
            scenario.feed(&faulty.stream).eos();
            expect_fault(
                scenario,
                at,
                faulty.offset,
                &[
                    "not begin like a JPEG",
                    if framing.payload == "jpeg" {
                        "89 50 4e 47"
                    } else {
                        "iVBORw0K"
                    },
                ],
            );
            expect_good(scenario, &without(jpegs, at), &format!("{framing:?}"));
        }
    }
}

#[test]
fn invalid_base64_is_skipped_with_warning() {
    let jpegs = pictures(5);
    for framing in FRAMINGS {
        if framing.payload != "base64" {
            continue;
        }
        for at in [0, 1, 4] {
            let text = framing.payload(&jpegs[at]);
            let flipped = |position: usize, byte: u8| {
                let mut text = text.clone();
                text[position] = byte;
                text
            };
            let last = text.len() - 5;
            for (bad, what) in [
                (
                    flipped(100, b'!'),
                    "byte 100 of its text is 0x21".to_string(),
                ),
                (flipped(101, 0), "byte 101 of its text is 0x00".into()),
                (flipped(102, 0xff), "byte 102 of its text is 0xff".into()),
                (
                    flipped(last, b'-'),
                    format!("byte {last} of its text is 0x2d"),
                ),
                (
                    text[..401].to_vec(),
                    "ends after 401 bytes, inside a group of four".into(),
                ),
            ] {
                let faulty = Faulty::in_place(framing, jpegs, at, &framing.wrap(&bad));
                let scenario = &mut Scenario::depay().pieces(Pieces::Of(1000));
                scenario.feed(&faulty.stream).eos();
                expect_fault(scenario, at, faulty.offset, &[&what]);
                expect_good(
                    scenario,
                    &without(jpegs, at),
                    &format!("{what}, frame {at}, {framing:?}"),
                );
                scenario.expect_stats(&[("frames", 4)]);
                // Before two frames agree, a bad frame may be tried in several framings.
                if at > 1 {
                    let resyncs = u64::from(at < 4);
                    scenario.expect_stats(&[("errors", 1), ("resyncs", resyncs)]);
                }
            }
        }
    }
}

#[test]
fn only_frame_after_bad_one_is_discont() {
    let jpegs = pictures(6);
    let faulty = Faulty::in_place(DEFAULT, jpegs, 2, &DEFAULT.wrap(b"/9j/!!!!"));
    let scenario = &mut Scenario::depay();
    scenario.feed(&faulty.stream);
    expect_fault(scenario, 2, faulty.offset, &["0x21"]);
    let disconts: Vec<_> = scenario
        .buffers()
        .iter()
        .map(|buffer| buffer.flags().contains(gst::BufferFlags::DISCONT))
        .collect();
    assert_eq!(disconts, [true, false, true, false, false]);
}

#[test]
fn eos_inside_frame_is_a_warning() {
    let jpegs = pictures(3);
    for framing in FRAMINGS {
        let header = framing.frame(&[]).len() - usize::from(framing.header == "lines");
        let frame = framing.frame(&jpegs[2]);
        let offset = framing.stream(&jpegs[..2]).len();
        for have in [
            1,
            3,
            header.saturating_sub(1),
            header,
            header + 1,
            500,
            frame.len() - 2,
        ] {
            if have == 0 {
                continue;
            }
            for scenario in [
                Scenario::depay(),
                Scenario::depay()
                    .with("header", framing.header)
                    .with("payload", framing.payload),
            ] {
                let mut scenario = scenario.pieces(Pieces::Of(1000));
                scenario
                    .feed(framing.stream(&jpegs[..2]))
                    .feed(&frame[..have])
                    .eos();
                let after = if header > 0 && have >= header {
                    format!("after {have} of {} bytes", frame.len())
                } else {
                    format!("after {have} bytes")
                };
                scenario.expect_warning(&[
                    &format!("Frame 2 at byte {offset}: "),
                    "ended inside it",
                    &after,
                    "everything before it was delivered",
                ]);
                scenario.expect_frames(&jpegs[..2]);
            }
        }
    }
}

#[test]
fn eos_inside_first_frame_is_an_error() {
    for have in [1, 3, 4, 6, 23, 500] {
        let scenario = &mut Scenario::depay();
        let frame = DEFAULT.frame(&pictures(1)[0]);
        scenario.feed(&frame[..have]).eos();
        scenario.expect_warning(&["Frame 0 at byte 0: "]);
        scenario.expect_error(&["no good frame in the stream", "Frame 0 at byte 0: "]);
        // GstBaseParse posts its own error if a stream has no frame.
        scenario.expect_error(&["No valid frames found before end of stream"]);
    }
}

#[test]
fn last_line_may_lack_line_end() {
    let framing = framing("lines", "base64");
    let mut stream = framing.stream(pictures(3));
    stream.pop();
    Scenario::depay()
        .feed(&stream)
        .expect_frames(pictures(2))
        .eos()
        .expect_frames(&pictures(3)[2..]);
}
