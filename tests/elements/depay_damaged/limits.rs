// SPDX-License-Identifier: MPL-2.0

//! `max-frame-size`, `max-errors`, memory, and random damage.

use super::*;

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
