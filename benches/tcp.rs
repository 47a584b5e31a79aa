// SPDX-License-Identifier: MPL-2.0

//! The TCP elements compared with compositions of stock elements, in the same run.
//!
//! ```text
//!  receiving:  this program ─► loopback ─► [ source ! fakesink ]
//!  serving:    [ JPEGs ─► sink ] ─► loopback ─► this program: 1, 50, 200 clients
//! ```
//!
//! The brackets are a process of their own. Only its CPU time is measured: user and system time
//! of all its threads, from the scheduler, from when it is idle after a few frames until it is
//! idle again. Rounds are interleaved, and medians are printed: on a busy machine trust the
//! ratios. A frame that does not arrive whole is an error.
//!
//! `cargo bench --bench tcp [-- PART OF A NAME]`. With `--test`, and under
//! `cargo test --benches`, each case handles a few frames, and no figures are printed.

mod common;

use std::{
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    process::ExitCode,
    slice, thread,
    time::Duration,
};

use common::{
    FRAMES, Line, Options, Result, bytes, jpegs, pace, process::Process, simd, spread, wait_for,
};
use gst::prelude::*;

const ROUNDS: usize = 7;
/// Frames before the measured ones.
const WARM_UP: usize = 2 * FRAMES;

/// A source and its input.
struct Source {
    name: &'static str,
    /// With `AT` in place of host and port; empty for a bare socket.
    line: &'static str,
    /// Makes the input from the JPEGs.
    pay: &'static str,
}

const STOCK_SOURCE: &str = "tcpclientsrc ! b64jpegdepay";

const SOURCES: [Source; 6] = [
    Source {
        name: "harness floor: read(2), nothing else",
        line: "",
        pay: "b64jpegpay",
    },
    Source {
        name: "tcpclientsrc",
        line: "tcpclientsrc AT",
        pay: "b64jpegpay",
    },
    Source {
        name: STOCK_SOURCE,
        line: "tcpclientsrc AT ! b64jpegdepay",
        pay: "b64jpegpay",
    },
    Source {
        name: "tcpclientsrc ! gdpdepay",
        line: "tcpclientsrc AT ! gdpdepay",
        // With b64jpegpay for the same number of bytes on the wire.
        pay: "b64jpegpay ! gdppay",
    },
    Source {
        name: "b64jpegclientsrc",
        line: "b64jpegclientsrc AT reconnect=false",
        pay: "b64jpegpay",
    },
    Source {
        name: "  payload=jpeg",
        line: "b64jpegclientsrc AT reconnect=false",
        pay: "b64jpegpay payload=jpeg",
    },
];

/// Table, number of measured frames, and the interval between two frames.
const PACES: [(&str, usize, Duration); 2] = [
    ("receiving, as fast as possible", 2000, Duration::ZERO),
    ("receiving, 100 frames/s", 100, Duration::from_millis(10)),
];

/// A sink and the property with its number of clients.
struct Sink {
    name: &'static str,
    line: &'static str,
    clients: &'static str,
}

const STOCK_SINK: &str = "b64jpegpay ! tcpserversink";

const SINKS: [Sink; 2] = [
    Sink {
        name: STOCK_SINK,
        line: STOCK_SINK,
        clients: "num-handles",
    },
    Sink {
        name: "b64jpegserversink",
        line: "b64jpegserversink",
        clients: "clients",
    },
];

/// Number of clients and table.
const CLIENT_COUNTS: [(usize, &str); 3] = [
    (1, "serving 1 client, 25 frames/s"),
    (50, "serving 50 clients, 25 frames/s"),
    (200, "serving 200 clients, 25 frames/s"),
];
const SERVED: usize = 50;
const INTERVAL: Duration = Duration::from_millis(40);

/// The bytes that a source receives, for the first pass over the JPEGs and for each later one.
struct Input {
    first: Vec<u8>,
    frames: Vec<Vec<u8>>,
}

impl Input {
    fn of(pay: &str) -> Result<Self> {
        let mut line = Line::start(
            &format!("{pay} ! fakesink name=sink"),
            Some(&common::caps()),
        )?;
        let jpegs = jpegs()?;
        // The first pass may start with stream headers.
        let first = bytes(&line.record(&jpegs)?)?;
        let frames = line.record(&jpegs)?;
        let frames: Result<Vec<_>> = frames
            .iter()
            .map(|frame| bytes(slice::from_ref(frame)))
            .collect();
        line.finish()?;
        Ok(Self {
            first,
            frames: frames?,
        })
    }
}

/// CPU time per frame of one source, in a child process.
fn receiving(index: usize, input: &Input, count: usize, interval: Duration) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let mut child = Process::again(&["receive", &index.to_string(), &port])?;
    let mut client = child.accept(&listener)?;
    client.write_all(&input.first)?;
    let mut send = |count| {
        pace(count, interval, |i| {
            client.write_all(&input.frames[i % FRAMES])?;
            // On one processor megabytes would queue up in the kernel and leave the caches.
            thread::yield_now();
            Ok(())
        })
    };
    send(WARM_UP)?;
    let before = child.cpu_at_rest()?;
    send(count)?;
    let cpu = child.cpu_at_rest()? - before;
    drop(client);
    // Counted in buffers; a frame makes at least one.
    let arrived: usize = child.read_line()?.parse()?;
    let sent = FRAMES + WARM_UP + count;
    if arrived < sent {
        return Err(format!("{arrived} of {sent} frames arrived").into());
    }
    child.finish()?;
    Ok(cpu.div_f64(count as f64))
}

/// Child process of [`receiving`].
fn receive(source: &Source, port: &str) -> Result<()> {
    if source.line.is_empty() {
        let stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
        println!("{}", read(stream)?);
        return Ok(());
    }
    let line = source
        .line
        .replace("AT", &format!("host=127.0.0.1 port={port}"));
    let sink = "fakesink name=sink sync=false async=false enable-last-sample=false";
    let pipeline = gst::parse::launch(&format!("{line} ! {sink}"))?
        .downcast::<gst::Pipeline>()
        .expect("several elements make a pipeline");
    pipeline.set_state(gst::State::Playing)?;
    let end = common::wait(&pipeline);
    let sink = pipeline.by_name("sink").ok_or("there is no sink")?;
    let stats = sink.property::<gst::Structure>("stats");
    pipeline.set_state(gst::State::Null)?;
    end?;
    println!("{}", stats.get::<u64>("rendered")?);
    Ok(())
}

/// CPU time per frame of one sink, in a child process.
fn serving(index: usize, clients: usize, count: usize) -> Result<Duration> {
    let mut child = Process::again(&["serve", &index.to_string()])?;
    let address = format!("127.0.0.1:{}", child.read_line()?);
    let mut readers = Vec::new();
    for count in 1..=clients {
        let stream = TcpStream::connect(&address)?;
        readers.push(thread::spawn(|| read(stream)));
        // `tcpserversink` has a backlog of 5.
        child.command(&format!("wait {count}"))?;
    }

    child.command(&format!("push {WARM_UP}"))?;
    let before = child.cpu_at_rest()?;
    child.command(&format!("push {count}"))?;
    let cpu = child.cpu_at_rest()? - before;
    child.finish()?;

    let frame_len = |jpeg: &gst::Buffer| 4 + jpeg.size().div_ceil(3) * 4;
    let sizes: Vec<_> = jpegs()?.iter().map(frame_len).collect();
    let sent: usize = sizes.iter().cycle().take(WARM_UP + count).sum();
    for reader in readers {
        let arrived = reader.join().map_err(|_| "a reader panicked")??;
        if arrived != sent {
            return Err(format!("{arrived} of {sent} bytes arrived").into());
        }
    }
    Ok(cpu.div_f64(count as f64))
}

/// Reads to the end. Returns the number of bytes.
fn read(mut stream: TcpStream) -> io::Result<usize> {
    let mut buffer = vec![0; 1 << 17];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(total),
            len => total += len,
        }
    }
}

/// Child process of [`serving`].
fn serve(sink: &Sink) -> Result<()> {
    let options = "name=sink host=127.0.0.1 port=0 sync=false async=false";
    let mut line = Line::start(&format!("{} {options}", sink.line), Some(&common::caps()))?;
    let jpegs = jpegs()?;
    println!("{}", line.sink.property::<i32>("current-port"));
    for command in io::stdin().lines() {
        let command = command?;
        match command
            .split_once(' ')
            .ok_or("a command without an argument")?
        {
            ("wait", clients) => wait_for(&line.sink, sink.clients, clients.parse()?)?,
            (_, count) => pace(count.parse()?, INTERVAL, |i| {
                line.push_all(&jpegs[i % FRAMES..][..1])
            })?,
        }
        println!("done");
    }
    Ok(())
}

fn child(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["receive", index, port] => receive(&SOURCES[index.parse::<usize>()?], port),
        ["serve", index] => serve(&SINKS[index.parse::<usize>()?]),
        _ => Err("unknown arguments".into()),
    }
}

/// One row of a table.
enum Case {
    Receive { pace: usize, source: usize },
    Serve { clients: usize, sink: usize },
}

impl Case {
    fn all() -> Vec<Self> {
        let receive = |pace| (0..SOURCES.len()).map(move |source| Self::Receive { pace, source });
        let serve = |clients| (0..SINKS.len()).map(move |sink| Self::Serve { clients, sink });
        let mut cases: Vec<_> = (0..PACES.len()).flat_map(receive).collect();
        cases.extend((0..CLIENT_COUNTS.len()).flat_map(serve));
        cases
    }

    fn table(&self) -> &'static str {
        match *self {
            Self::Receive { pace, .. } => PACES[pace].0,
            Self::Serve { clients, .. } => CLIENT_COUNTS[clients].1,
        }
    }

    fn name(&self) -> &'static str {
        match *self {
            Self::Receive { source, .. } => SOURCES[source].name,
            Self::Serve { sink, .. } => SINKS[sink].name,
        }
    }

    /// The row for the same with stock elements.
    fn peer(&self) -> &'static str {
        match self {
            Self::Receive { .. } => STOCK_SOURCE,
            Self::Serve { .. } => STOCK_SINK,
        }
    }

    /// CPU time per frame; with `smoke` of a few frames only.
    fn run(&self, inputs: &[Input], smoke: bool) -> Result<Duration> {
        let count = |count| if smoke { FRAMES } else { count };
        match *self {
            Self::Receive { pace, source } => {
                let (_, frames, interval) = PACES[pace];
                receiving(source, &inputs[source], count(frames), interval)
            }
            Self::Serve { clients, sink } => serving(sink, CLIENT_COUNTS[clients].0, count(SERVED)),
        }
    }
}

fn bench(options: &Options) -> Result<()> {
    let size = common::encode()?;
    let inputs: Result<Vec<_>> = SOURCES.iter().map(|source| Input::of(source.pay)).collect();
    let inputs = inputs?;
    let wanted = |case: &Case| options.wants(case.name()) || options.wants(case.table());
    let cases: Vec<_> = Case::all().into_iter().filter(wanted).collect();
    let mut samples = vec![Vec::new(); cases.len()];
    for _ in 0..if options.smoke { 1 } else { ROUNDS } {
        for (case, samples) in cases.iter().zip(&mut samples) {
            let (name, table) = (case.name(), case.table());
            let cpu = case.run(&inputs, options.smoke);
            let cpu = cpu.map_err(|error| format!("{name}, {table}: {error}"))?;
            samples.push(cpu.as_secs_f64() * 1e6);
            if options.smoke {
                println!("{name}, {table}: ok");
            }
        }
    }
    if options.smoke {
        return Ok(());
    }

    println!(
        "CPU time per frame of {} KB, {} KB as base64, in us: median of {ROUNDS} rounds (min - max). {}.",
        size / 1000,
        size * 4 / 3000,
        simd()
    );
    let medians: Vec<_> = samples.into_iter().map(spread).collect();
    let mut table = "";
    for (case, [min, median, max]) in cases.iter().zip(&medians) {
        if table != case.table() {
            table = case.table();
            println!(
                "\n{table:<38}{:>9}{:>20}{:>8}",
                "us", "(min - max)", "/ peer"
            );
        }
        let peer = cases
            .iter()
            .position(|other| (other.table(), other.name()) == (table, case.peer()))
            .map(|peer| format!("{:.2}", median / medians[peer][1]));
        println!(
            "{:<38}{median:>9.1}{:>20}{:>8}",
            case.name(),
            format!("({min:.1} - {max:.1})"),
            peer.unwrap_or_default()
        );
    }
    println!(
        "\n/ peer: relative to {STOCK_SOURCE} or {STOCK_SINK}. Target for b64jpegclientsrc, as fast as \
         possible: 0.25."
    );
    Ok(())
}

fn main() -> ExitCode {
    common::main(child, bench)
}
