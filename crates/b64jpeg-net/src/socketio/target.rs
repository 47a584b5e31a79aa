// SPDX-License-Identifier: MPL-2.0

//! What a connection is to be made to, and how.

use std::{sync::Arc, time::Duration};

use b64jpeg_wire::socketio::Json;

use super::url::Url;

/// A Socket.IO server, and the settings of a connection to it.
pub struct Target {
    /// Address of the server.
    pub url: Url,
    /// TLS configuration; `None` connects without TLS.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Socket.IO namespace, such as `/`.
    pub namespace: String,
    /// JSON object that the first packet carries to the server.
    pub auth: Option<Json<'static>>,
    /// Time within which the server must respond, and take at least a part of what is sent;
    /// `None` waits forever.
    pub timeout: Option<Duration>,
    /// Longest JPEG, with its encoding, in a message from the server, in bytes.
    pub max_frame_size: usize,
    /// Whether to decode the events that the server sends; otherwise they are skipped.
    pub wants_events: bool,
}
