// SPDX-License-Identifier: MPL-2.0

//! Origins, edges, routers, and other Zenoh programs.

use std::{fs, path::PathBuf, sync::LazyLock, time::Duration};

use super::{
    fixture::{Camera, Viewer},
    net::{Machine, Role},
};
use crate::common::{
    certificates::{Authority, Certified},
    peer::{self, PEERS},
    pipeline::scratch,
    process::Program,
    wait::wait_until,
    wire::encode,
};

pub const PATIENCE: Duration = Duration::from_secs(120);

/// The default key of the scripts.
pub const KEY: &str = "cam/main/jpeg";

const PORT: u16 = 7447;
const TCP_PORT: u16 = 9999;

pub fn camera() -> Camera {
    Camera::start(20_000, Duration::from_millis(100))
}

/// Starts a script that accepts connections from other machines.
pub fn start_script(at: &Machine, name: &str, options: &[&str]) -> Role {
    let mut command = at.script(name);
    Role::start(command.args(["--host", "0.0.0.0"]).args(options))
}

/// Starts an origin that sends the frames of a camera.
pub fn origin(at: &Machine, camera: &Camera, options: &[&str]) -> Role {
    start_script(at, "origin", &[options, &[&camera.uri()]].concat())
}

/// Starts an edge with one TCP server.
pub fn edge(at: &Machine, options: &[&str]) -> Role {
    start_script(
        at,
        "edge",
        &[&["--tcp", &TCP_PORT.to_string()], options].concat(),
    )
}

/// A viewer of an edge that shows one camera.
pub struct EdgeViewer<'a> {
    viewer: Viewer,
    camera: &'a Camera,
}

impl<'a> EdgeViewer<'a> {
    pub fn start(edge: &Machine, camera: &'a Camera) -> Self {
        let viewer = Viewer::start(&edge.access_address(), TCP_PORT);
        Self { viewer, camera }
    }

    /// Waits for frames that are sent from now on.
    #[track_caller]
    pub fn expect_new_frames(&self) {
        let next = self.camera.next();
        wait_until("new frames", || {
            self.viewer
                .seen()
                .last()
                .is_some_and(|seen| seen.number > next)
        });
    }
}

/// Zenoh endpoint of a machine.
pub fn endpoint(protocol: &str, at: &Machine) -> String {
    format!("{protocol}/{}:{PORT}", at.address())
}

/// Options for TLS with this certificate and this certificate authority.
pub fn tls<'a>(own: &'a Certified, others: &'a str) -> [&'a str; 4] {
    ["--tls", &own.certificate, &own.key, others]
}

/// Certificates for these names.
pub fn certify<const N: usize>(authority: &Authority, names: [&str; N]) -> [Certified; N] {
    names.map(|name| authority.certify(name))
}

/// Installs what [`publisher`] needs. Must be called where there is an Internet connection.
pub fn prepare_publishers() {
    LazyLock::force(&peer::ZENOH);
    LazyLock::force(&peer::OLD_ZENOH);
}

/// Starts a Python program that publishes what its arguments say.
pub fn publisher(at: &Machine, python: &LazyLock<PathBuf>, args: &[&str]) -> Program {
    let picture = scratch("a-picture.jpg");
    fs::write(&picture, &encode(1, 640, 360)[0]).expect("a file");
    let mut command = at.command(python.to_str().expect("UTF-8"));
    command
        .args(["-W", "error"])
        .arg(format!("{PEERS}/zenoh_publisher.py"))
        .arg("--picture")
        .arg(picture)
        .args(args);
    Program::start(&mut command)
}
