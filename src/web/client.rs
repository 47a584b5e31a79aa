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

use base64_turbo::STANDARD;
use bytes::Bytes;
use futures_util::{Sink, Stream};
use rustls::{CertificateError, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::TlsConnector;
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
    http::{self, Answer},
    protocol::{self, Args, Body, Decoder, Json, Limits, Packet},
    tls,
    url::Url,
};
use crate::{
    tcp::{client::HEAD_START, known_addresses, listen::tune},
    wire::{self, Glimpse},
};

/// Room in a message for what stands round a picture, such as the name of the event.
const AROUND: usize = 64 << 10;
/// So many answers to pings and events wait to be sent; then nothing more is read.
const MAX_REPLIES: usize = 256;
/// How long it may take to find out what is wrong.
const SECOND_LOOK: Duration = Duration::from_secs(2);
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
}

impl Lost {
    fn torn(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            closed: false,
        }
    }

    fn closed(cause: impl Into<String>) -> Self {
        Self {
            cause: cause.into(),
            closed: true,
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

/// Something to send.
pub type Message = tungstenite::Message;

/// A connection to a server, that has let us into the namespace.
pub struct Connection {
    socket: WebSocketStream<Watched>,
    decoder: Decoder,
    namespace: String,
    listens: bool,
    timeout: Option<Duration>,
    /// The server takes no longer message.
    max_payload: Option<u64>,
    /// How long the server may be silent, and since when it is.
    silence: Duration,
    heard: Instant,
    /// What is not sent yet: whether there is something, so many answers in it, and since
    /// when nothing of it was taken.
    sending: bool,
    replies: usize,
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
            // What is written goes out at once.
            .write_buffer_size(0)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let stream = Watched {
            inner: stream,
            written: 0,
        };
        let socket =
            WebSocketStream::from_partially_read(stream, answer.rest, Role::Client, Some(config));
        let limits = Limits {
            max_packet: longest,
            ..Limits::default()
        };
        let mut connection = Self {
            socket: socket.await,
            decoder: Decoder::new(limits),
            namespace: target.namespace.clone(),
            listens: target.listens,
            timeout: target.timeout,
            max_payload: None,
            // Until it says something else.
            silence: Duration::from_secs(3600),
            heard: Instant::now(),
            sending: false,
            replies: 0,
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
        loop {
            let text = match self.receive().await.map_err(gone)? {
                Message::Text(text) => text,
                Message::Binary(data) => {
                    return Err(not_ours(format!(
                        "a binary message, {}",
                        Glimpse::of(&data)
                    )));
                }
                _ => continue,
            };
            let packet = self.decoder.text(&text);
            match packet.map_err(|error| not_ours(error.to_string()))? {
                Some(Packet::Open(open)) => {
                    self.silence = open.ping_interval.saturating_add(open.ping_timeout);
                    self.max_payload = open.max_payload;
                    let hello = Body::Connect(target.auth.clone());
                    let hello = protocol::Message::new(&*target.namespace, hello).encode();
                    self.push(hello.into()).map_err(gone)?;
                }
                Some(Packet::Ping(data)) => {
                    let pong = Packet::Pong(data).encode();
                    self.push(pong.into()).map_err(gone)?;
                }
                Some(Packet::Message(message)) if message.namespace == target.namespace => {
                    match message.body {
                        Body::Connect(Some(_)) => return Ok(()),
                        Body::Connect(None) => return Err(Error::Wrong(TOO_OLD.into())),
                        Body::ConnectError { message, .. } => {
                            return Err(Error::Refused(turned_away(target, &message)));
                        }
                        _ => {}
                    }
                }
                // Socket.IO 2 lets everybody into "/".
                Some(Packet::Message(protocol::Message {
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

    /// Returns when everything was sent, or nothing more will be. Events that come before
    /// that are given to `listen`. To be dropped and called again at any time.
    pub async fn turn(&mut self, mut listen: impl FnMut(Incoming<'_>)) -> Result<(), Lost> {
        loop {
            let was_sending = self.sending;
            let message = match self.receive_or_sent(was_sending).await? {
                None => return Ok(()),
                Some(message) => message,
            };
            match message {
                Message::Text(text) if !self.listens && is_event(&text) => {}
                Message::Text(text) => {
                    let packet = self.decoder.text(&text).map_err(bad_message)?;
                    if let Some(packet) = packet {
                        let bytes = Bytes::from(text.clone());
                        self.take(packet, &bytes, &mut listen)?;
                    }
                }
                Message::Binary(_) if !self.listens => {}
                Message::Binary(data) => {
                    if let Some(packet) = self.decoder.binary(data).map_err(bad_message)? {
                        self.take(packet, &Bytes::new(), &mut listen)?;
                    }
                }
                _ => {}
            }
        }
    }

    /// Does what a packet wants.
    fn take(
        &mut self,
        packet: Packet<'_>,
        text: &Bytes,
        listen: &mut impl FnMut(Incoming<'_>),
    ) -> Result<(), Lost> {
        match packet {
            Packet::Ping(data) => {
                self.replies += 1;
                self.push(Packet::Pong(data).encode().into())
            }
            Packet::Close => Err(Lost::closed("the server closed the connection")),
            Packet::Message(message) if message.namespace == self.namespace => {
                match &message.body {
                    Body::Event { name, args, .. } => {
                        listen(Incoming {
                            name,
                            args,
                            answer: message.answer(Args::default()).map(|a| a.encode()),
                            text,
                        });
                        Ok(())
                    }
                    Body::Disconnect => Err(Lost::closed("the server disconnected us")),
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Takes leave. It may take as long as the server does: to be dropped.
    pub async fn close(mut self) {
        let goodbye = protocol::Message::new(&*self.namespace, Body::Disconnect).encode();
        let _ = self.send([goodbye.into(), Message::Close(None)]);
        while self.receive().await.is_ok() {}
    }

    /// Puts a message behind what is on its way.
    fn push(&mut self, message: Message) -> Result<(), Lost> {
        if !self.sending {
            self.sending = true;
            self.stalled = Instant::now();
        }
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(broken)
    }

    /// The next message, while others are sent.
    async fn receive(&mut self) -> Result<Message, Lost> {
        loop {
            if let Some(message) = self.receive_or_sent(false).await? {
                return Ok(message);
            }
        }
    }

    /// The next message, or nothing when everything was sent, if that is of interest.
    async fn receive_or_sent(&mut self, sent: bool) -> Result<Option<Message>, Lost> {
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

    fn poll(&mut self, cx: &mut Context<'_>, sent: bool) -> Poll<Result<Option<Message>, Lost>> {
        if self.sending {
            let flushed = Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)?;
            let written = self.socket.get_ref().written;
            if written != self.written {
                self.written = written;
                self.stalled = Instant::now();
            }
            if flushed.is_ready() {
                self.sending = false;
                self.replies = 0;
                if sent {
                    return Poll::Ready(Ok(None));
                }
            }
        }
        if self.replies > MAX_REPLIES {
            return Poll::Pending;
        }
        let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
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
        Poll::Ready(Ok(Some(message)))
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

fn bad_message(error: protocol::ProtocolError) -> Lost {
    Lost::torn(format!("its message is bad: {error}"))
}

/// What a websocket has come to.
fn broken(error: tungstenite::Error) -> Lost {
    use tungstenite::Error;
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => Lost::torn(format!(
            "its message of {size} bytes is over the limit of {max_size}; if it is right, \
             raise max-frame-size"
        )),
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
        error => Lost::torn(error.to_string()),
    }
}

const NEEDS_TLS: &str = "it speaks TLS; use https://";
const TOO_OLD: &str = "it speaks an old Socket.IO (Engine.IO 3); upgrade the server: to \
    python-socketio 5, Flask-SocketIO 5, Node socket.io 3, or newer ones";

/// What a server says that does not let us into the namespace, and what to do.
fn turned_away(target: &Target, message: &str) -> String {
    let message = http::printable(message);
    let lower = message.to_ascii_lowercase();
    let namespace = &target.namespace;
    // The second is what python-socketio says.
    let unknown =
        lower.contains("namespace") || lower == "unable to connect" && namespace != protocol::ROOT;
    let advice = if unknown {
        "is `namespace` right?"
    } else if target.auth.is_some() {
        "is `auth` right?"
    } else {
        "does it want a token in `auth`?"
    };
    format!("it does not let us into the namespace {namespace}: {message:?}; {advice}")
}

/// A request for a transport.
fn request(target: &Target, transport: &str, headers: &str) -> String {
    let url = &target.url;
    let authorization = url
        .user()
        .map(|user| format!("Authorization: Basic {}\r\n", STANDARD.encode(user)));
    format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: {}/{}\r\n{}{headers}\r\n",
        url.target(transport),
        url.authority(),
        env!("CARGO_PKG_NAME"),
        env!("CARGO_PKG_VERSION"),
        authorization.unwrap_or_default(),
    )
}

/// A connection, with TLS if that is wanted.
async fn connect(target: &Target, stage: &mut &'static str) -> Result<Box<dyn Io>, Error> {
    let url = &target.url;
    let stream = dial(&url.host, url.port).await?;
    tune(&stream);
    let Some(tls) = &target.tls else {
        return Ok(Box::new(stream));
    };
    *stage = "it takes connections, but does not speak TLS; use http:// if it is meant not to";
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| Error::Wrong(format!("no certificate can be for {:?}", url.host)))?;
    match TlsConnector::from(tls.clone()).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(no_tls(&error)),
    }
}

/// A connection to the first address of a host that answers. The next one is tried when
/// those before it have failed, and also when they take their time.
async fn dial(host: &str, port: u16) -> Result<TcpStream, Error> {
    let failed = |error: io::Error| Error::Unreachable(error.to_string());
    let addresses = match known_addresses(host, port) {
        Some(addresses) => addresses,
        None => lookup_host((host, port)).await.map_err(failed)?.collect(),
    };
    let mut addresses = addresses.into_iter().peekable();
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = addresses.next() {
            attempts.spawn(TcpStream::connect(address));
        }
        let next = sleep_until(Instant::now() + HEAD_START);
        tokio::select! {
            attempt = attempts.join_next() => match attempt {
                Some(Ok(Ok(stream))) => {
                    // Where nobody listens and the port is one that the system hands out, it
                    // may have been handed to this very connection.
                    if stream.peer_addr().ok() != stream.local_addr().ok() {
                        return Ok(stream);
                    }
                    failure = io::ErrorKind::ConnectionRefused.into();
                }
                Some(Ok(Err(error))) => failure = error,
                Some(Err(_)) => {}
                None if addresses.peek().is_none() => return Err(failed(failure)),
                None => {}
            },
            () = next, if addresses.peek().is_some() => {}
        }
    }
}

/// Why there is no TLS.
fn no_tls(error: &io::Error) -> Error {
    use rustls::Error as Tls;
    let inner = error
        .get_ref()
        .and_then(|error| error.downcast_ref::<Tls>());
    let wrong = match inner {
        Some(Tls::InvalidCertificate(error)) => match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired; it has to be renewed there, if the clock here is \
                 right"
                    .into()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet; is the clock here right?".into()
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => {
                let names = presented
                    .iter()
                    // DnsName("…")
                    .map(|name| name.split('"').nth(1).unwrap_or(name))
                    .collect::<Vec<_>>();
                format!(
                    "its certificate is for {}, and not for {}; `url` has to name it like that",
                    names.join(", "),
                    expected.to_str()
                )
            }
            error if *error == CertificateError::UnknownIssuer || tls::is_self_signed(error) => {
                "its certificate is from somebody whom this machine does not know; if it is \
                 right, name that one's certificate, or its own, with ca-file"
                    .into()
            }
            error => format!("its certificate cannot be trusted: {error}"),
        },
        Some(Tls::InvalidMessage(_)) => {
            "it does not speak TLS; use http:// if it is meant not to".into()
        }
        Some(error) => format!("it refuses TLS: {error}"),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            return Error::Unreachable(
                "it closed the connection when TLS was to begin; use http:// if it is meant \
                 not to speak TLS"
                    .into(),
            );
        }
        None => return Error::Unreachable(error.to_string()),
    };
    Error::Wrong(wrong)
}

/// Why there is no HTTP.
async fn no_http(target: &Target, error: http::Error) -> Error {
    match error {
        // Some do not wait until it was written.
        http::Error::Io(error) if error.kind() != io::ErrorKind::ConnectionReset => {
            Error::Unreachable(error.to_string())
        }
        http::Error::Closed | http::Error::Io(_) => {
            if !target.url.tls && speaks_tls(target).await {
                return Error::Wrong(NEEDS_TLS.into());
            }
            match polling(target).await {
                Some((404, _)) => Error::Wrong(no_socket_io(target, "404")),
                _ => Error::Unreachable(format!(
                    "it closed the connection instead of opening a websocket at {}",
                    target.url.path()
                )),
            }
        }
        http::Error::Foreign(bytes) => {
            let what = match (&*bytes, wire::foreign(&bytes)) {
                // An alert, or a handshake.
                ([0x15 | 0x16, 3, ..], _) => NEEDS_TLS.into(),
                (_, Some(foreign)) => format!("it does not speak HTTP, but {foreign}"),
                _ if wire::recognise(&bytes).is_some() => {
                    "it does not speak HTTP, but sends pictures over TCP; \
                     b64jpegclientsrc takes them"
                        .into()
                }
                _ => format!(
                    "it does not speak HTTP: its answer begins with {}",
                    Glimpse::of(&bytes)
                ),
            };
            Error::Wrong(what)
        }
    }
}

/// Why a server gives no websocket.
async fn refused(target: &Target, answer: Answer, mut stream: Box<dyn Io>) -> Error {
    let status = answer.status;
    let reason = answer.reason();
    let location = answer.header("location").map(|location| {
        let shown = location.split(['?', '#']).next().unwrap_or_default();
        http::printable(shown)
    });
    let kind = answer.header("content-type").unwrap_or_default();
    if kind.starts_with("multipart/x-mixed-replace") {
        return Error::Wrong(
            "it is no Socket.IO server, but sends MJPEG; use souphttpsrc ! multipartdemux".into(),
        );
    }
    let body = answer.body(&mut stream).await;
    drop(stream);
    if is_too_old(&body) {
        return Error::Wrong(TOO_OLD.into());
    }
    let gist = http::gist(&body);
    let said = if gist.to_lowercase().contains(&reason.to_lowercase()) {
        gist
    } else if gist.is_empty() || reason.contains(&gist) {
        reason
    } else {
        format!("{reason}: {gist}")
    };
    match status {
        300..=399 => Error::Wrong(match location {
            Some(location) => format!("it is at {location} now ({said}); set `url` to that"),
            None => format!("it is somewhere else now ({said})"),
        }),
        401 | 403 | 407 => Error::Wrong(format!(
            "it lets nobody in like that ({said}); has `url` the user, password or token it \
             wants?"
        )),
        404 => Error::Wrong(no_socket_io(target, &said)),
        408 | 425 | 429 | 502..=504 => Error::Unreachable(format!("it answers {said}")),
        _ => match polling(target).await {
            Some((_, body)) if is_too_old(&body) => Error::Wrong(TOO_OLD.into()),
            Some((_, body)) if body.contains("\"sid\"") => Error::Wrong(
                "it speaks Socket.IO, but has no websockets; for Flask-SocketIO: pip install \
                 simple-websocket"
                    .into(),
            ),
            Some((404, _)) => Error::Wrong(no_socket_io(target, &said)),
            _ if status == 500 => Error::Unreachable(format!("it answers {said}")),
            _ => Error::Wrong(format!(
                "it is no Socket.IO server: it answers {said} where a websocket ought to be"
            )),
        },
    }
}

/// Whether this is what servers say that are too old, or too old for us.
fn is_too_old(body: &str) -> bool {
    let body = body.to_ascii_lowercase();
    ["unsupported version of the", "unsupported protocol version"]
        .iter()
        .any(|text| body.contains(text))
}

/// What to do about a path at which there is nothing.
fn no_socket_io(target: &Target, said: &str) -> String {
    format!(
        "there is no Socket.IO at {} ({said}); the path in `url` is that of Socket.IO, mostly \
         none, and a namespace is for `namespace`",
        target.url.path()
    )
}

/// What a server answers to a client that does without websockets.
async fn polling(target: &Target) -> Option<(u16, String)> {
    let ask = async {
        let mut stream = connect(target, &mut "").await.ok()?;
        let request = request(target, "polling", "Connection: close\r\n");
        let answer = Answer::to(&mut stream, &request).await.ok()?;
        Some((answer.status, answer.body(&mut stream).await))
    };
    timeout(SECOND_LOOK, ask).await.ok()?
}

/// Whether a server answers to TLS, whatever its certificate.
async fn speaks_tls(target: &Target) -> bool {
    let Ok(tls) = tls::client("") else {
        return false;
    };
    let url = &target.url;
    let ask = async {
        let stream = dial(&url.host, url.port).await.ok()?;
        let name = ServerName::try_from(url.host.clone()).ok()?;
        match TlsConnector::from(tls).connect(name, stream).await {
            Ok(_) => Some(()),
            Err(error) => {
                let inner = error.get_ref()?.downcast_ref()?;
                matches!(inner, rustls::Error::InvalidCertificate(_)).then_some(())
            }
        }
    };
    matches!(timeout(SECOND_LOOK, ask).await, Ok(Some(())))
}

/// A connection of any kind.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that counts what it takes.
struct Watched {
    inner: Box<dyn Io>,
    written: u64,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buffer)
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
