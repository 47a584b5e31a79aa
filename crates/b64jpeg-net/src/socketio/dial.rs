// SPDX-License-Identifier: MPL-2.0

//! Connections to servers, with TLS or without.

use std::io;

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_rustls::TlsConnector;

use super::{
    connection::{Error, Target},
    diagnosis::no_tls,
};
use crate::{host::known_addresses, listen::tune, socket::Socket, tcp::client::HEAD_START};

/// A connection of any kind.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection, with TLS if that is wanted.
pub async fn connect(target: &Target, stage: &mut &'static str) -> Result<Box<dyn Io>, Error> {
    let url = &target.url;
    let stream = dial(&url.host, url.port).await?;
    tune(&stream);
    let stream = Socket::from(stream);
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
pub async fn dial(host: &str, port: u16) -> Result<TcpStream, Error> {
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
