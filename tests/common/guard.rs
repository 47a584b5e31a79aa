// SPDX-License-Identifier: MPL-2.0

//! Waits that end, whatever happens.

use std::{
    io::{self, Write},
    process,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use super::process::PATIENCE;

/// Ends the run if a test hangs, wherever it does so.
pub struct Guard {
    _released: mpsc::Sender<()>,
}

impl Guard {
    pub fn new() -> Self {
        let (sender, released) = mpsc::channel::<()>();
        let test = thread::current().name().map(String::from);
        thread::spawn(move || {
            if released.recv_timeout(2 * PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Unlike eprintln!, this is not kept back until the test has ended.
                let test = test.as_deref().unwrap_or("a test");
                let _ = writeln!(io::stderr(), "{test} hangs");
                process::abort();
            }
        });
        Self { _released: sender }
    }
}

#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}
