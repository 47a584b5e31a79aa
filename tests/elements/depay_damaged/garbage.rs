// SPDX-License-Identifier: MPL-2.0

//! Bytes that belong to no frame.

use super::*;

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
