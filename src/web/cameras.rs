// SPDX-License-Identifier: MPL-2.0

//! The cameras of a server. Each keeps its newest frame and no other.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock},
};

use b64jpeg_net::sync::lock;
use b64jpeg_wire::base64;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::common::stats::Stats;

/// A frame of a camera.
pub struct CameraFrame {
    /// Its number among the frames of its camera, from 0.
    pub number: u64,
    /// Capture time in nanoseconds since 1970.
    pub captured: u64,
    /// The JPEG.
    pub jpeg: Bytes,
    base64: OnceLock<String>,
}

impl CameraFrame {
    /// The JPEG as base64, encoded by the first call for all viewers.
    pub fn base64(&self) -> &str {
        self.base64.get_or_init(|| {
            let mut text = vec![0; base64::encoded_len(self.jpeg.len())];
            base64::encode(&self.jpeg, &mut text);
            String::from_utf8(text).expect("base64 is ASCII")
        })
    }

    /// Capture time in seconds since 1970, with microseconds, as in the header `X-Timestamp`.
    pub fn timestamp(&self) -> String {
        let micros = self.captured / 1000;
        format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
    }
}

/// A camera of a server.
pub struct Camera {
    /// Its name; empty if it is the only one and has none.
    pub name: String,
    newest: watch::Sender<Option<Arc<CameraFrame>>>,
    changed: watch::Sender<()>,
    counts: Mutex<CameraCounts>,
}

#[derive(Default)]
struct CameraCounts {
    stats: Stats,
    size: Option<(u16, u16)>,
}

impl Camera {
    fn counts(&self) -> MutexGuard<'_, CameraCounts> {
        lock(&self.counts)
    }

    /// Replaces the newest frame, without waiting for any viewer. `size` is its width and height
    /// in pixels; `captured` is its capture time in nanoseconds since 1970.
    pub fn show(&self, jpeg: Bytes, size: Option<(u16, u16)>, captured: u64) {
        let number = {
            let counts = &mut *self.counts();
            counts.stats.frame(jpeg.len(), 0);
            counts.size = size;
            counts.stats.frames - 1
        };
        let base64 = OnceLock::new();
        self.newest.send_replace(Some(Arc::new(CameraFrame {
            number,
            captured,
            jpeg,
            base64,
        })));
        self.changed.send_replace(());
    }

    /// Removes the newest frame, which tells receivers that no more follow.
    fn end(&self) {
        self.newest.send_replace(None);
    }

    /// The newest frame, if there is one.
    pub fn newest(&self) -> Option<Arc<CameraFrame>> {
        self.newest.borrow().clone()
    }

    /// Receives each newest frame, beginning with the current one, and `None` when the camera is
    /// removed.
    pub fn subscribe(&self) -> watch::Receiver<Option<Arc<CameraFrame>>> {
        let mut newest = self.newest.subscribe();
        if newest.borrow().is_some() {
            newest.mark_changed();
        }
        newest
    }

    /// Reads or changes the counts.
    pub fn with_stats<T>(&self, access: impl FnOnce(&mut Stats) -> T) -> T {
        access(&mut self.counts().stats)
    }

    fn report(&self) -> Value {
        let counts = &mut *self.counts();
        let (width, height) = counts.size.unwrap_or_default();
        json!({
            "name": self.name,
            "frames": counts.stats.frames,
            "fps": counts.stats.fps(),
            "width": width,
            "height": height,
            "bytes": counts.stats.bytes_in,
            "errors": counts.stats.errors,
        })
    }
}

/// A camera and its newest frame.
pub type NewestFrame = (Arc<Camera>, Arc<CameraFrame>);

/// Why a camera cannot be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CameraNameError {
    /// A camera has this name.
    Taken(String),
    /// Without a name a camera must be the only one.
    Missing,
}

impl fmt::Display for CameraNameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken(name) => write!(f, "a camera is already named \"{name}\""),
            Self::Missing => f.write_str("each of several cameras needs a name"),
        }
    }
}

impl Error for CameraNameError {}

/// All cameras of a server, sorted by name because elements start in any order.
pub struct Cameras {
    list: Mutex<Vec<Arc<Camera>>>,
    changed: watch::Sender<()>,
    names: watch::Sender<Vec<String>>,
}

impl Default for Cameras {
    fn default() -> Self {
        Self {
            list: Mutex::default(),
            changed: watch::Sender::new(()),
            names: watch::Sender::default(),
        }
    }
}

impl fmt::Debug for Cameras {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.names.borrow()).finish()
    }
}

impl Cameras {
    fn list(&self) -> MutexGuard<'_, Vec<Arc<Camera>>> {
        lock(&self.list)
    }

    /// Adds a camera.
    ///
    /// # Errors
    ///
    /// If the cameras of the server exclude this name.
    pub fn add(&self, name: &str) -> Result<Arc<Camera>, CameraNameError> {
        let mut list = self.list();
        if list.iter().any(|camera| camera.name == name) {
            return Err(match name {
                "" => CameraNameError::Missing,
                name => CameraNameError::Taken(name.into()),
            });
        }
        if list.iter().any(|camera| camera.name.is_empty()) || name.is_empty() && !list.is_empty() {
            return Err(CameraNameError::Missing);
        }
        let camera = Arc::new(Camera {
            name: name.into(),
            newest: watch::Sender::new(None),
            changed: self.changed.clone(),
            counts: Mutex::default(),
        });
        let position = list.partition_point(|other| *other.name < *name);
        list.insert(position, camera.clone());
        self.publish_names(list);
        Ok(camera)
    }

    /// Removes a camera. Returns whether it was the last one.
    pub fn remove(&self, camera: &Arc<Camera>) -> bool {
        let mut list = self.list();
        list.retain(|other| !Arc::ptr_eq(other, camera));
        let last = list.is_empty();
        self.publish_names(list);
        camera.end();
        last
    }

    fn publish_names(&self, list: MutexGuard<'_, Vec<Arc<Camera>>>) {
        let names = list.iter().map(|camera| camera.name.clone()).collect();
        drop(list);
        self.names.send_replace(names);
    }

    /// All cameras, sorted by name.
    pub fn all(&self) -> Vec<Arc<Camera>> {
        self.list().clone()
    }

    /// The newest frame of each camera that has one.
    pub fn newest(&self) -> Vec<NewestFrame> {
        let cameras = self.all();
        let newest = cameras
            .into_iter()
            .map(|camera| Some((camera.clone(), camera.newest()?)));
        newest.flatten().collect()
    }

    /// The camera of this name; without a name, the first one.
    pub fn find(&self, name: Option<&str>) -> Option<Arc<Camera>> {
        let list = self.list();
        let mut cameras = list.iter();
        match name {
            Some(name) => cameras.find(|camera| camera.name == name),
            None => cameras.next(),
        }
        .cloned()
    }

    /// Receives a notice when any camera has a new frame.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Receives the names of all cameras when they change.
    pub fn names(&self) -> watch::Receiver<Vec<String>> {
        self.names.subscribe()
    }

    /// Statistics of each camera.
    pub fn report(&self) -> Vec<Value> {
        self.all().iter().map(|camera| camera.report()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cameras_with_and_without_name_exclude_each_other() {
        let cameras = Cameras::default();
        let unnamed = cameras.add("").expect("the only camera");
        let error = |name| cameras.add(name).err();
        let taken = || Some(CameraNameError::Taken("front".into()));
        assert_eq!(error(""), Some(CameraNameError::Missing));
        assert_eq!(error("front"), Some(CameraNameError::Missing));
        assert!(cameras.remove(&unnamed));
        assert_eq!(error("front"), None);
        assert_eq!(error("front"), taken());
        assert_eq!(error(""), Some(CameraNameError::Missing));
        assert_eq!(error("back"), None);
        assert_eq!(*cameras.names().borrow(), ["back", "front"]);
        let found = |name| cameras.find(name).map(|camera| camera.name.clone());
        assert_eq!(found(None).as_deref(), Some("back"));
        assert_eq!(found(Some("front")).as_deref(), Some("front"));
        assert_eq!(found(Some("side")), None);
    }

    #[test]
    fn camera_shown_two_frames_keeps_the_newest() {
        let cameras = Cameras::default();
        let camera = cameras.add("").expect("the only camera");
        let mut frames = camera.subscribe();
        let changes = cameras.changes();
        assert!(camera.newest().is_none());
        for jpeg in [b"\xff\xd8\xff", b"\xff\xd8\x00"] {
            camera.show(Bytes::from_static(jpeg), None, 7);
        }
        assert!(changes.has_changed().expect("a sender"));
        let frame = frames.borrow_and_update().clone().expect("a frame");
        assert_eq!((frame.number, frame.base64()), (1, "/9gA"));
    }
}
