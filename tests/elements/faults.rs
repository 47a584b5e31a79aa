// SPDX-License-Identifier: MPL-2.0

//! `b64jpegdepay` with damaged streams.

use super::{
    scenario::{Pieces, Scenario, text},
    wire::{DEFAULT, FRAMINGS, Framing, Random, assert_same, bytes, framing, pictures},
};
use crate::common::isolation::resident_memory;

const MIB: usize = 1 << 20;

/// A stream with a fault in or before one frame, at byte `offset`.
struct Faulty {
    stream: Vec<u8>,
    offset: usize,
}

impl Faulty {
    /// Inserts `garbage` before the frame `at`.
    fn before(framing: Framing, jpegs: &[Vec<u8>], at: usize, garbage: &[u8]) -> Self {
        let good = framing.stream(&jpegs[..at]);
        let rest = framing.stream(&jpegs[at..]);
        Self {
            offset: good.len(),
            stream: [&good, garbage, &rest].concat(),
        }
    }

    /// Replaces the frame `at` by `bad`.
    fn in_place(framing: Framing, jpegs: &[Vec<u8>], at: usize, bad: &[u8]) -> Self {
        let good = framing.stream(&jpegs[..at]);
        let rest = framing.stream(&jpegs[at + 1..]);
        Self {
            offset: good.len(),
            stream: [&good, bad, &rest].concat(),
        }
    }
}

fn without(jpegs: &[Vec<u8>], at: usize) -> Vec<Vec<u8>> {
    [&jpegs[..at], &jpegs[at + 1..]].concat()
}

/// Takes all messages and expects warnings only. The first one names the position and contains
/// all of `parts`.
#[track_caller]
fn expect_fault(scenario: &mut Scenario, at: usize, offset: usize, parts: &[&str]) {
    let place = format!("Frame {at} at byte {offset}: ");
    scenario.expect_warning(&[&[&place[..]], parts].concat());
    while let Some(more) = scenario.message() {
        assert_eq!(more.type_(), gst::MessageType::Warning, "{}", text(&more));
    }
}

/// Expects every good frame.
#[track_caller]
fn expect_good(scenario: &mut Scenario, jpegs: &[Vec<u8>], what: &str) {
    let got: Vec<_> = scenario
        .buffers()
        .iter()
        .map(|buffer| bytes(buffer))
        .collect();
    assert_same(&got, jpegs, what);
}

#[test]
fn text_garbage_between_frames_is_skipped() {
    let jpegs = pictures(6);
    let mut random = Random::new(7);
    for framing in FRAMINGS {
        for len in [1, 10, 3000] {
            // Letters cannot begin a frame. The line end keeps them apart from a line of text.
            let mut garbage: Vec<_> = random
                .bytes(len)
                .iter()
                .map(|byte| b'A' + byte % 26)
                .collect();
            *garbage.last_mut().unwrap() = b'\n';
            for at in [1, 3, 5] {
                for pieces in [Pieces::Whole, Pieces::Of(100)] {
                    let faulty = Faulty::before(framing, jpegs, at, &garbage);
                    let what = format!("{len} bytes before frame {at} of {framing:?}");
                    let scenario = &mut Scenario::depay().pieces(pieces);
                    scenario.feed(&faulty.stream).eos();
                    if len == 1 && matches!(framing.header, "lines" | "none") {
                        // An empty line, or a fill byte between JPEGs.
                        scenario.expect_silence();
                    } else {
                        expect_fault(scenario, at, faulty.offset, &[]);
                    }
                    expect_good(scenario, jpegs, &what);
                }
            }
        }
    }
}

#[test]
fn binary_garbage_between_frames_is_skipped() {
    let jpegs = pictures(6);
    let mut random = Random::new(77);
    for framing in FRAMINGS {
        if framing.header == "lines" {
            continue; // Without a line end, the garbage becomes part of the next line.
        }
        for at in [1, 3, 5] {
            let mut garbage = random.bytes(5000);
            garbage[0] = 1; // Neither a fill byte nor a zero length.
            let faulty = Faulty::before(framing, jpegs, at, &garbage);
            let scenario = &mut Scenario::depay().pieces(Pieces::Of(4096));
            scenario.feed(&faulty.stream).eos();
            expect_fault(scenario, at, faulty.offset, &[]);
            expect_good(
                scenario,
                jpegs,
                &format!("before frame {at} of {framing:?}"),
            );
        }
    }
}

/// GstBaseParse alone gives up when it skips more than two megabytes at once.
#[test]
fn megabytes_of_garbage_are_skipped() {
    let jpegs = pictures(6);
    for framing in [DEFAULT, framing("ascii16", "jpeg"), framing("none", "jpeg")] {
        for len in [3 * MIB, 6 * MIB] {
            for pieces in [Pieces::Whole, Pieces::Of(4096)] {
                let mut garbage = Random::new(5).bytes(len);
                garbage[0] = 1;
                // Random bytes may contain the start of a raw JPEG.
                for i in 1..len {
                    if garbage[i - 1] == 0xff {
                        garbage[i] = 0x42;
                    }
                }
                let faulty = Faulty::before(framing, jpegs, 3, &garbage);
                let scenario = &mut Scenario::depay().pieces(pieces);
                scenario.feed(&faulty.stream).eos();
                expect_fault(scenario, 3, faulty.offset, &[]);
                expect_good(scenario, jpegs, &format!("{len} bytes, {framing:?}"));
            }
        }
    }
}

#[test]
fn long_garbage_is_reported_repeatedly() {
    let jpegs = pictures(2);
    let garbage = vec![b'x'; 10 * MIB];
    let faulty = Faulty::before(DEFAULT, jpegs, 1, &garbage);
    let scenario = &mut Scenario::depay()
        .with("max-frame-size", "1048576")
        .pieces(Pieces::Of(64 << 10));
    scenario.feed(&faulty.stream).eos();
    scenario.expect_warning(&[&format!("Frame 1 at byte {}: ", faulty.offset)]);
    let mut lost = 0;
    while let Some(message) = scenario.message() {
        assert!(
            text(&message).contains("no frame begins in the next"),
            "{}",
            text(&message)
        );
        lost += 1;
    }
    assert!(
        (1..=9).contains(&lost),
        "{lost} reports of 10 MiB of garbage"
    );
    scenario.expect_frames(jpegs);
}

#[test]
fn garbage_before_first_frame_is_skipped() {
    let jpegs = pictures(4);
    for framing in FRAMINGS {
        let garbage = b"hello, this is the camera of the garden\n";
        for (given, scenario) in [
            (false, Scenario::depay()),
            (
                true,
                Scenario::depay()
                    .with("header", framing.header)
                    .with("payload", framing.payload),
            ),
        ] {
            let mut scenario = scenario.pieces(Pieces::Of(1000));
            let faulty = Faulty::before(framing, jpegs, 0, garbage);
            scenario.feed(&faulty.stream).eos();
            expect_fault(&mut scenario, 0, 0, &[]);
            expect_good(&mut scenario, jpegs, &format!("{framing:?}, told: {given}"));
            if given {
                scenario.expect_framing(framing);
            }
        }
    }
}

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

#[test]
fn foreign_protocol_is_an_error_with_advice() {
    let jpeg = &pictures(1)[0];
    let pickle = b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05numpy\x94".to_vec();
    let http =
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
            .to_vec();
    let multipart = b"--frame\r\nContent-Type: image/jpeg\r\n\r\n".to_vec();
    let data_url = [b"data:image/jpeg;base64,", &DEFAULT.payload(jpeg)[..]].concat();
    let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10".to_vec();
    for (bytes, name, advice) in [
        (pickle.clone(), "pickle", "imencode"),
        (DEFAULT.wrap(&pickle), "pickle", "never loaded"),
        (framing("le64", "jpeg").wrap(&pickle), "pickle", "imencode"),
        (http, "HTTP", "souphttpsrc"),
        (multipart, "multipart", "multipartdemux"),
        (data_url.clone(), "data: URL", "base64 text alone"),
        (DEFAULT.wrap(&data_url), "data: URL", "base64 text alone"),
        (png.clone(), "PNG", "imencode"),
        (DEFAULT.wrap(&png), "PNG", "imencode"),
        (DEFAULT.wrap(&DEFAULT.payload(&png)), "PNG", "imencode"),
    ] {
        for given in [false, true] {
            let mut scenario = Scenario::depay();
            if given {
                scenario = scenario.with("header", "be32").with("payload", "base64");
            }
            scenario
                .feed(&bytes)
                .feed(vec![b' '; 100])
                .feed(DEFAULT.stream(pictures(2)))
                .expect_error(&[name, advice, "frame 0 at byte 0"])
                .expect_flow_error()
                .expect_frames(&[])
                .expect_stats(&[("errors", 1), ("frames", 0)]);
        }
    }
}

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
fn max_frame_size_is_exact() {
    let jpegs = pictures(6);
    for framing in FRAMINGS {
        let longest = jpegs
            .iter()
            .map(|jpeg| framing.payload(jpeg).len())
            .max()
            .unwrap();
        let which = jpegs
            .iter()
            .position(|jpeg| framing.payload(jpeg).len() == longest)
            .unwrap();
        let stream = framing.stream(jpegs);
        Scenario::depay()
            .with("max-frame-size", &longest.to_string())
            .pieces(Pieces::Of(1000))
            .feed(&stream)
            .eos()
            .expect_frames(jpegs)
            .expect_silence();

        let scenario = &mut Scenario::depay()
            .with("max-frame-size", &(longest - 1).to_string())
            .pieces(Pieces::Of(1000));
        scenario.feed(&stream).eos();
        let offset = framing.stream(&jpegs[..which]).len();
        expect_fault(
            scenario,
            which,
            offset,
            &["max-frame-size", &format!("limit of {}", longest - 1)],
        );
        let got: Vec<_> = scenario
            .buffers()
            .iter()
            .map(|buffer| bytes(buffer))
            .collect();
        let good: Vec<_> = jpegs
            .iter()
            .filter(|jpeg| framing.payload(jpeg).len() < longest)
            .cloned()
            .collect();
        assert_same(&got, &good, &format!("{framing:?}"));
    }
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

/// Feeds two good frames, `bad` bad ones and three good ones.
fn bad_in_a_row(max_errors: &str, bad: usize) -> Scenario {
    let mut scenario = Scenario::depay().with("max-errors", max_errors);
    scenario.feed(DEFAULT.stream(pictures(2)));
    for _ in 0..bad {
        scenario.feed(DEFAULT.wrap(b"/9j/4AA!/9k="));
    }
    scenario.feed(DEFAULT.stream(&pictures(5)[2..]));
    scenario
}

#[test]
fn errors_up_to_max_errors_are_tolerated() {
    for (max_errors, bad) in [("0", 0), ("3", 3), ("10", 10), ("-1", 500)] {
        let scenario = &mut bad_in_a_row(max_errors, bad);
        for _ in 0..bad {
            scenario.expect_warning(&["Frame 2 at byte", "byte 7 of its text is 0x21"]);
        }
        scenario
            .expect_frames(pictures(5))
            .expect_stats(&[("errors", bad as u64)]);
        assert_eq!(scenario.flow, Ok(gst::FlowSuccess::Ok));
    }
}

#[test]
fn errors_above_max_errors_are_fatal() {
    for (max_errors, bad) in [("0", 1), ("3", 4), ("10", 11)] {
        let scenario = &mut bad_in_a_row(max_errors, bad);
        for _ in 1..bad {
            scenario.expect_warning(&["Frame 2 at byte"]);
        }
        let offset = DEFAULT.stream(pictures(2)).len() + (bad - 1) * 16;
        scenario
            .expect_error(&[
                &format!("Frame 2 at byte {offset}: "),
                "byte 7 of its text is 0x21",
                &format!("max-errors={max_errors}"),
            ])
            .expect_flow_error()
            .expect_frames(pictures(2))
            .expect_stats(&[("errors", bad as u64), ("frames", 2)]);
    }
}

#[test]
fn good_frame_resets_error_count() {
    let scenario = &mut Scenario::depay().with("max-errors", "2");
    let bad = DEFAULT.wrap(b"/9j/4AA!/9k=");
    for jpeg in pictures(5) {
        scenario.feed([&bad[..], &bad, &DEFAULT.frame(jpeg)].concat());
        scenario.expect_warning(&["0x21"]).expect_warning(&["0x21"]);
    }
    scenario.expect_frames(pictures(5));
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

#[test]
fn endless_input_is_bounded_in_memory() {
    let before = resident_memory();
    let endless = |start: &[u8], fill: u8| {
        let scenario = &mut Scenario::depay()
            .with("max-frame-size", &MIB.to_string())
            .with("max-errors", "-1");
        scenario.feed(start);
        let fill = vec![fill; MIB];
        let mut highest = 0;
        for _ in 0..200 {
            scenario.feed(&fill);
            highest = highest.max(resident_memory());
        }
        while scenario.message().is_some() {}
        scenario.expect_frames(&[]);
        assert!(
            highest < before + 100 * MIB,
            "{} MiB before, {} MiB while it was fed 200 MiB of {} behind {:?}",
            before / MIB,
            highest / MIB,
            fill[0].escape_ascii(),
            start.escape_ascii().to_string(),
        );
    };
    // A line, a bare JPEG, a length, and a search, none of which ends.
    endless(b"/9j/4AAQ", b'A');
    endless(b"\xff\xd8\xff\xda\0\x02", b'A');
    endless(b"\0\x10\0\0/9j/4AAQ", b'!');
    endless(b"\xff\xff\xff\xff/9j/4AAQ", 0);
}

#[test]
fn declared_length_is_not_allocated() {
    let before = resident_memory();
    for _ in 0..50 {
        Scenario::depay()
            .with("max-frame-size", "1073741824")
            .feed(b"\x3f\xff\xff\xff/9j/4AAQSkZJRgABAQAAAQABAAD")
            .expect_silence();
    }
    assert!(resident_memory() < before + 500 * MIB);
}

/// Random damage never causes a panic, and good frames after it are found.
#[test]
fn random_damage_is_survived() {
    let jpegs = pictures(8);
    for seed in 1..600 {
        let mut random = Random::new(seed);
        let framing = FRAMINGS[random.below(FRAMINGS.len())];
        let mut stream = framing.stream(jpegs);
        for _ in 0..1 + random.below(20) {
            let at = random.below(stream.len() * 3 / 4);
            match random.below(3) {
                0 => stream[at] = random.below(256) as u8,
                1 => drop(stream.drain(at..at + random.below(100))),
                _ => {
                    let more = random.below(100);
                    let more = random.bytes(more);
                    stream.splice(at..at, more).for_each(drop);
                }
            }
        }
        let mut scenario = Scenario::depay()
            .with("max-errors", "-1")
            .pieces(Pieces::Random(3000));
        let given = random.below(2) == 0;
        if given {
            scenario = scenario
                .with("header", framing.header)
                .with("payload", framing.payload);
        }
        scenario.feed(&stream).eos();
        let mut fatal = false;
        while let Some(message) = scenario.message() {
            let text = text(&message);
            assert!(!text.contains("anic"), "seed {seed}: {text}");
            fatal |= message.type_() == gst::MessageType::Error;
        }
        let got: Vec<_> = scenario
            .buffers()
            .iter()
            .map(|buffer| bytes(buffer))
            .collect();
        // A damaged segment of a bare JPEG may reach to the end of the stream.
        let bare = framing.header == "none" || !given && framing.payload == "jpeg";
        assert!(
            fatal || bare || got.last() == jpegs.last(),
            "seed {seed}, {framing:?}: the last frame is missing"
        );
    }
}
