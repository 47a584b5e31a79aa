// SPDX-License-Identifier: MPL-2.0

//! A pipeline with `socketioserversink`, and viewers by HTTP and by Socket.IO.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    ops::Deref,
};

use base64::prelude::*;
use gst::prelude::*;
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tokio_tungstenite::tungstenite::{self, Message, WebSocket};

use crate::common::{
    numbered_pictures::{buffer, number},
    process::PATIENCE,
    server_fixture::ServerFixture,
    wait::wait_until,
};

/// A pipeline whose sink serves the frames that the test pushes, on any free port.
pub struct WebServerFixture(ServerFixture);

impl Deref for WebServerFixture {
    type Target = ServerFixture;

    fn deref(&self) -> &ServerFixture {
        &self.0
    }
}

impl WebServerFixture {
    #[track_caller]
    pub fn new(options: &str) -> Self {
        Self(ServerFixture::launch_line(&format!(
            "appsrc name=feed format=time caps=image/jpeg is-live=true
             ! socketioserversink name=server port=0 sync=false async=false {options}"
        )))
    }

    /// Starts the pipeline; from then on the server has a port.
    #[track_caller]
    pub fn play(self) -> Self {
        Self(self.0.play())
    }

    /// Creates and starts a pipeline.
    #[track_caller]
    pub fn start(options: &str) -> Self {
        Self::new(options).play()
    }

    pub fn push_bytes(&self, bytes: Vec<u8>, number: usize) {
        self.push_buffer(buffer(number, bytes));
    }

    /// Pushes a frame, and waits until it is the newest one.
    #[track_caller]
    pub fn show(&self, number: usize) {
        let before = self.count("frames");
        self.push(number..number + 1);
        wait_until("the newest frame", || self.count("frames") > before);
    }

    /// Sends a GET request on a connection of its own.
    #[track_caller]
    pub fn get(&self, path: &str) -> HttpResponse {
        self.request("GET", path, &[])
    }

    #[track_caller]
    pub fn request(&self, method: &str, path: &str, headers: &[&str]) -> HttpResponse {
        let mut stream = connect(self.address());
        let request = request(method, path, headers);
        stream
            .write_all(request.as_bytes())
            .expect("a listening server");
        HttpResponse::read(stream, method == "HEAD")
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> HttpResponse {
        let mut stream = connect(self.address());
        let request = request("POST", path, &[&format!("Content-Length: {}", body.len())]);
        stream
            .write_all((request + body).as_bytes())
            .expect("a listening server");
        HttpResponse::read(stream, false)
    }

    /// Begins to watch a Motion JPEG stream.
    #[track_caller]
    pub fn watch(&self, path: &str) -> MultipartViewer {
        MultipartViewer::request(connect(self.address()), path)
    }

    /// Opens a namespace; the error is the reason why it is refused.
    #[track_caller]
    pub fn join(&self, namespace: &'static str, auth: &str) -> Result<SocketIoViewer, String> {
        SocketIoViewer::join(connect(self.address()), namespace, auth)
    }

    pub fn viewers(&self) -> u32 {
        self.sink.property("viewers")
    }

    #[track_caller]
    pub fn wait_for_viewers(&self, viewers: u32) {
        wait_until(&format!("{viewers} viewers"), || self.viewers() == viewers);
    }

    /// A count in the statistics.
    #[track_caller]
    pub fn count(&self, name: &str) -> u64 {
        self.stats().get(name).expect("a count")
    }

    /// Number of refusals for this reason.
    #[track_caller]
    pub fn refused(&self, reason: &str) -> u64 {
        let refused = self.stats().get::<gst::Structure>("refused");
        refused.expect("a structure").get(reason).expect("a count")
    }
}

/// Headers that upgrade a request to a WebSocket.
pub const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// The head of a request that is the only one on its connection.
pub fn request(method: &str, path: &str, headers: &[&str]) -> String {
    let first = format!("{method} {path} HTTP/1.1");
    let lines = [&[&*first, "Host: localhost", "Connection: close"], headers].concat();
    lines.join("\r\n") + "\r\n\r\n"
}

#[track_caller]
pub fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("a listening server");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A connection with a small receive buffer in the kernel.
#[track_caller]
pub fn connect_small(server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small buffer");
    socket.connect(&server.into()).expect("a listening server");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A response of the server.
#[derive(Debug)]
pub struct HttpResponse {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl HttpResponse {
    /// Reads a whole response.
    #[track_caller]
    pub fn read(stream: impl Read, is_head: bool) -> Self {
        let mut reader = BufReader::new(stream);
        let mut response = Self::begin(&mut reader);
        if let (Some(len), false) = (response.header("content-length"), is_head) {
            response.body.resize(len.parse().expect("a number"), 0);
            reader.read_exact(&mut response.body).expect("the body");
        }
        response
    }

    #[track_caller]
    fn begin(reader: &mut impl BufRead) -> Self {
        let mut lines = reader.lines().map(|line| line.expect("a line"));
        let first = lines.next().expect("a response");
        let status = first
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        let headers = lines
            .take_while(|line| !line.is_empty())
            .map(|line| {
                let (name, value) = line.split_once(": ").expect("a header");
                (name.to_ascii_lowercase(), value.into())
            })
            .collect();
        Self {
            status: status
                .and_then(|status| status.parse().ok())
                .expect("a status"),
            headers,
            body: Vec::new(),
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        let (_, value) = headers.find(|(other, _)| other == name)?;
        Some(value)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("UTF-8")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A viewer of a Motion JPEG stream.
#[derive(Debug)]
pub struct MultipartViewer {
    reader: BufReader<ChunkedBody>,
    pub status: u16,
    begun: bool,
    last: Option<usize>,
}

impl MultipartViewer {
    #[track_caller]
    pub fn request(mut stream: TcpStream, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .expect("a listening server");
        let mut reader = BufReader::new(stream);
        let response = HttpResponse::begin(&mut reader);
        if response.status == 200 {
            let boundary = "multipart/x-mixed-replace; boundary=frame";
            assert_eq!(response.header("content-type"), Some(boundary));
            assert_eq!(response.header("transfer-encoding"), Some("chunked"));
        }
        Self {
            reader: BufReader::new(ChunkedBody { reader, left: 0 }),
            status: response.status,
            begun: false,
            last: None,
        }
    }

    /// The number of the next new frame. The newest frame may be sent twice.
    #[track_caller]
    pub fn next(&mut self) -> usize {
        loop {
            let number = Some(number(&self.next_bytes().expect("a picture")));
            if let Some(number) = number.filter(|_| self.last != number) {
                self.last = Some(number);
                break number;
            }
        }
    }

    /// The next frame; `None` at the end of the stream.
    #[track_caller]
    pub fn next_bytes(&mut self) -> Option<Vec<u8>> {
        let mut line = String::new();
        if !std::mem::replace(&mut self.begun, true) {
            self.reader.read_line(&mut line).expect("a boundary");
            assert_eq!(line, "--frame\r\n");
        }
        let mut len = None;
        loop {
            line.clear();
            if self.reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("Content-Type", kind)) => assert_eq!(kind, "image/jpeg"),
                Some(("Content-Length", text)) => len = text.parse().ok(),
                Some(("X-Timestamp", time)) => assert!(time.parse::<f64>().is_ok(), "{time}"),
                _ => break assert_eq!(line, "\r\n"),
            }
        }
        let mut jpeg = vec![0; len.expect("a length")];
        self.reader.read_exact(&mut jpeg).ok()?;
        let mut end = [0; 11];
        self.reader.read_exact(&mut end).ok()?;
        assert_eq!(&end, b"\r\n--frame\r\n");
        Some(jpeg)
    }

    pub fn stream(&self) -> &TcpStream {
        self.reader.get_ref().reader.get_ref()
    }
}

/// Reads a body in chunked transfer encoding.
#[derive(Debug)]
struct ChunkedBody {
    reader: BufReader<TcpStream>,
    left: usize,
}

impl Read for ChunkedBody {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            let mut line = String::new();
            self.reader.read_line(&mut line)?;
            let len = line.trim_end();
            if len.is_empty() {
                return Ok(0);
            }
            // With the line end behind the chunk.
            self.left = usize::from_str_radix(len, 16).expect("a length") + 2;
        }
        let room = buffer.len().min(self.left.saturating_sub(2));
        let len = self.reader.read(&mut buffer[..room])?;
        self.left -= len;
        if self.left == 2 {
            self.reader.read_exact(&mut [0; 2])?;
            self.left = 0;
        }
        Ok(len)
    }
}

/// A viewer by Socket.IO over a WebSocket.
#[derive(Debug)]
pub struct SocketIoViewer {
    socket: WebSocket<TcpStream>,
    /// As in packets.
    namespace: &'static str,
}

/// An event, its arguments and attachments, and the id of its acknowledgement.
#[derive(Debug)]
pub struct SocketIoEvent {
    pub name: String,
    pub args: Vec<Value>,
    pub binary: Vec<Vec<u8>>,
    pub ack: Option<u64>,
}

impl SocketIoViewer {
    #[track_caller]
    pub fn join(stream: TcpStream, namespace: &'static str, auth: &str) -> Result<Self, String> {
        Self::join_at(
            stream,
            "/socket.io/?EIO=4&transport=websocket",
            namespace,
            auth,
        )
    }

    #[track_caller]
    pub fn join_at(
        stream: TcpStream,
        path: &str,
        namespace: &'static str,
        auth: &str,
    ) -> Result<Self, String> {
        let namespace = match namespace {
            "/" => "",
            "/view" => "/view,",
            other => panic!("{other}"),
        };
        let url = format!("ws://localhost{path}");
        let socket = match tungstenite::client(url, stream) {
            Ok((socket, _)) => socket,
            Err(tungstenite::HandshakeError::Failure(error)) => return Err(error.to_string()),
            Err(error) => panic!("{error}"),
        };
        let mut session = Self { socket, namespace };
        assert!(session.text().starts_with("0{"), "an open packet");
        session.send(&format!("40{namespace}{auth}"));
        let response = session.text();
        let response = response.strip_prefix('4').expect("a message");
        if let Some(error) = response.strip_prefix(&format!("4{namespace}")) {
            let error: Value = serde_json::from_str(error).expect("JSON");
            return Err(error["message"].as_str().expect("a message").into());
        }
        assert!(response.starts_with(&format!("0{namespace}")), "{response}");
        Ok(session)
    }

    #[track_caller]
    pub fn send(&mut self, text: &str) {
        self.socket
            .send(Message::text(text))
            .expect("a listening server");
    }

    /// The next text other than pings, which are answered.
    #[track_caller]
    pub fn text(&mut self) -> String {
        self.maybe_text().expect("a text")
    }

    fn maybe_text(&mut self) -> Option<String> {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) if text == "2" => {
                    // The server may have closed the connection meanwhile.
                    let _ = self.socket.send(Message::text("3"));
                }
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(other) => panic!("{other:?}"),
            }
        }
    }

    /// The next event.
    #[track_caller]
    pub fn event(&mut self) -> SocketIoEvent {
        self.maybe_event().expect("an event")
    }

    /// The next event; `None` at the end of the session or namespace.
    #[track_caller]
    pub fn maybe_event(&mut self) -> Option<SocketIoEvent> {
        let text = self.maybe_text()?;
        let (attachments, rest) = match text.strip_prefix("45") {
            Some(rest) => {
                let (count, rest) = rest.split_once('-').expect("a count");
                (count.parse().expect("a count"), rest)
            }
            // Another packet: Disconnect, or Close.
            None => (0, text.strip_prefix("42")?),
        };
        let rest = rest.strip_prefix(self.namespace).expect("the namespace");
        let (ack, json) = rest.split_at(rest.find('[').expect("JSON"));
        let mut args: Vec<Value> = serde_json::from_str(json).expect("JSON");
        let binary = (0..attachments).map(|_| match self.socket.read() {
            Ok(Message::Binary(bytes)) => Some(bytes.to_vec()),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        });
        Some(SocketIoEvent {
            binary: binary.collect::<Option<_>>()?,
            name: args.remove(0).as_str().expect("a name").into(),
            args,
            ack: (!ack.is_empty()).then(|| ack.parse().expect("a number")),
        })
    }

    /// The number of the next frame of a camera without a name.
    #[track_caller]
    pub fn next(&mut self) -> usize {
        let event = self.event();
        assert_eq!((&*event.name, event.ack), ("stream", None));
        decoded(&event.args[0])
    }

    /// The next frames for the page: camera, number, and the number in the picture; and the id of
    /// the acknowledgement.
    #[track_caller]
    pub fn next_frames(&mut self) -> (Vec<(String, u64, usize)>, u64) {
        let event = self.event();
        assert_eq!(event.name, "frames", "{event:?}");
        let [Value::Array(entries)] = &event.args[..] else {
            panic!("{event:?}");
        };
        assert_eq!(entries.len(), event.binary.len());
        let pictures = entries.iter().zip(&event.binary).enumerate();
        let pictures = pictures.map(|(index, (entry, jpeg))| {
            assert_eq!(entry["jpeg"]["num"], index);
            assert!(entry["captured"].as_f64().expect("a time") > 1e12);
            let camera = entry["camera"].as_str().expect("a name");
            let at = entry["number"].as_u64().expect("a number");
            (camera.into(), at, number(jpeg))
        });
        (pictures.collect(), event.ack.expect("an acknowledgement"))
    }

    /// Acknowledges an event, as the page does after painting.
    #[track_caller]
    pub fn acknowledge(&mut self, ack: u64) {
        let text = format!("43{}{ack}[]", self.namespace);
        self.send(&text);
    }

    /// The names of the cameras, from the event `hello`.
    #[track_caller]
    pub fn hello(&mut self) -> Vec<String> {
        let event = self.event();
        assert_eq!(event.name, "hello", "{event:?}");
        assert_eq!(event.args[0]["name"], "gst-plugin-b64jpeg");
        serde_json::from_value(event.args[0]["cameras"].clone()).expect("names")
    }

    pub fn stream(&self) -> &TcpStream {
        self.socket.get_ref()
    }

    /// Closes the connection without a Close packet.
    pub fn disconnect(self) {
        let _ = self.stream().shutdown(Shutdown::Both);
    }
}

/// The number of a frame in base64.
#[track_caller]
pub fn decoded(text: &Value) -> usize {
    let text = text.as_str().expect("a text");
    number(&BASE64_STANDARD.decode(text).expect("base64"))
}
