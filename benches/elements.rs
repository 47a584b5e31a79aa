// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines compared with those of stock elements, on the same JPEGs in the same run.
//!
//! ```text
//!                ┌───── whole frames ─────┐
//!  JPEGs ─► payloader                depayloader ─► fakesink
//!                └─ cut to 4 KB, copied ──┘
//! ```
//!
//! Each figure comes from processes of its own, so that CPU time and peak memory belong to one
//! case only. A process pushes frames from its main thread; user and system time of all its
//! threads are measured, from the scheduler. Rounds are interleaved, and medians are printed: on
//! a busy machine trust the ratios. The output is compared with the input before anything is
//! measured.
//!
//! `cargo bench --bench elements [-- PART OF A NAME]`. With `--test`, and under
//! `cargo test --benches`, each case handles a few frames, and no figures are printed.

mod common;

use std::{
    fs,
    process::{self, ExitCode, Stdio},
    sync::Mutex,
    time::{Duration, Instant},
};

use common::{FRAMES, Line, Options, Result, buffers, bytes, cpu_time, jpegs, simd, spread};
use gst::prelude::*;

const ROUNDS: usize = 15;
/// How long a process measures in one round.
const BUDGET: Duration = Duration::from_millis(300);

/// The size of the buffers of `tcpclientsrc`.
const CHUNK: usize = 4096;

/// Hostile streams: the limit that is set, and the length of the stream.
const MAX_FRAME_SIZE: usize = 8 << 20;
const HOSTILE_BYTES: usize = 64 << 20;

/// The memory limit: the longest frame as received, in one piece, and decoded.
const MEMORY: usize = MAX_FRAME_SIZE * 3 + (1 << 20);

/// A payloader and its depayloader.
struct Pair {
    name: &'static str,
    pay: &'static str,
    depay: &'static str,
    output: Output,
}

const fn pair(name: &'static str, pay: &'static str, depay: &'static str) -> Pair {
    Pair {
        name,
        pay,
        depay,
        output: Output::Input,
    }
}

const OURS: &Pair = &pair("b64jpegpay ! b64jpegdepay", "b64jpegpay", "b64jpegdepay");
const PEER: &Pair = &pair("gdppay ! gdpdepay", "gdppay", "gdpdepay");

const PAIRS: [&Pair; 8] = [
    &pair("identity ! identity", "identity", "identity"),
    OURS,
    &pair("  header=lines", "b64jpegpay header=lines", "b64jpegdepay"),
    &pair("  payload=jpeg", "b64jpegpay payload=jpeg", "b64jpegdepay"),
    &pair(
        "  payload=jpeg header=none",
        "b64jpegpay payload=jpeg header=none",
        "b64jpegdepay",
    ),
    PEER,
    &pair(
        "multipartmux ! multipartdemux",
        "multipartmux",
        "multipartdemux single-stream=true",
    ),
    &Pair {
        // It rewrites the JPEG headers.
        output: Output::Other,
        ..pair(
            "rtpjpegpay ! rtpstreampay, and back",
            "rtpjpegpay ! rtpstreampay",
            "rtpstreamdepay ! rtpjpegdepay",
        )
    },
];

/// The expected output of a pipeline.
#[derive(Clone, Copy, PartialEq)]
enum Output {
    /// The same as the input.
    Input,
    /// The JPEGs from which the input was made.
    Jpegs,
    /// At least one buffer per input buffer.
    Other,
}

/// One row of a table.
struct Case {
    table: &'static str,
    name: &'static str,
    /// The elements between source and sink.
    elements: Vec<&'static str>,
    /// The pair whose payloader makes the input; without one the input is the JPEGs.
    input: Option<&'static Pair>,
    output: Output,
    /// The row to compare with.
    peer: &'static str,
}

const FLOOR: &str = "harness floor";

/// Where the stream is cut into chunks.
const CUT: &str = "identity name=cut";

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (table, cut) in [("whole frames", &[][..]), ("4 KB chunks", &[CUT])] {
        let case = |name, elements: &[&[_]], input, output| Case {
            table,
            name,
            elements: elements.concat(),
            input,
            output,
            peer: PEER.name,
        };
        cases.push(case(FLOOR, &[cut], None, Output::Input));
        cases.extend(PAIRS.map(|pair| {
            let elements = [&[pair.pay], cut, &[pair.depay]];
            case(pair.name, &elements, None, pair.output)
        }));
        // With frames as long as our base64 text, for the same number of bytes on the wire.
        let longer = Some(OURS);
        let peer = [&[PEER.pay], cut, &[PEER.depay]];
        let name = "gdppay ! gdpdepay, a third more";
        cases.push(case(name, &peer, longer, Output::Input));
        let name = "harness floor, a third more";
        cases.push(case(name, &[cut], longer, Output::Input));
    }
    let one_side = |name, peer, input, output| Case {
        table: "one side, whole frames",
        name,
        elements: vec![name],
        input,
        output,
        peer,
    };
    for pair in [OURS, PEER] {
        cases.push(one_side(pair.pay, PEER.pay, None, Output::Other));
        cases.push(one_side(pair.depay, PEER.depay, Some(pair), Output::Jpegs));
    }
    cases
}

/// Starts a pipeline that ends in a `fakesink`.
fn start(elements: &[&str], caps: Option<&gst::Caps>) -> Result<Line> {
    const SINK: &str = "fakesink name=sink async=false sync=false enable-last-sample=false";
    let line = Line::start(&[elements, &[SINK]].concat().join(" ! "), caps)?;
    if elements.contains(&CUT) {
        cut(&line.pad("cut", "src"));
    }
    Ok(line)
}

/// Cuts the data that leaves `pad` into chunks, each in its own memory and without timestamps, as
/// from a socket: frames end anywhere.
///
/// `rndbuffersize` does not copy its input, and loses the end of it.
fn cut(pad: &gst::Pad) {
    let next = pad.peer().expect("it is linked");
    let chunk = Mutex::new(Vec::with_capacity(CHUNK));
    let all = gst::PadProbeType::DATA_DOWNSTREAM;
    pad.add_probe(all, move |_, info| {
        let chunk = &mut *chunk.lock().unwrap();
        let push = |chunk: &mut Vec<u8>| {
            let full = std::mem::replace(chunk, Vec::with_capacity(CHUNK));
            next.chain(gst::Buffer::from_mut_slice(full))
        };
        if let Some(gst::PadProbeData::Event(event)) = &info.data {
            if event.type_() == gst::EventType::Eos && !chunk.is_empty() {
                let _ = push(chunk); // the bus has the error
            }
            return gst::PadProbeReturn::Ok;
        }
        for memory in buffers(info)
            .iter()
            .flat_map(|buffer| buffer.iter_memories())
        {
            let memory = memory.map_readable().expect("system memory");
            let mut rest = memory.as_slice();
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(CHUNK - chunk.len()));
                chunk.extend_from_slice(piece);
                rest = behind;
                if chunk.len() == CHUNK
                    && let Err(flow) = push(chunk)
                {
                    info.flow_res = Err(flow);
                    return gst::PadProbeReturn::Handled;
                }
            }
        }
        gst::PadProbeReturn::Handled
    });
}

/// Growth of the peak of resident memory from here on.
struct Memory {
    before: u64,
}

impl Memory {
    fn watch() -> Result<Self> {
        fs::write("/proc/self/clear_refs", "5")?; // resets VmHWM
        Ok(Self {
            before: Self::read("VmRSS:")?,
        })
    }

    fn growth(&self) -> Result<u64> {
        Ok(Self::read("VmHWM:")?.saturating_sub(self.before))
    }

    /// A memory figure of this process, in bytes.
    fn read(field: &str) -> Result<u64> {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.ok_or("no memory figures in /proc")?.parse::<u64>()? << 10)
    }
}

/// The result of a child process.
#[derive(Clone, Copy)]
struct Figures {
    /// CPU time per frame, or for a whole hostile stream.
    cpu: Duration,
    /// Growth of peak memory, in bytes.
    memory: u64,
}

/// Runs one case in this process.
fn measure(case: &Case, budget: Duration) -> Result<Figures> {
    let jpegs = jpegs()?;
    let mut caps = common::caps();
    let (mut first, mut input) = (jpegs.clone(), jpegs.clone());
    if let Some(pair) = case.input {
        let mut line = start(&[pair.pay], Some(&caps))?;
        // The first round may begin with headers.
        first = line.record(&jpegs)?;
        input = line.record(&jpegs)?;
        caps = line.pad("sink", "sink").current_caps().ok_or("no caps")?;
        line.finish()?;
    }

    let memory = Memory::watch()?;
    let mut line = start(&case.elements, Some(&caps))?;
    let arrived = line.record(&first)?;
    let expected = match case.output {
        Output::Input => bytes(&first)?,
        Output::Jpegs => bytes(&jpegs)?,
        Output::Other => Vec::new(),
    };
    if !expected.is_empty() {
        // The last chunk is incomplete and held back.
        let arrived = bytes(&arrived)?;
        let last = expected.len() - input[FRAMES - 1].size();
        if arrived.len() < last || !expected.starts_with(&arrived) {
            return Err("the output differs from the input".into());
        }
    }

    let (before, cpu, begin) = (line.pushed, cpu_time(process::id())?, Instant::now());
    loop {
        line.push_all(&input)?;
        if begin.elapsed() >= budget {
            break;
        }
    }
    let cpu = (cpu_time(process::id())? - cpu).div_f64((line.pushed - before) as f64);

    let pushed = line.pushed - (first.len() - FRAMES) as u64;
    let rendered = line.finish()?;
    if rendered < pushed {
        return Err(format!("{rendered} of {pushed} frames arrived").into());
    }
    Ok(Figures {
        cpu,
        memory: memory.growth()?,
    })
}

/// A hostile stream: it starts with a good frame, then each byte depends on its position.
struct Hostile {
    name: &'static str,
    start: &'static [u8],
    byte: fn(usize) -> u8,
}

/// Byte `at` of a stream of frames whose payloads have `len` bytes.
fn frames(len: usize, at: usize) -> u8 {
    let [a, b, c, d] = (len as u32).to_be_bytes();
    let start = [a, b, c, d, b'/', b'9', b'j', b'/'];
    start.get(at % (4 + len)).copied().unwrap_or(b'A')
}

const HOSTILE: [Hostile; 10] = {
    const GOOD: &[u8] = b"\0\0\0\x08/9j/2Q==";
    [
        Hostile {
            name: "none: ordinary frames",
            start: GOOD,
            byte: |at| frames(80_000, at),
        },
        Hostile {
            name: "frames of the maximum length",
            start: GOOD,
            byte: |at| frames(MAX_FRAME_SIZE, at),
        },
        Hostile {
            name: "one such frame, then endless text",
            start: GOOD,
            byte: |at| frames(MAX_FRAME_SIZE, at.min(MAX_FRAME_SIZE)),
        },
        Hostile {
            name: "frames that are slightly too long",
            start: GOOD,
            byte: |at| frames(MAX_FRAME_SIZE + 4, at),
        },
        Hostile {
            name: "a length of 4 GiB, then endless text",
            start: b"\0\0\0\x08/9j/2Q==\xff\xff\xff\xff/9j/",
            byte: |_| b'A',
        },
        Hostile {
            name: "a line without end",
            start: b"/9j/2Q==\n/9j/",
            byte: |_| b'A',
        },
        Hostile {
            name: "a bare JPEG without end",
            start: b"\xff\xd8\xff\xd9\xff\xd8\xff\xda\0\x02",
            byte: |_| b'A',
        },
        Hostile {
            name: "a long frame starts every 8 bytes",
            start: GOOD,
            byte: |at| b"\0\x7f\xff\0/9j/"[at % 8],
        },
        Hostile {
            name: "noise",
            start: GOOD,
            // The finalizer of SplitMix64.
            byte: |at| {
                let mut z = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
                (z >> 32) as u8
            },
        },
        Hostile {
            name: "zeros",
            start: GOOD,
            byte: |_| 0,
        },
    ]
};

/// Measures the depayloader with one hostile stream in this process.
fn measure_hostile(hostile: &Hostile, len: usize) -> Result<Figures> {
    let first = hostile.start.iter().copied();
    let stream: Vec<u8> = first.chain((0..).map(hostile.byte)).take(len).collect();
    let depay = format!("b64jpegdepay max-errors=-1 max-frame-size={MAX_FRAME_SIZE}");
    let mut line = start(&[&depay], None)?;

    let (memory, cpu) = (Memory::watch()?, cpu_time(process::id())?);
    for read in stream.chunks(CHUNK) {
        line.push(gst::Buffer::from_mut_slice(read.to_vec()))?;
    }
    line.finish()?;
    let figures = Figures {
        cpu: cpu_time(process::id())? - cpu,
        memory: memory.growth()?,
    };
    if figures.memory > MEMORY as u64 {
        return Err(format!("{:.1} MiB of memory used", mib(figures.memory)).into());
    }
    Ok(figures)
}

/// Measures in a child process.
fn measure_in_child(arguments: &[&str]) -> Result<Figures> {
    let output = common::child()?
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(output.status.to_string().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let (cpu, memory) = text
        .trim()
        .split_once(' ')
        .ok_or("the child printed no figures")?;
    Ok(Figures {
        cpu: Duration::from_nanos(cpu.parse()?),
        memory: memory.parse()?,
    })
}

fn child(arguments: &[&str]) -> Result<()> {
    let figures = match arguments {
        ["measure", index, budget] => {
            let budget = Duration::from_millis(budget.parse()?);
            measure(&cases()[index.parse::<usize>()?], budget)?
        }
        ["hostile", index, len] => {
            measure_hostile(&HOSTILE[index.parse::<usize>()?], len.parse()?)?
        }
        _ => return Err("unknown arguments".into()),
    };
    println!("{} {}", figures.cpu.as_nanos(), figures.memory);
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Prints the CPU time of every case, and the ratio to its peer.
fn compare(options: &Options) -> Result<()> {
    let size = common::encode()?;
    let (rounds, budget) = if options.smoke {
        (1, Duration::ZERO)
    } else {
        (ROUNDS, BUDGET)
    };

    let cases = cases();
    let wanted = |case: &Case| options.wants(case.name) || options.wants(case.table);
    let mut samples = vec![Vec::new(); cases.len()];
    let mut memory = vec![0; cases.len()];
    for _ in 0..rounds {
        for (i, case) in cases.iter().enumerate().filter(|(_, case)| wanted(case)) {
            let budget = budget.as_millis().to_string();
            let figures = measure_in_child(&["measure", &i.to_string(), &budget])
                .map_err(|error| format!("{}, {}: {error}", case.name, case.table))?;
            samples[i].push(figures.cpu.as_secs_f64() * 1e6);
            memory[i] = memory[i].max(figures.memory);
            if options.smoke {
                println!("{}, {}: ok", case.name, case.table);
            }
        }
    }
    if options.smoke {
        return Ok(());
    }

    let medians: Vec<_> = samples
        .into_iter()
        .map(|samples| (!samples.is_empty()).then(|| spread(samples)))
        .collect();
    println!(
        "CPU time per frame of {} KB, in us: median of {rounds} rounds (min - max). {}.",
        size / 1000,
        simd()
    );
    let mut table = "";
    for (i, case) in cases.iter().enumerate() {
        let Some([min, median, max]) = medians[i] else {
            continue;
        };
        if table != case.table {
            table = case.table;
            println!(
                "\n{table:<38}{:>9}{:>20}{:>9}{:>8}{:>10}",
                "us", "(min - max)", "/ floor", "/ peer", "peak MiB"
            );
        }
        let ratio = |name| {
            let other = cases
                .iter()
                .position(|case| (case.table, case.name) == (table, name))?;
            Some(format!("{:.2}", median / medians[other]?[1]))
        };
        println!(
            "{:<38}{median:>9.2}{:>20}{:>9}{:>8}{:>10.1}",
            case.name,
            format!("({min:.2} - {max:.2})"),
            ratio(FLOOR).unwrap_or_default(),
            ratio(case.peer).unwrap_or_default(),
            mib(memory[i])
        );
    }
    println!(
        "\n/ peer: relative to gdppay, gdpdepay or both. Target for b64jpegpay ! b64jpegdepay: 1.15 \
         with AVX-512, 1.5 with AVX2.\nA third more: the peer with frames as long as our base64 \
         text, for the same number of bytes on the wire."
    );
    Ok(())
}

/// Prints CPU time and memory for hostile streams.
fn hostile_streams(options: &Options) -> Result<()> {
    let table = "hostile streams";
    let len = if options.smoke {
        MAX_FRAME_SIZE + (1 << 20)
    } else {
        HOSTILE_BYTES
    };
    if !options.smoke {
        println!(
            "\n{table}: {} MiB in reads of {} KiB, max-frame-size={} MiB\n{:<38}{:>12}{:>10}",
            len >> 20,
            CHUNK >> 10,
            MAX_FRAME_SIZE >> 20,
            "",
            "ms per MiB",
            "peak MiB"
        );
    }
    for (i, hostile) in HOSTILE.iter().enumerate() {
        if !options.wants(hostile.name) && !options.wants(table) {
            continue;
        }
        let figures = measure_in_child(&["hostile", &i.to_string(), &len.to_string()])
            .map_err(|error| format!("{}: {error}", hostile.name))?;
        if options.smoke {
            println!("{}, {table}: ok", hostile.name);
        } else {
            println!(
                "{:<38}{:>12.2}{:>10.1}",
                hostile.name,
                figures.cpu.as_secs_f64() * 1e3 / mib(len as u64),
                mib(figures.memory)
            );
        }
    }
    Ok(())
}

fn bench(options: &Options) -> Result<()> {
    compare(options)?;
    hostile_streams(options)
}

fn main() -> ExitCode {
    common::main(child, bench)
}
