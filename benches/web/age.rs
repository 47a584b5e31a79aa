// SPDX-License-Identifier: MPL-2.0

//! How old pictures are that a slow viewer sees, and what it costs the others.

use std::time::{Duration, Instant};

use crate::{
    common::{Options, Result},
    servers::{Push, Server},
    viewer::{Door, Viewer, ages},
};

pub const TABLE: &str = "age";

const RATE: f64 = 30.0;
const SLOW: Duration = Duration::from_millis(200);
/// What is looked at, and what goes before it.
const WINDOW: Duration = Duration::from_secs(20);
const SETTLE: Duration = Duration::from_secs(3);
const SMOKE: Duration = Duration::from_millis(300);

const ROWS: [(&str, Server, Door); 5] = [
    ("/view, answered when shown", Server::Ours, Door::View),
    ("/, base64", Server::Ours, Door::Event),
    ("/stream.mjpg", Server::Ours, Door::Multipart),
    ("Node relay, base64", Server::Node, Door::Event),
    ("Flask-SocketIO relay, base64", Server::Flask, Door::Event),
];

/// What the slow one saw, and the others.
struct Figures {
    slow: [f64; 2],
    pictures: usize,
    others: [f64; 2],
    /// By the one who saw fewest, of how many.
    fewest: usize,
    sent: usize,
}

fn run(server: Server, door: Door, settle: Duration, window: Duration) -> Result<Figures> {
    let mut server_runs = server.start()?;
    let watch = |door, pause| {
        Ok::<_, Box<dyn std::error::Error>>(
            Viewer::connect(&server_runs.address, door)?.watch(pause),
        )
    };
    let slow = watch(door, SLOW)?;
    let others = match server {
        Server::Ours => Door::ALL,
        _ => [door; 3],
    };
    let others = others.map(|door| watch(door, Duration::ZERO));
    server_runs.wait(1 + others.len())?;
    let begin = Instant::now() + settle;
    let count = ((settle + window).as_secs_f64() * RATE) as usize;
    server_runs.push(Push {
        count,
        rate: RATE,
        stamp: true,
    })?;
    // What is on its way has a moment.
    std::thread::sleep(SLOW);
    slow.stop();
    server_runs.finish()?;

    let mut seen = slow.end()?;
    seen.retain(|seen| seen.at >= begin);
    let mut fewest = count;
    let mut beside = Vec::new();
    for other in others {
        let other = other?.end()?;
        fewest = fewest.min(other.len());
        beside.extend(other.into_iter().filter(|seen| seen.at >= begin));
    }
    Ok(Figures {
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
            "\n{TABLE} of what a viewer sees who takes {} ms for each picture, of {RATE} in a \
             second; ms since capture when it gets it. Reach of /view: 300.\n{:<38}{:>9}{:>9}\
             {:>10}{:>18}{:>9}{:>8}",
            SLOW.as_millis(),
            "",
            "median",
            "p99",
            "pictures",
            "others' median",
            "p99",
            "seen"
        );
    }
    for (name, server, door) in ROWS {
        let (settle, window) = match options.smoke {
            true if !server.is_there() => continue,
            true => (Duration::ZERO, SMOKE),
            false => (SETTLE, WINDOW),
        };
        let figures = run(server, door, settle, window);
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
            "\nothers: one at each door of ours, three at a relay. seen: of all pictures, by the \
             one who saw fewest."
        );
    }
    Ok(())
}
