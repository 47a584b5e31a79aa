// SPDX-License-Identifier: MPL-2.0

//! A server for browsers and Socket.IO programs: pictures of one or several cameras, to
//! whoever may watch.
//!
//! ```text
//!             ┌ accept ─ line ─ http ─ guard ─┬ routes: page, snapshot, stats
//!  listener ──┤                               ├ multipart ───┐
//!             └ …                             └ socketio ────┤
//!  camera ── show() ── the newest picture ───────────────────┘
//! ```
//!
//! Nobody is queued for, and nobody waited for: each viewer takes the newest picture when
//! it is ready for one, and the camera only puts it there.

mod accept;
mod access_control;
mod cameras;
mod connection;
mod engineio_sessions;
mod event_sender;
mod guess_limiter;
mod metered_stream;
mod multipart;
mod origin_policy;
mod page_assets;
mod page_sender;
mod per_address;
mod rate_limiter;
mod routes;
mod server_registry;
mod socketio;
mod task_panics;
mod viewers;

use std::{
    fmt, mem,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use axum::routing::MethodRouter;
use b64jpeg_net::{
    host::host_and_port,
    listen::{listen, resolve},
    runtime::Runtime,
    tls,
};
use serde_json::{Map, Value};
use socketioxide::SocketIo;
use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::JoinSet,
    time::timeout,
};

use tokio_rustls::TlsAcceptor;

use self::{
    access_control::Guard,
    cameras::{Cameras, Clash},
    engineio_sessions::Sessions,
    event_sender::Newcomers,
    per_address::Shares,
    task_panics::reported,
    viewers::Viewers,
};
use crate::common::{faults::sentence, sender::cannot_listen};

pub use self::{cameras::Camera, server_registry::Member, viewers::Event};

/// How long viewers have to take the last of what was sent when the server stops, and how
/// long it waits for each of the next steps, which wait for nobody.
const STOP: Duration = Duration::from_millis(300);

/// Whom a server serves, and where.
#[derive(Debug, Clone, Default)]
pub struct Config {
    pub host: String,
    pub port: u16,
    pub event: String,
    pub token: String,
    pub tls_certificate: String,
    pub tls_key: String,
    pub max_clients: u32,
    pub max_connections_per_address: u32,
    pub allowed_origins: String,
}

impl Config {
    /// The first property that another server would need another value of.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let of = |config: &Self| {
            [
                ("event", config.event.clone()),
                ("token", config.token.clone()),
                ("tls-certificate", config.tls_certificate.clone()),
                ("tls-key", config.tls_key.clone()),
                ("max-clients", config.max_clients.to_string()),
                (
                    "max-connections-per-address",
                    config.max_connections_per_address.to_string(),
                ),
                ("allowed-origins", config.allowed_origins.clone()),
            ]
        };
        let mut pairs = of(self).into_iter().zip(of(other));
        pairs.find_map(|((name, one), (_, other))| (one != other).then_some(name))
    }
}

/// What everything that serves has in common.
struct Shared {
    event: String,
    cameras: Cameras,
    viewers: Arc<Viewers>,
    newcomers: Newcomers,
    sessions: Sessions,
    guard: Guard,
    /// Sent in all.
    bytes: Arc<AtomicU64>,
}

impl Shared {
    /// What is told of it all.
    fn report(&self) -> Map<String, Value> {
        let bytes = self.bytes.load(Ordering::Relaxed);
        Map::from_iter([
            ("cameras".into(), self.cameras.report().into()),
            ("viewers".into(), self.viewers.report().into()),
            ("refused".into(), self.viewers.report_refused().into()),
            ("sessions".into(), self.sessions.len().into()),
            ("bytes-served".into(), bytes.into()),
        ])
    }
}

/// A server; it stops when it is dropped.
pub struct Server {
    shared: Arc<Shared>,
    config: Config,
    address: SocketAddr,
    /// What is said about how it serves.
    warnings: Vec<String>,
    io: SocketIo,
    socket_io: MethodRouter,
    connections: Arc<Semaphore>,
    end: watch::Sender<bool>,
    tasks: JoinSet<()>,
    runtime: Runtime,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Server {
    fn open(config: &Config) -> Result<Self, gst::ErrorMessage> {
        let Config { host, port, .. } = config;
        let mut warnings = Vec::new();
        let tls = match (&*config.tls_certificate, &*config.tls_key) {
            ("", "") => None,
            (certificate, key) => {
                let config = tls::server(certificate, key, &mut warnings).map_err(|error| {
                    let error = sentence(&error);
                    gst::error_msg!(gst::ResourceError::Settings, ("{error}"))
                })?;
                Some(TlsAcceptor::from(config))
            }
        };
        let addresses =
            resolve(host, *port).map_err(|error| cannot_listen(host, *port, None, &error))?;
        let (sockets, _) = listen(&addresses)
            .map_err(|error| cannot_listen(host, *port, Some(&addresses), &error))?;
        let failed = |error| {
            gst::error_msg!(
                gst::ResourceError::Failed,
                ("There is no room for a server: {error}")
            )
        };
        let addresses = sockets.iter().map(TcpListener::local_addr);
        let addresses = addresses.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let local = addresses.iter().all(|address| address.ip().is_loopback());
        if !local && config.token.is_empty() {
            warnings.push(format!(
                "Everybody who can reach {} can watch: there is no `token`",
                host_and_port(host, addresses[0].port())
            ));
        }

        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let max_per_address = size(config.max_connections_per_address);
        let viewers = Viewers::new(size(config.max_clients));
        #[cfg(test)]
        let viewers = viewers.with_panic_in(config.event.trim_start_matches("panic in "));
        let shared = Arc::new(Shared {
            event: config.event.clone(),
            cameras: Cameras::default(),
            viewers: Arc::new(viewers),
            newcomers: Newcomers::default(),
            sessions: Sessions::new(max_per_address),
            guard: Guard::new(config, local),
            bytes: Arc::default(),
        });
        let runtime = Runtime::new("b64jpeg-web").map_err(failed)?;
        let entered = runtime.handle().enter();
        let (socket_io, io) = socketio::service();
        let end = watch::Sender::new(false);
        let connections = Arc::new(Semaphore::new(accept::MAX_CONNECTIONS));
        let service = accept::Service {
            shared: shared.clone(),
            router: routes::router(shared.clone(), socket_io.clone()),
            tls,
            connections: connections.clone(),
            shares: Shares::new(max_per_address),
            end: end.subscribe(),
        };
        let mut tasks = JoinSet::new();
        let viewers = &shared.viewers;
        let broadcast = socketio::serve(io.clone(), &shared);
        tasks.spawn(reported(viewers.clone(), "the sender of events", broadcast));
        let end_idle = socketio::end_idle(shared.clone(), socket_io.clone());
        tasks.spawn(reported(
            viewers.clone(),
            "the end of idle sessions",
            end_idle,
        ));
        for socket in sockets {
            let listener = tokio::net::TcpListener::from_std(socket).map_err(failed)?;
            let accept = accept::accept(listener, service.clone());
            let accept = async { match accept.await {} };
            tasks.spawn(reported(viewers.clone(), "accepting connections", accept));
        }
        drop(entered);
        Ok(Self {
            shared,
            config: config.clone(),
            address: addresses[0],
            warnings,
            io,
            socket_io,
            connections,
            end,
            tasks,
            runtime,
        })
    }

    /// Refuses a camera that wants another server than this.
    fn check(&self, config: &Config) -> Result<(), gst::ErrorMessage> {
        let Some(property) = self.config.difference(config) else {
            return Ok(());
        };
        Err(gst::error_msg!(
            gst::ResourceError::Settings,
            (
                "The cameras at {} share one server, so `{property}` has to be the same for \
                 all of them; or choose another `port`",
                self.address
            )
        ))
    }

    fn add(&self, name: &str) -> Result<Arc<Camera>, gst::ErrorMessage> {
        let at = self.address;
        self.shared.cameras.add(name).map_err(|clash| {
            let text = match clash {
                Clash::Name if !name.is_empty() => {
                    format!("There is a camera \"{name}\" at {at} already: choose another `camera`")
                }
                Clash::Name | Clash::Unnamed => {
                    format!("Of several cameras at {at} each needs a name: set `camera`")
                }
            };
            gst::error_msg!(gst::ResourceError::Settings, ("{text}"))
        })
    }

    /// Ends within a time that does not depend on who watches.
    fn stop(mut self) {
        let handle = self.runtime.handle().clone();
        let farewell = self.say_farewell();
        // The threads of a runtime cannot wait, least of all for themselves.
        if Handle::try_current().is_ok() {
            thread::spawn(move || {
                handle.block_on(farewell);
                self.runtime.stop();
            });
        } else {
            handle.block_on(farewell);
            self.runtime.stop();
        }
    }

    fn say_farewell(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let mut tasks = mem::take(&mut self.tasks);
        let (io, socket_io) = (self.io.clone(), self.socket_io.clone());
        let (shared, connections) = (self.shared.clone(), self.connections.clone());
        let end = self.end.clone();
        async move {
            // Nobody comes in any more, and the port is free.
            tasks.shutdown().await;
            let close = socketio::close(&io, shared.sessions.all(), &socket_io);
            let _ = timeout(STOP, close).await;
            // Who takes what is sent has the end of it, too.
            let _ = timeout(STOP, shared.viewers.are_gone()).await;
            end.send_replace(true);
            let all = accept::MAX_CONNECTIONS as u32;
            let _ = timeout(STOP, connections.acquire_many(all)).await;
            let _ = timeout(STOP, shared.viewers.are_gone()).await;
        }
    }
}
