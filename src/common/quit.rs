// SPDX-License-Identifier: MPL-2.0

//! How a stream ends before its time: by a key in a video window (the `quit-key`
//! properties), because downstream has had enough, or because of an error.

use std::sync::atomic::{AtomicBool, Ordering};

use gst::prelude::*;
use gst_video::NavigationEvent;

use crate::common::{clock, panics};

/// The property `quit-key`, the same for every element that has it.
pub fn key_spec() -> glib::ParamSpec {
    glib::ParamSpecString::builder("quit-key")
        .nick("Quit key")
        .blurb(
            "Key that ends the whole pipeline with EOS when it is pressed in a video \
             window downstream, named as by X (\"q\", \"Escape\"); empty for none",
        )
        .default_value(Some(""))
        .mutable_playing()
        .build()
}

/// Whether the stream is to end before its time.
#[derive(Debug, Default)]
pub struct Quit {
    asked: AtomicBool,
}

impl Quit {
    /// Ends the stream before the next frame.
    pub fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// Begins anew.
    pub fn reset(&self) {
        self.asked.store(false, Ordering::Relaxed);
    }

    /// Lets nothing more through once the end was asked for: what is queued before the
    /// element ought not to play first, and a frame that is under way is not torn.
    pub fn check(&self) -> Result<(), gst::FlowError> {
        match self.asked.load(Ordering::Relaxed) {
            true => Err(gst::FlowError::Eos),
            false => Ok(()),
        }
    }

    /// Begins anew with an event from upstream that says so.
    pub fn on_sink_event(&self, event: &gst::EventRef) {
        if matches!(
            event.type_(),
            gst::EventType::FlushStop | gst::EventType::StreamStart
        ) {
            self.reset();
        }
    }

    /// Ends the pipeline that `element` is in if `event` is a press of `key`.
    ///
    /// Returns whether it was. The EOS starts at the sources, as from `gst-launch-1.0 -e`,
    /// so that a source that waits for data ends, too; and from another thread, because
    /// this one belongs to the sink that waits for its event to be handled.
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
                clock::outermost(element).send_event(gst::event::Eos::new());
            });
        });
        true
    }
}
