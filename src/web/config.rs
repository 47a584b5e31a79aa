// SPDX-License-Identifier: MPL-2.0

//! Configuration of a server.

/// Where a server listens, and whom it serves.
///
/// Cameras with the same `host` and `port` share a server; the other fields must then be
/// equal, too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Host name or address to listen on.
    pub host: String,
    /// TCP port; 0 = any free one, which is never shared.
    pub port: u16,
    /// Name of the Socket.IO event with the frames.
    pub event: String,
    /// Token that viewers must send; empty = none.
    pub token: String,
    /// PEM file with the certificate chain; empty = no TLS.
    pub tls_certificate: String,
    /// PEM file with the private key; empty = no TLS.
    pub tls_key: String,
    /// Maximum number of viewers; 0 = unlimited.
    pub max_clients: u32,
    /// Maximum number of connections from one address, and of polling sessions; 0 = unlimited.
    pub max_connections_per_address: u32,
    /// Origins, separated by commas, whose pages may use the server besides its own; `*` = all.
    pub allowed_origins: String,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            host: "127.0.0.1".into(),
            port: 8080,
            event: "stream".into(),
            token: String::new(),
            tls_certificate: String::new(),
            tls_key: String::new(),
            max_clients: 0,
            // A quarter of the connections that a server accepts.
            max_connections_per_address: 250,
            allowed_origins: String::new(),
        }
    }
}
