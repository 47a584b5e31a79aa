// SPDX-License-Identifier: MPL-2.0

//! `jfifconvert` in a harness.

use gst::prelude::*;
use gst_check::Harness;
use gst_video::VideoInfo;

use super::reference::Picture;
use crate::common::{self, element_fixture::expect_parts, pipeline::text};

pub fn caps(format: &str, (width, height): (u32, u32), more: &str) -> gst::Caps {
    common::init();
    let text =
        format!("video/x-raw,format={format},width={width},height={height},framerate=25/1{more}");
    text.parse().expect("caps")
}

pub fn info(caps: &gst::Caps) -> VideoInfo {
    VideoInfo::from_caps(caps).expect("video caps")
}

/// A `jfifconvert` in a harness, with its bus.
pub struct Element {
    pub harness: Harness,
    pub bus: gst::Bus,
    pub from: gst::Caps,
}

impl Element {
    pub fn new() -> Self {
        common::init();
        let harness = Harness::new("jfifconvert");
        let bus = gst::Bus::new();
        harness.element().expect("an element").set_bus(Some(&bus));
        let from = gst::Caps::new_any();
        Self { harness, bus, from }
    }

    /// An element that shifts chroma to its JFIF position.
    pub fn shifting() -> Self {
        let element = Self::new();
        let inner = element.harness.element().expect("an element");
        inner.set_property("shift-chroma", true);
        element
    }

    /// An element between two caps; `to` need not be fixed.
    pub fn between(from: &gst::Caps, to: &str) -> Self {
        let mut element = Self::new();
        element.harness.set_sink_caps_str(to);
        element.start(from);
        element
    }

    /// Starts a stream of these caps.
    pub fn start(&mut self, from: &gst::Caps) {
        self.from = from.clone();
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.harness
            .push_event(gst::event::StreamStart::new("test"));
        self.harness.push_event(gst::event::Caps::new(from));
        self.harness.push_event(gst::event::Segment::new(&segment));
    }

    /// An element that cannot negotiate between these caps.
    #[track_caller]
    pub fn refuses(from: &gst::Caps, to: &str) -> Self {
        let mut element = Self::between(from, to);
        let flow = element.harness.push(gst::Buffer::new());
        assert_eq!(flow, Err(gst::FlowError::NotNegotiated), "{from} to {to}");
        element
    }

    pub fn to(&self) -> gst::Caps {
        let pad = self.harness.element().unwrap().static_pad("src");
        pad.unwrap().current_caps().expect("caps")
    }

    pub fn convert(&mut self, buffer: gst::Buffer) -> gst::Buffer {
        assert_eq!(self.harness.push(buffer), Ok(gst::FlowSuccess::Ok));
        self.harness.pull().expect("a picture")
    }

    /// Converts a picture to the negotiated output caps.
    pub fn picture(&mut self, from: &Picture) -> Picture {
        let buffer = self.convert(from.buffer(&info(&self.from)));
        Picture::read(&buffer, &info(&self.to()))
    }

    #[track_caller]
    pub fn expect_error(&self, parts: &[&str]) {
        let error = self.bus.pop_filtered(&[gst::MessageType::Error]);
        let error = text(&error.expect("an error")).expect("its text");
        expect_parts(&error, parts);
    }
}
