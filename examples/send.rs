// SPDX-License-Identifier: MPL-2.0

//! Draws frames and sends them to every client.
//!
//! ```sh
//! cargo run --example send [ADDRESS:PORT]   # 127.0.0.1:9999; Ctrl-C ends it
//! pipelines/watch.sh                        # in another terminal
//! ```
//!
//! The plugin is linked statically. A program that loads the installed plugin, or finds it in
//! `GST_PLUGIN_PATH`, does not call `plugin_register_static`.

use std::{env, net::SocketAddr, thread, time::Duration};

use anyhow::bail;
use gst::prelude::*;
use gst_video::{VideoFormat, VideoInfo};

const WIDTH: usize = 320;
/// Width of a white bar on black, and the distance it moves from frame to frame.
const BAR: usize = 16;

fn main() -> anyhow::Result<()> {
    gst::init()?;
    gstb64jpeg::plugin_register_static()?;
    let address = env::args().nth(1).unwrap_or("127.0.0.1:9999".into());
    let address: SocketAddr = address.parse()?;

    // The source is live, so only the newest frame is queued.
    let pipeline = gst::parse::launch(
        "appsrc name=source is-live=true do-timestamp=true format=time \
             max-buffers=1 leaky-type=downstream \
         ! jfifconvert ! jpegenc \
         ! b64jpegserversink name=server",
    )?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().expect("a pipeline");
    let source = pipeline.by_name("source").and_downcast::<gst_app::AppSrc>();
    let source = source.expect("an element");
    let info = VideoInfo::builder(VideoFormat::Rgb, WIDTH as u32, 240).build()?;
    source.set_caps(Some(&info.to_caps()?));
    let server = pipeline.by_name("server").expect("an element");
    server.set_property("host", address.ip().to_string());
    server.set_property("port", i32::from(address.port()));

    let started = pipeline.set_state(gst::State::Playing);
    if started.is_ok() {
        println!("Serving on port {}", server.property::<i32>("current-port"));
        let ending = source.clone();
        ctrlc::set_handler(move || {
            let _ = ending.end_of_stream();
        })?;
        thread::spawn(move || send(&source, &info));
    }
    // If the pipeline has not started, the bus has the reason.
    let timeout = started.is_err().then_some(gst::ClockTime::ZERO);
    let ends = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().expect("a bus");
    let end = bus.iter_timed_filtered(timeout, &ends).next();
    pipeline.set_state(gst::State::Null)?;
    if let Some(gst::MessageView::Error(error)) = end.as_ref().map(|end| end.view()) {
        bail!(error.error());
    }
    Ok(started.map(drop)?)
}

/// Pushes frames from a thread of its own, as a camera or a model does.
fn send(source: &gst_app::AppSrc, info: &VideoInfo) {
    for x in (0..WIDTH).step_by(BAR).cycle() {
        let mut picture = vec![0; info.size()];
        for row in picture.chunks_exact_mut(info.stride()[0] as usize) {
            row[3 * x..3 * (x + BAR)].fill(255);
        }
        let picture = gst::Buffer::from_mut_slice(picture);
        if source.push_buffer(picture).is_err() {
            break; // the stream has ended
        }
        thread::sleep(Duration::from_millis(40));
    }
}
