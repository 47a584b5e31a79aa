// SPDX-License-Identifier: MPL-2.0

//! One connection to a Socket.IO server, over a WebSocket from the start (without HTTP polling).
//!
//! It answers pings, and ends when the server closes it, is silent for longer than it has
//! announced, or takes nothing of what is sent for longer than the timeout. It sends and
//! receives at the same time, so that a picture on its way out does not delay pings.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use b64jpeg_wire::socketio::{Args, Body, Packet, PacketDecoder, ProtocolError, SocketIoPacket};
use bytes::Bytes;
use futures_util::{Sink, Stream};
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, error::CapacityError},
};

use super::{lost::LostConnection, stream::CountedStream, text::printable};
use crate::slow_peer::{self, SlowPeerDetector, SlowReport};

mod open;

/// Bytes of a message around a picture, such as the name of the event, at most.
const EVENT_OVERHEAD: usize = 64 << 10;
/// Nothing is read while more replies than this wait to be sent, such as pongs.
const MAX_REPLIES: usize = 256;
/// Nothing is read while the waiting replies have more bytes than this.
const MAX_REPLY_BYTES: usize = 64 << 10;
/// Bytes of a WebSocket frame of a client besides its payload, at most.
const FRAME_OVERHEAD: usize = 14;
/// Longest silence that a server can announce.
const MAX_SILENCE: Duration = Duration::from_secs(24 * 3600);

/// An event from the server.
pub struct IncomingEvent<'a> {
    /// Name of the event.
    pub name: &'a str,
    /// Its arguments.
    pub args: &'a Args<'a>,
    /// The acknowledgement to send, if the server requests one.
    pub ack: Option<String>,
    /// The text message that strings in `args` may borrow from; empty for a binary event.
    pub text: &'a Bytes,
}

/// What [`Connection::advance`] has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Everything was sent.
    Sent,
    /// An event came, and the handler returned whether it is of use.
    Received { useful: bool },
    /// Bytes come, but no whole message for too long. Reported once.
    Slow(SlowReport),
}

/// What the socket gives to one poll.
enum Polled {
    Message(Message),
    /// Everything was sent.
    Sent,
    Slow(SlowReport),
}

/// A WebSocket message.
pub type Message = tungstenite::Message;

/// A connection to a server that has admitted the client to the namespace.
pub struct Connection {
    socket: WebSocketStream<CountedStream>,
    decoder: PacketDecoder,
    namespace: String,
    wants_events: bool,
    timeout: Option<Duration>,
    /// Longest message that the server accepts, in bytes.
    max_payload: Option<u64>,
    /// How long the server may be silent.
    max_silence: Duration,
    /// When the last bytes came.
    last_read: Instant,
    /// Bytes that had come by then.
    read: u64,
    slow_peer: SlowPeerDetector,
    /// Whether something waits to be sent.
    sending: bool,
    /// Replies among what waits, and their bytes. They are limited because the server can
    /// cause any number of them.
    replies: usize,
    reply_bytes: usize,
    /// Bytes that the system has accepted.
    written: u64,
    /// When it accepted the last of them.
    last_write: Instant,
}

impl Connection {
    /// The longest message that the server accepts, in bytes, if it announces that.
    pub fn max_payload(&self) -> Option<u64> {
        self.max_payload
    }

    /// Queues messages. [`advance`](Self::advance) sends them, and reports when that is done.
    ///
    /// # Errors
    ///
    /// Why the connection is lost.
    pub fn send(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), LostConnection> {
        messages
            .into_iter()
            .try_for_each(|message| self.push(message))
    }

    /// Queues replies to what the server has sent, such as acknowledgements. Nothing is read
    /// while too many of them wait.
    ///
    /// # Errors
    ///
    /// Why the connection is lost.
    pub fn reply(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> Result<(), LostConnection> {
        messages.into_iter().try_for_each(|message| {
            self.count_reply(message.len());
            self.push(message)
        })
    }

    /// Sends and receives until something is complete. `on_event` is called for each event
    /// that comes, and returns whether the event is of use.
    ///
    /// Cancel safe: the future can be dropped, and the method called again.
    ///
    /// # Errors
    ///
    /// Why the connection is lost.
    pub async fn advance(
        &mut self,
        mut on_event: impl FnMut(IncomingEvent<'_>) -> bool,
    ) -> Result<Progress, LostConnection> {
        loop {
            let was_sending = self.sending;
            let message = match self.receive_or_sent(was_sending).await? {
                Polled::Sent => return Ok(Progress::Sent),
                Polled::Slow(report) => return Ok(Progress::Slow(report)),
                Polled::Message(message) => message,
            };
            let received = match message {
                Message::Text(text) if self.wants_events || !is_event(&text) => {
                    let packet = self.decoder.text(&text).map_err(bad_message)?;
                    match packet {
                        Some(packet) => {
                            let bytes = Bytes::from(text.clone());
                            self.handle(packet, &bytes, &mut on_event)?
                        }
                        None => None,
                    }
                }
                Message::Binary(data) if self.wants_events => {
                    match self.decoder.binary(data).map_err(bad_message)? {
                        Some(packet) => self.handle(packet, &Bytes::new(), &mut on_event)?,
                        None => None,
                    }
                }
                _ => None,
            };
            if let Some(useful) = received {
                return Ok(Progress::Received { useful });
            }
        }
    }

    /// Handles a packet. For an event, returns whether it is of use.
    fn handle(
        &mut self,
        packet: Packet<'_>,
        text: &Bytes,
        on_event: &mut impl FnMut(IncomingEvent<'_>) -> bool,
    ) -> Result<Option<bool>, LostConnection> {
        match packet {
            Packet::Ping(data) => {
                self.reply([Packet::Pong(data).encode().into()])?;
                Ok(None)
            }
            Packet::Close => Err(LostConnection::ClosedByServer { reason: None }),
            Packet::Message(message) if message.namespace == self.namespace => {
                match &message.body {
                    Body::Event { name, args, .. } => Ok(Some(on_event(IncomingEvent {
                        name,
                        args,
                        ack: message.answer(Args::default()).map(|ack| ack.encode()),
                        text,
                    }))),
                    Body::Disconnect => Err(LostConnection::Disconnected),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    /// Sends Disconnect and Close, then drains. No timeout: cancel by dropping the future.
    pub async fn close(mut self) {
        let disconnect = SocketIoPacket::new(&*self.namespace, Body::Disconnect).encode();
        let _ = self.send([disconnect.into(), Message::Close(None)]);
        while self.receive().await.is_ok() {}
    }

    /// Queues a message.
    fn push(&mut self, message: Message) -> Result<(), LostConnection> {
        self.begin_sending();
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(websocket_error)
    }

    fn begin_sending(&mut self) {
        if !std::mem::replace(&mut self.sending, true) {
            self.last_write = Instant::now();
        }
    }

    /// Counts a reply with a payload of `len` bytes. The counters are reset when everything
    /// is sent.
    fn count_reply(&mut self, len: usize) {
        self.begin_sending();
        self.replies += 1;
        self.reply_bytes += len + FRAME_OVERHEAD;
    }

    /// The next message. Sends what is queued meanwhile.
    async fn receive(&mut self) -> Result<Message, LostConnection> {
        loop {
            if let Polled::Message(message) = self.receive_or_sent(false).await? {
                return Ok(message);
            }
        }
    }

    /// The next message, or that everything was sent, if `report_sent` asks for that.
    async fn receive_or_sent(&mut self, report_sent: bool) -> Result<Polled, LostConnection> {
        loop {
            let deadline = self.deadline();
            let next = poll_fn(|cx| self.poll(cx, report_sent));
            tokio::select! {
                biased;
                next = next => return next,
                () = sleep_until(deadline) => self.check_deadlines()?,
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        report_sent: bool,
    ) -> Poll<Result<Polled, LostConnection>> {
        if self.sending {
            let flushed = Pin::new(&mut self.socket)
                .poll_flush(cx)
                .map_err(websocket_error)?;
            let written = self.socket.get_ref().written;
            if written != self.written {
                self.written = written;
                self.last_write = Instant::now();
            }
            if flushed.is_ready() {
                self.sending = false;
                self.replies = 0;
                self.reply_bytes = 0;
                if report_sent {
                    return Poll::Ready(Ok(Polled::Sent));
                }
            }
        }
        if self.replies > MAX_REPLIES || self.reply_bytes > MAX_REPLY_BYTES {
            return Poll::Pending;
        }
        let next = Pin::new(&mut self.socket).poll_next(cx);
        self.count_read();
        let Poll::Ready(next) = next else {
            return match self.slow_peer.report(slow_peer::limit(self.timeout)) {
                Some(report) => Poll::Ready(Ok(Polled::Slow(report))),
                None => Poll::Pending,
            };
        };
        // Control frames may come inside a message.
        if !matches!(next, Some(Ok(Message::Ping(_) | Message::Pong(_)))) {
            self.slow_peer.complete(0, slow_peer::limit(self.timeout));
        }
        let message = match next {
            Some(Ok(Message::Close(frame))) => {
                let reason = frame
                    .filter(|frame| !frame.reason.is_empty())
                    .map(|frame| printable(&frame.reason));
                return Poll::Ready(Err(LostConnection::ClosedByServer { reason }));
            }
            Some(message) => message.map_err(websocket_error)?,
            None => return Poll::Ready(Err(LostConnection::Ended)),
        };
        self.last_read = Instant::now();
        if let Message::Ping(data) = &message {
            // tungstenite queues the pong by itself, however many wait already.
            self.count_reply(data.len());
        }
        Poll::Ready(Ok(Polled::Message(message)))
    }

    /// Counts the bytes that have come since the last call. Parts of a message show, too,
    /// that the server is alive.
    fn count_read(&mut self) {
        let read = self.socket.get_ref().read;
        if read != self.read {
            self.slow_peer
                .add(read - self.read, self.last_read.elapsed());
            self.read = read;
            self.last_read = Instant::now();
        }
    }

    /// The time by which the server has to send or take something.
    fn deadline(&self) -> Instant {
        let silent = self.last_read + self.max_silence;
        match self.timeout {
            Some(timeout) if self.sending => silent.min(self.last_write + timeout),
            _ => silent,
        }
    }

    fn check_deadlines(&self) -> Result<(), LostConnection> {
        let now = Instant::now();
        if let Some(after) = self.timeout.filter(|_| self.sending)
            && now >= self.last_write + after
        {
            return Err(LostConnection::NothingTaken { after });
        }
        if now >= self.last_read + self.max_silence {
            let after = self.max_silence;
            return Err(LostConnection::Silent { after });
        }
        Ok(())
    }
}

/// Whether a message is an event or an acknowledgement, by its first two characters.
fn is_event(text: &str) -> bool {
    matches!(text.as_bytes(), [b'4', b'2' | b'3' | b'5' | b'6', ..])
}

fn bad_message(error: ProtocolError) -> LostConnection {
    match error {
        ProtocolError::TooLong { len, max } => too_long(len, max),
        error => LostConnection::BadMessage(error),
    }
}

fn too_long(len: usize, max: usize) -> LostConnection {
    // Users set the limit of the picture alone.
    let max = max - EVENT_OVERHEAD;
    LostConnection::TooLong { len, max }
}

fn websocket_error(error: tungstenite::Error) -> LostConnection {
    use tungstenite::Error;
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            too_long(size, max_size)
        }
        Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => LostConnection::Ended,
        Error::Io(error) => LostConnection::Io(error),
        Error::ConnectionClosed | Error::AlreadyClosed => {
            LostConnection::ClosedByServer { reason: None }
        }
        Error::Protocol(tungstenite::error::ProtocolError::ResetWithoutClosingHandshake) => {
            LostConnection::Ended
        }
        error => LostConnection::WebSocket(Box::new(error)),
    }
}
