// SPDX-License-Identifier: MPL-2.0

//! What a server takes for each picture, with so many viewers.

use std::time::Duration;

use crate::{
    common::{FRAMES, Options, Result, spread},
    servers::{Push, Server},
    viewer::{Door, Viewer},
};

pub const TABLE: &str = "serving";

const ROUNDS: usize = 3;
const RATE: f64 = 25.0;
const COUNT: usize = 50;
/// Pictures before the measured ones.
const WARM_UP: usize = 2 * FRAMES;

const CROWDS: [usize; 3] = [1, 10, 50];
/// What is served with threads of Python has no larger one.
const CROWD_OF_THREADS: usize = 10;

const FLASK: &str = "Flask-SocketIO relay, base64";
const FLASK_CAMERA: &str = "Flask, MJPEG";

struct Row {
    name: &'static str,
    server: Server,
    door: Door,
    /// The one that people have for the same.
    peer: &'static str,
}

const ROWS: [Row; 6] = [
    Row {
        name: "socketioserversink, base64",
        server: Server::Ours,
        door: Door::Event,
        peer: FLASK,
    },
    Row {
        name: "  binary, acknowledged",
        server: Server::Ours,
        door: Door::View,
        peer: FLASK,
    },
    Row {
        name: "  MJPEG",
        server: Server::Ours,
        door: Door::Multipart,
        peer: FLASK_CAMERA,
    },
    Row {
        name: FLASK,
        server: Server::Flask,
        door: Door::Event,
        peer: "",
    },
    Row {
        name: "Node relay, base64",
        server: Server::Node,
        door: Door::Event,
        peer: FLASK,
    },
    Row {
        name: FLASK_CAMERA,
        server: Server::FlaskMultipart,
        door: Door::Multipart,
        peer: "",
    },
];

/// CPU per picture, and how many the one saw who saw fewest.
fn serve(row: &Row, viewers: usize, count: usize) -> Result<(Duration, usize)> {
    let mut server = row.server.start()?;
    let mut watching = Vec::new();
    for _ in 0..viewers {
        watching.push(Viewer::connect(&server.address, row.door)?.watch(Duration::ZERO));
    }
    server.wait(viewers)?;
    let push = |count| Push {
        count,
        rate: RATE,
        stamp: false,
    };
    server.push(push(WARM_UP))?;
    let before = server.process.cpu_at_rest()?;
    server.push(push(count))?;
    let cpu = server.process.cpu_at_rest()? - before;
    server.finish()?;
    let mut fewest = usize::MAX;
    for viewer in watching {
        fewest = fewest.min(viewer.end()?.len());
    }
    Ok((
        cpu.div_f64(count as f64),
        fewest.saturating_sub(WARM_UP).min(count),
    ))
}

pub fn bench(options: &Options) -> Result<()> {
    let mut cases = Vec::new();
    for crowd in CROWDS {
        let of_threads = [Server::Flask, Server::FlaskMultipart];
        let fits = |row: &&Row| crowd <= CROWD_OF_THREADS || !of_threads.contains(&row.server);
        let rows = ROWS.iter().filter(fits);
        let rows = rows.filter(|row| !options.smoke || row.server.is_there());
        cases.extend(rows.map(|row| (crowd, row)));
    }
    let mut samples: Vec<Vec<_>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..if options.smoke { 1 } else { ROUNDS } {
        for ((crowd, row), samples) in cases.iter().zip(&mut samples) {
            let name = row.name.trim();
            let (crowd, count) = match options.smoke {
                true => (*crowd.min(&2), FRAMES),
                false => (*crowd, COUNT),
            };
            let served = serve(row, crowd, count);
            let (cpu, seen) = served.map_err(|error| format!("{name}, {TABLE}: {error}"))?;
            if options.smoke {
                println!("{name}, {TABLE} {crowd}: ok");
            }
            samples.push((cpu.as_secs_f64() * 1e6, seen));
        }
    }
    if options.smoke {
        return Ok(());
    }
    let medians: Vec<_> = samples
        .iter()
        .map(|samples| spread(samples.iter().map(|(cpu, _)| *cpu).collect()))
        .collect();
    for crowd in CROWDS {
        let heading = format!("{TABLE} {crowd}, {RATE} pictures/s");
        println!(
            "\n{heading:<38}{:>9}{:>20}{:>8}{:>8}",
            "us", "(min - max)", "/ peer", "seen"
        );
        let rows = cases.iter().zip(&medians).zip(&samples);
        for (((_, row), [min, median, max]), samples) in
            rows.filter(|(((of, _), _), _)| *of == crowd)
        {
            let peer = cases
                .iter()
                .position(|(of, other)| (*of, other.name) == (crowd, row.peer))
                .map(|peer| format!("{:.2}", median / medians[peer][1]));
            let seen = samples.iter().map(|(_, seen)| *seen).min();
            let seen = seen.unwrap_or_default() * 100 / COUNT;
            println!(
                "{:<38}{median:>9.0}{:>20}{:>8}{:>8}",
                row.name,
                format!("({min:.0} - {max:.0})"),
                peer.unwrap_or_default(),
                format!("{seen} %")
            );
        }
    }
    println!(
        "\nCPU per picture in us, median of {ROUNDS} rounds. / peer: {FLASK}, and {FLASK_CAMERA}. seen: of all pictures, by the viewer who saw \
         fewest."
    );
    Ok(())
}
