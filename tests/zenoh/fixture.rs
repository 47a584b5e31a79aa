// SPDX-License-Identifier: MPL-2.0

//! A camera that numbers its frames, and viewers that record them.

use std::{
    io::{ErrorKind, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::{Duration, Instant},
};

use b64jpeg_wire::{AcceptedFramings, Deframer, FrameLimits};

use crate::common::{
    background::{BackgroundThread, StopFlag},
    wire::{comment_segment, encode, framing},
};

/// Address of the test.
const HERE: &str = "10.78.0.254";

/// Precedes the number of a frame in its comment segment.
const NUMBER: &[u8] = b"number=";

/// Serves numbered frames over TCP to the origin at a steady rate, whether they are read or
/// not.
pub struct Camera {
    pub port: u16,
    sent: Arc<Mutex<Vec<Instant>>>,
    _thread: BackgroundThread,
}

impl Camera {
    /// A camera with frames of this length in bytes.
    pub fn start(size: usize, period: Duration) -> Self {
        let picture = encode(1, 640, 360).remove(0);
        let listener = TcpListener::bind((HERE, 0)).expect("a port");
        listener.set_nonblocking(true).expect("an option");
        let port = listener.local_addr().expect("bound").port();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let log = sent.clone();
        let thread = BackgroundThread::spawn(move |stop| {
            let mut origin: Option<TcpStream> = None;
            while !stop.is_set() {
                // Never send two frames at once in order to catch up.
                thread::sleep(period);
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).expect("an option");
                    let patience = Some(Duration::from_millis(500));
                    stream.set_write_timeout(patience).expect("an option");
                    origin = Some(stream);
                }
                let Some(stream) = &mut origin else {
                    continue;
                };
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push(Instant::now());
                    log.len() - 1
                };
                let frame = framing("be32", "jpeg").frame(&numbered(&picture, number, size));
                if stream.write_all(&frame).is_err() {
                    origin = None;
                }
            }
        });
        Self {
            port,
            sent,
            _thread: thread,
        }
    }

    /// URI of the camera for an origin.
    pub fn uri(&self) -> String {
        format!("b64jpeg://{HERE}:{}", self.port)
    }

    /// Times at which the frames were sent.
    pub fn sent(&self) -> Vec<Instant> {
        self.sent.lock().unwrap().clone()
    }

    /// Number of the next frame.
    pub fn next(&self) -> usize {
        self.sent.lock().unwrap().len()
    }
}

/// A JPEG with its number in a comment segment, padded to `size` with further comments.
fn numbered(picture: &[u8], number: usize, size: usize) -> Vec<u8> {
    let mut out = picture[..2].to_vec();
    out.extend(comment_segment(
        &[NUMBER, format!("{number:09}").as_bytes()].concat(),
    ));
    while let left @ 4.. = size.saturating_sub(out.len() + picture.len() - 2) {
        out.extend(comment_segment(&vec![b' '; (left - 4).min(60_000)]));
    }
    out.extend(&picture[2..]);
    out
}

/// Number of a frame.
fn number_of(jpeg: &[u8]) -> Option<usize> {
    let at = jpeg.windows(NUMBER.len()).position(|w| w == NUMBER)? + NUMBER.len();
    str::from_utf8(jpeg.get(at..at + 9)?).ok()?.parse().ok()
}

/// A received frame.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    pub number: usize,
    pub at: Instant,
}

/// A TCP client of an edge that reconnects when the connection ends.
pub struct Viewer {
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: mpsc::Receiver<()>,
    _thread: BackgroundThread,
}

impl Viewer {
    pub fn start(host: &str, port: u16) -> Self {
        let address = format!("{host}:{port}");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let (connected, connections) = mpsc::channel();
        let thread = BackgroundThread::spawn(move |stop| {
            while !stop.is_set() {
                match TcpStream::connect(&address) {
                    Ok(stream) => {
                        let _ = connected.send(());
                        watch(stream, &log, stop);
                    }
                    Err(_) => thread::sleep(Duration::from_millis(20)),
                }
            }
        });
        Self {
            seen,
            connections,
            _thread: thread,
        }
    }

    /// All frames received so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// Number of connections since the last call.
    pub fn connections(&self) -> usize {
        self.connections.try_iter().count()
    }
}

/// Reads until the connection ends.
fn watch(mut stream: TcpStream, log: &Mutex<Vec<Seen>>, stop: &StopFlag) {
    let patience = Some(Duration::from_millis(100));
    stream.set_read_timeout(patience).expect("an option");
    let mut deframer = Deframer::new(AcceptedFramings::default(), FrameLimits::default());
    while !stop.is_set() {
        match deframer.read_from(&mut stream) {
            Ok(0) => return,
            Ok(_) => {}
            Err(err) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&err.kind()) => {}
            Err(_) => return,
        }
        while let Some(frame) = deframer.next() {
            let frame = frame.expect("a whole frame");
            let number = number_of(&frame).expect("a number");
            let at = Instant::now();
            log.lock().unwrap().push(Seen { number, at });
        }
    }
}
