// SPDX-License-Identifier: MPL-2.0

//! CPU time of a server for each frame, by the number of viewers.

use std::time::Duration;

use crate::{
    common::{FRAMES, Options, Result, spread},
    servers::{Push, ServerKind},
    viewer::{Viewer, ViewerKind},
};

pub const TABLE: &str = "serving";

const ROUNDS: usize = 3;
const RATE: f64 = 25.0;
const COUNT: usize = 50;
/// Frames before the measured ones.
const WARM_UP: usize = 2 * FRAMES;

const CROWDS: [usize; 3] = [1, 10, 50];
/// Servers with a Python thread for each viewer get no more viewers.
const MAX_THREADED: usize = 10;

const FLASK: &str = "Flask-SocketIO relay, base64";
const FLASK_CAMERA: &str = "Flask, MJPEG";

struct Row {
    name: &'static str,
    server: ServerKind,
    kind: ViewerKind,
    /// The row to compare with.
    peer: &'static str,
}

const ROWS: [Row; 6] = [
    Row {
        name: "socketioserversink, base64",
        server: ServerKind::Ours,
        kind: ViewerKind::Event,
        peer: FLASK,
    },
    Row {
        name: "  binary, acknowledged",
        server: ServerKind::Ours,
        kind: ViewerKind::Page,
        peer: FLASK,
    },
    Row {
        name: "  MJPEG",
        server: ServerKind::Ours,
        kind: ViewerKind::Multipart,
        peer: FLASK_CAMERA,
    },
    Row {
        name: FLASK,
        server: ServerKind::Flask,
        kind: ViewerKind::Event,
        peer: "",
    },
    Row {
        name: "Node relay, base64",
        server: ServerKind::Node,
        kind: ViewerKind::Event,
        peer: FLASK,
    },
    Row {
        name: FLASK_CAMERA,
        server: ServerKind::FlaskMultipart,
        kind: ViewerKind::Multipart,
        peer: "",
    },
];

/// CPU time per frame, and the number of frames of the viewer that got the fewest.
fn serve(row: &Row, viewers: usize, count: usize) -> Result<(Duration, usize)> {
    let mut server = row.server.start()?;
    let mut watching = Vec::new();
    for _ in 0..viewers {
        watching.push(Viewer::connect(&server.address, row.kind)?.watch(Duration::ZERO));
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
        let threaded = [ServerKind::Flask, ServerKind::FlaskMultipart];
        let fits = |row: &&Row| crowd <= MAX_THREADED || !threaded.contains(&row.server);
        let rows = ROWS.iter().filter(fits);
        let rows = rows.filter(|row| !options.smoke || row.server.is_installed());
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
        let heading = format!("{TABLE} {crowd}, {RATE} frames/s");
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
        "\nCPU time per frame in us, median of {ROUNDS} rounds. / peer: {FLASK}, or {FLASK_CAMERA}. \
         seen: share of all frames, of the viewer with the fewest."
    );
    Ok(())
}
