// SPDX-License-Identifier: MPL-2.0

//! The worked example of the module documentation, step by step.

use super::*;

/// Steps through the stream of the worked example, of which one byte arrives at a time.
/// Returns each frame, error and run of skipped bytes, with its offset and the number of
/// bytes that had arrived.
fn steps(accept: AcceptedFramings) -> Vec<(usize, usize, StreamStep)> {
    let mut stream = FrameStream::new(accept, FrameLimits::default());
    let (mut at, mut arrived) = (0, 0);
    let mut steps: Vec<(usize, usize, StreamStep)> = vec![];
    while arrived <= example::STREAM.len() {
        let step = stream.step(&example::STREAM[at..arrived], false);
        let offset = at;
        match &step {
            StreamStep::Need(_) => {
                arrived += 1;
                continue;
            }
            StreamStep::Skip(len) => at += len,
            StreamStep::Frame(frame) => {
                stream.accept(frame);
                at += frame.len;
            }
            StreamStep::Bad(_) => {}
        }
        assert_eq!(stream.offset(), at as u64);
        steps.push((offset, arrived, step));
    }
    steps
}

#[test]
fn stream_worked_example_skips_both_torn_frames() {
    let frame = StreamStep::Frame(FrameSpan {
        payload: 4..16,
        len: 16,
    });
    let bad = StreamStep::Bad(FrameError {
        frame: 1,
        offset: 16,
        error: WireError::Base64 {
            offset: 6,
            byte: Some(0),
        },
    });
    assert_eq!(
        steps(Framing::default().into()),
        [
            (0, 16, frame.clone()),
            (16, 40, bad),
            // To the first candidate, and from there to the second.
            (16, 40, StreamStep::Skip(10)),
            (26, 50, StreamStep::Skip(8)),
            (34, 50, frame),
        ]
    );
}

#[test]
fn stream_worked_example_in_detected_framing_has_same_frames() {
    let frames = |accept| {
        let steps = steps(accept);
        let frames = steps
            .into_iter()
            .filter(|(_, _, step)| matches!(step, StreamStep::Frame(_)));
        frames.map(|(at, ..)| at).collect::<Vec<_>>()
    };
    assert_eq!(frames(AcceptedFramings::default()), [0, 34]);
}
