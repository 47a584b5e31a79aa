// SPDX-License-Identifier: MPL-2.0

//! The peer programs in `tests/peers`, and the environments they run in.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

use gst::glib;

pub const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");

/// Python interpreter with OpenCV.
pub static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| python("venv", "requirements.txt"));

/// Python interpreter with Zenoh.
pub static ZENOH: LazyLock<PathBuf> = LazyLock::new(|| python("venv-zenoh", "zenoh.txt"));

/// Python interpreter with a Zenoh that speaks an older protocol version.
pub static OLD_ZENOH: LazyLock<PathBuf> =
    LazyLock::new(|| python("venv-old-zenoh", "old_zenoh.txt"));

/// Python interpreter of a virtual environment, which the first run creates.
fn python(name: &str, list: &str) -> PathBuf {
    let venv = installed(name, list, |venv, list| {
        let what = "the package python3-venv and a package index that pip can reach";
        run_or_panic(
            what,
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(venv),
        );
        let mut pip = Command::new(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--disable-pip-version-check", "-r"]);
        run_or_panic(what, pip.arg(list));
    });
    venv.join("bin/python")
}

/// Directory with the modules of the Node peers, which the first run installs.
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
        run_or_panic(what, npm.current_dir(node));
    });
    node.join("node_modules")
});

/// Directory below `target/` in which everything on a list is installed. A copy of the list
/// records what is installed.
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
fn run_or_panic(what: &str, command: &mut Command) {
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

/// Command that runs a Python peer.
pub fn peer(script: &str) -> Command {
    let mut command = Command::new(&*PYTHON);
    command
        .args(["-W", "error"])
        .arg(Path::new(PEERS).join(script));
    command
}

/// Command that runs a Node peer.
pub fn node_peer(script: &str) -> Command {
    let mut command = Command::new("node");
    command
        .env("NODE_PATH", &*NODE_MODULES)
        .arg(Path::new(PEERS).join(script));
    command
}

/// The SHA-256 of a JPEG in hexadecimal digits, as the peers print it.
pub fn sum(picture: &[u8]) -> String {
    let sum = glib::compute_checksum_for_data(glib::ChecksumType::Sha256, picture);
    sum.expect("SHA-256").into()
}
