// SPDX-License-Identifier: MPL-2.0

//! Ends a stream early: by a key in a video window (the `quit-key` properties), because
//! downstream has reached its end, or because of an error.

use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;
use gst_video::NavigationEvent;

use crate::common::{panics, time};

/// The property `quit-key`, the same for every element that has it.
pub fn key_spec() -> glib::ParamSpec {
    glib::ParamSpecString::builder("quit-key")
        .nick("QuitRequest key")
        .blurb(
            "Key that ends the whole pipeline with EOS when it is pressed in a video \
             window downstream, named as by X (\"q\", \"Escape\"); empty for none",
        )
        .default_value(Some(""))
        .mutable_playing()
        .build()
}

/// Whether the stream is to end early.
#[derive(Debug, Default)]
pub struct QuitRequest {
    asked: AtomicBool,
}

impl QuitRequest {
    /// Ends the stream before the next frame.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Forgets the request: another stream begins.
    pub fn reset(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Refuses further frames after the end was requested. Frames that are queued upstream
    /// would delay the end; a frame that is being pushed is completed.
    ///
    /// # Errors
    ///
    /// [`gst::FlowError::Eos`].
    pub fn check(&self) -> Result<(), gst::FlowError> {
        match self.asked.load(Ordering::Relaxed) {
            true => Err(gst::FlowError::Eos),
            false => Ok(()),
        }
    }

    /// Forgets the request if `event` begins another stream.
    pub fn on_sink_event(&self, event: &gst::EventRef) {
        if matches!(
            event.type_(),
            gst::EventType::FlushStop | gst::EventType::StreamStart
        ) {
            self.reset();
        }
    }

    /// Ends the pipeline that contains `element` if `event` is a press of `key`. Returns whether
    /// it was.
    ///
    /// The EOS event starts at the sources, as with `gst-launch-1.0 -e`, so that a source that
    /// waits for data ends, too. Another thread sends it, because this one is the sink's, which
    /// waits until its event was handled.
    pub fn on_key(
        &self,
        element: &impl IsA<gst::Element>,
        key: &str,
        event: &gst::EventRef,
    ) -> bool {
        if key.is_empty() || event.type_() != gst::EventType::Navigation {
            return false;
        }
        match NavigationEvent::parse(event) {
            Ok(NavigationEvent::KeyPress { key: pressed, .. }) if pressed == key => {}
            _ => return false,
        }
        self.ask();
        element.call_async(|element| {
            panics::guard_element(element.upcast_ref(), "on_key", (), || {
                time::outermost(element).send_event(gst::event::Eos::new());
            });
        });
        true
    }
}
