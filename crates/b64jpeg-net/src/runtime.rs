// SPDX-License-Identifier: MPL-2.0

//! A tokio runtime with one worker thread: for one element, or for a server that several
//! elements share.

use std::{io, time::Duration};

use tokio::runtime::{Builder, Handle};

/// Name look-ups at the same time. They run in blocking threads and cannot be cancelled.
const MAX_LOOK_UPS: usize = 4;
/// How long [`Runtime::stop`] waits for cancelled tasks.
const STOP_TIMEOUT: Duration = Duration::from_millis(20);

/// A runtime. Dropping it stops it.
#[derive(Debug)]
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// Starts a runtime whose threads are called `name`.
    ///
    /// # Errors
    ///
    /// If the system cannot create the thread or the poll.
    pub fn new(name: &str) -> io::Result<Self> {
        Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(MAX_LOOK_UPS)
            .thread_name(name)
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    /// The handle for spawning tasks.
    ///
    /// # Panics
    ///
    /// After [`stop`](Self::stop).
    pub fn handle(&self) -> &Handle {
        let runtime = self.0.as_ref().expect("the runtime has not been stopped");
        runtime.handle()
    }

    /// Cancels all tasks and waits for them, up to 20 ms: a name look-up that hangs does not
    /// delay it further.
    pub fn stop(&mut self) {
        let Some(runtime) = self.0.take() else { return };
        // On a thread of a runtime, for example in a handler that stops the pipeline, tokio
        // panics if we block, and the thread might wait for itself.
        if Handle::try_current().is_ok() {
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(STOP_TIMEOUT);
        }
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        self.stop();
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Instant};

    use super::*;

    #[test]
    fn runtime_stop_with_hanging_look_up_returns() {
        let mut runtime = Runtime::new("test").expect("the runtime starts");
        let (sender, started) = mpsc::channel();
        let hour = Duration::from_secs(3600);
        runtime.handle().spawn_blocking(move || {
            sender.send(()).expect("the test waits");
            thread::sleep(hour);
        });
        started.recv().expect("the look-up starts");
        let start = Instant::now();
        runtime.stop();
        assert!(start.elapsed() < hour);
    }

    #[test]
    fn runtime_stop_on_own_thread_returns() {
        let runtime = Runtime::new("test").expect("the runtime starts");
        let handle = runtime.handle().clone();
        let (sender, stopped) = mpsc::channel();
        handle.spawn(async move {
            drop(runtime);
            sender.send(()).expect("the test waits");
        });
        stopped.recv().expect("the runtime stops");
    }
}
