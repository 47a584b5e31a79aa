// SPDX-License-Identifier: MPL-2.0

//! The programs in `tests/peers`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use gst::glib;

pub const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");

/// The interpreter that has OpenCV.
pub static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| python("venv", "requirements.txt"));

/// The one that has Zenoh.
pub static ZENOH: LazyLock<PathBuf> = LazyLock::new(|| python("venv-zenoh", "zenoh.txt"));

/// The one that has a Zenoh which speaks another version of its protocol.
pub static OLD_ZENOH: LazyLock<PathBuf> =
    LazyLock::new(|| python("venv-old-zenoh", "old_zenoh.txt"));

/// An interpreter in a virtual environment made by the first run.
fn python(name: &str, list: &str) -> PathBuf {
    let venv = installed(name, list, |venv, list| {
        let what = "the package python3-venv and a package index that pip can reach";
        need(
            what,
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(venv),
        );
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "-r"]);
        need(what, pip.arg(list));
    });
    venv.join("bin/python")
}

/// The modules of Node's peers, installed by the first run.
static NODE_MODULES: LazyLock<PathBuf> = LazyLock::new(|| {
    let node = installed("node", "package-lock.json", |node, list| {
        fs::create_dir_all(node).expect("a directory");
        for list in [list, &list.with_file_name("package.json")] {
            let name = list.file_name().expect("a file");
            fs::copy(list, node.join(name)).expect("a copy");
        }
        let what = "the packages nodejs and npm, and a registry that npm can reach";
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]);
        need(what, npm.current_dir(node));
    });
    node.join("node_modules")
});

/// A directory of cargo's with everything on a list, and with a copy of that list.
fn installed(name: &str, list: &str, install: impl FnOnce(&Path, &Path)) -> PathBuf {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target")
        .join(name);
    let list = Path::new(PEERS).join(list);
    let copy = directory.join("installed");
    let wanted = fs::read(&list).expect("a list");
    if fs::read(&copy).ok().as_ref() != Some(&wanted) {
        install(&directory, &list);
        fs::write(&copy, wanted).expect("a copy");
    }
    directory
}

#[track_caller]
fn need(what: &str, command: &mut Command) {
    let (good, said) = match command.output() {
        Ok(output) => (output.status.success(), output.stderr),
        Err(err) => (false, err.to_string().into()),
    };
    assert!(
        good,
        "the peers need {what}; {command:?} failed:\n{}",
        String::from_utf8_lossy(&said)
    );
}

/// A peer in Python.
pub fn peer(script: &str) -> Command {
    let mut command = Command::new(&*PYTHON);
    command
        .args(["-W", "error"])
        .arg(Path::new(PEERS).join(script));
    command
}

/// A peer in Node.
pub fn node_peer(script: &str) -> Command {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", &*NODE_MODULES)
        .arg(Path::new(PEERS).join(script));
    command
}

/// The SHA-256 of a picture, as the peers print it.
pub fn sum(picture: &[u8]) -> String {
    let sum = glib::compute_checksum_for_data(glib::ChecksumType::Sha256, picture);
    sum.expect("SHA-256").into()
}
