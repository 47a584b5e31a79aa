// SPDX-License-Identifier: MPL-2.0

//! The OpenCV programs in `tests/peers`.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::LazyLock,
};

/// The interpreter that has OpenCV, in a virtual environment made by the first run.
pub static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| {
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/venv");
    let python = venv.join("bin/python");
    let mut import = Command::new(&python);
    import.args(["-c", "import cv2, numpy"]);
    if import.output().is_ok_and(|output| output.status.success()) {
        return python;
    }

    let need = |command: &mut Command| {
        let (good, said) = match command.output() {
            Ok(output) => (output.status.success(), output.stderr),
            Err(err) => (false, err.to_string().into()),
        };
        assert!(
            good,
            "the OpenCV peers need the package python3-venv and a package index that pip \
             can reach; {command:?} failed:\n{}",
            String::from_utf8_lossy(&said)
        );
    };
    need(Command::new("python3").args(["-m", "venv"]).arg(&venv));
    need(
        Command::new(&python)
            .args(["-m", "pip", "install", "--disable-pip-version-check", "-r"])
            .arg(Path::new(PEERS).join("requirements.txt")),
    );
    python
});

const PEERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers");

pub fn peer(script: &str) -> Command {
    let mut command = Command::new(&*PYTHON);
    command
        .args(["-W", "error"])
        .arg(Path::new(PEERS).join(script));
    command
}
