// SPDX-License-Identifier: MPL-2.0

//! One camera and many serving machines: CPU time and memory of each machine, and the age of
//! frames at edges and viewers.
//!
//! ```text
//!  zenoh    [ JPEGs ─► jpegcheck ! zenohsink ] ─┬► [ zenohsrc ! … ! server ] ─► viewers
//!                                               └► …, as many as there are edges
//!  routers  [ origin ] ─► [ zenohd ] ─► [ zenohd ] ─► [ edges ] ─► viewers
//!  relays   [ JPEGs ─► b64jpegserversink ] ─► [ b64jpegclientsrc ! b64jpegserversink ] ─► viewers
//! ```
//!
//! Each pair of brackets is a process of its own, all on this machine: origins and edges run the
//! pipelines of `origin.sh` and `edge.sh`. User and system time of all their threads are
//! measured, from the scheduler, while the camera runs. Frames are encoded before, and are
//! stamped when they leave the camera. Viewers are plain sockets of this program. Rounds are
//! interleaved, and medians are printed: on a busy machine trust the ratios.
//!
//! `cargo bench --bench scale [-- TABLE] [--json FILE]`; `docs/scale.py` reads the file. It
//! needs what `pipelines/setup.sh --zenoh --router` builds. With `--test`, and under `cargo
//! test --benches`, a few frames pass through everything that is built, and no figures are
//! printed.

#[path = "../common/mod.rs"]
mod common;
mod site;
#[allow(dead_code, reason = "the web bench uses the rest")]
#[path = "../web/viewer.rs"]
mod viewer;

use std::{fs, process::ExitCode, time::Duration};

use common::{Options, Result, simd, spread};
use serde_json::{Value, json};
use site::{Case, Figures, PROTOCOLS, Protocol, Route};

const ROUTES: [Route; 4] = [
    Route::Zenoh { routers: 0 },
    Route::Zenoh { routers: 1 },
    Route::Zenoh { routers: 2 },
    Route::Relays,
];

const RATE: f64 = 25.0;
const ROUNDS: usize = 3;
/// How long is measured, and how long the pipelines run before.
const WINDOW: Duration = Duration::from_secs(6);
const SETTLE: Duration = Duration::from_secs(1);
const SMOKE: Duration = Duration::from_millis(300);

const EDGES: &str = "edges";
const EDGE_COUNTS: [usize; 4] = [1, 2, 4, 8];

const VIEWERS: &str = "viewers";
const VIEWER_COUNTS: [usize; 3] = [1, 100, 400];

const MOST: &str = "most";
/// Frame rates to try, in frames/s, until frames are lost.
const RATES: [f64; 6] = [100.0, 200.0, 400.0, 800.0, 1600.0, 3200.0];
const MOST_WINDOW: Duration = Duration::from_secs(2);
/// The share of frames that has to arrive. A few are in transit when a window starts or ends.
const ENOUGH: f64 = 0.98;

/// The cases of a table, without those that cannot run here.
fn cases(table: &str) -> Vec<Case> {
    let tcp = &PROTOCOLS[0];
    let routes = || ROUTES.into_iter().filter(|route| route.missing().is_none());
    let case = |route, edges, protocol, viewers| Case {
        route,
        edges,
        protocol,
        viewers,
        rate: RATE,
    };
    let of_edges = |edges| routes().map(move |route| case(route, edges, tcp, 1));
    let with_viewers = |protocol: &'static Protocol| {
        let route = ROUTES[0];
        let counts = VIEWER_COUNTS
            .into_iter()
            .filter(move |_| route.missing().is_none());
        counts.map(move |viewers| case(route, 1, protocol, viewers))
    };
    match table {
        EDGES => EDGE_COUNTS.into_iter().flat_map(of_edges).collect(),
        VIEWERS => PROTOCOLS.iter().flat_map(with_viewers).collect(),
        _ => {
            let cases = [1, 8].into_iter().flat_map(of_edges);
            cases.filter(|case| case.route.routers() < 2).collect()
        }
    }
}

fn name(table: &str, case: &Case) -> String {
    match (table, case.viewers, case.edges) {
        (VIEWERS, 1, _) => format!("{}, 1 viewer", case.protocol.name),
        (VIEWERS, viewers, _) => format!("{}, {viewers} viewers", case.protocol.name),
        (_, _, 1) => format!("{}, 1 edge", case.route.name()),
        (_, _, edges) => format!("{}, {edges} edges", case.route.name()),
    }
}

fn run(case: &Case, settle: Duration, window: Duration) -> Result<Figures> {
    let run = case.run(settle, window);
    run.map_err(|error| format!("{}, {}: {error}", name(EDGES, case), name(VIEWERS, case)).into())
}

/// All cases once.
fn smoke(options: &Options) -> Result<()> {
    let mut missing: Vec<_> = ROUTES.iter().filter_map(|route| route.missing()).collect();
    missing.dedup();
    for missing in missing {
        println!("skipped: scale: {missing}");
    }
    for table in [EDGES, VIEWERS]
        .into_iter()
        .filter(|table| options.wants(table))
    {
        for mut case in cases(table) {
            if case.edges > 2 || case.viewers > VIEWER_COUNTS[1] {
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
        "table": table, "way": case.route.key(), "routers": case.route.routers(), "edges": case.edges,
        "door": case.protocol.key, "viewers": case.viewers,
        "origin": cost(origin), "router": cost(router), "edge": cost(edge),
        "arrived_ms": figures.arrived.map(round), "seen_ms": figures.seen.map(round),
        "share": round(figures.share),
    })
}

/// To two decimals, which is more than the precision of the measurement.
fn round(figure: f64) -> f64 {
    (figure * 100.0).round() / 100.0
}

/// The highest rate of [`RATES`] at which every viewer gets all frames.
fn highest_rate(case: &Case) -> Result<f64> {
    let mut highest = 0.0;
    'rates: for rate in RATES {
        // A second attempt, in case another program has disturbed the first.
        for _ in 0..2 {
            let figures = run(&Case { rate, ..*case }, SETTLE, MOST_WINDOW)?;
            if figures.share >= ENOUGH {
                highest = rate;
                continue 'rates;
            }
        }
        break;
    }
    Ok(highest)
}

fn most(size: usize, json: &mut Vec<Value>) -> Result<()> {
    let cases = cases(MOST);
    let mut samples: Vec<Vec<f64>> = cases.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (case, samples) in cases.iter().zip(&mut samples) {
            samples.push(highest_rate(case)?);
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
            "table": MOST, "way": case.route.key(), "routers": case.route.routers(),
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
    for route in ROUTES {
        if let Some(missing) = route.missing() {
            return Err(missing.into());
        }
    }
    println!(
        "CPU time per frame of {} KB, {} KB as base64, {RATE}/s, in us, for one machine of each kind; \
         memory in MB; age since capture in ms. Medians of {ROUNDS} rounds. {}.",
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
        "\nat edge: age when a frame arrives there. viewer: age when a viewer has the whole frame. \
         seen: share of frames that the slowest viewer got. MB/s: JPEG data to all edges together, \
         at the highest rate at which no viewer loses frames."
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
