// SPDX-License-Identifier: MPL-2.0

//! One connection to a Socket.IO server, over a websocket from the first.
//!
//! It answers pings, and is over when the server closes it, says nothing for longer than it
//! has promised, or takes nothing for too long. It never waits for one thing alone: while a
//! picture is on its way out, what comes in is read.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use b64jpeg_wire::{
    FirstBytes,
    socketio::{
        self as protocol, Args, Body, Json, Packet, PacketDecoder, PacketLimits, ProtocolError,
    },
};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        error::CapacityError,
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    diagnosis::{TOO_OLD, no_http, refused, turned_away},
    dial::{Io, connect},
    http::{self, Answer, request},
    url::Url,
};
use crate::slow::{self, Report, Slow};

/// Room in a message for what stands round a picture, such as the name of the event.
const AROUND: usize = 64 << 10;
/// Nothing is read while more answers than this wait to be sent, such as pongs.
const MAX_ANSWERS: usize = 256;
/// Nothing is read while the waiting answers have more bytes than this.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Bytes of a websocket frame besides its payload, at most, when a client sends it.
const FRAME_OVERHEAD: usize = 14;
/// A server cannot promise to be silent for longer.
const MAX_SILENCE: Duration = Duration::from_secs(24 * 3600);
/// As much is read at once.
const READ_BUFFER: usize = 64 << 10;

/// Where to connect to, and as whom.
pub struct Target {
    pub url: Url,
    /// With TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub namespace: String,
    /// What the server is told in the first packet.
    pub auth: Option<Json<'static>>,
    /// How long the server may take to answer, and to take what is sent; none for any time.
    pub timeout: Option<Duration>,
    /// The longest picture in a message from the server.
    pub max_picture: usize,
    /// Whether events are of interest.
    pub listens: bool,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum Error {
    /// The server is not there, or not ready. It may be, later.
    Unreachable(String),
    /// What is there is nothing to connect to, and nor will it be.
    Wrong(String),
    /// The server does not want us.
    Refused(String),
}

/// Why a connection is no more.
#[derive(Debug)]
pub struct Lost {
    pub cause: String,
    /// Whether the server has closed it in so many words.
    pub closed: bool,
    /// Whether what it sent is to blame.
    pub bad: bool,
}

impl Lost {
    fn torn(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            closed: false,
            bad: false,
        }
    }

    fn bad(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            closed: false,
            bad: true,
        }
    }

    fn closed(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            closed: true,
            bad: false,
        }
    }
}

/// An event from the server.
pub struct Incoming<'a> {
    pub name: &'a str,
    pub args: &'a Args<'a>,
    /// The answer that the server wants, if it does.
    pub answer: Option<String>,
    /// The text that strings in it may be part of.
    pub text: &'a Bytes,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Everything was sent.
    Sent,
    /// An event came; whether it was of use.
    Received { useful: bool },
    /// Nothing, but bytes come, and no whole message for too long.
    Slow(Report),
}

/// What one look at the socket has found.
enum Received {
    Message(Message),
    /// Everything was sent.
    Sent,
    Slow(Report),
}

/// Something to send.
pub type Message = tungstenite::Message;

/// A connection to a server, that has let us into the namespace.
pub struct Connection {
    socket: WebSocketStream<Watched>,
    decoder: PacketDecoder,
    namespace: String,
    listens: bool,
    timeout: Option<Duration>,
    /// The server takes no longer message.
    max_payload: Option<u64>,
    /// How long the server may be silent, since when it is, and the bytes that came before.
    silence: Duration,
    heard: Instant,
    read: u64,
    slow: Slow,
    /// Whether there is something that is not sent yet.
    sending: bool,
    /// Answers in it, and their bytes. The server causes those, so they are limited.
    answers: usize,
    answer_bytes: usize,
    /// What the system has taken so far, and since when it has taken nothing.
    written: u64,
    stalled: Instant,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// A sentence that goes on after the name of the server and a colon.
    pub async fn open(target: &Target) -> Result<Self, Error> {
        let mut stage = "it cannot be reached";
        let open = Self::try_open(target, &mut stage);
        let Some(time) = target.timeout else {
            return open.await;
        };
        match timeout(time, open).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unreachable(format!(
                "no answer for {} s; {stage}",
                time.as_secs_f64()
            ))),
        }
    }

    async fn try_open(target: &Target, stage: &mut &'static str) -> Result<Self, Error> {
        let mut stream = connect(target, stage).await?;
        *stage = "it takes connections, but does not speak HTTP";
        let key = generate_key();
        let headers = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n"
        );
        let request = request(target, "websocket", &headers);
        let answer = match Answer::to(&mut stream, &request).await {
            Ok(answer) => answer,
            Err(error) => return Err(no_http(target, error).await),
        };
        if answer.status != 101 {
            return Err(refused(target, answer, stream).await);
        }
        let accepted = answer.header("sec-websocket-accept");
        if accepted != Some(&derive_accept_key(key.as_bytes())) {
            return Err(Error::Wrong(
                "its answer to the request for a websocket is for somebody else; is there a \
                 proxy that does not know websockets?"
                    .into(),
            ));
        }

        *stage = "it opens a websocket, but does not speak Socket.IO on it";
        let longest = target.max_picture.saturating_add(AROUND);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // What is written goes out at once. The buffer needs no limit of its own: `poll`
            // limits the answers in it, and of pictures there is one.
            .write_buffer_size(0)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let stream = Watched {
            inner: stream,
            written: 0,
            read: 0,
        };
        let socket =
            WebSocketStream::from_partially_read(stream, answer.rest, Role::Client, Some(config));
        let limits = PacketLimits {
            max_packet: longest,
            ..PacketLimits::default()
        };
        let mut connection = Self {
            socket: socket.await,
            decoder: PacketDecoder::new(limits),
            namespace: target.namespace.clone(),
            listens: target.listens,
            timeout: target.timeout,
            max_payload: None,
            // Until it says something else.
            silence: MAX_SILENCE,
            heard: Instant::now(),
            read: 0,
            slow: Slow::default(),
            sending: false,
            answers: 0,
            answer_bytes: 0,
            written: 0,
            stalled: Instant::now(),
        };
        connection.greet(target).await?;
        Ok(connection)
    }

    /// Gets into the namespace.
    async fn greet(&mut self, target: &Target) -> Result<(), Error> {
        let not_ours = |what: String| {
            Error::Wrong(format!(
                "it speaks something else than Socket.IO on its websocket: {what}"
            ))
        };
        let gone = |lost: Lost| Error::Unreachable(lost.cause);
        let mut opened = false;
        loop {
            let text = match self.receive().await.map_err(gone)? {
                Message::Text(text) => text,
                Message::Binary(data) => {
                    return Err(not_ours(format!(
                        "a binary message, {}",
                        FirstBytes::of(&data)
                    )));
                }
                _ => continue,
            };
            let packet = self.decoder.text(&text);
            match packet.map_err(|error| not_ours(error.to_string()))? {
                // Each would be answered with `auth`.
                Some(Packet::Open(_)) if opened => {
                    return Err(not_ours("a second open packet".into()));
                }
                Some(Packet::Open(open)) => {
                    opened = true;
                    let silence = open.ping_interval.saturating_add(open.ping_timeout);
                    self.silence = silence.min(MAX_SILENCE);
                    self.max_payload = open.max_payload;
                    let hello = Body::Connect(target.auth.clone());
                    let hello = protocol::SocketIoPacket::new(&*target.namespace, hello).encode();
                    self.push(hello.into()).map_err(gone)?;
                }
                Some(Packet::Ping(data)) => {
                    let pong = Packet::Pong(data).encode();
                    self.answer([pong.into()]).map_err(gone)?;
                }
                Some(Packet::Message(message)) if message.namespace == target.namespace => {
                    match message.body {
                        Body::Connect(Some(_)) => return Ok(()),
                        Body::Connect(None) => return Err(Error::Wrong(TOO_OLD.into())),
                        Body::ConnectError { message, .. } => {
                            return Err(turned_away(target, &message));
                        }
                        _ => {}
                    }
                }
                // Socket.IO 2 lets everybody into "/".
                Some(Packet::Message(protocol::SocketIoPacket {
                    body: Body::Connect(None),
                    ..
                })) => return Err(Error::Wrong(TOO_OLD.into())),
                Some(Packet::Close) => {
                    return Err(Error::Unreachable("it closed the connection".into()));
                }
                _ => {}
            }
        }
    }

    /// The longest message that the server takes, if it tells.
    pub fn max_payload(&self) -> Option<u64> {
        self.max_payload
    }

    /// Sends something, which may take until [`turn`](Self::turn) says that it is done.
    pub fn send(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), Lost> {
        messages
            .into_iter()
            .try_for_each(|message| self.push(message))
    }

    /// Sends answers to what has come. Nothing more is read while too many of them wait.
    pub fn answer(&mut self, messages: impl IntoIterator<Item = Message>) -> Result<(), Lost> {
        messages.into_iter().try_for_each(|message| {
            self.count_answer(message.len());
            self.push(message)
        })
    }

    /// Returns when something was done. `listen` is given the events that come, and tells
    /// whether they are of use. To be dropped and called again at any time.
    pub async fn turn(
        &mut self,
        mut listen: impl FnMut(Incoming<'_>) -> bool,
    ) -> Result<Turn, Lost> {
        loop {
            let was_sending = self.sending;
            let message = match self.receive_or_sent(was_sending).await? {
                Received::Sent => return Ok(Turn::Sent),
                Received::Slow(report) => return Ok(Turn::Slow(report)),
                Received::Message(message) => message,
            };
            let received = match message {
                Message::Text(text) if self.listens || !is_event(&text) => {
                    let packet = self.decoder.text(&text).map_err(bad_message)?;
                    match packet {
                        Some(packet) => {
                            let bytes = Bytes::from(text.clone());
                            self.take(packet, &bytes, &mut listen)?
                        }
                        None => None,
                    }
                }
                Message::Binary(data) if self.listens => {
                    match self.decoder.binary(data).map_err(bad_message)? {
                        Some(packet) => self.take(packet, &Bytes::new(), &mut listen)?,
                        None => None,
                    }
                }
                _ => None,
            };
            if let Some(useful) = received {
                return Ok(Turn::Received { useful });
            }
        }
    }

    /// Does what a packet wants; of an event, whether it was of use.
    fn take(
        &mut self,
        packet: Packet<'_>,
        text: &Bytes,
        listen: &mut impl FnMut(Incoming<'_>) -> bool,
    ) -> Result<Option<bool>, Lost> {
        match packet {
            Packet::Ping(data) => {
                self.answer([Packet::Pong(data).encode().into()])?;
                Ok(None)
            }
            Packet::Close => Err(Lost::closed("the server closed the connection")),
            Packet::Message(message) if message.namespace == self.namespace => {
                match &message.body {
                    Body::Event { name, args, .. } => Ok(Some(listen(Incoming {
                        name,
                        args,
                        answer: message.answer(Args::default()).map(|a| a.encode()),
                        text,
                    }))),
                    Body::Disconnect => Err(Lost::closed("the server disconnected us")),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// Takes leave. It may take as long as the server does: to be dropped.
    pub async fn close(mut self) {
        let goodbye = protocol::SocketIoPacket::new(&*self.namespace, Body::Disconnect).encode();
        let _ = self.send([goodbye.into(), Message::Close(None)]);
        while self.receive().await.is_ok() {}
    }

    /// Puts a message behind what is on its way.
    fn push(&mut self, message: Message) -> Result<(), Lost> {
        self.begin_sending();
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(broken)
    }

    fn begin_sending(&mut self) {
        if !std::mem::replace(&mut self.sending, true) {
            self.stalled = Instant::now();
        }
    }

    /// Counts an answer with a payload of that many bytes until everything is sent.
    fn count_answer(&mut self, len: usize) {
        self.begin_sending();
        self.answers += 1;
        self.answer_bytes += len + FRAME_OVERHEAD;
    }

    /// The next message, while others are sent.
    async fn receive(&mut self) -> Result<Message, Lost> {
        loop {
            if let Received::Message(message) = self.receive_or_sent(false).await? {
                return Ok(message);
            }
        }
    }

    /// The next message, or that everything was sent, if that is of interest.
    async fn receive_or_sent(&mut self, sent: bool) -> Result<Received, Lost> {
        loop {
            let deadline = self.deadline();
            let next = poll_fn(|cx| self.poll(cx, sent));
            tokio::select! {
                biased;
                next = next => return next,
                () = sleep_until(deadline) => self.check_patience()?,
            }
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>, sent: bool) -> Poll<Result<Received, Lost>> {
        if self.sending {
            let flushed = Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)?;
            let written = self.socket.get_ref().written;
            if written != self.written {
                self.written = written;
                self.stalled = Instant::now();
            }
            if flushed.is_ready() {
                self.sending = false;
                self.answers = 0;
                self.answer_bytes = 0;
                if sent {
                    return Poll::Ready(Ok(Received::Sent));
                }
            }
        }
        if self.answers > MAX_ANSWERS || self.answer_bytes > MAX_ANSWER_BYTES {
            return Poll::Pending;
        }
        let next = Pin::new(&mut self.socket).poll_next(cx);
        self.count_read();
        let Poll::Ready(next) = next else {
            // A part of a message shows that the server is there, too.
            return match self.slow.report(slow::limit(self.timeout)) {
                Some(report) => Poll::Ready(Ok(Received::Slow(report))),
                None => Poll::Pending,
            };
        };
        // Control frames may come inside a message.
        if !matches!(next, Some(Ok(Message::Ping(_) | Message::Pong(_)))) {
            self.slow.whole(0, slow::limit(self.timeout));
        }
        let message = match next {
            Some(Ok(Message::Close(frame))) => {
                let mut cause = String::from("the server closed the connection");
                if let Some(frame) = frame.filter(|frame| !frame.reason.is_empty()) {
                    cause += &format!(": {}", http::printable(&frame.reason));
                }
                return Poll::Ready(Err(Lost::closed(cause)));
            }
            Some(message) => message.map_err(broken)?,
            None => return Poll::Ready(Err(Lost::torn("the connection ended"))),
        };
        self.heard = Instant::now();
        if let Message::Ping(data) = &message {
            // tungstenite queues the pong by itself, however many wait already.
            self.count_answer(data.len());
        }
        Poll::Ready(Ok(Received::Message(message)))
    }

    /// Notes what has come since the last time.
    fn count_read(&mut self) {
        let read = self.socket.get_ref().read;
        if read != self.read {
            self.slow.add(read - self.read, self.heard.elapsed());
            self.read = read;
            self.heard = Instant::now();
        }
    }

    /// When patience will be at an end.
    fn deadline(&self) -> Instant {
        let silent = self.heard + self.silence;
        match self.timeout {
            Some(timeout) if self.sending => silent.min(self.stalled + timeout),
            _ => silent,
        }
    }

    fn check_patience(&self) -> Result<(), Lost> {
        let now = Instant::now();
        if let Some(timeout) = self.timeout.filter(|_| self.sending)
            && now >= self.stalled + timeout
        {
            let time = timeout.as_secs_f64();
            return Err(Lost::torn(format!("the server took nothing for {time} s")));
        }
        if now >= self.heard + self.silence {
            let time = self.silence.as_secs_f64();
            return Err(Lost::torn(format!("the server was silent for {time} s")));
        }
        Ok(())
    }
}

/// Whether a message holds an event or an answer to one.
fn is_event(text: &str) -> bool {
    matches!(text.as_bytes(), [b'4', b'2' | b'3' | b'5' | b'6', ..])
}

fn bad_message(error: ProtocolError) -> Lost {
    match error {
        ProtocolError::TooLong { len, max } => too_long(len, max),
        error => Lost::bad(format!("its message is bad: {error}")),
    }
}

fn too_long(len: usize, max: usize) -> Lost {
    Lost::bad(format!(
        "its message of {len} bytes is over the limit of {}; if it is right, raise \
         max-frame-size",
        max - AROUND
    ))
}

/// What a websocket has come to.
fn broken(error: tungstenite::Error) -> Lost {
    use tungstenite::Error;
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            too_long(size, max_size)
        }
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Lost::torn("the connection ended")
        }
        Error::Io(error) => Lost::torn(error.to_string()),
        Error::ConnectionClosed | Error::AlreadyClosed => {
            Lost::closed("the server closed the connection")
        }
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            Lost::torn("the connection ended")
        }
        error => Lost::bad(error.to_string()),
    }
}

/// A connection that counts what it takes and gives.
struct Watched {
    inner: Box<dyn Io>,
    written: u64,
    read: u64,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.read += (buffer.filled().len() - before) as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let len = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
        self.written += len as u64;
        Poll::Ready(Ok(len))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
