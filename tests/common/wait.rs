// SPDX-License-Identifier: MPL-2.0

//! Waits with a timeout.

use std::{
    io::{self, Write},
    process,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::process::PATIENCE;

/// Aborts the test binary if a test hangs, wherever that is.
pub struct HangGuard {
    _released: mpsc::Sender<()>,
}

impl HangGuard {
    pub fn new() -> Self {
        let (sender, released) = mpsc::channel::<()>();
        let test = thread::current().name().map(String::from);
        thread::spawn(move || {
            if released.recv_timeout(2 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Unlike eprintln!, this is printed at once and not only when the test ends.
                let test = test.as_deref().unwrap_or("a test");
                let _ = writeln!(io::stderr(), "{test} hangs");
                process::abort();
            }
        });
        Self { _released: sender }
    }
}

/// Polls until `look` finds something, and returns it. Panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "timed out waiting for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Polls until `done` returns true. Panics with `what` after [`PATIENCE`].
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    wait_for(what, || done().then_some(()));
}
