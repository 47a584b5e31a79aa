// SPDX-License-Identifier: MPL-2.0

//! Viewers, and the frames that they get.

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
    Message as WebSocketMessage, WebSocket, client::client_with_config, protocol::WebSocketConfig,
};

use crate::common::{
    Result,
    parts::{next_of_be32, next_part},
};

/// Maximum time of a read.
const PATIENCE: Duration = Duration::from_secs(60);

/// Maximum segment size, as in Ethernet. With the 64 KB of loopback, the kernel would buffer a
/// megabyte more for a slow reader.
const SEGMENT: u32 = 1448;
/// Bytes of one read.
const READ: usize = 1 << 16;

/// How a viewer gets its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ViewerKind {
    /// Socket.IO events with base64.
    Event,
    /// As the page: binary frames, acknowledged when painted.
    Page,
    /// Motion JPEG.
    Multipart,
}

impl ViewerKind {
    pub const ALL: [Self; 3] = [Self::Event, Self::Page, Self::Multipart];

    pub fn path(self) -> &'static str {
        match self {
            Self::Event => "/",
            Self::Page => "/view",
            Self::Multipart => "/stream.mjpg",
        }
    }
}

/// A Socket.IO client over a WebSocket, in one namespace.
pub struct SocketIoClient {
    socket: WebSocket<TcpStream>,
    decoder: PacketDecoder,
}

impl SocketIoClient {
    pub fn connect(address: &str, namespace: &str) -> Result<Self> {
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default().read_buffer_size(READ);
        let (socket, _) = client_with_config(url, connect(address)?, Some(config))?;
        let mut session = Self {
            socket,
            decoder: PacketDecoder::new(PacketLimits::default()),
        };
        let join = SocketIoPacket::new(namespace, Body::Connect(None));
        session.send_packet(&Packet::Message(join))?;
        let mut joined = false;
        while !joined {
            session.receive(|packet| {
                if let Packet::Message(message) = packet {
                    joined = matches!(message.body, Body::Connect(_));
                }
            })?;
        }
        Ok(session)
    }

    fn send_packet(&mut self, packet: &Packet) -> Result<()> {
        self.send(packet.encode())
    }

    pub fn send(&mut self, text: String) -> Result<()> {
        Ok(self.socket.send(WebSocketMessage::text(text))?)
    }

    /// Reads a message, and calls `look` with the packet that it completes.
    fn receive(&mut self, look: impl FnOnce(&Packet)) -> Result<()> {
        let frame = self.socket.read()?;
        let packet = match &frame {
            WebSocketMessage::Text(text) => self.decoder.text(text)?,
            WebSocketMessage::Binary(data) => self.decoder.binary(data.clone())?,
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

/// An admitted viewer.
pub enum Viewer {
    SocketIo(Box<SocketIoClient>),
    Multipart(BufReader<TcpStream>),
    Tcp(BufReader<TcpStream>),
}

impl Viewer {
    /// Connects to a TCP server with base64 frames.
    pub fn connect_tcp(address: &str) -> Result<Self> {
        let stream = BufReader::with_capacity(READ, connect(address)?);
        Ok(Self::Tcp(stream))
    }

    pub fn connect(address: &str, kind: ViewerKind) -> Result<Self> {
        if kind != ViewerKind::Multipart {
            let session = SocketIoClient::connect(address, kind.path())?;
            return Ok(Self::SocketIo(Box::new(session)));
        }
        let mut stream = connect(address)?;
        // HTTP 1.1 would use chunked transfer encoding.
        write!(
            stream,
            "GET {} HTTP/1.0\r\nHost: {address}\r\n\r\n",
            kind.path()
        )?;
        Ok(Self::Multipart(BufReader::with_capacity(READ, stream)))
    }

    /// The next frame, and the acknowledgement to send once it is shown.
    fn next(&mut self) -> Result<(Vec<u8>, Option<String>)> {
        let session = match self {
            Self::SocketIo(session) => session,
            Self::Multipart(stream) => return Ok((next_part(stream)?, None)),
            Self::Tcp(stream) => return Ok((next_of_be32(stream)?, None)),
        };
        let mut seen = None;
        while seen.is_none() {
            session.receive(|packet| {
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
        Ok(seen.expect("a frame"))
    }

    fn answer(&mut self, answer: Option<String>) -> Result<()> {
        match (self, answer) {
            (Self::SocketIo(session), Some(answer)) => session.send(answer),
            _ => Ok(()),
        }
    }

    /// Waits for a frame.
    pub fn wait(&mut self) -> Result<()> {
        let (_, answer) = self.next()?;
        self.answer(answer)
    }

    /// Reads frames in a thread until it is stopped or disconnected, with a pause after each.
    pub fn watch(mut self, pause: Duration) -> RunningViewer {
        let stop = Arc::<AtomicBool>::default();
        let stopped = stop.clone();
        let seen = thread::spawn(move || {
            let mut seen = Vec::new();
            while let Ok((picture, answer)) = self.next() {
                seen.push(ReceivedFrame::now(&picture));
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
        RunningViewer { stop, seen }
    }
}

/// A viewer that reads frames in a thread.
pub struct RunningViewer {
    stop: Arc<AtomicBool>,
    seen: JoinHandle<Vec<ReceivedFrame>>,
}

impl RunningViewer {
    /// Makes it stop at the next frame.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits until it is stopped or disconnected, and returns its frames.
    pub fn end(self) -> Result<Vec<ReceivedFrame>> {
        let seen = self.seen.join().map_err(|_| "a viewer panicked")?;
        match seen.iter().all(|seen| seen.whole) {
            true => Ok(seen),
            false => Err("a frame was incomplete".into()),
        }
    }
}

/// A frame that a viewer got.
pub struct ReceivedFrame {
    /// When it arrived.
    pub at: Instant,
    /// Time since its capture, if it carries its capture time.
    pub age: Option<Duration>,
    /// Length of the JPEG; from base64, rounded up.
    pub len: usize,
    whole: bool,
}

impl ReceivedFrame {
    fn now(picture: &[u8]) -> Self {
        /// Contains the capture time, and is a multiple of four.
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

/// Median and 99th percentile of the ages, in milliseconds.
pub fn ages<'a>(seen: impl IntoIterator<Item = &'a ReceivedFrame>) -> Result<[f64; 2]> {
    let ages = seen.into_iter().filter_map(|seen| seen.age);
    let mut ages: Vec<_> = ages.map(|age| age.as_secs_f64() * 1e3).collect();
    ages.sort_by(f64::total_cmp);
    let last = ages.len().checked_sub(1).ok_or("nothing was seen")?;
    Ok([ages[last / 2], ages[last * 99 / 100]])
}
