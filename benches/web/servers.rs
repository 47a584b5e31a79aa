// SPDX-License-Identifier: MPL-2.0

//! What serves pictures, each in a process of its own.

use std::{
    borrow::Cow,
    io,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Command, Stdio},
    slice, thread,
    time::{Duration, SystemTime},
};

use b64jpeg_wire::{OutgoingFrame, Payload, socketio::PictureEvent};
use gst::prelude::*;

use crate::{
    common::{self, FRAMES, Line, Result, jpegs, pace, process::Process, wait_for},
    peer::{node_peer, peer},
    viewer::Session,
};

/// What the event of the pictures is called.
const EVENT: &str = "stream";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    Ours,
    /// Relays: this program feeds them, as a camera does.
    Node,
    Flask,
    /// A camera with a page.
    FlaskMultipart,
}

impl Server {
    /// Whether what it needs was installed before, by the tests or for figures.
    pub fn is_there(self) -> bool {
        let what = match self {
            Self::Ours => return true,
            Self::Node => "target/node",
            Self::Flask | Self::FlaskMultipart => "target/venv",
        };
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(what);
        directory.join("installed").exists()
    }

    pub fn start(self) -> Result<Running> {
        let mut running = self.start_alone()?;
        if matches!(self, Self::Ours | Self::FlaskMultipart) {
            return Ok(running);
        }
        running.feed = Some(Feed {
            session: Session::connect(&running.address, "/")?,
            event: PictureEvent::new("/", EVENT, None),
            jpegs: jpegs()?
                .iter()
                .map(|jpeg| common::bytes(slice::from_ref(jpeg)))
                .collect::<Result<_>>()?,
        });
        Ok(running)
    }

    /// As [`start`](Self::start); but nobody feeds a relay.
    pub fn start_alone(self) -> Result<Running> {
        match self {
            Self::Ours => {
                let mut process = Process::again(&["serve"])?;
                let port = process.read_line()?;
                Ok(Running::new(process, format!("127.0.0.1:{port}")))
            }
            Self::Node => Running::peer(node_peer("relay.js")),
            Self::Flask => Running::peer(peer("flask_relay.py")),
            Self::FlaskMultipart => {
                let mut command = peer("flask_camera.py");
                command.arg(common::clip());
                Running::peer(command)
            }
        }
    }
}

/// A camera at a relay.
struct Feed {
    session: Session,
    event: PictureEvent,
    jpegs: Vec<Vec<u8>>,
}

/// How pictures are pushed.
#[derive(Clone, Copy)]
pub struct Push {
    pub count: usize,
    /// In a second.
    pub rate: f64,
    /// Whether they are stamped with the time.
    pub stamp: bool,
}

impl Push {
    fn run(self, mut push: impl FnMut(usize, Option<u64>) -> Result<()>) -> Result<()> {
        pace(self.count, Duration::from_secs_f64(1.0 / self.rate), |i| {
            let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
            push(i % FRAMES, self.stamp.then_some(now.as_nanos() as u64))
        })
    }
}

/// A server that runs.
pub struct Running {
    pub process: Process,
    pub address: String,
    feed: Option<Feed>,
}

impl Running {
    fn new(process: Process, address: String) -> Self {
        Self {
            process,
            address,
            feed: None,
        }
    }

    /// A program that listens where it is told.
    fn peer(mut command: Command) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        command.args(["--port", &address.port().to_string()]);
        // They tell of every connection.
        command.stderr(Stdio::null());
        let process = Process::start(command)?;
        for _ in 0..2000 {
            if TcpStream::connect(address).is_ok() {
                return Ok(Self::new(process, address.to_string()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err("it does not listen".into())
    }

    /// Waits until so many watch.
    pub fn wait(&mut self, viewers: usize) -> Result<()> {
        match self.feed {
            // They were told that they are in.
            Some(_) => Ok(()),
            None => self.process.command(&format!("wait {viewers}")),
        }
    }

    /// Has it serve pictures.
    pub fn push(&mut self, push: Push) -> Result<()> {
        let Some(feed) = &mut self.feed else {
            let Push { count, rate, stamp } = push;
            return self
                .process
                .command(&format!("push {count} {rate} {stamp}"));
        };
        push.run(|index, stamp| {
            let jpeg = stamped(&feed.jpegs[index], stamp)?;
            feed.session
                .send(feed.event.text(&OutgoingFrame::new(&jpeg)?))
        })
    }

    pub fn finish(self) -> Result<()> {
        match self.feed {
            // It would serve for ever.
            Some(_) => Ok(()),
            None => self.process.finish(),
        }
    }
}

fn stamped(jpeg: &[u8], stamp: Option<u64>) -> Result<Cow<'_, [u8]>> {
    let Some(stamp) = stamp else {
        return Ok(jpeg.into());
    };
    let picture = OutgoingFrame::new(jpeg)?.captured_at(stamp);
    let mut jpeg = vec![0; picture.payload_len(Payload::Jpeg)];
    picture.encode_payload(Payload::Jpeg, &mut jpeg);
    Ok(jpeg.into())
}

/// The child of [`Server::Ours`].
pub fn serve() -> Result<()> {
    let sink = "socketioserversink name=sink port=0 sync=false async=false";
    let line = Line::start(sink, Some(&common::caps()))?;
    println!("{}", line.sink.property::<i32>("current-port"));
    obey(line, &jpegs()?, "viewers")
}

/// Waits and pushes as it is told.
pub fn obey(mut line: Line, frames: &[gst::Buffer], counts: &str) -> Result<()> {
    for command in io::stdin().lines() {
        let command = command?;
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["wait", wanted] => wait_for(&line.sink, counts, wanted.parse()?)?,
            ["push", count, rate, stamp] => {
                let push = Push {
                    count: count.parse()?,
                    rate: rate.parse()?,
                    stamp: stamp.parse()?,
                };
                push.run(|index, stamp| {
                    let frame = &frames[index..][..1];
                    if stamp.is_none() {
                        return line.push_all(frame);
                    }
                    let jpeg = stamped(&common::bytes(frame)?, stamp)?.into_owned();
                    line.push_all(&[gst::Buffer::from_slice(jpeg)])
                })?;
            }
            _ => return Err(format!("it is told {command:?}").into()),
        }
        println!("done");
    }
    Ok(())
}
