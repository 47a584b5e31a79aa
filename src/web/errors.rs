// SPDX-License-Identifier: MPL-2.0

//! Why a camera cannot be added to a server, and warnings about one that starts.

use std::{error::Error, fmt, io, net::SocketAddr};

use b64jpeg_net::{host::host_and_port, tls::TlsError};

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

/// Something doubtful in the configuration of a server that starts nevertheless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerWarning {
    /// The certificate has expired.
    CertificateExpired {
        /// The file with the certificate.
        certificate: String,
        /// Its last day, `YYYY-MM-DD`.
        day: String,
    },
    /// Other machines can reach the server, and there is no token.
    NoToken {
        /// The host as configured.
        host: String,
        /// The port that the server listens on.
        port: u16,
    },
}

impl fmt::Display for ServerWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CertificateExpired { certificate, day } => write!(
                f,
                "The certificate in {certificate} expired on {day}: browsers warn about it, and \
                 other programs refuse it"
            ),
            Self::NoToken { host, port } => write!(
                f,
                "Every machine that can reach {} can watch: there is no `token`",
                host_and_port(host, *port)
            ),
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
