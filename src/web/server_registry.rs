// SPDX-License-Identifier: MPL-2.0

//! Servers that several cameras of this process share, by host and port.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use once_cell::sync::Lazy;
use serde_json::{Map, Value};

use super::{Camera, Config, Server, Shared, viewers::Observer};

/// A server while anybody has a camera at it. Whoever opens or stops it has the lock.
type Place = Arc<Mutex<Option<Server>>>;

static PLACES: Lazy<Mutex<HashMap<(String, u16), Place>>> = Lazy::new(Mutex::default);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(config: &Config) -> Place {
    // Any free port is another one each time.
    if config.port == 0 {
        return Place::default();
    }
    let mut places = lock(&PLACES);
    places.retain(|_, place| Arc::strong_count(place) > 1);
    let key = (config.host.clone(), config.port);
    places.entry(key).or_default().clone()
}

/// A camera at a server. The server goes with the last one.
pub struct Member {
    place: Place,
    shared: Arc<Shared>,
    camera: Arc<Camera>,
    observer: u64,
    address: SocketAddr,
    warnings: Vec<String>,
}

impl Member {
    /// Puts a camera at the server of a host and port, which is opened if there is none.
    /// The observer is told what happens there.
    pub fn join(
        config: &Config,
        name: &str,
        observer: Observer,
    ) -> Result<Self, gst::ErrorMessage> {
        let place = place(config);
        let mut server = lock(&place);
        let (server, warnings) = match &mut *server {
            Some(server) => {
                server.check(config)?;
                (&*server, Vec::new())
            }
            none => {
                let server = none.insert(Server::open(config)?);
                let warnings = std::mem::take(&mut server.warnings);
                (&*server, warnings)
            }
        };
        let camera = server.add(name)?;
        let shared = server.shared.clone();
        let observer = shared.viewers.observe(observer);
        Ok(Self {
            place: place.clone(),
            camera,
            observer,
            address: server.address,
            warnings,
            shared,
        })
    }

    pub fn camera(&self) -> &Camera {
        &self.camera
    }

    /// Where the server listens first.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is to be said about the server, if it was opened for this camera.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// How many watch.
    pub fn viewers(&self) -> usize {
        self.shared.viewers.len()
    }

    /// What is told of the server.
    pub fn report(&self) -> Map<String, Value> {
        self.shared.report()
    }

    /// Takes the camera away. Once, and not in a drop: others may be looking at the counts,
    /// and the server has to be gone when this returns.
    pub fn leave(&self) {
        let mut server = lock(&self.place);
        if self.shared.cameras.remove(&self.camera)
            && let Some(server) = server.take()
        {
            server.stop();
        }
        // Not before: it is told who has gone with the server.
        self.shared.viewers.forget(self.observer);
    }
}
