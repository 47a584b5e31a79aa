// SPDX-License-Identifier: MPL-2.0

//! `b64jpegdepay` with damaged streams.

mod garbage;
mod headers;
mod limits;
mod payloads;

use crate::common::isolation::resident_memory;
use crate::elements::{
    scenario::{Pieces, Scenario, text},
    wire::{DEFAULT, FRAMINGS, Framing, Random, assert_same, bytes, framing, pictures},
};

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
