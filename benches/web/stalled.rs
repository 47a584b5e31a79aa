// SPDX-License-Identifier: MPL-2.0

//! Viewers that connect and never read.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{Options, Result, memory},
    servers::{Push, RunningServer, ServerKind},
    viewer::{Viewer, ViewerKind, ages},
};

pub const TABLE: &str = "stalled";

const RATE: f64 = 30.0;
const CROWD: usize = 50;
const ROUNDS: usize = 2;
/// Pause between two groups of viewers, for delayed cleanup.
const SETTLE: Duration = Duration::from_secs(2);
/// Maximum time to wait for the last disconnection.
const PATIENCE: Duration = Duration::from_secs(60);

/// Resources of a process: memory in MB, and open descriptors.
#[derive(Clone, Copy)]
struct ProcessSize {
    memory: f64,
    descriptors: usize,
}

impl ProcessSize {
    fn of(process: u32) -> Result<Self> {
        Ok(Self {
            memory: memory(process)? as f64 * 1024.0 / 1e6,
            descriptors: fs::read_dir(format!("/proc/{process}/fd"))?.count(),
        })
    }

    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            descriptors: self.descriptors.max(other.descriptors),
        }
    }
}

/// Effect of a group of stalled viewers.
struct StalledFigures {
    before: ProcessSize,
    most: ProcessSize,
    after: ProcessSize,
    /// Time from the last connection to the last disconnection.
    cut: Option<Duration>,
}

fn stall(
    process: u32,
    address: &str,
    kind: ViewerKind,
    crowd: usize,
    patience: Duration,
) -> Result<StalledFigures> {
    let before = ProcessSize::of(process)?;
    let mut most = before;
    let mut viewers = Vec::new();
    for _ in 0..crowd {
        viewers.push(Viewer::connect(address, kind)?);
        most = most.max(ProcessSize::of(process)?);
    }
    let start = Instant::now();
    let cut = loop {
        let now = ProcessSize::of(process)?;
        most = most.max(now);
        if now.descriptors <= before.descriptors {
            break Some(start.elapsed());
        }
        if start.elapsed() > patience {
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    Ok(StalledFigures {
        before,
        most,
        after: ProcessSize::of(process)?,
        cut,
    })
}

/// Makes a server serve until `end` is set; returns the number of frames.
fn push_frames(server: &mut RunningServer, end: &AtomicBool) -> Result<usize> {
    let push = Push {
        count: RATE as usize / 3,
        rate: RATE,
        stamp: true,
    };
    let mut sent = 0;
    while !end.load(Ordering::Relaxed) {
        server.push(push)?;
        sent += push.count;
        thread::sleep(Duration::from_secs_f64(1.0 / RATE));
    }
    Ok(sent)
}

/// Connects groups of viewers to a running server, one group after the other.
fn stall_groups(process: u32, address: &str, smoke: bool) -> Result<()> {
    let (rounds, crowd, patience, settle) = match smoke {
        true => (1, 2, Duration::ZERO, Duration::ZERO),
        false => (ROUNDS, CROWD, PATIENCE, SETTLE),
    };
    for _ in 0..rounds {
        for kind in ViewerKind::ALL {
            thread::sleep(settle);
            let name = kind.path();
            let figures = stall(process, address, kind, crowd, patience)
                .map_err(|error| format!("{name}, {TABLE}: {error}"))?;
            if smoke {
                println!("{name}, {TABLE}: ok");
                continue;
            }
            let cut = match figures.cut {
                Some(cut) => format!("{:.1}", cut.as_secs_f64()),
                None => "never".into(),
            };
            let sizes = [figures.before, figures.most, figures.after];
            let [before, most, after] = sizes.map(|size| size.memory);
            print!("{name:<38}{cut:>9}{before:>12.1}{most:>8.1}{after:>8.1}");
            let [before, most, after] = sizes.map(|size| size.descriptors);
            println!("{before:>14}{most:>6}{after:>6}");
        }
    }
    Ok(())
}

pub fn bench(options: &Options) -> Result<()> {
    if !options.smoke {
        println!(
            "\n{TABLE}: {CROWD} viewers that never read, {RATE} frames/s. Target: disconnected \
             within 10 s.\n{:<38}{:>9}{:>28}{:>26}\n{:<38}{:>9}{:>12}{:>8}{:>8}{:>14}{:>6}{:>6}",
            "",
            "last gone",
            "memory, MB",
            "descriptors",
            "",
            "s",
            "before",
            "most",
            "after",
            "before",
            "most",
            "after"
        );
    }
    let mut server = ServerKind::Ours.start()?;
    let (process, address) = (server.process.id(), server.address.clone());
    let mut good = Vec::new();
    for kind in ViewerKind::ALL {
        good.push(Viewer::connect(&address, kind)?.watch(Duration::ZERO));
    }
    server.wait(good.len())?;
    let end = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let pushing =
            scope.spawn(|| push_frames(&mut server, &end).map_err(|error| error.to_string()));
        let stalled = stall_groups(process, &address, options.smoke);
        end.store(true, Ordering::Relaxed);
        let sent = pushing.join().map_err(|_| "the camera panicked")??;
        stalled.map(|()| sent)
    })?;
    server.finish()?;
    for (kind, viewer) in ViewerKind::ALL.into_iter().zip(good) {
        let seen = viewer.end()?;
        let [median, p99] = ages(&seen)?;
        if !options.smoke {
            println!(
                "Meanwhile a viewer of {} got {:.1} % of {sent} frames, {median:.2} ms old (p99 \
                 {p99:.2}).",
                kind.path(),
                seen.len() as f64 * 100.0 / sent as f64
            );
        }
    }
    Ok(())
}
