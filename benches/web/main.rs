// SPDX-License-Identifier: MPL-2.0

//! Frames for browsers and through relays, compared with existing programs.
//!
//! ```text
//!  serving   [ JPEGs ─► server ] ─► loopback ─► this program: 1, 10, 50 viewers
//!  age         JPEGs ─► server   ─► loopback ─► a slow viewer, and three others
//!  stalled     JPEGs ─► server   ─► loopback ─► 50 that never read, and three others
//!  sending   [ 720p ─► JPEG ─► client ] ─► relay ─► this program
//! ```
//!
//! The part in brackets is a process of its own. Only its CPU time counts: user and system time
//! of all its threads, as the scheduler measures it, from idle after a few frames until idle
//! again. Relays get their frames from this program, as from a camera. Viewers are plain sockets
//! that decode nothing. Rounds are interleaved and medians printed; on a busy machine only the
//! ratios are reliable.
//!
//! `cargo bench --bench web [-- TABLE]`; the peers are those of the tests. With `--test`, and
//! under `cargo test --benches`, a few frames pass through everything and no figures are
//! printed; peers that are not installed are left out.

mod age;
#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/common/peer.rs"]
mod peer;
mod sending;
mod servers;
mod serving;
mod stalled;
#[allow(dead_code, reason = "the scale bench uses the rest")]
mod viewer;

use std::process::ExitCode;

use common::{Options, Result};

/// The name of a table, and the function that measures it.
type Table = (&'static str, fn(&Options) -> Result<()>);

const TABLES: [Table; 4] = [
    (serving::TABLE, serving::bench),
    (age::TABLE, age::bench),
    (stalled::TABLE, stalled::bench),
    (sending::TABLE, sending::bench),
];

fn child(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["serve"] => servers::serve(),
        ["send", row, address] => sending::send(row, address),
        _ => Err("unknown arguments".into()),
    }
}

fn bench(options: &Options) -> Result<()> {
    let size = common::encode()?;
    if !options.smoke {
        println!(
            "Frames of {} KB, {} KB as base64. {}.",
            size / 1000,
            size * 4 / 3000,
            common::simd()
        );
    }
    for (name, table) in TABLES {
        if options.wants(name) {
            table(options)?;
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    common::main(child, bench)
}
