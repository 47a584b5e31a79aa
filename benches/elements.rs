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

use std::{
    env,
    error::Error,
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Distinct frames that go round and round: few enough to stay in a cache, as frames
/// do that an encoder has just written.
const FRAMES: usize = 8;
/// Some 61 KB each, which makes 82 KB of text. RTP carries whole blocks of 8x8 only.
const CLIP: &str = "videotestsrc pattern=zone-plate kx2=13 ky2=13 kt=30 ! \
    video/x-raw,format=I420,width=800,height=448,framerate=25/1 ! jpegenc quality=80";
const CAPS: &str = "image/jpeg,width=800,height=448,framerate=25/1";

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

/// A running pipeline with a source pad for this thread to push into.
struct Line {
    pipeline: gst::Pipeline,
    source: gst::Pad,
    sink: gst::Element,
    error: Arc<Mutex<Option<String>>>,
    pushed: u64,
}

impl Line {
    fn start(elements: &[&str], caps: Option<&gst::Caps>) -> Result<Self> {
        let description = [
            &["identity name=door"],
            elements,
            &["fakesink name=sink async=false sync=false enable-last-sample=false"],
        ]
        .concat()
        .join(" ! ");
        let pipeline = gst::parse::launch(&description)?
            .downcast::<gst::Pipeline>()
            .expect("several elements make a pipeline");
        let by_name = |name| pipeline.by_name(name).expect("it is in the description");
        let pad = |name, pad| by_name(name).static_pad(pad).expect("it has this pad");

        let error = Arc::<Mutex<Option<String>>>::default();
        let first_error = error.clone();
        pipeline
            .bus()
            .expect("a pipeline has one")
            .set_sync_handler(move |_, message| {
                if let gst::MessageView::Error(error) = message.view() {
                    let text = format!("{}: {:?}", error.error(), error.debug());
                    first_error.lock().unwrap().get_or_insert(text);
                }
                gst::BusSyncReply::Drop
            });
        if elements.contains(&CUT) {
            cut(&pad("cut", "src"));
        }

        let source = gst::Pad::new(gst::PadDirection::Src);
        source.set_active(true)?;
        source.link(&pad("door", "sink"))?;
        pipeline.set_state(gst::State::Playing)?;
        source.push_event(gst::event::StreamStart::new("bench"));
        if let Some(caps) = caps {
            source.push_event(gst::event::Caps::new(caps));
        }
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        source.push_event(gst::event::Segment::new(&segment));
        Ok(Self {
            sink: by_name("sink"),
            pipeline,
            source,
            error,
            pushed: 0,
        })
    }

    fn sink_pad(&self) -> gst::Pad {
        self.sink.static_pad("sink").expect("a sink has one")
    }

    fn push(&mut self, buffer: gst::Buffer) -> Result<()> {
        self.pushed += 1;
        self.source
            .push(buffer)
            .map_err(|flow| self.error().unwrap_or_else(|| flow.to_string()))?;
        Ok(())
    }

    /// Pushes each of `frames` once, timed at 25 frames per second.
    fn push_all(&mut self, frames: &[gst::Buffer]) -> Result<()> {
        const DURATION: gst::ClockTime = gst::ClockTime::from_mseconds(40);
        for frame in frames {
            let mut frame = frame.copy();
            let header = frame.get_mut().expect("a new copy");
            header.set_pts(DURATION * self.pushed);
            header.set_duration(DURATION);
            self.push(frame)?;
        }
        Ok(())
    }

    /// As [`push_all`](Self::push_all), and returns what arrives meanwhile.
    fn record(&mut self, frames: &[gst::Buffer]) -> Result<Vec<gst::Buffer>> {
        let arrived = Arc::<Mutex<Vec<gst::Buffer>>>::default();
        let pad = self.sink_pad();
        let arriving = arrived.clone();
        let data = gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST;
        let probe = pad.add_probe(data, move |_, info| {
            arriving.lock().unwrap().extend(buffers(info));
            gst::PadProbeReturn::Ok
        });
        self.push_all(frames)?;
        pad.remove_probe(probe.expect("it never asks to be removed"));
        Ok(std::mem::take(&mut *arrived.lock().unwrap()))
    }

    fn error(&self) -> Option<String> {
        self.error.lock().unwrap().clone()
    }

    /// Ends the stream; returns how many buffers have arrived.
    fn finish(self) -> Result<u64> {
        self.source.push_event(gst::event::Eos::new());
        let stats = self.sink.property::<gst::Structure>("stats");
        match self.error() {
            Some(error) => Err(error.into()),
            None => Ok(stats.get("rendered")?),
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let _ = self.pipeline.set_state(gst::State::Null);
    }
}

fn buffers(info: &gst::PadProbeInfo) -> Vec<gst::Buffer> {
    match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => vec![buffer.clone()],
        Some(gst::PadProbeData::BufferList(list)) => list.iter_owned().collect(),
        _ => Vec::new(),
    }
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

/// CPU time of this process, to the nanosecond.
fn cpu_time() -> Result<Duration> {
    // The scheduler counts when it takes a thread off its CPU.
    thread::sleep(Duration::from_millis(1));
    let mut nanoseconds = 0;
    for task in fs::read_dir("/proc/self/task")? {
        let schedstat = fs::read_to_string(task?.path().join("schedstat"))?;
        let running = schedstat.split(' ').next().unwrap_or_default();
        nanoseconds += running.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
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

fn bytes(buffers: &[gst::Buffer]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for buffer in buffers {
        bytes.extend_from_slice(&buffer.map_readable()?);
    }
    Ok(bytes)
}

/// Runs one case in this process.
fn measure(case: &Case, clip: &Path, budget: Duration) -> Result<Figures> {
    let jpegs = (0..FRAMES)
        .map(|i| {
            Ok(gst::Buffer::from_slice(fs::read(
                clip.join(format!("{i}.jpg")),
            )?))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut caps = CAPS.parse::<gst::Caps>()?;
    let (mut first, mut input) = (jpegs.clone(), jpegs.clone());
    if let Some(pair) = case.input {
        let mut line = Line::start(&[pair.pay], Some(&caps))?;
        // The first round may begin with headers.
        first = line.record(&jpegs)?;
        input = line.record(&jpegs)?;
        caps = line.sink_pad().current_caps().ok_or("no caps")?;
        line.finish()?;
    }

    let memory = Memory::watch()?;
    let mut line = Line::start(&case.elements, Some(&caps))?;
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

    let (before, cpu, start) = (line.pushed, cpu_time()?, Instant::now());
    loop {
        line.push_all(&input)?;
        if start.elapsed() >= budget {
            break;
        }
    }
    let cpu = (cpu_time()? - cpu).div_f64((line.pushed - before) as f64);

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
    let start = hostile.start.iter().copied();
    let stream: Vec<u8> = start.chain((0..).map(hostile.byte)).take(len).collect();
    let depay = format!("b64jpegdepay max-errors=-1 max-frame-size={MAX_FRAME_SIZE}");
    let mut line = Line::start(&[&depay], None)?;

    let (memory, cpu) = (Memory::watch()?, cpu_time()?);
    for read in stream.chunks(CHUNK) {
        line.push(gst::Buffer::from_mut_slice(read.to_vec()))?;
    }
    line.finish()?;
    let figures = Figures {
        cpu: cpu_time()? - cpu,
        memory: memory.growth()?,
    };
    if figures.memory > MEMORY as u64 {
        return Err(format!("it took {:.1} MiB", mib(figures.memory)).into());
    }
    Ok(figures)
}

/// How this program was asked to run.
struct Options {
    smoke: bool,
    filters: Vec<String>,
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }
}

/// Runs this program again, and returns what it measured.
fn child(arguments: &[&str]) -> Result<Figures> {
    let output = Command::new(env::current_exe()?)
        .arg("--child")
        .args(arguments)
        .env("G_DEBUG", "fatal-warnings")
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

fn run_child(arguments: &[String]) -> Result<()> {
    gst::init()?;
    gstb64jpeg::plugin_register_static()?;
    let [what, index, rest @ ..] = arguments else {
        return Err("too few arguments".into());
    };
    let index: usize = index.parse()?;
    let figures = match (what.as_str(), rest) {
        ("measure", [clip, budget]) => {
            let budget = Duration::from_millis(budget.parse()?);
            measure(&cases()[index], Path::new(clip), budget)?
        }
        ("withstand", [len]) => withstand(&HOSTILE[index], len.parse()?)?,
        _ => return Err("unknown arguments".into()),
    };
    println!("{} {}", figures.cpu.as_nanos(), figures.memory);
    Ok(())
}

/// Encodes the clip; returns the average size of a frame.
fn encode(clip: &Path) -> Result<u64> {
    gst::init()?;
    fs::create_dir_all(clip)?;
    let description = CLIP.replacen(' ', &format!(" num-buffers={FRAMES} "), 1);
    let location = clip.join("%d.jpg");
    let sink = format!("multifilesink location=\"{}\"", location.display());
    let pipeline = gst::parse::launch(&format!("{description} ! {sink}"))?;
    pipeline.set_state(gst::State::Playing)?;
    let end = pipeline
        .bus()
        .expect("a pipeline has one")
        .timed_pop_filtered(
            gst::ClockTime::from_seconds(60),
            &[gst::MessageType::Eos, gst::MessageType::Error],
        );
    pipeline.set_state(gst::State::Null)?;
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        end => return Err(format!("cannot encode the clip: {end:?}").into()),
    }
    let sizes = (0..FRAMES).map(|i| Ok(fs::metadata(clip.join(format!("{i}.jpg")))?.len()));
    Ok(sizes.sum::<Result<u64>>()? / FRAMES as u64)
}

/// The instructions that base64 finds here.
fn simd() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512vbmi") {
            return "This CPU has AVX-512";
        }
        if is_x86_feature_detected!("avx2") {
            return "This CPU has AVX2, no AVX-512";
        }
    }
    "This CPU has neither AVX2 nor AVX-512"
}

/// The smallest, the middle and the largest.
fn spread(mut samples: Vec<f64>) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    [
        samples[0],
        samples[samples.len() / 2],
        samples[samples.len() - 1],
    ]
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// CPU of every case beside that of its peers.
fn compare(options: &Options) -> Result<()> {
    let clip = Path::new(env!("CARGO_TARGET_TMPDIR")).join("elements-clip");
    let size = encode(&clip)?;
    let clip = clip.to_str().ok_or("the target directory is not UTF-8")?;
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
            let figures = child(&["measure", &i.to_string(), clip, &budget])
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
        let figures = child(&["withstand", &i.to_string(), &len.to_string()])
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

fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let [flag, arguments @ ..] = &arguments[..]
        && flag == "--child"
    {
        return run_child(arguments);
    }
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if has("--list") {
        return Ok(());
    }
    let options = Options {
        // As criterion does it.
        smoke: has("--test") || !has("--bench"),
        filters: arguments
            .iter()
            .filter(|argument| !argument.starts_with('-'))
            .cloned()
            .collect(),
    };
    compare(&options)?;
    endure(&options)
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("elements: {error}");
            ExitCode::FAILURE
        }
    }
}
