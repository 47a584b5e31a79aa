// SPDX-License-Identifier: MPL-2.0

//! The servers of this process, which cameras with the same host and port share.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use b64jpeg_net::sync::lock;
use once_cell::sync::Lazy;
use serde_json::{Map, Value};

use super::{
    cameras::Camera,
    config::ServerConfig,
    errors::{RegistrationError, ServerWarning},
    server::Server,
    state::ServerState,
    viewers::WebServerObserver,
};

/// A server while it has cameras. Locked while it starts or stops.
type SharedServer = Arc<Mutex<Option<Server>>>;

static SERVERS: Lazy<Mutex<HashMap<(String, u16), SharedServer>>> = Lazy::new(Mutex::default);

fn shared_server(config: &ServerConfig) -> SharedServer {
    // Port 0 is another free port for each server.
    if config.port == 0 {
        return SharedServer::default();
    }
    let mut servers = lock(&SERVERS);
    servers.retain(|_, server| Arc::strong_count(server) > 1);
    let key = (config.host.clone(), config.port);
    servers.entry(key).or_default().clone()
}

/// A camera at a server. The server runs as long as it has cameras.
pub struct CameraRegistration {
    server: SharedServer,
    state: Arc<ServerState>,
    camera: Arc<Camera>,
    observer_id: u64,
    address: SocketAddr,
    warnings: Vec<ServerWarning>,
}

impl CameraRegistration {
    /// Adds a camera to the server of a host and port, which is started for the first camera.
    /// The observer is called with each event of the server.
    ///
    /// # Errors
    ///
    /// If the server cannot start or does not accept the camera.
    pub fn new(
        config: &ServerConfig,
        camera_name: &str,
        observer: WebServerObserver,
    ) -> Result<Self, RegistrationError> {
        let shared = shared_server(config);
        let mut slot = lock(&shared);
        let (server, warnings) = match &mut *slot {
            Some(server) => (&*server, Vec::new()),
            none => {
                let server = none.insert(Server::start(config)?);
                let warnings = server.take_warnings();
                (&*server, warnings)
            }
        };
        let camera = server.add_camera(config, camera_name)?;
        let state = server.state().clone();
        let address = server.address();
        // The observer may be called at once, and may stop its element: without the lock.
        drop(slot);
        let observer_id = state.viewers.add_observer(observer);
        Ok(Self {
            server: shared,
            state,
            camera,
            observer_id,
            address,
            warnings,
        })
    }

    /// The camera.
    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// The first address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Warnings about the configuration, if the server was started for this camera.
    pub fn warnings(&self) -> &[ServerWarning] {
        &self.warnings
    }

    /// Number of viewers of the server.
    pub fn viewers(&self) -> usize {
        self.state.viewers.len()
    }

    /// Statistics of the server, as in `/stats`.
    pub fn report(&self) -> Map<String, Value> {
        self.state.report()
    }

    /// Removes the camera, and stops the server if it was the last one.
    ///
    /// Not done on drop: another thread may hold this to read the counts, but the server must be
    /// stopped when this returns.
    pub fn remove(&self) {
        let mut server = lock(&self.server);
        if self.state.cameras.remove(&self.camera)
            && let Some(server) = server.take()
        {
            server.stop();
        }
        // Afterwards, because the observer must see the viewers that the stop removes.
        self.state.viewers.remove_observer(self.observer_id);
    }
}
