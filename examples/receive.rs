// SPDX-License-Identifier: MPL-2.0

//! Looks at each picture that a server sends, and waits for the server if need be.
//!
//! ```sh
//! pipelines/serve.sh test                     # in another terminal
//! cargo run --example receive [HOST[:PORT]]   # localhost:9999; Ctrl-C ends it
//! ```
//!
//! The plugin is linked in. A program that finds it in `GST_PLUGIN_PATH`, or installed,
//! leaves `plugin_register_static` out.

use std::env;

use anyhow::{Context, bail};
use gst::{MessageView, prelude::*};
use gst_app::AppSink;
use gst_video::{VideoFrameRef, VideoInfo, prelude::*};

fn main() -> anyhow::Result<()> {
    gst::init()?;
    gstb64jpeg::plugin_register_static()?;
    let address = env::args().nth(1).unwrap_or("localhost".into());

    // Whoever takes long to look gets the newest picture next, not an old one.
    let pipeline = gst::parse::launch(&format!(
        "b64jpeg://{address} ! jpegdec ! videoconvert ! video/x-raw,format=GRAY8 \
         ! appsink name=sink sync=false max-buffers=1 drop=true"
    ))?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("it is one");
    let ending = pipeline.downgrade();
    ctrlc::set_handler(move || {
        let pipeline = ending.upgrade();
        pipeline.map(|pipeline| pipeline.send_event(gst::event::Eos::new()));
    })?;
    let result = run(&pipeline);
    pipeline.set_state(gst::State::Null)?;
    result
}

/// Looks at the pictures, and tells what is wrong meanwhile.
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
        started?; // the bus said why not
        if let Some(sample) = sink.try_pull_sample(gst::ClockTime::from_mseconds(100)) {
            look(count, &sample)?;
            count += 1;
        }
    }
}

/// Prints the size of a picture, and its brightness from 0 to 255.
fn look(number: u64, sample: &gst::Sample) -> anyhow::Result<()> {
    let info = VideoInfo::from_caps(sample.caps().context("there are no caps")?)?;
    let buffer = sample.buffer().context("there is no buffer")?;
    let picture = VideoFrameRef::from_buffer_ref_readable(buffer, &info)?;
    let (width, height) = (picture.width() as usize, picture.height());
    // In memory a row may be longer than the picture is wide.
    let stride = picture.plane_stride()[0] as usize;
    let rows = picture.plane_data(0)?.chunks(stride);
    let pixels = rows.flat_map(|row| &row[..width]);
    let sum: u64 = pixels.map(|&pixel| u64::from(pixel)).sum();
    let brightness = sum / (width as u64 * u64::from(height));
    println!("picture {number}: {width}x{height}, brightness {brightness}");
    Ok(())
}
