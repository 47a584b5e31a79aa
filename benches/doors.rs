// SPDX-License-Identifier: MPL-2.0

//! The elements with a socket beside compositions of stock elements, in the same run.
//!
//! ```text
//!  receiving:  this program ─► loopback ─► [ source ! fakesink ]
//!  serving:    [ JPEGs ─► sink ] ─► loopback ─► this program: 1, 50, 200 clients
//! ```
//!
//! What stands in brackets is a process of its own. It alone is charged, for all its
//! threads, user and system, as the scheduler counts them, from when it rests after a
//! few frames until it rests again. Rounds are interleaved and medians printed: on a
//! busy machine believe the ratios. What does not arrive whole is an error.
//!
//! `cargo bench --bench doors [-- PART OF A NAME]`. With `--test`, and under
//! `cargo test --benches`: a few frames through everything, and no figures.

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

/// A source, and what it is sent.
struct Source {
    name: &'static str,
    /// With `AT` for host and port; empty for a bare socket.
    line: &'static str,
    /// Makes its input of the JPEGs.
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
        // For as many bytes on the wire.
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

/// How its input comes: table, frames that are measured, and the time between two.
const PACES: [(&str, usize, Duration); 2] = [
    ("receiving, as fast as it goes", 2000, Duration::ZERO),
    ("receiving, 100 frames/s", 100, Duration::from_millis(10)),
];

/// A sink, and the property that counts its clients.
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

/// How many clients there are, and the table.
const CROWDS: [(usize, &str); 3] = [
    (1, "serving 1 client, 25 frames/s"),
    (50, "serving 50 clients, 25 frames/s"),
    (200, "serving 200 clients, 25 frames/s"),
];
const SERVED: usize = 50;
const INTERVAL: Duration = Duration::from_millis(40);

/// What a source is sent: in the first round of the JPEGs, and in each that follows.
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
        // The first round may begin with headers.
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

/// CPU per frame of one source, which runs in a child.
fn receiving(index: usize, input: &Input, count: usize, interval: Duration) -> Result<Duration> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port().to_string();
    let mut child = Process::again(&["receive", &index.to_string(), &port])?;
    let mut client = child.accept(&listener)?;
    client.write_all(&input.first)?;
    let mut send = |count| {
        pace(count, interval, |i| {
            client.write_all(&input.frames[i % FRAMES])?;
            // On one processor, megabytes would pile up in the kernel and leave the caches.
            thread::yield_now();
            Ok(())
        })
    };
    send(WARM_UP)?;
    let before = child.cpu_at_rest()?;
    send(count)?;
    let cpu = child.cpu_at_rest()? - before;
    drop(client);
    // Buffers, of which each frame makes one at least.
    let arrived: usize = child.hear()?.parse()?;
    let sent = FRAMES + WARM_UP + count;
    if arrived < sent {
        return Err(format!("{arrived} of {sent} frames arrived").into());
    }
    child.finish()?;
    Ok(cpu.div_f64(count as f64))
}

/// The child of [`receiving`].
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

/// CPU per frame of one sink, which runs in a child.
fn serving(index: usize, clients: usize, count: usize) -> Result<Duration> {
    let mut child = Process::again(&["serve", &index.to_string()])?;
    let address = format!("127.0.0.1:{}", child.hear()?);
    let mut readers = Vec::new();
    for count in 1..=clients {
        let stream = TcpStream::connect(&address)?;
        readers.push(thread::spawn(|| read(stream)));
        // `tcpserversink` has a backlog of 5.
        child.tell(&format!("wait {count}"))?;
    }

    child.tell(&format!("push {WARM_UP}"))?;
    let before = child.cpu_at_rest()?;
    child.tell(&format!("push {count}"))?;
    let cpu = child.cpu_at_rest()? - before;
    child.finish()?;

    let text = |jpeg: &gst::Buffer| 4 + jpeg.size().div_ceil(3) * 4;
    let sizes: Vec<_> = jpegs()?.iter().map(text).collect();
    let sent: usize = sizes.iter().cycle().take(WARM_UP + count).sum();
    for reader in readers {
        let arrived = reader.join().map_err(|_| "a reader panicked")??;
        if arrived != sent {
            return Err(format!("{arrived} of {sent} bytes arrived").into());
        }
    }
    Ok(cpu.div_f64(count as f64))
}

/// Reads to the end; returns how many bytes there were.
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

/// The child of [`serving`].
fn serve(sink: &Sink) -> Result<()> {
    let options = "name=sink host=127.0.0.1 port=0 sync=false async=false";
    let mut line = Line::start(&format!("{} {options}", sink.line), Some(&common::caps()))?;
    let jpegs = jpegs()?;
    println!("{}", line.sink.property::<i32>("current-port"));
    for command in io::stdin().lines() {
        let command = command?;
        match command.split_once(' ').ok_or("it is told nothing")? {
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
    Serve { crowd: usize, sink: usize },
}

impl Case {
    fn all() -> Vec<Self> {
        let receive = |pace| (0..SOURCES.len()).map(move |source| Self::Receive { pace, source });
        let serve = |crowd| (0..SINKS.len()).map(move |sink| Self::Serve { crowd, sink });
        let mut cases: Vec<_> = (0..PACES.len()).flat_map(receive).collect();
        cases.extend((0..CROWDS.len()).flat_map(serve));
        cases
    }

    fn table(&self) -> &'static str {
        match *self {
            Self::Receive { pace, .. } => PACES[pace].0,
            Self::Serve { crowd, .. } => CROWDS[crowd].1,
        }
    }

    fn name(&self) -> &'static str {
        match *self {
            Self::Receive { source, .. } => SOURCES[source].name,
            Self::Serve { sink, .. } => SINKS[sink].name,
        }
    }

    /// The row that does the same with stock elements.
    fn peer(&self) -> &'static str {
        match self {
            Self::Receive { .. } => STOCK_SOURCE,
            Self::Serve { .. } => STOCK_SINK,
        }
    }

    /// CPU per frame; with `smoke` of a few frames.
    fn run(&self, inputs: &[Input], smoke: bool) -> Result<Duration> {
        let count = |count| if smoke { FRAMES } else { count };
        match *self {
            Self::Receive { pace, source } => {
                let (_, frames, interval) = PACES[pace];
                receiving(source, &inputs[source], count(frames), interval)
            }
            Self::Serve { crowd, sink } => serving(sink, CROWDS[crowd].0, count(SERVED)),
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
        "CPU per frame of {} KB, {} KB as base64, in us: median of {ROUNDS} rounds (min - max). {}.",
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
        "\n/ peer: {STOCK_SOURCE} and {STOCK_SINK}. Reach of b64jpegclientsrc, as fast as it \
         goes: 0.25."
    );
    Ok(())
}

fn main() -> ExitCode {
    common::main(child, bench)
}
