// SPDX-License-Identifier: MPL-2.0

//! The age of the frames that a slow viewer gets, and its effect on other viewers.

use std::time::{Duration, Instant};

use crate::{
    common::{Options, Result},
    servers::{Push, ServerKind},
    viewer::{Viewer, ViewerKind, ages},
};

pub const TABLE: &str = "age";

const RATE: f64 = 30.0;
const SLOW: Duration = Duration::from_millis(200);
/// The measured time, and the time before it.
const WINDOW: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(3);
const SMOKE: Duration = Duration::from_millis(300);

const ROWS: [(&str, ServerKind, ViewerKind); 5] = [
    (
        "/view, acknowledged when shown",
        ServerKind::Ours,
        ViewerKind::Page,
    ),
    ("/, base64", ServerKind::Ours, ViewerKind::Event),
    ("/stream.mjpg", ServerKind::Ours, ViewerKind::Multipart),
    ("Node relay, base64", ServerKind::Node, ViewerKind::Event),
    (
        "Flask-SocketIO relay, base64",
        ServerKind::Flask,
        ViewerKind::Event,
    ),
];

/// Ages in ms (median, 99th percentile) and counts.
struct AgeFigures {
    slow: [f64; 2],
    pictures: usize,
    others: [f64; 2],
    /// Frames of the viewer that got the fewest, and of the camera.
    fewest: usize,
    sent: usize,
}

fn run(
    server: ServerKind,
    kind: ViewerKind,
    settle: Duration,
    window: Duration,
) -> Result<AgeFigures> {
    let mut running = server.start()?;
    let watch = |kind, pause| {
        Ok::<_, Box<dyn std::error::Error>>(Viewer::connect(&running.address, kind)?.watch(pause))
    };
    let slow = watch(kind, SLOW)?;
    let others = match server {
        ServerKind::Ours => ViewerKind::ALL,
        _ => [kind; 3],
    };
    let others = others.map(|kind| watch(kind, Duration::ZERO));
    running.wait(1 + others.len())?;
    let begin = Instant::now() + settle;
    let count = ((settle + window).as_secs_f64() * RATE) as usize;
    running.push(Push {
        count,
        rate: RATE,
        stamp: true,
    })?;
    // Time for the frames in flight.
    std::thread::sleep(SLOW);
    slow.stop();
    running.finish()?;

    let mut seen = slow.end()?;
    seen.retain(|seen| seen.at >= begin);
    let mut fewest = count;
    let mut beside = Vec::new();
    for other in others {
        let other = other?.end()?;
        fewest = fewest.min(other.len());
        beside.extend(other.into_iter().filter(|seen| seen.at >= begin));
    }
    Ok(AgeFigures {
        slow: ages(&seen)?,
        pictures: seen.len(),
        others: ages(&beside)?,
        fewest,
        sent: count,
    })
}

pub fn bench(options: &Options) -> Result<()> {
    if !options.smoke {
        println!(
            "\n{TABLE} of the frames of a viewer that takes {} ms for each, at {RATE} frames/s; \
             ms from capture to arrival. Target for /view: 300.\n{:<38}{:>9}{:>9}\
             {:>10}{:>18}{:>9}{:>8}",
            SLOW.as_millis(),
            "",
            "median",
            "p99",
            "frames",
            "others' median",
            "p99",
            "seen"
        );
    }
    for (name, server, kind) in ROWS {
        let (settle, window) = match options.smoke {
            true if !server.is_installed() => continue,
            true => (Duration::ZERO, SMOKE),
            false => (SETTLE, WINDOW),
        };
        let figures = run(server, kind, settle, window);
        let figures = figures.map_err(|error| format!("{name}, {TABLE}: {error}"))?;
        if options.smoke {
            println!("{name}, {TABLE}: ok");
            continue;
        }
        let ([median, p99], [others, others_p99]) = (figures.slow, figures.others);
        println!(
            "{name:<38}{median:>9.1}{p99:>9.1}{:>10}{others:>18.2}{others_p99:>9.2}{:>8}",
            figures.pictures,
            format!("{} %", figures.fewest * 100 / figures.sent)
        );
    }
    if !options.smoke {
        println!(
            "\nothers: one viewer of each kind at socketioserversink, three at a relay. seen: share \
             of all frames, of the viewer with the fewest."
        );
    }
    Ok(())
}
