// SPDX-License-Identifier: MPL-2.0

//! Who takes part: origins, edges, routers, and those who are none of these.

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

/// The key that scripts use when they are told none.
pub const KEY: &str = "cam/main/jpeg";

const PORT: u16 = 7447;
const DOOR: u16 = 9999;

pub fn camera() -> Camera {
    Camera::start(20_000, Duration::from_millis(100))
}

/// A script that lets others in, from other machines, too.
pub fn open(at: &Machine, name: &str, options: &[&str]) -> Role {
    let mut command = at.script(name);
    Role::start(command.args(["--host", "0.0.0.0"]).args(options))
}

/// An origin that sends what the camera sees.
pub fn origin(at: &Machine, camera: &Camera, options: &[&str]) -> Role {
    open(at, "origin", &[options, &[&camera.uri()]].concat())
}

/// An edge with one door.
pub fn edge(at: &Machine, options: &[&str]) -> Role {
    open(
        at,
        "edge",
        &[&["--tcp", &DOOR.to_string()], options].concat(),
    )
}

/// Somebody who watches an edge of one camera.
pub struct Watching<'a> {
    viewer: Viewer,
    camera: &'a Camera,
}

impl<'a> Watching<'a> {
    pub fn start(edge: &Machine, camera: &'a Camera) -> Self {
        let viewer = Viewer::start(&edge.doorstep(), DOOR);
        Self { viewer, camera }
    }

    /// Waits until pictures are seen that are sent from now on.
    #[track_caller]
    pub fn goes_on(&self) {
        let next = self.camera.next();
        wait_until("new pictures", || {
            self.viewer
                .seen()
                .last()
                .is_some_and(|seen| seen.number > next)
        });
    }
}

/// Where somebody on that machine listens.
pub fn endpoint(protocol: &str, at: &Machine) -> String {
    format!("{protocol}/{}:{PORT}", at.address())
}

/// The arguments for who has this certificate, and believes this authority.
pub fn tls<'a>(own: &'a Certified, others: &'a str) -> [&'a str; 4] {
    ["--tls", &own.certificate, &own.key, others]
}

/// Certificates for the names.
pub fn certify<const N: usize>(authority: &Authority, names: [&str; N]) -> [Certified; N] {
    names.map(|name| authority.certify(name))
}

/// To be called where there is an internet: makes what [`publisher`] runs in.
pub fn prepare_publishers() {
    LazyLock::force(&peer::ZENOH);
    LazyLock::force(&peer::OLD_ZENOH);
}

/// A program in Python that publishes what it is told.
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
