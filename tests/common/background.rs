// SPDX-License-Identifier: MPL-2.0

//! Threads that end with the test that started them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A thread that is asked to stop, and joined, when this is dropped.
pub struct BackgroundThread {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// Tells a [`BackgroundThread`] whether it has to stop.
pub struct StopFlag(Arc<AtomicBool>);

impl StopFlag {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl BackgroundThread {
    /// Starts a thread that checks the flag regularly and returns once it is set.
    pub fn spawn(run: impl FnOnce(&StopFlag) + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = StopFlag(stop.clone());
        Self {
            stop,
            thread: Some(thread::spawn(move || run(&flag))),
        }
    }
}

impl Drop for BackgroundThread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of the thread has been reported already.
            let _ = thread.join();
        }
    }
}
