// SPDX-License-Identifier: MPL-2.0

//! Pipelines that are stopped when the test ends.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use gst::{glib, prelude::*};

use super::process::PATIENCE;

/// A pipeline that is stopped when the test that built it ends, also by a panic.
pub struct Pipeline(pub gst::Pipeline);

impl Pipeline {
    #[track_caller]
    pub fn launch(line: &str) -> Self {
        super::init();
        let pipeline = gst::parse::launch(line).unwrap_or_else(|err| panic!("{line}: {err}"));
        Self(pipeline.downcast().expect("more than one element"))
    }

    #[track_caller]
    pub fn element<T: IsA<gst::Element>>(&self, name: &str) -> T {
        self.0.by_name(name).and_downcast().expect(name)
    }

    pub fn play(&self) {
        self.0
            .set_state(gst::State::Playing)
            .expect("a state change");
    }

    /// Changes the state and waits until the sinks have prerolled.
    #[track_caller]
    pub fn settle(&self, state: gst::State) {
        self.0.set_state(state).expect("a state change");
        self.wait_for_state();
    }

    #[track_caller]
    pub fn wait_for_state(&self) {
        let patience = gst::ClockTime::try_from(PATIENCE).expect("not so long");
        let (change, _, _) = self.0.state(patience);
        assert!(
            matches!(change, Ok(change) if change != gst::StateChangeSuccess::Async),
            "{change:?}; {:?}",
            self.messages()
        );
    }

    /// Returns the warnings and errors so far.
    pub fn messages(&self) -> Vec<String> {
        let kinds = [gst::MessageType::Warning, gst::MessageType::Error];
        let bus = self.0.bus().expect("a bus");
        std::iter::from_fn(|| bus.pop_filtered(&kinds))
            .filter_map(|message| text(&message))
            .collect()
    }

    /// Waits for EOS or an error; returns the warnings before it, and the error.
    #[track_caller]
    pub fn wait(&self) -> (Vec<String>, Option<String>) {
        use gst::MessageType;
        let ends = [MessageType::Warning, MessageType::Error, MessageType::Eos];
        let patience = gst::ClockTime::try_from(PATIENCE).expect("not so long");
        let bus = self.0.bus().expect("a bus");
        let mut warnings = Vec::new();
        loop {
            let message = bus.timed_pop_filtered(patience, &ends);
            let message = message.expect("the stream ends");
            match message.type_() {
                MessageType::Warning => warnings.extend(text(&message)),
                MessageType::Error => return (warnings, text(&message)),
                _ => return (warnings, None),
            }
        }
    }

    /// Waits for EOS; fails if a warning or an error comes first.
    #[track_caller]
    pub fn wait_for_clean_end(&self) {
        assert_eq!(self.wait(), (vec![], None));
    }

    /// Records the bytes of every buffer that passes a pad of an element from now on.
    #[track_caller]
    pub fn collect(&self, element: &str, pad: &str) -> Buffers {
        Buffers::of(&self.element::<gst::Element>(element), pad)
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        let _ = self.0.set_state(gst::State::Null);
    }
}

/// The recorded bytes of buffers that passed one or more pads.
#[derive(Debug, Default, Clone)]
pub struct Buffers(Arc<Mutex<Vec<Vec<u8>>>>);

impl Buffers {
    /// Records the buffers that pass a pad of an element from now on.
    #[track_caller]
    pub fn of(element: &gst::Element, pad: &str) -> Self {
        let buffers = Self::default();
        buffers.add(&element.static_pad(pad).expect("a pad"));
        buffers
    }

    /// Records the buffers that pass another pad as well.
    pub fn add(&self, pad: &gst::Pad) {
        let log = self.clone();
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, info| {
            if let Some(buffer) = info.buffer() {
                let bytes = buffer.map_readable().expect("readable memory").to_vec();
                log.0.lock().unwrap().push(bytes);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Takes the buffers recorded since the last call.
    pub fn take(&self) -> Vec<Vec<u8>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

/// The text of a warning or an error, with its debug information.
pub fn text(message: &gst::Message) -> Option<String> {
    let text = |error: glib::Error, debug: Option<glib::GString>| {
        Some(format!("{error} ({})", debug.unwrap_or_default()))
    };
    match message.view() {
        gst::MessageView::Warning(warning) => text(warning.error(), warning.debug()),
        gst::MessageView::Error(error) => text(error.error(), error.debug()),
        _ => None,
    }
}

/// A key press in a video window, as the navigation event that travels upstream.
pub fn key_press(key: &str) -> gst::Event {
    gst_video::NavigationEvent::new_key_press(key).build()
}

/// Writes the output of these elements to a file.
#[track_caller]
pub fn make_file(elements: &str, path: &Path) {
    let pipeline = Pipeline::launch(&format!("{elements} ! filesink name=file"));
    let file = pipeline.element::<gst::Element>("file");
    file.set_property("location", path.to_str().expect("UTF-8"));
    pipeline.play();
    pipeline.wait_for_clean_end();
}

/// Writes a lossless clip in which no two frames are equal. Its colours are those of standard
/// definition, which OpenCV and GStreamer decode to the same pixels.
#[track_caller]
pub fn make_clip(name: &str, frames: usize) -> PathBuf {
    let path = scratch(name);
    let elements = format!(
        "videotestsrc num-buffers={frames} pattern=smpte75 horizontal-speed=7
         ! video/x-raw,format=I420,width=640,height=360,framerate=30/1
         ! avenc_ffv1 ! matroskamux"
    );
    make_file(&elements, &path);
    path
}

/// Path of a scratch file for one test.
pub fn scratch(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}
