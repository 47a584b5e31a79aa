// SPDX-License-Identifier: MPL-2.0

//! Assembles a server: listens, starts its tasks, and stops them.

use std::{
    fmt, mem,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use axum::routing::MethodRouter;
use b64jpeg_net::{
    listen::{listen, resolve},
    runtime::Runtime,
    tls,
};
use socketioxide::SocketIo;
use tokio::{runtime::Handle, sync::watch, task::JoinSet, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{
    accept::ConnectionAcceptor,
    access_control::AccessControl,
    cameras::{Camera, Cameras},
    config::ServerConfig,
    connection_limits::ConnectionLimits,
    engineio,
    engineio_sessions::EngineIoSessions,
    errors::{RegistrationError, ServerWarning},
    new_viewers::NewViewers,
    routes, socketio,
    state::ServerState,
    task_panics::run_reporting_panics,
    viewers::Viewers,
};

/// Maximum time of each step of a stop. The first one lets viewers read what was already sent.
const STOP_TIMEOUT: Duration = Duration::from_millis(300);

/// A running server. It stops when it is dropped.
pub struct Server {
    state: Arc<ServerState>,
    config: ServerConfig,
    address: SocketAddr,
    warnings: Vec<ServerWarning>,
    io: SocketIo,
    socket_io: MethodRouter,
    limits: ConnectionLimits,
    closing: watch::Sender<bool>,
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
    /// Listens and starts to serve.
    ///
    /// # Errors
    ///
    /// If the configuration cannot be used on this machine.
    pub fn start(config: &ServerConfig) -> Result<Self, RegistrationError> {
        let mut warnings = Vec::new();
        let tls = match (&*config.tls_certificate, &*config.tls_key) {
            ("", "") => None,
            ("", _) | (_, "") => return Err(RegistrationError::TlsIncomplete),
            (certificate, key) => {
                let tls = tls::server_config(certificate, key).map_err(RegistrationError::Tls)?;
                if let Some(day) = tls.expired {
                    let certificate = certificate.into();
                    warnings.push(ServerWarning::CertificateExpired { certificate, day });
                }
                Some(TlsAcceptor::from(tls.config))
            }
        };
        let resolved = resolve(&config.host, config.port).map_err(RegistrationError::Resolve)?;
        let (sockets, _) = listen(&resolved).map_err(|error| RegistrationError::Listen {
            addresses: resolved,
            error,
        })?;
        let addresses = sockets.iter().map(TcpListener::local_addr);
        let addresses = addresses
            .collect::<Result<Vec<_>, _>>()
            .map_err(RegistrationError::Start)?;
        let address = addresses[0];
        let local = addresses.iter().all(|address| address.ip().is_loopback());
        if !local && config.token.is_empty() {
            let (host, port) = (config.host.clone(), address.port());
            warnings.push(ServerWarning::NoToken { host, port });
        }

        let state = Arc::new(ServerState::new(config, local));
        let runtime = Runtime::new("b64jpeg-web").map_err(RegistrationError::Start)?;
        let entered = runtime.handle().enter();
        let (socket_io, io) = socketio::service();
        let closing = watch::Sender::new(false);
        let limits = ConnectionLimits::new(limit(config.max_connections_per_address));
        let acceptor = ConnectionAcceptor {
            state: state.clone(),
            router: routes::router(state.clone(), socket_io.clone()),
            tls,
            limits: limits.clone(),
            closing: closing.subscribe(),
        };
        let mut tasks = JoinSet::new();
        let mut spawn = |name, task: TaskFuture| {
            tasks.spawn(run_reporting_panics(state.viewers.clone(), name, task));
        };
        let send_events = socketio::serve(io.clone(), &state);
        spawn("the sender of events", Box::pin(send_events));
        let close_idle = engineio::close_idle_sessions(state.clone(), socket_io.clone());
        spawn("the end of idle sessions", Box::pin(close_idle));
        for socket in sockets {
            let listener =
                tokio::net::TcpListener::from_std(socket).map_err(RegistrationError::Start)?;
            let acceptor = acceptor.clone();
            let accept = async { match acceptor.accept(listener).await {} };
            spawn("accepting connections", Box::pin(accept));
        }
        drop(entered);
        Ok(Self {
            state,
            config: config.clone(),
            address,
            warnings,
            io,
            socket_io,
            limits,
            closing,
            tasks,
            runtime,
        })
    }

    /// The state of the server.
    pub fn state(&self) -> &Arc<ServerState> {
        &self.state
    }

    /// The first address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the warnings about its configuration, once.
    pub fn take_warnings(&mut self) -> Vec<ServerWarning> {
        mem::take(&mut self.warnings)
    }

    /// Adds a camera that wants a server of this configuration.
    ///
    /// # Errors
    ///
    /// If the configuration differs or the name cannot be used.
    pub fn add_camera(
        &self,
        config: &ServerConfig,
        name: &str,
    ) -> Result<Arc<Camera>, RegistrationError> {
        let address = self.address;
        if self.config != *config {
            return Err(RegistrationError::ConfigDiffers {
                address,
                existing: Box::new(self.config.clone()),
            });
        }
        let added = self.state.cameras.add(name);
        added.map_err(|error| RegistrationError::CameraName { address, error })
    }

    /// Stops the server within a bounded time, whatever its viewers do.
    pub fn stop(mut self) {
        let handle = self.runtime.handle().clone();
        let close = self.close();
        // A thread of a tokio runtime must not block, least of all on its own runtime.
        if Handle::try_current().is_ok() {
            thread::spawn(move || {
                handle.block_on(close);
                self.runtime.stop();
            });
        } else {
            handle.block_on(close);
            self.runtime.stop();
        }
    }

    fn close(&mut self) -> impl Future<Output = ()> + Send + use<> {
        let mut tasks = mem::take(&mut self.tasks);
        let (io, socket_io) = (self.io.clone(), self.socket_io.clone());
        let (state, limits) = (self.state.clone(), self.limits.clone());
        let closing = self.closing.clone();
        async move {
            // From here on no connection is accepted, and the port is free.
            tasks.shutdown().await;
            let close = socketio::close(&io, &state, &socket_io);
            let _ = timeout(STOP_TIMEOUT, close).await;
            // Viewers that read get everything that was sent, with its end.
            let _ = timeout(STOP_TIMEOUT, state.viewers.wait_until_empty()).await;
            closing.send_replace(true);
            let _ = timeout(STOP_TIMEOUT, limits.wait_until_closed()).await;
            let _ = timeout(STOP_TIMEOUT, state.viewers.wait_until_empty()).await;
        }
    }
}

type TaskFuture = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

impl ServerState {
    fn new(config: &ServerConfig, local: bool) -> Self {
        let viewers = Viewers::new(limit(config.max_clients));
        #[cfg(test)]
        let viewers = viewers.with_panic_in(config.event.trim_start_matches("panic in "));
        Self {
            event: config.event.clone(),
            cameras: Cameras::default(),
            viewers: Arc::new(viewers),
            new_viewers: NewViewers::default(),
            sessions: Arc::new(EngineIoSessions::new(limit(
                config.max_connections_per_address,
            ))),
            access: AccessControl::new(config, local),
            bytes_served: Arc::default(),
        }
    }
}

/// A limit as a count; 0 = unlimited.
fn limit(count: u32) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
