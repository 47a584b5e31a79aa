// SPDX-License-Identifier: MPL-2.0

//! The servers, each in a process of its own.

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
    viewer::SocketIoClient,
};

/// Name of the Socket.IO event with the frames.
const EVENT: &str = "stream";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    Ours,
    /// Relays, which get their frames from this program.
    Node,
    Flask,
    /// A camera with Motion JPEG.
    FlaskMultipart,
}

impl ServerKind {
    /// Whether its dependencies are installed, by the tests or an earlier run.
    pub fn is_installed(self) -> bool {
        let what = match self {
            Self::Ours => return true,
            Self::Node => "target/node",
            Self::Flask | Self::FlaskMultipart => "target/venv",
        };
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join(what);
        directory.join("installed").exists()
    }

    pub fn start(self) -> Result<RunningServer> {
        let mut running = self.start_without_feed()?;
        if matches!(self, Self::Ours | Self::FlaskMultipart) {
            return Ok(running);
        }
        running.feed = Some(RelayFeed {
            session: SocketIoClient::connect(&running.address, "/")?,
            event: PictureEvent::new("/", EVENT, None),
            jpegs: jpegs()?
                .iter()
                .map(|jpeg| common::bytes(slice::from_ref(jpeg)))
                .collect::<Result<_>>()?,
        });
        Ok(running)
    }

    /// As [`start`](Self::start), but a relay gets no frames.
    pub fn start_without_feed(self) -> Result<RunningServer> {
        match self {
            Self::Ours => {
                let mut process = Process::again(&["serve"])?;
                let port = process.read_line()?;
                Ok(RunningServer::new(process, format!("127.0.0.1:{port}")))
            }
            Self::Node => RunningServer::peer(node_peer("relay.js")),
            Self::Flask => RunningServer::peer(peer("flask_relay.py")),
            Self::FlaskMultipart => {
                let mut command = peer("flask_camera.py");
                command.arg(common::clip());
                RunningServer::peer(command)
            }
        }
    }
}

/// A connection that sends frames to a relay.
struct RelayFeed {
    session: SocketIoClient,
    event: PictureEvent,
    jpegs: Vec<Vec<u8>>,
}

/// How frames are pushed.
#[derive(Clone, Copy)]
pub struct Push {
    pub count: usize,
    /// Frames per second.
    pub rate: f64,
    /// Whether they carry their capture time.
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

/// A running server.
pub struct RunningServer {
    pub process: Process,
    pub address: String,
    feed: Option<RelayFeed>,
}

impl RunningServer {
    fn new(process: Process, address: String) -> Self {
        Self {
            process,
            address,
            feed: None,
        }
    }

    /// Starts a program on a free port.
    fn peer(mut command: Command) -> Result<Self> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        command.args(["--port", &address.port().to_string()]);
        // They log every connection.
        command.stderr(Stdio::null());
        let process = Process::start(command)?;
        for _ in 0..2000 {
            if TcpStream::connect(address).is_ok() {
                return Ok(Self::new(process, address.to_string()));
            }
            thread::sleep(Duration::from_millis(5));
        }
        Err("the server does not listen".into())
    }

    /// Waits until it has this number of viewers.
    pub fn wait(&mut self, viewers: usize) -> Result<()> {
        match self.feed {
            // Viewers of a relay are connected once their namespace is open.
            Some(_) => Ok(()),
            None => self.process.command(&format!("wait {viewers}")),
        }
    }

    /// Makes it serve frames.
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
            // A relay does not end by itself.
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

/// The child process of [`ServerKind::Ours`].
pub fn serve() -> Result<()> {
    let sink = "socketioserversink name=sink port=0 sync=false async=false";
    let line = Line::start(sink, Some(&common::caps()))?;
    println!("{}", line.sink.property::<i32>("current-port"));
    run_commands(line, &jpegs()?, "viewers")
}

/// Executes the commands on the standard input: `wait` and `push`.
pub fn run_commands(mut line: Line, frames: &[gst::Buffer], counts: &str) -> Result<()> {
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
            _ => return Err(format!("unknown command {command:?}").into()),
        }
        println!("done");
    }
    Ok(())
}
