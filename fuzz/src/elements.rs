// SPDX-License-Identifier: MPL-2.0

//! One element in a test harness, to which the fuzzer pushes buffers and events.
//!
//! Any panic ends the process, even one that the element catches, because libFuzzer's panic hook
//! aborts.

use std::sync::Once;

use b64jpeg_wire::{FrameLimits, jpeg};
use gst::prelude::*;
use gst_check::Harness;

/// A playing element and its outputs.
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

    /// Pushes caps, which have to precede the segment.
    pub fn caps(&mut self, caps: &gst::Caps) {
        self.event(gst::event::Caps::new(caps));
    }

    /// Pushes a segment in bytes or in time.
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

    /// Pushes events that may come between two buffers, or reads `stats`.
    pub fn push_event_number(&mut self, what: u8) {
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

    /// Takes the buffers that the element has output.
    pub fn outputs(&mut self) -> Vec<gst::Buffer> {
        std::iter::from_fn(|| self.harness.try_pull()).collect()
    }

    /// Checks that the outputs are JPEGs within the limits, and their capture times plausible.
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

    /// Checks that no error or warning reports a panic.
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

/// Splits the input into a stream and a script of up to 8 bytes. As these are the last ones, the
/// golden files are usable as inputs.
pub fn script(data: &[u8]) -> (&[u8], &[u8]) {
    data.split_at(data.len() - data.len().min(8))
}

/// Cuts `stream` into one piece for each step of the script, and the rest.
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
