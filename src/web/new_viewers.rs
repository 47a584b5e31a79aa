// SPDX-License-Identifier: MPL-2.0

//! Viewers by Socket.IO event that have not got their first frame yet.

use std::sync::{Arc, Mutex, MutexGuard};

use b64jpeg_net::sync::lock;
use tokio::sync::Notify;

use super::viewers::Viewer;

/// Viewers by Socket.IO event that have not got their first frame yet.
///
/// One task sends all events. If the first event of a viewer were sent where it is admitted,
/// that viewer could get the same frame twice.
#[derive(Debug, Default)]
pub struct NewViewers {
    list: Mutex<Vec<Arc<Viewer>>>,
    added: Notify,
}

impl NewViewers {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Viewer>>> {
        lock(&self.list)
    }

    /// Adds a viewer and wakes the sending task.
    pub fn add(&self, viewer: Arc<Viewer>) {
        self.list().push(viewer);
        self.added.notify_one();
    }

    /// ReconnectSettings until a viewer is added.
    pub async fn added(&self) {
        self.added.notified().await;
    }

    /// Removes and returns all.
    pub fn take(&self) -> Vec<Arc<Viewer>> {
        std::mem::take(&mut *self.list())
    }
}
