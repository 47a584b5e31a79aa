// SPDX-License-Identifier: MPL-2.0

//! Pipelines given as the words of a `gst-launch-1.0` command, and a camera for them.

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

/// What a script runs, from its `--dry-run`.
pub struct Plan {
    /// Shell commands before it, for example ones that write files.
    pub before: String,
    /// The program and its arguments, without the plugin path.
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
        let printed = String::from_utf8(output.stdout)?;
        let (before, line) = printed
            .trim_end()
            .rsplit_once('\n')
            .unwrap_or(("", &printed));
        let words = glib::shell_parse_argv(line)?;
        let words = words.iter().map(|word| word.to_string_lossy().into_owned());
        Ok(Self {
            before: before.into(),
            program: words
                .skip_while(|word| word.starts_with("GST_PLUGIN_PATH="))
                .collect(),
        })
    }

    /// The pipeline description for `gst-launch-1.0`, without options.
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
    Ok(pipeline
        .downcast()
        .map_err(|_| "a single element is not a pipeline")?)
}

/// Starts a pipeline and prints the ports that it listens on.
pub fn start(pipeline: &gst::Pipeline) -> Result<()> {
    let _ = pipeline.set_state(gst::State::Playing); // the bus has the error
    for element in pipeline.iterate_elements() {
        let element = element?;
        if element.find_property("current-port").is_some() {
            println!("port {}", element.property::<i32>("current-port"));
        }
    }
    Ok(())
}

/// Feeds these frames to the element `camera` of a pipeline, repeatedly, until it refuses them. The
/// capture time of a frame is when it is fed.
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
