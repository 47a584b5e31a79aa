// SPDX-License-Identifier: MPL-2.0

//! Where everything runs that waits for the network: a tokio runtime of one thread, for an
//! element or for a server that several share.

use std::{io, time::Duration};

use tokio::runtime::{Builder, Handle};

/// Name look-ups at the same time. Nothing ends one before its time.
const LOOK_UPS: usize = 4;
/// How long [`Runtime::stop`] waits for what was told to end.
const GRACE: Duration = Duration::from_millis(20);

/// Ends what runs on it when it is dropped.
#[derive(Debug)]
pub struct Runtime(Option<tokio::runtime::Runtime>);

impl Runtime {
    /// A new one, whose threads have a name.
    ///
    /// # Errors
    ///
    /// If this machine has run out of something.
    pub fn new(name: &str) -> io::Result<Self> {
        Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(LOOK_UPS)
            .thread_name(name)
            .enable_all()
            .build()
            .map(|runtime| Self(Some(runtime)))
    }

    /// Where tasks are spawned.
    pub fn handle(&self) -> &Handle {
        let runtime = self.0.as_ref().expect("it has not been stopped");
        runtime.handle()
    }

    /// Ends everything that runs on it, and waits until it has, but not for a look-up.
    pub fn stop(&mut self) {
        let Some(runtime) = self.0.take() else { return };
        // From one of its own threads, such as that of a handler that stops the pipeline,
        // there would be no end to the wait.
        if Handle::try_current().is_ok() {
            runtime.shutdown_background();
        } else {
            runtime.shutdown_timeout(GRACE);
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
    fn a_look_up_that_hangs_holds_nobody_up() {
        let mut runtime = Runtime::new("test").expect("enough of everything");
        let (sender, begun) = mpsc::channel();
        let hour = Duration::from_secs(3600);
        runtime.handle().spawn_blocking(move || {
            sender.send(()).expect("somebody waits");
            thread::sleep(hour);
        });
        begun.recv().expect("it begins");
        let start = Instant::now();
        runtime.stop();
        assert!(start.elapsed() < hour);
    }

    #[test]
    fn it_can_be_stopped_from_within() {
        let runtime = Runtime::new("test").expect("enough of everything");
        let handle = runtime.handle().clone();
        let (sender, stopped) = mpsc::channel();
        handle.spawn(async move {
            drop(runtime);
            sender.send(()).expect("somebody waits");
        });
        stopped.recv().expect("it stops");
    }
}
