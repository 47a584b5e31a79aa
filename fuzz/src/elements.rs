// SPDX-License-Identifier: MPL-2.0

//! One element between a source and a sink that the fuzzer plays.
//!
//! A panic ends the process, also one that is caught on its way to C: libFuzzer's hook for
//! panics aborts.

use std::sync::Once;

use b64jpeg_wire::{FrameLimits, jpeg};
use gst::prelude::*;
use gst_check::Harness;

/// An element that plays, and what came out of it.
pub struct Player {
    pub element: gst::Element,
    bus: gst::Bus,
    harness: Harness,
}

impl Player {
    pub fn new(factory: &str, properties: &[(&str, String)]) -> Self {
        static INIT: Once = Once::new();
        INIT.call_once(|| {
            gst::init().expect("GStreamer starts");
            gstb64jpeg::plugin_register_static().expect("our plugin registers");
        });
        let element = gst::ElementFactory::make(factory).build().expect(factory);
        for (name, value) in properties {
            element.set_property_from_str(name, value);
        }
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
        harness.push_event(gst::event::StreamStart::new("fuzz"));
        Self {
            element,
            bus,
            harness,
        }
    }

    /// Caps, before the segment.
    pub fn caps(&mut self, caps: &gst::Caps) {
        self.event(gst::event::Caps::new(caps));
    }

    /// A segment of bytes, or else of time.
    pub fn segment(&mut self, bytes: bool) {
        let segment = match bytes {
            true => gst::FormattedSegment::<gst::format::Bytes>::new().upcast(),
            false => gst::FormattedSegment::<gst::ClockTime>::new().upcast(),
        };
        self.event(gst::event::Segment::new(&segment));
    }

    pub fn event(&mut self, event: gst::Event) {
        self.harness.push_event(event);
    }

    pub fn push(&mut self, buffer: gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.harness.push(buffer)
    }

    /// One of the things that may come between two buffers.
    pub fn something(&mut self, what: u8) {
        match what % 16 {
            8 => {
                self.event(gst::event::FlushStart::new());
                self.event(gst::event::FlushStop::new(true));
                self.segment(false);
            }
            9 => self.event(gst::event::Gap::new(gst::ClockTime::SECOND, None)),
            10 => self.segment(true),
            11 => self.segment(false),
            12 => {
                self.event(gst::event::Eos::new());
                self.event(gst::event::StreamStart::new("again"));
                self.segment(true);
            }
            13 => {
                self.element.property::<gst::Structure>("stats");
            }
            14 => self.event(gst::event::Tag::new(gst::TagList::new())),
            _ => {}
        }
    }

    /// The buffers that have come out.
    pub fn outputs(&mut self) -> Vec<gst::Buffer> {
        std::iter::from_fn(|| self.harness.try_pull()).collect()
    }

    /// Checks that what has come out are pictures within the limits.
    pub fn check_pictures(&mut self, limits: &FrameLimits) {
        for buffer in self.outputs() {
            let bytes = buffer.map_readable().expect("readable memory");
            if let Err(error) = jpeg::JpegInfo::received(&bytes, limits) {
                panic!("{error}");
            }
            let unix: gst::Caps = gst::Caps::new_empty_simple("timestamp/x-unix");
            for meta in buffer.iter_meta::<gst::ReferenceTimestampMeta>() {
                let ours = meta.reference().is_strictly_equal(&unix);
                assert!(!ours || meta.timestamp() > gst::ClockTime::from_seconds(946_684_799));
            }
        }
    }

    /// Checks that no error tells of a panic.
    pub fn check_messages(&self) {
        while let Some(message) = self.bus.pop() {
            let (text, debug) = match message.view() {
                gst::MessageView::Error(error) => (error.error().to_string(), error.debug()),
                gst::MessageView::Warning(warning) => {
                    (warning.error().to_string(), warning.debug())
                }
                _ => continue,
            };
            let text = format!("{text} {}", debug.unwrap_or_default());
            assert!(!text.to_lowercase().contains("panic"), "{text}");
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        self.element.set_bus(None);
    }
}

/// Takes the bytes of a script from the end of `data`: 8 at most, so that golden files stay
/// nearly whole.
pub fn script(data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(data.len() - data.len().min(8))
}

/// Cuts `stream` into as many pieces as the script has steps, and the rest.
pub fn pieces<'a>(stream: &'a [u8], script: &'a [u8]) -> impl Iterator<Item = (&'a [u8], u8)> {
    let mut rest = stream;
    let mut steps = script.iter();
    std::iter::from_fn(move || {
        let step = steps.next();
        if rest.is_empty() && step.is_none() {
            return None;
        }
        let len = step.map_or(rest.len(), |step| rest.len() * usize::from(step >> 4) / 16);
        let (piece, later) = rest.split_at(len);
        rest = later;
        Some((piece, *step.unwrap_or(&0)))
    })
}
