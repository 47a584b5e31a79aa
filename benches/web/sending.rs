// SPDX-License-Identifier: MPL-2.0

//! CPU time of a camera for each frame that it sends to a relay.

use std::{fs, path::PathBuf, time::Duration};

use gst::prelude::*;

use crate::{
    common::{self, FRAMES, Line, Options, Result, jpegs, process::Process, spread},
    peer::peer,
    servers::{ServerKind, run_commands},
    viewer::{Viewer, ViewerKind},
};

pub const TABLE: &str = "sending";

const ROUNDS: usize = 3;
const RATE: f64 = 30.0;
const COUNT: usize = 90;
const WARM_UP: usize = 30;

/// Full-range 720p, as in JPEG, which makes frames of 92 KB at quality 80.
const RECORDING: &str = "videotestsrc num-buffers=FRAMES pattern=zone-plate kx2=8 ky2=8 kt=30 ! \
    video/x-raw,format=I420,width=1280,height=720,framerate=30/1,colorimetry=1:4:0:0 ! \
    videoconvert ! video/x-raw,format=FORMAT ! filesink location=\"FILE\"";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    /// As from cameras and decoders.
    I420,
    /// As in OpenCV.
    Bgr,
    Jpeg,
}

impl Source {
    fn file(self) -> PathBuf {
        let name = format!("web-{self:?}").to_lowercase();
        PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
    }

    fn caps(self) -> gst::Caps {
        let raw = |format| {
            let caps = gst::Caps::builder("video/x-raw").field("format", format);
            let caps = caps.field("width", 1280).field("height", 720);
            caps.field("framerate", gst::Fraction::new(30, 1))
        };
        match self {
            Self::I420 => raw("I420").field("colorimetry", "1:4:0:0").build(),
            Self::Bgr => raw("BGR").build(),
            Self::Jpeg => common::caps(),
        }
    }

    fn record(self) -> Result<()> {
        let format = match self {
            Self::I420 => "I420",
            Self::Bgr => "BGR",
            Self::Jpeg => return Ok(()),
        };
        let file = self.file();
        let film = RECORDING
            .replace("FRAMES", &FRAMES.to_string())
            .replace("FORMAT", format)
            .replace("FILE", file.to_str().ok_or("a path is not UTF-8")?);
        let pipeline = gst::parse::launch(&film)?;
        pipeline.set_state(gst::State::Playing)?;
        let end = common::wait(&pipeline);
        pipeline.set_state(gst::State::Null)?;
        end
    }

    fn frames(self) -> Result<Vec<gst::Buffer>> {
        if self == Self::Jpeg {
            return jpegs();
        }
        let film = fs::read(self.file())?;
        let frames = film.chunks(film.len() / FRAMES);
        Ok(frames
            .map(|frame| gst::Buffer::from_slice(frame.to_vec()))
            .collect())
    }
}

struct Row {
    name: &'static str,
    table: &'static str,
    source: Source,
    program: Program,
}

enum Program {
    /// The elements before the sink, and options of the sink.
    Ours(&'static str, &'static str),
    /// Options of `streamer.py`.
    Python(&'static [&'static str]),
}

const ENCODED: &str = "sending 720p, encoded";
const AS_IT_IS: &str = "sending JPEGs as they are";
const PYTHON: &str = "Python: simplejpeg, python-socketio";
const PYTHON_JPEG: &str = "Python: python-socketio";

const ROWS: [Row; 8] = [
    Row {
        name: PYTHON,
        table: ENCODED,
        source: Source::Bgr,
        program: Program::Python(&["--encoder", "simplejpeg"]),
    },
    Row {
        name: "Python: OpenCV, python-socketio",
        table: ENCODED,
        source: Source::Bgr,
        program: Program::Python(&["--encoder", "cv2"]),
    },
    Row {
        name: "jpegenc ! socketioclientsink",
        table: ENCODED,
        source: Source::I420,
        program: Program::Ours("jpegenc quality=80 !", ""),
    },
    Row {
        name: "jfifconvert ! jpegenc ! …, from BGR",
        table: ENCODED,
        source: Source::Bgr,
        program: Program::Ours("jfifconvert ! jpegenc quality=80 !", ""),
    },
    Row {
        name: PYTHON_JPEG,
        table: AS_IT_IS,
        source: Source::Jpeg,
        program: Program::Python(&[]),
    },
    Row {
        name: "  binary",
        table: AS_IT_IS,
        source: Source::Jpeg,
        program: Program::Python(&["--binary"]),
    },
    Row {
        name: "socketioclientsink",
        table: AS_IT_IS,
        source: Source::Jpeg,
        program: Program::Ours("", ""),
    },
    Row {
        name: "  payload=binary",
        table: AS_IT_IS,
        source: Source::Jpeg,
        program: Program::Ours("", "payload=binary"),
    },
];

/// CPU time per frame, its size in bytes, and the number of frames that arrived.
struct SendingFigures {
    cpu: Duration,
    size: usize,
    seen: usize,
}

impl Row {
    fn peer(&self) -> &'static str {
        match self.table {
            ENCODED => PYTHON,
            _ => PYTHON_JPEG,
        }
    }

    fn start(&self, index: usize, address: &str) -> Result<Process> {
        let Program::Python(options) = self.program else {
            return Process::again(&["send", &index.to_string(), address]);
        };
        let mut command = peer("camera.py");
        command.args(options).arg(format!("http://{address}"));
        match self.source {
            Source::Jpeg => command.arg(common::clip()),
            _ => command.arg(self.source.file()),
        };
        Process::start(command)
    }

    fn run(&self, index: usize, warm_up: usize, count: usize) -> Result<SendingFigures> {
        let relay = ServerKind::Node.start_without_feed()?;
        let viewer = Viewer::connect(&relay.address, ViewerKind::Event)?.watch(Duration::ZERO);
        let mut camera = self.start(index, &relay.address)?;
        camera.command("wait 1")?;
        let push = |count| format!("push {count} {RATE} false");
        camera.command(&push(warm_up))?;
        let before = camera.cpu_at_rest()?;
        camera.command(&push(count))?;
        let cpu = camera.cpu_at_rest()? - before;
        camera.finish()?;
        drop(relay);
        let seen = viewer.end()?;
        let sizes: usize = seen.iter().map(|seen| seen.len).sum();
        Ok(SendingFigures {
            cpu: cpu.div_f64(count as f64),
            size: sizes.checked_div(seen.len()).ok_or("nothing arrived")?,
            seen: seen.len().saturating_sub(warm_up),
        })
    }
}

/// The child process of a row with `socketioclientsink`.
pub fn send(index: &str, address: &str) -> Result<()> {
    let row = &ROWS[index.parse::<usize>()?];
    let Program::Ours(before, options) = row.program else {
        return Err("this row has no child process".into());
    };
    let sink = format!(
        "{before} socketioclientsink name=sink url=http://{address} sync=false async=false {options}"
    );
    let line = Line::start(&sink, Some(&row.source.caps()))?;
    run_commands(line, &row.source.frames()?, "connected")
}

pub fn bench(options: &Options) -> Result<()> {
    if options.smoke && !ServerKind::Node.is_installed() {
        println!("{TABLE}: skipped, because the peers of the tests are not installed");
        return Ok(());
    }
    for source in [Source::I420, Source::Bgr] {
        source.record()?;
    }
    let rows = || {
        ROWS.iter()
            .enumerate()
            .filter(|(_, row)| options.wants(row.table))
    };
    let mut samples: Vec<Vec<SendingFigures>> = ROWS.iter().map(|_| Vec::new()).collect();
    let (rounds, warm_up, count) = match options.smoke {
        true => (1, 1, FRAMES),
        false => (ROUNDS, WARM_UP, COUNT),
    };
    for _ in 0..rounds {
        for (index, row) in rows() {
            let (name, table) = (row.name.trim(), row.table);
            let figures = row.run(index, warm_up, count);
            samples[index].push(figures.map_err(|error| format!("{name}, {table}: {error}"))?);
            if options.smoke {
                println!("{name}, {table}: ok");
            }
        }
    }
    if options.smoke {
        return Ok(());
    }
    let median = |index: usize| {
        let cpu = samples[index].iter().map(|figures| figures.cpu);
        spread(cpu.map(|cpu| cpu.as_secs_f64() * 1e6).collect())
    };
    let mut table = "";
    for (index, row) in rows() {
        if table != row.table {
            table = row.table;
            let heading = format!("{table}, {RATE}/s");
            println!(
                "\n{heading:<38}{:>9}{:>20}{:>10}{:>8}{:>8}",
                "us", "(min - max)", "/ Python", "KB", "seen"
            );
        }
        let [min, middle, max] = median(index);
        let peer = rows().find(|(_, other)| (other.table, other.name) == (table, row.peer()));
        let ratio = peer.map(|(peer, _)| format!("{:.2}", middle / median(peer)[1]));
        let size = samples[index][0].size as f64 / 1e3;
        let seen = samples[index].iter().map(|figures| figures.seen).min();
        println!(
            "{:<38}{middle:>9.0}{:>20}{:>10}{size:>8.1}{:>8}",
            row.name,
            format!("({min:.0} - {max:.0})"),
            ratio.unwrap_or_default(),
            format!("{} %", seen.unwrap_or_default() * 100 / COUNT)
        );
    }
    println!(
        "\nCPU time per frame of the program at the camera, with the Node relay. / Python: {PYTHON}, \
         or {PYTHON_JPEG}. Target: 0.25."
    );
    Ok(())
}
