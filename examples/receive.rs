// SPDX-License-Identifier: MPL-2.0

//! Receives the frames of a server and reconnects when the server restarts.
//!
//! ```sh
//! pipelines/serve.sh test                     # in another terminal
//! cargo run --example receive [HOST[:PORT]]   # localhost:9999; Ctrl-C ends it
//! ```
//!
//! The plugin is linked statically. A program that loads the installed plugin, or finds it in
//! `GST_PLUGIN_PATH`, does not call `plugin_register_static`.

use std::env;

use anyhow::{Context, bail};
use gst::{MessageView, prelude::*};
use gst_app::AppSink;
use gst_video::{VideoFrameRef, VideoInfo, prelude::*};

fn main() -> anyhow::Result<()> {
    gst::init()?;
    gstb64jpeg::plugin_register_static()?;
    let address = env::args().nth(1).unwrap_or("localhost".into());

    // If processing takes long, the next frame is the newest one and not an old one.
    let pipeline = gst::parse::launch(&format!(
        "b64jpeg://{address} ! jpegdec ! videoconvert ! video/x-raw,format=GRAY8 \
         ! appsink name=sink sync=false max-buffers=1 drop=true"
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let ending = pipeline.downgrade();
    ctrlc::set_handler(move || {
        let pipeline = ending.upgrade();
        pipeline.map(|pipeline| pipeline.send_event(gst::event::Eos::new()));
    })?;
    let result = run(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    result
}

/// Processes frames and reports warnings until the stream ends.
fn run(pipeline: &gst::Pipeline) -> anyhow::Result<()> {
    let sink = pipeline.by_name("sink").and_downcast::<AppSink>();
    let sink = sink.context("there is no sink")?;
    let bus = pipeline.bus().context("there is no bus")?;
    let started = pipeline.set_state(gst::State::Playing);
    let mut count = 0;
    loop {
        for message in bus.iter() {
            match message.view() {
                MessageView::Eos(_) => return Ok(()),
                MessageView::Error(error) => bail!(error.error()),
                MessageView::Warning(warning) => eprintln!("{}", warning.error()),
                _ => {}
            }
        }
        started?; // the bus has the reason
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
            process(count, &sample)?;
            count += 1;
        }
    }
}

/// Prints the size of a frame and its brightness from 0 to 255.
fn process(number: u64, sample: &gst::Sample) -> anyhow::Result<()> {
    let info = VideoInfo::from_caps(sample.caps().context("there are no caps")?)?;
    let buffer = sample.buffer().context("there is no buffer")?;
    let picture = VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
    let (width, height) = (picture.width() as usize, picture.height());
    // A row in memory may be longer than the width.
    let stride = picture.plane_stride()[0] as usize;
    let rows = picture.plane_data(0)?.chunks(stride);
    let pixels = rows.flat_map(|row| &row[..width]);
    let sum: u64 = pixels.map(|&pixel| u64::from(pixel)).sum();
    let brightness = sum / (width as u64 * u64::from(height));
    println!("picture {number}: {width}x{height}, brightness {brightness}");
    Ok(())
}
