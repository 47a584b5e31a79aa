// SPDX-License-Identifier: MPL-2.0

//! Whole senders and whole systems, and the age of their frames, compared with other software.
//!
//! ```text
//!  senders   [ clip ─► decode, scale, JPEG, frame ] ─► loopback ─► a plain reader
//!  systems   [ clip ─► decode, scale, JPEG, frame ] ─► loopback ─► [ read, decode ]
//!  as it is  [ JPEGs ─► frame ] ─► loopback ─► a plain reader
//!  delay       camera, 30 frames/s ─► sender ─► loopback ─► receiver
//! ```
//!
//! Each program is a process of its own, on two processors, and does the same: 800 pixels wide,
//! quality 80. The CPU time of those in brackets is measured: user and system time of all
//! threads, from the scheduler, between two frames in the middle. Ours are the pipelines of the
//! scripts. Rounds are interleaved, and medians are printed: on a busy machine trust the ratios.
//!
//! `cargo bench --bench pipelines [-- [CLIP] [PART OF A TABLE'S NAME]]`; without a clip it makes
//! one. `-- --minutes N` prints age and memory for each minute instead, which must not grow. It
//! needs ffmpeg. With `--test`, and under `cargo test --benches`, each case handles a few frames,
//! and no figures are printed.

mod cases;
mod child;
mod clip;
#[path = "../common/mod.rs"]
mod common;
mod delay;
#[allow(dead_code, reason = "the tests use the rest")]
#[path = "../../tests/common/peer.rs"]
mod peer;
mod programs;

use std::{path::Path, process::ExitCode, time::Duration};

use cases::*;
use common::{Options, Result, spread};
use programs::Clips;

const ROUNDS: usize = 3;
const FRAMES: u64 = 1320;
const SMOKE_FRAMES: u64 = 60;

const DELAY: &str = "delay";
const DELAY_ROUNDS: usize = 3;
const WINDOW: Duration = Duration::from_secs(10);
const SMOKE_WINDOW: Duration = Duration::from_millis(300);

/// Runs each case once in a round.
fn rounds(options: &Options, cases: &[Case], clips: &Clips) -> Result<Vec<Vec<Figures>>> {
    let mut samples: Vec<Vec<Figures>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..if options.smoke { 1 } else { ROUNDS } {
        for (case, samples) in cases.iter().zip(&mut samples) {
            let (name, table) = (case.name.trim(), case.table);
            let figures = case.run(clips);
            match figures.map_err(|error| format!("{name}, {table}: {error}"))? {
                _ if options.smoke => println!("{name}, {table}: ok"),
                Some(figures) => samples.push(figures),
                None => return Err("the clip has fewer than 1000 frames".into()),
            }
        }
    }
    Ok(samples)
}

fn compare(options: &Options, clips: &Clips) -> Result<()> {
    let mut cases = Case::all(clips.h264)?;
    cases.retain(|case| options.wants(case.table));
    let mut samples = rounds(options, &cases, clips)?.into_iter();
    if options.smoke {
        return Ok(());
    }
    for table in cases.chunk_by(|a, b| a.table == b.table) {
        println!(
            "\n{:<40}{:>7}{:>16}{:>7}{:>7}{:>10}{:>7}",
            table[0].table, "ms CPU", "(min - max)", "/ 1st", "/ 2nd", "frames/s", "/ 1st"
        );
        let samples: Vec<_> = samples.by_ref().take(table.len()).collect();
        let of = |value: fn(&Figures) -> f64| -> Vec<_> {
            let values = samples.iter().map(|samples| samples.iter().map(value));
            values.map(|values| spread(values.collect())).collect()
        };
        let cpu = of(|figures| figures.cpu.as_secs_f64() * 1e3);
        let frames = of(|figures| figures.frames);
        for (row, case) in table.iter().enumerate() {
            let [[min, median, max], [_, rate, _]] = [cpu[row], frames[row]];
            println!(
                "{:<40}{median:>7.3}{:>16}{:>7.2}{:>7.2}{rate:>10.0}{:>7.2}",
                case.name,
                format!("({min:.3} - {max:.3})"),
                median / cpu[0][1],
                median / cpu[1][1],
                rate / frames[0][1]
            );
        }
    }
    println!(
        "\nTargets for serve.sh: among senders 0.50 of the CPU time of the first and 0.65 of that of \
         the second; as a system 2.5 times the frames/s of the first."
    );
    Ok(())
}

fn delay(options: &Options, clips: &Clips) -> Result<()> {
    let (window, rounds) = if options.smoke {
        (SMOKE_WINDOW, 1)
    } else {
        (WINDOW, DELAY_ROUNDS)
    };
    let chains = delay::chains(window)?;
    let mut samples = vec![Vec::new(); chains.len()];
    for _ in 0..rounds {
        for (chain, samples) in chains.iter().zip(&mut samples) {
            let run = chain.run(clips, 1, |ages, _| samples.push(ages));
            run.map_err(|error| format!("{}, {DELAY}: {error}", chain.name))?;
            if options.smoke {
                println!("{}, {DELAY}: ok", chain.name);
            }
        }
    }
    if options.smoke {
        return Ok(());
    }
    println!(
        "\n{DELAY}, age since capture in ms, 720p, 30 frames/s\n{:<40}{:>8}{:>8}{:>8}",
        "", "median", "p99", "max"
    );
    for (chain, samples) in chains.iter().zip(&samples) {
        for (row, (place, _)) in samples[0].iter().enumerate() {
            let [median, p99, max] = [0, 1, 2].map(|figure| {
                let values = samples.iter().map(|ages| ages[row].1[figure]);
                spread(values.collect())[1]
            });
            let name = format!("{}: {place}", chain.name);
            println!("{name:<40}{median:>8.2}{p99:>8.2}{max:>8.2}");
        }
    }
    Ok(())
}

/// Prints age and memory for each minute.
fn watch_growth(minutes: usize, clips: &Clips) -> Result<()> {
    let [chain, _] = delay::chains(Duration::from_secs(60))?;
    println!(
        "{}, decoded: ms since capture, and memory in MB\n{:>6}{:>8}{:>8}{:>8}{:>9}{:>10}",
        chain.name, "minute", "median", "p99", "max", "sender", "receiver"
    );
    let mut minute = 0;
    chain.run(clips, minutes, |ages, memory| {
        minute += 1;
        let (_, [median, p99, max]) = ages[ages.len() - 1];
        let [sender, receiver] = memory.map(|kib| kib as f64 / 1e3);
        println!("{minute:>6}{median:>8.2}{p99:>8.2}{max:>8.2}{sender:>9.1}{receiver:>10.1}");
    })
}

fn bench(options: &Options) -> Result<()> {
    let (clips, filters) = options
        .filters
        .iter()
        .cloned()
        .partition::<Vec<_>, _>(|word| Path::new(word).is_file());
    let options = &Options {
        filters,
        ..options.clone()
    };
    let clip = match clips.first() {
        Some(clip) => Path::new(clip).canonicalize()?,
        None => clip::film(if options.smoke { SMOKE_FRAMES } else { FRAMES })?,
    };
    let jpegs = clip::as_jpegs(&clip)?;
    const UTF8: &str = "a path is not UTF-8";
    let clips = &Clips {
        h264: clip.to_str().ok_or(UTF8)?,
        jpegs: jpegs.to_str().ok_or(UTF8)?,
    };
    if let Some(minutes) = options.minutes {
        return watch_growth(minutes, clips);
    }
    compare(options, clips)?;
    if options.wants(DELAY) {
        delay(options, clips)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    common::main(child::run, bench)
}
