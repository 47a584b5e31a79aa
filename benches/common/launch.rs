// SPDX-License-Identifier: MPL-2.0

//! Pipelines in words, as `gst-launch-1.0` has them, and a camera for them.

use std::{
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gst::{glib, prelude::*};

use super::Result;

pub fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

/// What a script would do.
pub struct Plan {
    /// What comes before, such as files, as commands of a shell.
    pub before: String,
    /// What it runs then, wherever that finds plugins.
    pub program: Vec<String>,
}

impl Plan {
    pub fn of(name: &str, arguments: &[&str]) -> Result<Self> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("pipelines")
            .join(name);
        let output = Command::new(path)
            .args(arguments)
            .arg("--dry-run")
            .stderr(Stdio::inherit())
            .output()?;
        let said = String::from_utf8(output.stdout)?;
        let (before, line) = said.trim_end().rsplit_once('\n').unwrap_or(("", &said));
        let words = glib::shell_parse_argv(line)?;
        let words = words.iter().map(|word| word.to_string_lossy().into_owned());
        Ok(Self {
            before: before.into(),
            program: words
                .skip_while(|word| word.starts_with("GST_PLUGIN_PATH="))
                .collect(),
        })
    }

    /// The words for `gst-launch-1.0`, without its options.
    pub fn pipeline(self) -> Vec<String> {
        let words = self.program.into_iter().skip(1);
        words.skip_while(|word| word.starts_with('-')).collect()
    }
}

/// The pipeline that a script runs.
pub fn script(name: &str, arguments: &[&str]) -> Result<Vec<String>> {
    Ok(Plan::of(name, arguments)?.pipeline())
}

pub fn pipeline<S: AsRef<str>>(words: &[S]) -> Result<gst::Pipeline> {
    let words: Vec<_> = words.iter().map(AsRef::as_ref).collect();
    let pipeline = gst::parse::launchv(&words)?;
    Ok(pipeline.downcast().map_err(|_| "one element is none")?)
}

/// Starts a pipeline, and prints where it listens.
pub fn start(pipeline: &gst::Pipeline) -> Result<()> {
    let _ = pipeline.set_state(gst::State::Playing); // the bus says more
    for element in pipeline.iterate_elements() {
        let element = element?;
        if element.find_property("current-port").is_some() {
            println!("port {}", element.property::<i32>("current-port"));
        }
    }
    Ok(())
}

/// Has the camera of a pipeline show these frames, round and round, until nobody wants any
/// more. They are captured when they leave it.
pub fn film(
    pipeline: &gst::Pipeline,
    caps: Option<gst::Caps>,
    frames: Vec<gst::Buffer>,
    interval: Duration,
) {
    let camera = pipeline.by_name("camera");
    let Some(camera) = camera.and_downcast::<gst_app::AppSrc>() else {
        return;
    };
    camera.set_caps(caps.as_ref());
    thread::spawn(move || {
        let start = Instant::now();
        for (number, frame) in (0..).zip(frames.iter().cycle()) {
            let due = interval * number;
            thread::sleep(due.saturating_sub(start.elapsed()));
            let mut frame = frame.clone();
            let header = frame.make_mut();
            header.set_pts(camera.current_running_time());
            header.set_dts(None);
            header.set_duration(gst::ClockTime::try_from(interval).ok());
            if camera.push_buffer(frame).is_err() {
                return;
            }
        }
    });
}
