// SPDX-License-Identifier: MPL-2.0

//! The age of frames on their way from a camera to a viewer.
//!
//! The camera produces 720p at 30 frames/s: it repeats the first second of the clip, decoded in
//! memory. The capture time of a frame is when it leaves the camera.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use gst::prelude::*;

use super::programs::{Clips, Program};
use crate::common::{
    Result,
    launch::{self, script, words},
    memory,
    process::Process,
};

const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
const FILM: usize = 30;

/// A sender with a camera, and its receiver.
pub struct Chain {
    pub name: &'static str,
    sender: Program,
    receiver: Program,
    /// The number of places at which each of them measures.
    places: [usize; 2],
}

/// A place and the age of frames there in a window, in milliseconds: median, 99th percentile and
/// maximum.
pub type Ages = (String, [f64; 3]);

pub fn chains(window: Duration) -> Result<[Chain; 2]> {
    let seconds = window.as_secs_f64();
    let mut film = script("serve.sh", &["--no-preview", "--port=0", "test"])?;
    // The part before the queue is the test source.
    let queue = film
        .iter()
        .position(|word| word == "queue")
        .ok_or("no queue")?;
    film.splice(
        ..queue,
        words("appsrc name=camera is-live=true format=time !"),
    );
    film.splice(..0, [seconds.to_string(), "{clip}".into()]);
    let mut watch = script("watch.sh", &["--no-display", "127.0.0.1:9999"])?;
    for word in watch.iter_mut().filter(|word| *word == "port=9999") {
        *word = "port={port}".into();
    }
    watch.insert(0, seconds.to_string());
    Ok([
        Chain {
            name: "serve.sh, watch.sh",
            sender: Program::Child("film", film),
            receiver: Program::Child("watch", watch),
            places: [1, 2],
        },
        Chain {
            name: "Python pair",
            sender: Program::python(&format!("--live {seconds} send {{clip}}")),
            receiver: Program::python(&format!("--live {seconds} receive {{port}}")),
            places: [0, 1],
        },
    ])
}

impl Chain {
    /// Runs the chain. Reports for each window but the first the ages and the memory of both
    /// programs in KiB.
    pub fn run(
        &self,
        clips: &Clips,
        windows: usize,
        mut report: impl FnMut(Vec<Ages>, [u64; 2]),
    ) -> Result<()> {
        let mut sender = self.sender.start(clips, None)?;
        let mut receiver = self.receiver.start(clips, Some(sender.port()?))?;
        for window in 0..=windows {
            let mut ages = Vec::new();
            for (program, places) in [&mut sender, &mut receiver].into_iter().zip(self.places) {
                for _ in 0..places {
                    ages.push(read_ages(program)?);
                }
            }
            if window > 0 {
                report(ages, [memory(sender.id())?, memory(receiver.id())?]);
            }
        }
        Ok(())
    }
}

fn read_ages(program: &mut Process) -> Result<Ages> {
    let line = program.read_line()?;
    let mut words = line.split(' ');
    let place = words.next().unwrap_or_default().into();
    let ages: Vec<f64> = words.map(str::parse).collect::<Result<_, _>>()?;
    let ages = <[f64; 3]>::try_from(ages).map_err(|_| format!("the child printed {line:?}"))?;
    Ok((place, ages.map(|us| us / 1e3)))
}

/// Where the age is measured: element, pad and name of the place.
const PLACES: [(&str, &str, &str); 3] = [
    ("b64jpegserversink", "sink", "encoded"),
    ("b64jpegclientsrc", "src", "arrived"),
    ("jpegdec", "src", "decoded"),
];

/// Runs a live pipeline until it is killed.
pub fn child(arguments: &[&str]) -> Result<()> {
    let (film, window, words) = match *arguments {
        ["film", window, clip, ref words @ ..] => (decode(clip)?, window, words),
        ["watch", window, ref words @ ..] => (Vec::new(), window, words),
        _ => return Err("unknown arguments".into()),
    };
    let pipeline = launch::pipeline(words)?;
    let ages = Arc::<Mutex<BTreeMap<&str, Vec<u64>>>>::default();
    for element in pipeline.iterate_elements() {
        let element = element?;
        let factory = element.factory().map(|factory| factory.name());
        let mut places = PLACES.iter();
        let Some(&(_, pad, place)) = places.find(|(name, ..)| factory.as_deref() == Some(name))
        else {
            continue;
        };
        let pad = element
            .static_pad(pad)
            .ok_or("the element has no such pad")?;
        let ages = ages.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(age) = info.buffer().and_then(|buffer| age(&element, buffer)) {
                ages.lock().unwrap().entry(place).or_default().push(age);
            }
            gst::PadProbeReturn::Ok
        });
    }
    launch::start(&pipeline)?;
    let caps = film.first().and_then(|sample| sample.caps_owned());
    let frames = film
        .iter()
        .filter_map(|sample| sample.buffer_owned())
        .collect();
    launch::film(&pipeline, caps, frames, FRAME);

    let window = Duration::from_secs_f64(window.parse()?);
    let bus = pipeline.bus().ok_or("there is no bus")?;
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let mut end = Instant::now();
    loop {
        end += window;
        let left = end.saturating_duration_since(Instant::now());
        if let Some(message) = bus.timed_pop_filtered(gst::ClockTime::try_from(left)?, &ends) {
            pipeline.set_state(gst::State::Null)?;
            return Err(format!("the pipeline ended: {message:?}").into());
        }
        for (place, mut ages) in std::mem::take(&mut *ages.lock().unwrap()) {
            ages.sort_unstable();
            let len = ages.len();
            let (median, p99, max) = (ages[len / 2], ages[len * 99 / 100], ages[len - 1]);
            println!("{place} {median} {p99} {max}");
        }
    }
}

/// The first frames of a clip.
fn decode(clip: &str) -> Result<Vec<gst::Sample>> {
    let pipeline = launch::pipeline(&words(
        "filesrc name=clip ! decodebin ! appsink name=film sync=false",
    ))?;
    pipeline
        .by_name("clip")
        .ok_or("no source")?
        .set_property("location", clip);
    let sink = pipeline
        .by_name("film")
        .and_downcast::<gst_app::AppSink>()
        .ok_or("no sink")?;
    pipeline.set_state(gst::State::Playing)?;
    let film = (0..FILM)
        .map(|_| sink.pull_sample())
        .collect::<Result<_, _>>();
    pipeline.set_state(gst::State::Null)?;
    Ok(film?)
}

/// The age of a frame in microseconds: in the receiver from its capture time, in the sender from
/// its timestamp.
fn age(element: &gst::Element, buffer: &gst::BufferRef) -> Option<u64> {
    if let Some(meta) = buffer.meta::<gst::ReferenceTimestampMeta>() {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .ok()?
            .as_nanos() as u64;
        return Some(now.saturating_sub(meta.timestamp().nseconds()) / 1000);
    }
    let age = element.current_running_time()?.checked_sub(buffer.pts()?)?;
    Some(age.useconds())
}
