// SPDX-License-Identifier: MPL-2.0

//! The tasks of the child processes.

use std::{
    io::{self, BufReader, ErrorKind},
    net::{TcpListener, TcpStream},
    sync::atomic::{AtomicU64, Ordering},
};

use gst::prelude::*;

use crate::common::{
    self, Result,
    launch::{pipeline, start},
    parts::{next_of_be32, next_part},
};

pub fn run(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["send", words @ ..] => {
            let pipeline = pipeline(words)?;
            start(&pipeline)?;
            play(&pipeline)
        }
        ["receive", words @ ..] => receive(&pipeline(words)?),
        ["read", wire, port] => read(wire, &format!("127.0.0.1:{port}")),
        ["film" | "watch", ..] => super::delay::child(arguments),
        _ => Err("unknown arguments".into()),
    }
}

/// Plays a pipeline to its end.
pub fn play(pipeline: &gst::Pipeline) -> Result<()> {
    let _ = pipeline.set_state(gst::State::Playing); // the bus has the error
    let end = common::wait(pipeline);
    pipeline.set_state(gst::State::Null)?;
    end
}

/// Prints the number of every tenth frame.
fn print_progress(frame: u64) {
    if frame.is_multiple_of(10) {
        println!("frame={frame}");
    }
}

/// Plays a pipeline to its end, and prints the progress at its sink.
fn receive(pipeline: &gst::Pipeline) -> Result<()> {
    let count = AtomicU64::new(0);
    let sink = pipeline
        .iterate_sinks()
        .into_iter()
        .next()
        .ok_or("the pipeline has no sink")??;
    let pad = sink.static_pad("sink").ok_or("the sink has no pad")?;
    pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
        print_progress(count.fetch_add(1, Ordering::Relaxed) + 1);
        gst::PadProbeReturn::Ok
    });
    play(pipeline)
}

/// Reads frames: `be32` by connecting to the sender, `multipart` by listening for it.
fn read(wire: &str, address: &str) -> Result<()> {
    let (stream, next): (_, fn(&mut _) -> io::Result<Vec<u8>>) = match wire {
        "be32" => (TcpStream::connect(address)?, next_of_be32),
        _ => (TcpListener::bind(address)?.accept()?.0, next_part),
    };
    let mut stream = BufReader::with_capacity(1 << 18, stream);
    for frame in 1.. {
        match next(&mut stream) {
            Ok(_) => print_progress(frame),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
