// SPDX-License-Identifier: MPL-2.0

//! Code that the benches of whole pipelines share.
#![allow(dead_code, reason = "each bench uses its own part")]

pub mod launch;
pub mod parts;
pub mod process;

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use gst::prelude::*;
use nix::{time::ClockId, unistd::Pid};

pub type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Number of distinct frames, which are used repeatedly: few enough to stay in the cache, like
/// frames that an encoder has just written.
pub const FRAMES: usize = 8;
/// Frames of about 61 KB, 82 KB as base64. The size is a multiple of 8 because RTP carries only
/// whole blocks.
const CLIP: &str = "videotestsrc pattern=zone-plate kx2=13 ky2=13 kt=30 ! \
    video/x-raw,format=I420,width=800,height=448,framerate=25/1 ! jpegenc quality=80";
const CAPS: &str = "image/jpeg,width=800,height=448,framerate=25/1";

pub fn caps() -> gst::Caps {
    CAPS.parse().expect("valid caps")
}

/// The directory of the encoded JPEGs.
pub fn clip() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("elements-clip")
}

/// Encodes the JPEGs for all processes; returns their average size.
pub fn encode() -> Result<usize> {
    fs::create_dir_all(clip())?;
    let description = CLIP.replacen(' ', &format!(" num-buffers={FRAMES} "), 1);
    let location = clip().join("%d.jpg");
    let sink = format!("multifilesink location=\"{}\"", location.display());
    let pipeline = gst::parse::launch(&format!("{description} ! {sink}"))?;
    pipeline.set_state(gst::State::Playing)?;
    let end = wait(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    end.map_err(|error| format!("cannot encode the clip: {error}"))?;
    Ok(bytes(&jpegs()?)?.len() / FRAMES)
}

/// Waits for EOS. Returns the error if there is one before.
pub fn wait(pipeline: &impl IsA<gst::Element>) -> Result<()> {
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().expect("a pipeline has one");
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &ends);
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => Err(text(error).into()),
        _ => Err("the pipeline does not end".into()),
    }
}

fn text(error: &gst::message::Error) -> String {
    format!("{}: {:?}", error.error(), error.debug())
}

/// The JPEGs that [`encode`] has written.
pub fn jpegs() -> Result<Vec<gst::Buffer>> {
    let jpeg = |i| Ok(fs::read(clip().join(format!("{i}.jpg")))?);
    (0..FRAMES)
        .map(|i| jpeg(i).map(gst::Buffer::from_slice))
        .collect()
}

/// A running pipeline and a pad on which this thread pushes buffers into it.
pub struct Line {
    pipeline: gst::Pipeline,
    source: gst::Pad,
    pub sink: gst::Element,
    error: Arc<Mutex<Option<String>>>,
    pub pushed: u64,
}

impl Line {
    /// Starts the pipeline `description`, which must have an element named `sink`.
    pub fn start(description: &str, caps: Option<&gst::Caps>) -> Result<Self> {
        let pipeline = gst::parse::launch(&format!("identity name=entry ! {description}"))?
            .downcast::<gst::Pipeline>()
            .expect("several elements make a pipeline");
        let error = Arc::<Mutex<Option<String>>>::default();
        let first_error = error.clone();
        pipeline
            .bus()
            .expect("a pipeline has one")
            .set_sync_handler(move |_, message| {
                if let gst::MessageView::Error(error) = message.view() {
                    first_error.lock().unwrap().get_or_insert(text(error));
                }
                gst::BusSyncReply::Drop
            });
        let entry = pipeline.by_name("entry").expect("it is in the description");
        let entry = entry.static_pad("sink").expect("it has this pad");
        let source = gst::Pad::new(gst::PadDirection::Src);
        source.set_active(true)?;
        source.link(&entry)?;
        pipeline.set_state(gst::State::Playing)?;
        source.push_event(gst::event::StreamStart::new("bench"));
        if let Some(caps) = caps {
            source.push_event(gst::event::Caps::new(caps));
        }
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        source.push_event(gst::event::Segment::new(&segment));
        Ok(Self {
            sink: pipeline.by_name("sink").ok_or("there is no sink")?,
            pipeline,
            source,
            error,
            pushed: 0,
        })
    }

    pub fn push(&mut self, buffer: gst::Buffer) -> Result<()> {
        self.pushed += 1;
        self.source
            .push(buffer)
            .map_err(|flow| self.error().unwrap_or_else(|| flow.to_string()))?;
        Ok(())
    }

    /// Pushes each of `frames` once, with timestamps for 25 frames per second.
    pub fn push_all(&mut self, frames: &[gst::Buffer]) -> Result<()> {
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

    /// Like [`push_all`](Self::push_all); returns the buffers that arrive at the sink meanwhile.
    pub fn record(&mut self, frames: &[gst::Buffer]) -> Result<Vec<gst::Buffer>> {
        let arrived = Arc::<Mutex<Vec<gst::Buffer>>>::default();
        let pad = self.pad("sink", "sink");
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

    /// A pad of an element in the description.
    pub fn pad(&self, element: &str, pad: &str) -> gst::Pad {
        let element = self.pipeline.by_name(element);
        let pad = element.and_then(|element| element.static_pad(pad));
        pad.expect("it is in the description")
    }

    fn error(&self) -> Option<String> {
        self.error.lock().unwrap().clone()
    }

    /// Sends EOS. Returns the number of buffers that have arrived.
    pub fn finish(self) -> Result<u64> {
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

pub fn buffers(info: &gst::PadProbeInfo) -> Vec<gst::Buffer> {
    match &info.data {
        Some(gst::PadProbeData::Buffer(buffer)) => vec![buffer.clone()],
        Some(gst::PadProbeData::BufferList(list)) => list.iter_owned().collect(),
        _ => Vec::new(),
    }
}

/// Calls `act` for each number below `count`, at intervals of `interval` or more.
pub fn pace(
    count: usize,
    interval: Duration,
    mut act: impl FnMut(usize) -> Result<()>,
) -> Result<()> {
    let start = Instant::now();
    for i in 0..count {
        thread::sleep((interval * i as u32).saturating_sub(start.elapsed()));
        act(i)?;
    }
    Ok(())
}

/// Waits until a property has the value `wanted`.
pub fn wait_for(element: &gst::Element, property: &str, wanted: u32) -> Result<()> {
    for _ in 0..10_000 {
        let value = element.property_value(property);
        if value.transform::<u32>()?.get::<u32>()? == wanted {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(1));
    }
    Err(format!("{property} does not become {wanted}").into())
}

/// User and system time of a process, with all its threads, also ended ones, in nanoseconds.
pub fn cpu_time(process: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(process.try_into()?))?;
    Ok(clock.now()?.into())
}

/// Resident memory of a process, in KiB.
pub fn memory(process: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    Ok(kib.ok_or("no memory figures in /proc")?.parse()?)
}

pub fn bytes(buffers: &[gst::Buffer]) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for buffer in buffers {
        bytes.extend_from_slice(&buffer.map_readable()?);
    }
    Ok(bytes)
}

/// The command line.
#[derive(Clone)]
pub struct Options {
    pub smoke: bool,
    pub filters: Vec<String>,
    /// How long to measure, for benches with this option.
    pub minutes: Option<usize>,
    /// File to write the figures to as JSON.
    pub json: Option<PathBuf>,
}

impl Options {
    fn of(arguments: &[&str]) -> Result<Self> {
        let mut options = Self {
            // The same as with criterion.
            smoke: arguments.contains(&"--test") || !arguments.contains(&"--bench"),
            filters: Vec::new(),
            minutes: None,
            json: None,
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            if argument == "--minutes" {
                let minutes = arguments.next().ok_or("--minutes needs a number")?;
                options.minutes = Some(minutes.parse()?);
            } else if argument == "--json" {
                let file = arguments.next().ok_or("--json needs a file")?;
                options.json = Some(file.into());
            } else if !argument.starts_with('-') {
                options.filters.push(argument.into());
            }
        }
        Ok(options)
    }

    pub fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter))
    }
}

/// Which vector instructions base64 can use on this CPU.
pub fn simd() -> &'static str {
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

/// Minimum, median and maximum.
pub fn spread(mut samples: Vec<f64>) -> [f64; 3] {
    samples.sort_by(f64::total_cmp);
    [
        samples[0],
        samples[samples.len() / 2],
        samples[samples.len() - 1],
    ]
}

/// The command that runs this program as a child process.
pub fn child() -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.arg("--child").env("G_DEBUG", "fatal-warnings");
    Ok(command)
}

/// Runs the bench, or the task of a [`child`].
pub fn main(child: fn(&[&str]) -> Result<()>, bench: fn(&Options) -> Result<()>) -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let run = || {
        gst::init()?;
        gstb64jpeg::plugin_register_static()?;
        match &arguments[..] {
            ["--child", arguments @ ..] => child(arguments),
            arguments if arguments.contains(&"--list") => Ok(()),
            arguments => bench(&Options::of(arguments)?),
        }
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", env!("CARGO_CRATE_NAME"));
            ExitCode::FAILURE
        }
    }
}
