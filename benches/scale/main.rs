// SPDX-License-Identifier: MPL-2.0

//! One camera and many serving machines: what each of them takes, and how old pictures are
//! when they come out.
//!
//! ```text
//!  zenoh    [ JPEGs ─► jpegcheck ! zenohsink ] ─┬► [ zenohsrc ! … ! door ] ─► viewers
//!                                               └► …, as many as there are edges
//!  routers  [ origin ] ─► [ zenohd ] ─► [ zenohd ] ─► [ edges ] ─► viewers
//!  relays   [ JPEGs ─► b64jpegserversink ] ─► [ b64jpegclientsrc ! b64jpegserversink ] ─► viewers
//! ```
//!
//! What stands in brackets is a process of its own, all on this machine: origins and edges
//! are the pipelines of `origin.sh` and `edge.sh`. Each is charged for all its threads, user
//! and system, as the scheduler counts them, while the camera films. Pictures were encoded
//! before, and are stamped when they leave the camera. Viewers are plain sockets of this
//! program. Rounds are interleaved and medians printed: on a busy machine believe the ratios.
//!
//! `cargo bench --bench scale [-- TABLE] [--json FILE]`; `docs/scale.py` reads the file. It
//! needs what `pipelines/setup.sh --zenoh --router` builds. With `--test`, and under `cargo
//! test --benches`: a few pictures through everything that is built, and no figures.

#[path = "../common/mod.rs"]
mod common;
mod site;
#[allow(dead_code, reason = "the web bench uses the rest")]
#[path = "../web/viewer.rs"]
mod viewer;

use std::{fs, process::ExitCode, time::Duration};

use common::{Options, Result, simd, spread};
use serde_json::{Value, json};
use site::{Case, DOORS, Door, Figures, Way};

const WAYS: [Way; 4] = [
    Way::Zenoh { routers: 0 },
    Way::Zenoh { routers: 1 },
    Way::Zenoh { routers: 2 },
    Way::Relays,
];

const RATE: f64 = 25.0;
const ROUNDS: usize = 3;
/// What is looked at, and what goes before it.
const WINDOW: Duration = Duration::from_secs(6);
const SETTLE: Duration = Duration::from_secs(1);
const SMOKE: Duration = Duration::from_millis(300);

const EDGES: &str = "edges";
const COUNTS_OF_EDGES: [usize; 4] = [1, 2, 4, 8];

const VIEWERS: &str = "viewers";
const CROWDS: [usize; 3] = [1, 100, 400];

const MOST: &str = "most";
/// Frames in a second, until some of them are lost.
const RATES: [f64; 6] = [100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0];
const MOST_WINDOW: Duration = Duration::from_secs(2);
/// What of them has to arrive; some are on their way when a window begins or ends.
const ENOUGH: f64 = 0.98;

/// The cases of a table, without those that cannot run here.
fn cases(table: &str) -> Vec<Case> {
    let tcp = &DOORS[0];
    let ways = || WAYS.into_iter().filter(|way| way.missing().is_none());
    let case = |way, edges, door, viewers| Case {
        way,
        edges,
        door,
        viewers,
        rate: RATE,
    };
    let of_edges = |edges| ways().map(move |way| case(way, edges, tcp, 1));
    let of_crowd = |door: &'static Door| {
        let way = WAYS[0];
        let crowds = CROWDS.into_iter().filter(move |_| way.missing().is_none());
        crowds.map(move |viewers| case(way, 1, door, viewers))
    };
    match table {
        EDGES => COUNTS_OF_EDGES.into_iter().flat_map(of_edges).collect(),
        VIEWERS => DOORS.iter().flat_map(of_crowd).collect(),
        _ => {
            let cases = [1, 8].into_iter().flat_map(of_edges);
            cases.filter(|case| case.way.routers() < 2).collect()
        }
    }
}

fn name(table: &str, case: &Case) -> String {
    match (table, case.viewers, case.edges) {
        (VIEWERS, 1, _) => format!("{}, 1 viewer", case.door.name),
        (VIEWERS, viewers, _) => format!("{}, {viewers} viewers", case.door.name),
        (_, _, 1) => format!("{}, 1 edge", case.way.name()),
        (_, _, edges) => format!("{}, {edges} edges", case.way.name()),
    }
}

fn run(case: &Case, settle: Duration, window: Duration) -> Result<Figures> {
    let run = case.run(settle, window);
    run.map_err(|error| format!("{}, {}: {error}", name(EDGES, case), name(VIEWERS, case)).into())
}

/// All cases once.
fn smoke(options: &Options) -> Result<()> {
    let mut missing: Vec<_> = WAYS.iter().filter_map(|way| way.missing()).collect();
    missing.dedup();
    for missing in missing {
        println!("skipped: scale: {missing}");
    }
    for table in [EDGES, VIEWERS]
        .into_iter()
        .filter(|table| options.wants(table))
    {
        for mut case in cases(table) {
            if case.edges > 2 || case.viewers > CROWDS[1] {
                continue;
            }
            case.viewers = case.viewers.min(2);
            run(&case, Duration::ZERO, SMOKE)?;
            println!("{}: ok", name(table, &case));
        }
    }
    Ok(())
}

/// Medians of rounds in which each case has run.
fn rounds(cases: &[Case]) -> Result<Vec<Figures>> {
    let mut samples: Vec<Vec<Figures>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (case, samples) in cases.iter().zip(&mut samples) {
            samples.push(run(case, SETTLE, WINDOW)?);
        }
    }
    Ok(samples
        .iter()
        .map(|samples| Figures::median(samples))
        .collect())
}

fn compare(table: &'static str, json: &mut Vec<Value>) -> Result<()> {
    let cases = cases(table);
    let figures = rounds(&cases)?;
    println!(
        "\n{:<36}{:>7}{:>7}{:>8}{:>7}{:>5}{:>5}{:>8}{:>7}{:>8}{:>7}{:>7}",
        table, "origin", "router", "edge", "MB:", "", "", "at edge", "p99", "viewer", "p99", "seen"
    );
    for (case, figures) in cases.iter().zip(&figures) {
        let [origin, router, edge] = &figures.tiers;
        let cpu = |cost: &site::Cost| format!("{:.0}", cost.cpu);
        let memory = |cost: &site::Cost| format!("{:.0}", cost.memory);
        let or_none = |text: Option<String>| text.unwrap_or_default();
        println!(
            "{:<36}{:>7}{:>7}{:>8}{:>7}{:>5}{:>5}{:>8.2}{:>7.2}{:>8.2}{:>7.2}{:>7}",
            name(table, case),
            or_none(origin.as_ref().map(cpu)),
            or_none(router.as_ref().map(cpu)),
            or_none(edge.as_ref().map(cpu)),
            or_none(origin.as_ref().map(memory)),
            or_none(router.as_ref().map(memory)),
            or_none(edge.as_ref().map(memory)),
            figures.arrived[0],
            figures.arrived[1],
            figures.seen[0],
            figures.seen[1],
            format!("{:.0} %", 100.0 * figures.share)
        );
        json.push(record(table, case, figures));
    }
    Ok(())
}

fn record(table: &str, case: &Case, figures: &Figures) -> Value {
    let cost = |cost: &Option<site::Cost>| match cost {
        Some(cost) => json!({"us": round(cost.cpu), "mb": round(cost.memory)}),
        None => Value::Null,
    };
    let [origin, router, edge] = &figures.tiers;
    json!({
        "table": table, "way": case.way.key(), "routers": case.way.routers(), "edges": case.edges,
        "door": case.door.key, "viewers": case.viewers,
        "origin": cost(origin), "router": cost(router), "edge": cost(edge),
        "arrived_ms": figures.arrived.map(round), "seen_ms": figures.seen.map(round),
        "share": round(figures.share),
    })
}

/// Nobody measures more exactly.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// The highest rate of [`RATES`] at which every viewer sees all pictures.
fn carried(case: &Case) -> Result<f64> {
    let mut carried = 0.0;
    'rates: for rate in RATES {
        // Something else may have come in between.
        for _ in 0..2 {
            let figures = run(&Case { rate, ..*case }, SETTLE, MOST_WINDOW)?;
            if figures.share >= ENOUGH {
                carried = rate;
                continue 'rates;
            }
        }
        break;
    }
    Ok(carried)
}

fn most(size: usize, json: &mut Vec<Value>) -> Result<()> {
    let cases = cases(MOST);
    let mut samples: Vec<Vec<f64>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (case, samples) in cases.iter().zip(&mut samples) {
            samples.push(carried(case)?);
        }
    }
    println!(
        "\n{:<36}{:>9}{:>20}{:>12}",
        MOST, "frames/s", "(min - max)", "MB/s"
    );
    for (case, samples) in cases.iter().zip(samples) {
        let [min, median, max] = spread(samples);
        let bytes = median * (size * case.edges) as f64 / 1e6;
        println!(
            "{:<36}{median:>9}{:>20}{bytes:>12.0}",
            name(MOST, case),
            format!("({min} - {max})")
        );
        json.push(json!({
            "table": MOST, "way": case.way.key(), "routers": case.way.routers(),
            "edges": case.edges, "frames": median,
        }));
    }
    Ok(())
}

fn bench(options: &Options) -> Result<()> {
    let size = common::encode()?;
    if options.smoke {
        return smoke(options);
    }
    for way in WAYS {
        if let Some(missing) = way.missing() {
            return Err(missing.into());
        }
    }
    println!(
        "CPU per frame of {} KB, {} KB as base64, {RATE}/s, in us, of one machine of each kind; \
         memory in MB; ms since capture. Medians of {ROUNDS} rounds. {}.",
        size / 1000,
        size * 4 / 3000,
        simd()
    );
    let mut rows = Vec::new();
    for table in [EDGES, VIEWERS]
        .into_iter()
        .filter(|table| options.wants(table))
    {
        compare(table, &mut rows)?;
    }
    if options.wants(MOST) {
        most(size, &mut rows)?;
    }
    println!(
        "\nat edge: when it is there. viewer: when a viewer has all of it. seen: of all pictures, \
         by the viewer who saw fewest. MB/s: of JPEG, to all edges together, at the highest rate \
         that all viewers see whole."
    );
    if let Some(file) = &options.json {
        let rows: Vec<_> = rows.iter().map(Value::to_string).collect();
        let rows = rows.join(",\n  ");
        let text = format!("{{\"picture\": {size}, \"rate\": {RATE}, \"rows\": [\n  {rows}\n]}}\n");
        fs::write(file, text)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    common::main(site::child, bench)
}
