// SPDX-License-Identifier: MPL-2.0

//! Pictures for browsers and through relays, beside what people have.
//!
//! ```text
//!  serving   [ JPEGs ─► server ] ─► loopback ─► this program: 1, 10, 50 viewers
//!  age         JPEGs ─► server   ─► loopback ─► a slow viewer, and three others
//!  stalled     JPEGs ─► server   ─► loopback ─► 50 who never read, and three others
//!  sending   [ 720p ─► JPEG ─► client ] ─► relay ─► this program
//! ```
//!
//! What stands in brackets is a process of its own. It alone is charged, for all its
//! threads, user and system, as the scheduler counts them, from when it rests after a few
//! pictures until it rests again. Relays get their pictures from this program, as from a
//! camera. Viewers are plain sockets here: they decode nothing. Rounds are interleaved and
//! medians printed: on a busy machine believe the ratios.
//!
//! `cargo bench --bench web [-- TABLE]`; the peers are those of the tests. With `--test`, and
//! under `cargo test --benches`: a few pictures through everything, and no figures; peers
//! that are not installed are left out.

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

/// A table, and what fills it.
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
            "Pictures of {} KB, {} KB as base64. {}.",
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
