// SPDX-License-Identifier: MPL-2.0

//! The programs that are compared, and how they are measured.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use super::programs::*;
use crate::common::{
    Result, cpu_time,
    launch::{script, words},
    process::wait_for_listener,
};

/// The frames between which is measured, so that start and end do not count.
const FIRST: u64 = 30;
const LAST: u64 = 1000;

/// One row of a table.
pub struct Case {
    pub table: &'static str,
    pub name: &'static str,
    /// `None` if the receiver reads the clip itself.
    pub sender: Option<Program>,
    pub receiver: Program,
}

/// The result for a case.
pub struct Figures {
    /// CPU time per frame of the programs that are compared.
    pub cpu: Duration,
    /// Frames per second.
    pub frames: f64,
}

const SENDERS: &str = "senders";
const STEPS: &str = "steps of a sender";
const SYSTEMS: &str = "systems";
const PASSTHROUGH: &str = "JPEGs as they are";

impl Case {
    pub fn all(clip: &str) -> Result<Vec<Self>> {
        const DECODE: &str = "filesrc location={clip} ! decodebin";
        const SIZE: &str = "video/x-raw,width=800,pixel-aspect-ratio=1/1";
        const JPEG: &str = "jpegenc quality=80";
        const TO_CALLER: &str =
            "multipartmux ! tcpclientsink host=127.0.0.1 port={port} sync=false";
        const OUR_SINK: &str =
            "b64jpegserversink port=0 wait-for-client=true max-clients=1 sync=false";
        const NOWHERE: &str = "fakevideosink sync=false";

        let stock = |convert: &str| {
            Program::sender(&format!("{DECODE} ! {convert} ! {JPEG} ! {TO_CALLER}"))
        };
        let ours = || -> Result<_> {
            let arguments = ["--fast", "--no-preview", "--port=0", clip];
            Ok(Program::Child("send", script("serve.sh", &arguments)?))
        };
        let python = || Program::python("send {clip}");
        let ffmpeg = || {
            // This favours ffmpeg: a fifth fewer bytes than with quality 80.
            Program::Ffmpeg(words(
                "-i {clip} -vf scale=800:-2:out_color_matrix=bt601:out_range=full,format=yuvj420p \
                 -q:v 4 -f mpjpeg tcp://127.0.0.1:{port}",
            ))
        };
        let plain = |wire| Program::Child("read", vec![String::from(wire), PORT.into()]);
        let step = |name, line: &str| Self {
            table: STEPS,
            name,
            sender: None,
            receiver: Program::receiver(&format!("{DECODE} ! {line}")),
        };
        let case = |table, name, sender, receiver| Self {
            table,
            name,
            sender: Some(sender),
            receiver,
        };

        let mut watch = script("watch.sh", &["--once", "--no-display", "127.0.0.1:9999"])?;
        for word in watch.iter_mut().filter(|word| *word == "port=9999") {
            *word = format!("port={PORT}");
        }
        // The pipeline of `watch.sh` with a window, but with a sink that shows nothing.
        let window = Program::receiver(
            "b64jpegclientsrc host=127.0.0.1 port={port} reconnect=false ! jpegdec idct-method=islow \
             ! videoconvert ! video/x-raw,format=BGRx ! videoconvert \
             ! fpsdisplaysink text-overlay=false video-sink=fakesink sync=false",
        );
        let ffmpeg_receiver = Program::Ffmpeg(words(
            "-f mpjpeg -i tcp://127.0.0.1:{port}?listen=1 -fps_mode passthrough \
             -progress pipe:1 -stats_period 0.05 -f null -",
        ));

        let right = format!("videoconvertscale ! {SIZE},format=I420,colorimetry=1:4:0:0");
        let jfif = "jfifconvert";
        let scaled = format!("{jfif} ! videoscale ! {SIZE}");
        let jpegs = "filesrc location={jpegs} ! avidemux";
        Ok(vec![
            case(SENDERS, "Python, OpenCV", python(), plain("be32")),
            case(
                SENDERS,
                "stock, videoconvertscale",
                stock(&right),
                plain("multipart"),
            ),
            case(
                SENDERS,
                "stock, wrong colours",
                stock(&format!("videoscale ! {SIZE}")),
                plain("multipart"),
            ),
            case(SENDERS, "serve.sh --fast", ours()?, plain("be32")),
            case(SENDERS, "ffmpeg -f mpjpeg", ffmpeg(), plain("multipart")),
            step("decodebin", NOWHERE),
            step("  ! jfifconvert", &format!("{jfif} ! {NOWHERE}")),
            step("    ! videoscale", &format!("{scaled} ! {NOWHERE}")),
            step(
                "      ! jpegenc",
                &format!("{scaled} ! {JPEG} ! fakesink sync=false"),
            ),
            step("  ! videoconvertscale", &format!("{right} ! {NOWHERE}")),
            case(
                SYSTEMS,
                "Python pair",
                python(),
                Program::python("receive {port}"),
            ),
            case(
                SYSTEMS,
                "serve.sh --fast, watch.sh, to RGB",
                ours()?,
                window,
            ),
            case(
                SYSTEMS,
                "serve.sh --fast, watch.sh --no-display",
                ours()?,
                Program::Child("receive", watch),
            ),
            case(SYSTEMS, "ffmpeg, ffmpeg", ffmpeg(), ffmpeg_receiver),
            case(
                PASSTHROUGH,
                "b64jpegserversink",
                Program::sender(&format!("{jpegs} ! {OUR_SINK}")),
                plain("be32"),
            ),
            case(
                PASSTHROUGH,
                "multipartmux ! tcpclientsink",
                Program::sender(&format!("{jpegs} ! {TO_CALLER}")),
                plain("multipart"),
            ),
            Self {
                table: PASSTHROUGH,
                name: "b64jpegpay ! fakesink",
                sender: None,
                receiver: Program::receiver(&format!("{jpegs} ! b64jpegpay ! fakesink sync=false")),
            },
            Self {
                table: PASSTHROUGH,
                name: "fakesink: reading the file",
                sender: None,
                receiver: Program::receiver(&format!("{jpegs} ! fakesink sync=false")),
            },
        ])
    }

    /// Whether the CPU time of the receiver counts.
    fn measures_receiver(&self) -> bool {
        self.sender.is_none() || self.table == SYSTEMS
    }

    /// Runs the case once. Returns no figures if there were too few frames.
    pub fn run(&self, clips: &Clips) -> Result<Option<Figures>> {
        let (sender, mut receiver) = match &self.sender {
            None => (None, self.receiver.start(clips, None)?),
            Some(sender) if sender.connects() => {
                let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
                let receiver = self.receiver.start(clips, Some(port))?;
                wait_for_listener(port)?;
                (Some(sender.start(clips, Some(port))?), receiver)
            }
            Some(sender) => {
                let mut sender = sender.start(clips, None)?;
                let port = sender.port()?;
                (Some(sender), self.receiver.start(clips, Some(port))?)
            }
        };

        let mut marks = Vec::new();
        while let Some(line) = receiver.next()? {
            let number = line.strip_prefix("frame=");
            let frame = number.and_then(|number| number.parse().ok()).unwrap_or(0);
            if [FIRST, LAST]
                .get(marks.len())
                .is_some_and(|&next| frame >= next)
            {
                let measured = [
                    sender.as_ref(),
                    Some(&receiver).filter(|_| self.measures_receiver()),
                ];
                let mut cpu = Duration::ZERO;
                for process in measured.into_iter().flatten() {
                    cpu += cpu_time(process.id())?;
                }
                marks.push((frame, Instant::now(), cpu));
            }
        }
        if let Some(sender) = sender {
            sender.finish()?;
        }
        receiver.finish()?;
        let [(first, began, before), (last, ended, after)] = marks[..] else {
            return Ok(None);
        };
        let frames = (last - first) as f64;
        Ok(Some(Figures {
            cpu: (after - before).div_f64(frames),
            frames: frames / (ended - began).as_secs_f64(),
        }))
    }
}
