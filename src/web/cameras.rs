// SPDX-License-Identifier: MPL-2.0

//! What is served: of each camera the newest picture, and no other.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use b64jpeg_wire::base64;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::common::stats::Stats;

/// A picture.
pub struct Frame {
    /// Which one it is of those of its camera.
    pub number: u64,
    /// Nanoseconds since 1970.
    pub captured: u64,
    pub jpeg: Bytes,
    text: OnceLock<String>,
}

impl Frame {
    /// As base64, which is made for the first one who wants it, and for all.
    pub fn text(&self) -> &str {
        self.text.get_or_init(|| {
            let mut text = vec![0; base64::encoded_len(self.jpeg.len())];
            base64::encode(&self.jpeg, &mut text);
            String::from_utf8(text).expect("base64 is ASCII")
        })
    }
}

/// Where pictures come from.
pub struct Camera {
    /// Empty for the only one, if it has none.
    pub name: String,
    newest: watch::Sender<Option<Arc<Frame>>>,
    changed: watch::Sender<()>,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    stats: Stats,
    size: Option<(u16, u16)>,
}

impl Camera {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the newest picture, without waiting for any viewer. `size` is its width and
    /// height in pixels; `captured`, when it was taken, in nanoseconds since 1970.
    pub fn show(&self, jpeg: Bytes, size: Option<(u16, u16)>, captured: u64) {
        let number = {
            let counts = &mut *self.counts();
            counts.stats.frame(jpeg.len(), 0);
            counts.size = size;
            counts.stats.frames - 1
        };
        let text = OnceLock::new();
        self.newest.send_replace(Some(Arc::new(Frame {
            number,
            captured,
            jpeg,
            text,
        })));
        self.changed.send_replace(());
    }

    /// There are no more. Whoever waits for one is told so.
    fn end(&self) {
        self.newest.send_replace(None);
    }

    pub fn newest(&self) -> Option<Arc<Frame>> {
        self.newest.borrow().clone()
    }

    /// Tells of each new picture, and of the end by none. The one that is there is new.
    pub fn watch(&self) -> watch::Receiver<Option<Arc<Frame>>> {
        let mut newest = self.newest.subscribe();
        if newest.borrow().is_some() {
            newest.mark_changed();
        }
        newest
    }

    /// Looks at the counts, or changes them.
    pub fn with_stats<T>(&self, look: impl FnOnce(&mut Stats) -> T) -> T {
        look(&mut self.counts().stats)
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

/// A camera and its newest picture.
pub type Newest = (Arc<Camera>, Arc<Frame>);

/// Why a camera cannot be added.
#[derive(Debug, PartialEq)]
pub enum Clash {
    /// There is one of this name.
    Name,
    /// One has a name and the other has none.
    Unnamed,
}

/// All cameras of a server, by their names: elements start in any order.
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
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, name: &str) -> Result<Arc<Camera>, Clash> {
        let mut list = self.list();
        if list.iter().any(|camera| camera.name == name) {
            return Err(Clash::Name);
        }
        if list.iter().any(|camera| camera.name.is_empty()) || name.is_empty() && !list.is_empty() {
            return Err(Clash::Unnamed);
        }
        let camera = Arc::new(Camera {
            name: name.into(),
            newest: watch::Sender::new(None),
            changed: self.changed.clone(),
            counts: Mutex::default(),
        });
        let place = list.partition_point(|other| *other.name < *name);
        list.insert(place, camera.clone());
        self.tell_names(list);
        Ok(camera)
    }

    /// Returns whether it was the last one.
    pub fn remove(&self, camera: &Arc<Camera>) -> bool {
        let mut list = self.list();
        list.retain(|other| !Arc::ptr_eq(other, camera));
        let last = list.is_empty();
        self.tell_names(list);
        camera.end();
        last
    }

    fn tell_names(&self, list: MutexGuard<'_, Vec<Arc<Camera>>>) {
        let names = list.iter().map(|camera| camera.name.clone()).collect();
        drop(list);
        self.names.send_replace(names);
    }

    pub fn all(&self) -> Vec<Arc<Camera>> {
        self.list().clone()
    }

    /// Those that have a picture, with the newest one of each.
    pub fn newest(&self) -> Vec<Newest> {
        let cameras = self.all();
        let newest = cameras
            .into_iter()
            .map(|camera| Some((camera.clone(), camera.newest()?)));
        newest.flatten().collect()
    }

    /// The one of a name, or the first one.
    pub fn find(&self, name: Option<&str>) -> Option<Arc<Camera>> {
        let list = self.list();
        let mut cameras = list.iter();
        match name {
            Some(name) => cameras.find(|camera| camera.name == name),
            None => cameras.next(),
        }
        .cloned()
    }

    /// Tells when any of them has a new picture.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What they are called, and when that changes.
    pub fn names(&self) -> watch::Receiver<Vec<String>> {
        self.names.subscribe()
    }

    /// What is told of them.
    pub fn report(&self) -> Vec<Value> {
        self.all().iter().map(|camera| camera.report()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_for_all_or_for_none() {
        let cameras = Cameras::default();
        let unnamed = cameras.add("").map_err(|_| ()).expect("it is the only one");
        let clash = |name| cameras.add(name).err();
        assert_eq!(clash(""), Some(Clash::Name));
        assert_eq!(clash("front"), Some(Clash::Unnamed));
        assert!(cameras.remove(&unnamed));
        assert_eq!(clash("front"), None);
        assert_eq!(clash("front"), Some(Clash::Name));
        assert_eq!(clash(""), Some(Clash::Unnamed));
        assert_eq!(clash("back"), None);
        assert_eq!(*cameras.names().borrow(), ["back", "front"]);
        let found = |name| cameras.find(name).map(|camera| camera.name.clone());
        assert_eq!(found(None).as_deref(), Some("back"));
        assert_eq!(found(Some("front")).as_deref(), Some("front"));
        assert_eq!(found(Some("side")), None);
    }

    #[test]
    fn only_the_newest_picture_is_kept() {
        let cameras = Cameras::default();
        let camera = cameras.add("").map_err(|_| ()).expect("it is the only one");
        let mut watch = camera.watch();
        let changes = cameras.changes();
        assert!(camera.newest().is_none());
        for jpeg in [b"\xff\xd8\xff", b"\xff\xd8\x00"] {
            camera.show(Bytes::from_static(jpeg), None, 7);
        }
        assert!(changes.has_changed().expect("it is there"));
        let frame = watch.borrow_and_update().clone().expect("a picture");
        assert_eq!((frame.number, frame.text()), (1, "/9gA"));
    }
}
