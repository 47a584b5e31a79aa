// SPDX-License-Identifier: MPL-2.0

//! Why a camera cannot be added to a server.

use std::{error::Error, fmt, io, net::SocketAddr};

use b64jpeg_net::tls::TlsError;

use super::{cameras::CameraNameError, config::ServerConfig};

/// Why a camera cannot be added to a server, or the server cannot start.
#[derive(Debug)]
pub enum RegistrationError {
    /// There is a certificate without a key, or a key without a certificate.
    TlsIncomplete,
    /// The certificate or the key cannot be used.
    Tls(TlsError),
    /// The host name cannot be resolved.
    Resolve(io::Error),
    /// None of the addresses of the host can be listened on.
    Listen {
        /// The addresses that were tried.
        addresses: Vec<SocketAddr>,
        /// Why the last one failed.
        error: io::Error,
    },
    /// The system lacks what a server needs, such as threads.
    Start(io::Error),
    /// A server with another configuration uses this host and port.
    ConfigDiffers {
        /// Where that server listens.
        address: SocketAddr,
        /// Its configuration.
        existing: Box<ServerConfig>,
    },
    /// The server has cameras with which this name cannot be used.
    CameraName {
        /// Where the server listens.
        address: SocketAddr,
        /// What is wrong with the name.
        error: CameraNameError,
    },
}

impl fmt::Display for RegistrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TlsIncomplete => f.write_str("TLS needs both a certificate and a key"),
            Self::Tls(error) => error.fmt(f),
            Self::Resolve(error) => write!(f, "the host cannot be resolved: {error}"),
            Self::Listen { error, .. } => write!(f, "the server cannot listen: {error}"),
            Self::Start(error) => write!(f, "the server cannot start: {error}"),
            Self::ConfigDiffers { address, .. } => {
                write!(f, "the server at {address} has another configuration")
            }
            Self::CameraName { address, error } => write!(f, "at {address} {error}"),
        }
    }
}

impl Error for RegistrationError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            // Shown by Display already.
            Self::Tls(error) => error.source(),
            Self::Resolve(error) | Self::Listen { error, .. } | Self::Start(error) => Some(error),
            Self::TlsIncomplete | Self::ConfigDiffers { .. } => None,
            Self::CameraName { error, .. } => Some(error),
        }
    }
}
