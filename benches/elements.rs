// SPDX-License-Identifier: MPL-2.0

//! Whole pipelines beside those of stock elements, on the same JPEGs in the same run.
//!
//! ```text
//!                ┌───── whole frames ─────┐
//!  JPEGs ─► payloader                depayloader ─► fakesink
//!                └─ cut to 4 KB, copied ──┘
//! ```
//!
//! Every figure comes from processes of its own, so that CPU and peak memory are its
//! alone. One pushes frames from its main thread and is charged for all its threads,
//! user and system, as the scheduler counts them. Rounds are interleaved and medians
//! printed: on a busy machine believe the ratios. What comes out is compared with
//! what went in before anything is measured.
//!
//! `cargo bench --bench elements [-- PART OF A NAME]`. With `--test`, and under
//! `cargo test --benches`: a few frames through everything, and no figures.

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
/// How long one process of one round measures.
const BUDGET: Duration = Duration::from_millis(300);

/// How much `tcpclientsrc` puts into a buffer.
const CHUNK: usize = 4096;

/// Hostile streams: the limit that is set, and how many bytes come.
const MAX_FRAME_SIZE: usize = 8 << 20;
const HOSTILE_BYTES: usize = 64 << 20;

/// More is not held: the longest frame as it came, in one piece, and decoded.
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
        // It writes the JPEG headers anew.
        output: Output::Other,
        ..pair(
            "rtpjpegpay ! rtpstreampay, and back",
            "rtpjpegpay ! rtpstreampay",
            "rtpstreamdepay ! rtpjpegdepay",
        )
    },
];

/// What comes out at the end of a line.
#[derive(Clone, Copy, PartialEq)]
enum Output {
    /// What went in.
    Input,
    /// The JPEGs that the input was made of.
    Jpegs,
    /// At least one buffer for each that went in.
    Other,
}

/// One row of a table.
struct Case {
    table: &'static str,
    name: &'static str,
    /// What stands between source and sink.
    elements: Vec<&'static str>,
    /// The payloader that makes the input, which are the JPEGs otherwise.
    input: Option<&'static Pair>,
    output: Output,
    /// The row that does the same.
    peer: &'static str,
}

const FLOOR: &str = "harness floor";

/// Where the bytes of a line are cut.
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
        // Frames as long as our text, for as many bytes on the wire as we have.
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

/// Starts a line that ends in a `fakesink`.
fn start(elements: &[&str], caps: Option<&gst::Caps>) -> Result<Line> {
    const SINK: &str = "fakesink name=sink async=false sync=false enable-last-sample=false";
    let line = Line::start(&[elements, &[SINK]].concat().join(" ! "), caps)?;
    if elements.contains(&CUT) {
        cut(&line.pad("cut", "src"));
    }
    Ok(line)
}

/// Cuts what leaves `pad` into chunks, each in memory of its own and without times, as
/// a socket gives them: frames end anywhere.
///
/// `rndbuffersize` would do, but it hands out views of its input and loses the end.
fn cut(pad: &gst::Pad) {
    let next = pad.peer().expect("it is linked");
    let chunk = Mutex::new(Vec::with_capacity(CHUNK));
    let all = gst::PadProbeType::DATA_DOWNSTREAM;
    pad.add_probe(all, move |_, info| {
        let chunk = &mut *chunk.lock().unwrap();
        let give = |chunk: &mut Vec<u8>| {
            let full = std::mem::replace(chunk, Vec::with_capacity(CHUNK));
            next.chain(gst::Buffer::from_mut_slice(full))
        };
        if let Some(gst::PadProbeData::Event(event)) = &info.data {
            if event.type_() == gst::EventType::Eos && !chunk.is_empty() {
                let _ = give(chunk); // an error is on the bus
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
                    && let Err(flow) = give(chunk)
                {
                    info.flow_res = Err(flow);
                    return gst::PadProbeReturn::Handled;
                }
            }
        }
        gst::PadProbeReturn::Handled
    });
}

/// The peak of resident memory from here on, over what is resident now.
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

    /// In bytes.
    fn read(field: &str) -> Result<u64> {
        let status = fs::read_to_string("/proc/self/status")?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kib.ok_or("no memory figures in /proc")?.parse::<u64>()? << 10)
    }
}

/// What a child process measured.
#[derive(Clone, Copy)]
struct Figures {
    /// Per frame, or of all.
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
        // Cutting holds back the end of the last frame.
        let arrived = bytes(&arrived)?;
        let last = expected.len() - input[FRAMES - 1].size();
        if arrived.len() < last || !expected.starts_with(&arrived) {
            return Err("it delivers something else than what went in".into());
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

/// A stream that means harm: a good frame to begin with, then bytes by their number.
struct Hostile {
    name: &'static str,
    start: &'static [u8],
    byte: fn(usize) -> u8,
}

/// Bytes of frames whose payloads have `len` bytes.
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
            name: "frames as long as is allowed",
            start: GOOD,
            byte: |at| frames(MAX_FRAME_SIZE, at),
        },
        Hostile {
            name: "one such frame, then endless text",
            start: GOOD,
            byte: |at| frames(MAX_FRAME_SIZE, at.min(MAX_FRAME_SIZE)),
        },
        Hostile {
            name: "frames that are a little longer",
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
            name: "long frames that begin every 8 bytes",
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

/// Feeds one hostile stream to the depayloader in this process.
fn withstand(hostile: &Hostile, len: usize) -> Result<Figures> {
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
        return Err(format!("it took {:.1} MiB", mib(figures.memory)).into());
    }
    Ok(figures)
}

/// Has a child measure, and returns its figures.
fn ask(arguments: &[&str]) -> Result<Figures> {
    let output = common::child()?
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(output.status.to_string().into());
    }
    let text = String::from_utf8(output.stdout)?;
    let (cpu, memory) = text.trim().split_once(' ').ok_or("it printed no figures")?;
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
        ["withstand", index, len] => withstand(&HOSTILE[index.parse::<usize>()?], len.parse()?)?,
        _ => return Err("unknown arguments".into()),
    };
    println!("{} {}", figures.cpu.as_nanos(), figures.memory);
    Ok(())
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// CPU of every case beside that of its peers.
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
            let figures = ask(&["measure", &i.to_string(), &budget])
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
        "CPU per frame of {} KB, in us: median of {rounds} rounds (min - max). {}.",
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
        "\n/ peer: gdppay, gdpdepay or both. Reach of b64jpegpay ! b64jpegdepay: 1.15 with \
         AVX-512, 1.5 with AVX2.\nA third more: the peer on frames as long as our text, for as \
         many bytes on the wire."
    );
    Ok(())
}

/// What streams cost that mean harm.
fn endure(options: &Options) -> Result<()> {
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
        let figures = ask(&["withstand", &i.to_string(), &len.to_string()])
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
    endure(options)
}

fn main() -> ExitCode {
    common::main(child, bench)
}
