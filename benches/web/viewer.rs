// SPDX-License-Identifier: MPL-2.0

//! Whoever watches, and what they have seen.

use std::{
    io::{BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use b64jpeg_wire::{
    jpeg::JpegInfo,
    socketio::{Args, Body, Packet, PacketDecoder, PacketLimits, SocketIoPacket},
};
use base64::prelude::*;
use socket2::{Domain, Socket, Type};
use tokio_tungstenite::tungstenite::{
    Message as Frame, WebSocket, client::client_with_config, protocol::WebSocketConfig,
};

use crate::common::{
    Result,
    parts::{next_of_be32, next_part},
};

/// Nobody waits longer for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// As in Ethernet. With the 64 KB of loopback the system of a slow reader keeps a megabyte
/// more for it.
const SEGMENT: u32 = 1448;
/// Bytes that are read at once.
const READ: usize = 1 << 16;

/// How somebody watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// The event that Socket.IO programs know, with base64.
    Event,
    /// The binary pictures of our page, which says when it has shown one.
    View,
    Multipart,
}

impl Door {
    pub const ALL: [Self; 3] = [Self::Event, Self::View, Self::Multipart];

    pub fn path(self) -> &'static str {
        match self {
            Self::Event => "/",
            Self::View => "/view",
            Self::Multipart => "/stream.mjpg",
        }
    }
}

/// A websocket in a namespace of Socket.IO.
pub struct Session {
    socket: WebSocket<TcpStream>,
    decoder: PacketDecoder,
}

impl Session {
    pub fn connect(address: &str, namespace: &str) -> Result<Self> {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default().read_buffer_size(READ);
        let (socket, _) = client_with_config(url, connect(address)?, Some(config))?;
        let mut session = Self {
            socket,
            decoder: PacketDecoder::new(PacketLimits::default()),
        };
        let join = SocketIoPacket::new(namespace, Body::Connect(None));
        session.say(&Packet::Message(join))?;
        let mut joined = false;
        while !joined {
            session.hear(|packet| {
                if let Packet::Message(message) = packet {
                    joined = matches!(message.body, Body::Connect(_));
                }
            })?;
        }
        Ok(session)
    }

    fn say(&mut self, packet: &Packet) -> Result<()> {
        self.send(packet.encode())
    }

    pub fn send(&mut self, text: String) -> Result<()> {
        Ok(self.socket.send(Frame::text(text))?)
    }

    /// Reads a message, and looks at the packet that it is or completes.
    fn hear(&mut self, look: impl FnOnce(&Packet)) -> Result<()> {
        let frame = self.socket.read()?;
        let packet = match &frame {
            Frame::Text(text) => self.decoder.text(text)?,
            Frame::Binary(data) => self.decoder.binary(data.clone())?,
            _ => None,
        };
        match &packet {
            Some(Packet::Ping(text)) => {
                let pong = Packet::Pong(text.clone()).encode();
                self.send(pong)?;
            }
            Some(packet) => look(packet),
            None => {}
        }
        Ok(())
    }
}

fn connect(address: &str) -> Result<TcpStream> {
    let address: SocketAddr = address.parse()?;
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_tcp_mss(SEGMENT)?;
    socket.connect(&address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Somebody who is let in, and has read no picture.
pub enum Viewer {
    SocketIo(Box<Session>),
    Multipart(BufReader<TcpStream>),
    Tcp(BufReader<TcpStream>),
}

impl Viewer {
    /// As TCP programs do, with base64.
    pub fn connect_tcp(address: &str) -> Result<Self> {
        let stream = BufReader::with_capacity(READ, connect(address)?);
        Ok(Self::Tcp(stream))
    }

    pub fn connect(address: &str, door: Door) -> Result<Self> {
        if door != Door::Multipart {
            let session = Session::connect(address, door.path())?;
            return Ok(Self::SocketIo(Box::new(session)));
        }
        let mut stream = connect(address)?;
        // Later versions would put it in pieces.
        write!(
            stream,
            "GET {} HTTP/1.0\r\nHost: {address}\r\n\r\n",
            door.path()
        )?;
        Ok(Self::Multipart(BufReader::with_capacity(READ, stream)))
    }

    /// The next picture, and the answer that is wanted when it was looked at.
    fn next(&mut self) -> Result<(Vec<u8>, Option<String>)> {
        let session = match self {
            Self::SocketIo(session) => session,
            Self::Multipart(stream) => return Ok((next_part(stream)?, None)),
            Self::Tcp(stream) => return Ok((next_of_be32(stream)?, None)),
        };
        let mut seen = None;
        while seen.is_none() {
            session.hear(|packet| {
                let Packet::Message(message) = packet else {
                    return;
                };
                let Body::Event { args, .. } = &message.body else {
                    return;
                };
                let picture = match (&args.attachments[..], &args.values[..]) {
                    ([jpeg], _) => jpeg.to_vec(),
                    ([], [text]) => text.as_str().unwrap_or_default().into(),
                    _ => return,
                };
                let answer = message.answer(Args::default());
                let answer = answer.map(|answer| Packet::Message(answer).encode());
                seen = Some((picture, answer)).filter(|(picture, _)| !picture.is_empty());
            })?;
        }
        Ok(seen.expect("it was waited for"))
    }

    fn answer(&mut self, answer: Option<String>) -> Result<()> {
        match (self, answer) {
            (Self::SocketIo(session), Some(answer)) => session.send(answer),
            _ => Ok(()),
        }
    }

    /// Waits for a picture.
    pub fn wait(&mut self) -> Result<()> {
        let (_, answer) = self.next()?;
        self.answer(answer)
    }

    /// Watches until it is stopped or cut off, and needs so long for each picture.
    pub fn watch(mut self, pause: Duration) -> Watching {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let seen = thread::spawn(move || {
            let mut seen = Vec::new();
            while let Ok((picture, answer)) = self.next() {
                seen.push(Seen::now(&picture));
                thread::sleep(pause);
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                if self.answer(answer).is_err() {
                    break;
                }
            }
            seen
        });
        Watching { stop, seen }
    }
}

/// Somebody who watches.
pub struct Watching {
    stop: Arc<AtomicBool>,
    seen: JoinHandle<Vec<Seen>>,
}

impl Watching {
    /// Has it stop at the next picture.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// What it has seen until it was stopped, or the server gone.
    pub fn end(self) -> Result<Vec<Seen>> {
        let seen = self.seen.join().map_err(|_| "a viewer panicked")?;
        match seen.iter().all(|seen| seen.whole) {
            true => Ok(seen),
            false => Err("a picture was torn".into()),
        }
    }
}

/// A picture that somebody has seen.
pub struct Seen {
    pub at: Instant,
    /// Since it was captured, if it is stamped.
    pub age: Option<Duration>,
    /// Of the JPEG, or a little more.
    pub len: usize,
    whole: bool,
}

impl Seen {
    fn now(picture: &[u8]) -> Self {
        /// Where the stamp is, and whole words of base64.
        const HEAD: usize = 200;
        let head = &picture[..picture.len().min(HEAD)];
        let mut jpeg = [0; HEAD];
        let (info, len, whole) = if picture.starts_with(b"/9j/") {
            let _ = BASE64_STANDARD.decode_slice(head, &mut jpeg);
            let len = picture.len() / 4 * 3;
            (JpegInfo::of(&jpeg), len, picture.len().is_multiple_of(4))
        } else {
            let ends = picture.starts_with(b"\xff\xd8") && picture.ends_with(b"\xff\xd9");
            (JpegInfo::of(head), picture.len(), ends)
        };
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let age = info.capture_time.and_then(|captured| {
            let captured = Duration::from_nanos(captured);
            Some(now.ok()?.saturating_sub(captured))
        });
        Self {
            at: Instant::now(),
            age,
            len,
            whole,
        }
    }
}

/// The middle and the 99th percentile, in milliseconds.
pub fn ages<'a>(seen: impl IntoIterator<Item = &'a Seen>) -> Result<[f64; 2]> {
    let ages = seen.into_iter().filter_map(|seen| seen.age);
    let mut ages: Vec<_> = ages.map(|age| age.as_secs_f64() * 1e3).collect();
    ages.sort_by(f64::total_cmp);
    let last = ages.len().checked_sub(1).ok_or("nothing was seen")?;
    Ok([ages[last / 2], ages[last * 99 / 100]])
}
