// SPDX-License-Identifier: MPL-2.0

//! TCP connections to servers, with TLS or without.

use std::io;

use rustls::pki_types::ServerName;
use tokio::{
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_rustls::TlsConnector;

use super::{
    error::{ConnectError, ConnectStage},
    stream::ByteStream,
    target::Target,
};
use crate::{host::known_addresses, listen::tune, socket::Socket, tcp::client::HEAD_START};

/// Connects to the server of `target`, with TLS if it has a TLS configuration, and notes in
/// `stage` how far that has come.
pub async fn connect(
    target: &Target,
    stage: &mut ConnectStage,
) -> Result<Box<dyn ByteStream>, ConnectError> {
    let url = &target.url;
    let stream = dial(&url.host, url.port).await?;
    tune(&stream);
    let stream = Socket::from(stream);
    let Some(tls) = &target.tls else {
        return Ok(Box::new(stream));
    };
    *stage = ConnectStage::Tls;
    let name =
        ServerName::try_from(url.host.clone()).map_err(|_| ConnectError::InvalidServerName {
            host: url.host.clone(),
        })?;
    match TlsConnector::from(tls.clone()).connect(name, stream).await {
        Ok(stream) => Ok(Box::new(stream)),
        Err(error) => Err(tls_error(error)),
    }
}

/// Connects to the first address of a host that answers. Starts with the next address when
/// the attempts before it have failed, or have not succeeded within [`HEAD_START`].
pub async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    let addresses = match known_addresses(host, port) {
        Some(addresses) => addresses,
        None => lookup_host((host, port)).await?.collect(),
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
                    // On a port of the ephemeral range without a listener, the socket can
                    // connect to itself.
                    if stream.peer_addr().ok() != stream.local_addr().ok() {
                        return Ok(stream);
                    }
                    failure = io::ErrorKind::ConnectionRefused.into();
                }
                Some(Ok(Err(error))) => failure = error,
                Some(Err(_)) => {}
                None if addresses.peek().is_none() => return Err(failure),
                None => {}
            },
            () = next, if addresses.peek().is_some() => {}
        }
    }
}

/// Why the TLS handshake failed.
fn tls_error(error: io::Error) -> ConnectError {
    let kind = error.kind();
    match error.downcast::<rustls::Error>() {
        Ok(rustls::Error::InvalidCertificate(error)) => ConnectError::Certificate(error.into()),
        Ok(rustls::Error::InvalidMessage(_)) => ConnectError::NotTls,
        Ok(error) => ConnectError::TlsRefused(error),
        Err(_) if kind == io::ErrorKind::UnexpectedEof => ConnectError::TlsClosed,
        Err(error) => ConnectError::Io(error),
    }
}
