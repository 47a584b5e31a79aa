// SPDX-License-Identifier: MPL-2.0

//! Opens a connection: TCP, TLS, the HTTP request for a WebSocket, and the namespace.

use b64jpeg_wire::{
    FirstBytes,
    socketio::{Body, Packet, PacketDecoder, PacketLimits, SocketIoPacket},
};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        handshake::{client::generate_key, derive_accept_key},
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    super::{
        diagnosis::{namespace_refused, no_response, no_websocket},
        dial::connect,
        error::{ConnectError, ConnectStage, UnexpectedMessage},
        http::{HttpResponse, transport_request},
        lost::LostConnection,
        stream::CountedStream,
        target::Target,
    },
    Connection, EVENT_OVERHEAD, MAX_SILENCE, Message,
};
use crate::slow_peer::SlowPeerDetector;

/// Bytes that are read at once.
const READ_BUFFER: usize = 64 << 10;

impl Connection {
    /// Connects, opens a WebSocket and enters the namespace.
    ///
    /// # Errors
    ///
    /// Why that is not possible; [`ConnectError::kind`] says whether retrying can help.
    pub async fn open(target: &Target) -> Result<Self, ConnectError> {
        let mut stage = ConnectStage::Dial;
        let open = Self::try_open(target, &mut stage);
        let Some(after) = target.timeout else {
            return open.await;
        };
        match timeout(after, open).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::NoAnswer { after, stage }),
        }
    }

    async fn try_open(target: &Target, stage: &mut ConnectStage) -> Result<Self, ConnectError> {
        let mut stream = connect(target, stage).await?;
        *stage = ConnectStage::Http;
        let key = generate_key();
        let headers = format!(
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {key}\r\n"
        );
        let request = transport_request(target, "websocket", &headers);
        let response = match HttpResponse::receive(&mut stream, &request).await {
            Ok(response) => response,
            Err(error) => return Err(no_response(target, error).await),
        };
        if response.status != 101 {
            return Err(no_websocket(target, response, stream).await);
        }
        let accepted = response.header("sec-websocket-accept");
        if accepted != Some(&derive_accept_key(key.as_bytes())) {
            return Err(ConnectError::ForeignWebSocketAnswer);
        }

        *stage = ConnectStage::SocketIo;
        let longest = target.max_frame_size.saturating_add(EVENT_OVERHEAD);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Writes go out at once. The buffer needs no limit of its own: `poll` limits the
            // replies in it, and there is at most one picture.
            .write_buffer_size(0)
            .max_message_size(Some(longest))
            .max_frame_size(Some(longest));
        let stream = CountedStream::new(stream);
        let socket =
            WebSocketStream::from_partially_read(stream, response.rest, Role::Client, Some(config));
        let limits = PacketLimits {
            max_packet: longest,
            ..PacketLimits::default()
        };
        let mut connection = Self {
            socket: socket.await,
            decoder: PacketDecoder::new(limits),
            namespace: target.namespace.clone(),
            wants_events: target.wants_events,
            timeout: target.timeout,
            max_payload: None,
            // Until the server announces another.
            max_silence: MAX_SILENCE,
            last_read: Instant::now(),
            read: 0,
            slow_peer: SlowPeerDetector::default(),
            sending: false,
            replies: 0,
            reply_bytes: 0,
            written: 0,
            last_write: Instant::now(),
        };
        connection.enter_namespace(target).await?;
        Ok(connection)
    }

    /// Waits for the open packet of the server, and joins the namespace.
    async fn enter_namespace(&mut self, target: &Target) -> Result<(), ConnectError> {
        let unexpected = ConnectError::UnexpectedMessage;
        let mut opened = false;
        loop {
            let text = match self.receive().await? {
                Message::Text(text) => text,
                Message::Binary(data) => {
                    let first = FirstBytes::of(&data);
                    return Err(unexpected(UnexpectedMessage::Binary(first)));
                }
                _ => continue,
            };
            let packet = self.decoder.text(&text);
            match packet.map_err(|error| unexpected(UnexpectedMessage::BadPacket(error)))? {
                // Each one would be answered with `auth`.
                Some(Packet::Open(_)) if opened => {
                    return Err(unexpected(UnexpectedMessage::SecondOpen));
                }
                Some(Packet::Open(open)) => {
                    opened = true;
                    let silence = open.ping_interval.saturating_add(open.ping_timeout);
                    self.max_silence = silence.min(MAX_SILENCE);
                    self.max_payload = open.max_payload;
                    let body = Body::Connect(target.auth.clone());
                    let request = SocketIoPacket::new(&*target.namespace, body).encode();
                    self.push(request.into())?;
                }
                Some(Packet::Ping(data)) => {
                    let pong = Packet::Pong(data).encode();
                    self.reply([pong.into()])?;
                }
                Some(Packet::Message(message)) if message.namespace == target.namespace => {
                    match message.body {
                        Body::Connect(Some(_)) => return Ok(()),
                        Body::Connect(None) => return Err(ConnectError::OldSocketIo),
                        Body::ConnectError { message, .. } => {
                            return Err(namespace_refused(target, &message));
                        }
                        _ => {}
                    }
                }
                // Socket.IO 2 admits every client to "/" without a request.
                Some(Packet::Message(SocketIoPacket {
                    body: Body::Connect(None),
                    ..
                })) => return Err(ConnectError::OldSocketIo),
                Some(Packet::Close) => {
                    return Err(LostConnection::ClosedByServer { reason: None }.into());
                }
                _ => {}
            }
        }
    }
}
