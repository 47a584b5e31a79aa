// SPDX-License-Identifier: MPL-2.0

//! Viewers who come and never read.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::{
    common::{Options, Result, memory},
    servers::{Push, Running, Server},
    viewer::{Door, Viewer, ages},
};

pub const TABLE: &str = "stalled";

const RATE: f64 = 30.0;
const CROWD: usize = 50;
const ROUNDS: usize = 2;
/// Between two crowds, for what is settled late.
const SETTLE: Duration = Duration::from_secs(2);
/// Whoever is there for longer stays.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a process has: memory in MB, and open descriptors.
#[derive(Clone, Copy)]
struct Size {
    memory: f64,
    descriptors: usize,
}

impl Size {
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

/// A crowd that stalled.
struct Figures {
    before: Size,
    most: Size,
    after: Size,
    /// When the last one was cut off, since it came.
    cut: Option<Duration>,
}

fn stall(
    process: u32,
    address: &str,
    door: Door,
    crowd: usize,
    patience: Duration,
) -> Result<Figures> {
    let before = Size::of(process)?;
    let mut most = before;
    let mut viewers = Vec::new();
    for _ in 0..crowd {
        viewers.push(Viewer::connect(address, door)?);
        most = most.max(Size::of(process)?);
    }
    let start = Instant::now();
    let cut = loop {
        let now = Size::of(process)?;
        most = most.max(now);
        if now.descriptors <= before.descriptors {
            break Some(start.elapsed());
        }
        if start.elapsed() > patience {
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    Ok(Figures {
        before,
        most,
        after: Size::of(process)?,
        cut,
    })
}

/// Has a server serve until it is told to end; how many pictures there were.
fn film(server: &mut Running, end: &AtomicBool) -> Result<usize> {
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

/// The crowds, one after the other, at a server that films.
fn crowds(process: u32, address: &str, smoke: bool) -> Result<()> {
    let (rounds, crowd, patience, settle) = match smoke {
        true => (1, 2, Duration::ZERO, Duration::ZERO),
        false => (ROUNDS, CROWD, PATIENCE, SETTLE),
    };
    for _ in 0..rounds {
        for door in Door::ALL {
            thread::sleep(settle);
            let name = door.path();
            let figures = stall(process, address, door, crowd, patience)
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
            "\n{TABLE}: {CROWD} viewers who never read, {RATE} pictures/s. Reach: cut off within \
             10 s.\n{:<38}{:>9}{:>28}{:>26}\n{:<38}{:>9}{:>12}{:>8}{:>8}{:>14}{:>6}{:>6}",
            "",
            "last cut",
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
    let mut server = Server::Ours.start()?;
    let (process, address) = (server.process.id(), server.address.clone());
    let mut good = Vec::new();
    for door in Door::ALL {
        good.push(Viewer::connect(&address, door)?.watch(Duration::ZERO));
    }
    server.wait(good.len())?;
    let end = AtomicBool::new(false);
    let sent = thread::scope(|scope| {
        let filming = scope.spawn(|| film(&mut server, &end).map_err(|error| error.to_string()));
        let crowds = crowds(process, &address, options.smoke);
        end.store(true, Ordering::Relaxed);
        let sent = filming.join().map_err(|_| "the camera panicked")??;
        crowds.map(|()| sent)
    })?;
    server.finish()?;
    for (door, viewer) in Door::ALL.into_iter().zip(good) {
        let seen = viewer.end()?;
        let [median, p99] = ages(&seen)?;
        if !options.smoke {
            println!(
                "Meanwhile who reads {} saw {:.1} % of {sent} pictures, {median:.2} ms old (p99 \
                 {p99:.2}).",
                door.path(),
                seen.len() as f64 * 100.0 / sent as f64
            );
        }
    }
    Ok(())
}
