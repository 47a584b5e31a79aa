// SPDX-License-Identifier: MPL-2.0

//! One element in a harness, with a record of its output.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_check::Harness;

use super::wire::{Random, assert_same, bytes};
use crate::common::{self, element_fixture::expect_parts};

/// How data is cut into buffers.
#[derive(Debug, Clone, Copy)]
pub enum Pieces {
    Whole,
    Of(usize),
    /// Random lengths up to this one.
    Random(usize),
}

impl Pieces {
    pub fn cut(self, data: &[u8]) -> Vec<&[u8]> {
        match self {
            Self::Whole => vec![data],
            Self::Of(len) => data.chunks(len).collect(),
            Self::Random(max) => {
                let mut random = Random::new(1 + data.len() as u32);
                let mut rest = data;
                std::iter::from_fn(|| {
                    let len = rest.len().min(1 + random.below(max));
                    let piece;
                    (piece, rest) = rest.split_at(len);
                    (!piece.is_empty()).then_some(piece)
                })
                .collect()
            }
        }
    }
}

/// Something that left the element.
#[derive(Debug, Clone)]
pub enum Output {
    Event(gst::Event),
    /// A buffer, and the caps at that time.
    Buffer(gst::Buffer, Option<gst::Caps>),
}

/// An element under test: first its properties and the events of its source, then the data fed
/// to it and the expected results.
///
/// When the scenario ends, a buffer, a warning or an error that the test has not asked for fails
/// the test.
pub struct Scenario {
    pub element: gst::Element,
    bus: gst::Bus,
    caps: Option<gst::Caps>,
    segment: gst::Segment,
    pieces: Pieces,
    harness: Option<Harness>,
    outputs: Arc<Mutex<Vec<Output>>>,
    pub flow: Result<gst::FlowSuccess, gst::FlowError>,
}

impl Scenario {
    /// `b64jpegpay` behind a source of JPEGs.
    pub fn pay() -> Self {
        Self::new("b64jpegpay").caps("image/jpeg").time_segment()
    }

    /// `b64jpegdepay` behind a live source of bytes without caps.
    pub fn depay() -> Self {
        Self::new("b64jpegdepay")
    }

    /// `jpegcheck` behind a live source without caps.
    pub fn check() -> Self {
        Self::new("jpegcheck").time_segment()
    }

    fn new(factory: &str) -> Self {
        common::init();
        let element = gst::ElementFactory::make(factory).build().expect(factory);
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        let outputs = Arc::<Mutex<Vec<_>>>::default();
        let log = outputs.clone();
        let kinds = gst::PadProbeType::BUFFER
            | gst::PadProbeType::EVENT_DOWNSTREAM
            | gst::PadProbeType::EVENT_FLUSH;
        let src = element.static_pad("src").expect("a source pad");
        src.add_probe(kinds, move |pad, info| {
            let output = match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    Output::Buffer(buffer.clone(), pad.current_caps())
                }
                Some(gst::PadProbeData::Event(event)) => Output::Event(event.clone()),
                _ => return gst::PadProbeReturn::Ok,
            };
            log.lock().unwrap().push(output);
            gst::PadProbeReturn::Ok
        });
        Self {
            element,
            bus,
            caps: None,
            segment: gst::FormattedSegment::<gst::format::Bytes>::new().upcast(),
            pieces: Pieces::Whole,
            harness: None,
            outputs,
            flow: Ok(gst::FlowSuccess::Ok),
        }
    }

    /// Sets a property.
    pub fn with(self, name: &str, value: &str) -> Self {
        self.element.set_property_from_str(name, value);
        self
    }

    /// Caps that the source sends.
    pub fn caps(mut self, caps: &str) -> Self {
        self.caps = Some(caps.parse().expect("caps"));
        self
    }

    /// The source has timestamps.
    pub fn time_segment(mut self) -> Self {
        self.segment = gst::FormattedSegment::<gst::ClockTime>::new().upcast();
        self
    }

    pub fn byte_segment(mut self) -> Self {
        self.segment = gst::FormattedSegment::<gst::format::Bytes>::new().upcast();
        self
    }

    /// The source can seek in bytes, as a file source can.
    pub fn seekable(mut self) -> Self {
        let source = self.harness().srcpad().expect("a pad");
        source.add_probe(gst::PadProbeType::QUERY_UPSTREAM, |_, info| {
            match info.query_mut().map(|query| query.view_mut()) {
                Some(gst::QueryViewMut::Seeking(query)) => {
                    let all = gst::format::Bytes::ZERO..gst::format::Bytes::from_u64(1 << 30);
                    query.set(true, all.start, all.end);
                    gst::PadProbeReturn::Handled
                }
                _ => gst::PadProbeReturn::Ok,
            }
        });
        self
    }

    /// How [`feed`](Self::feed) cuts its data.
    pub fn pieces(mut self, pieces: Pieces) -> Self {
        self.pieces = pieces;
        self
    }

    /// The harness, with the element in PLAYING.
    pub fn harness(&mut self) -> &mut Harness {
        self.harness.get_or_insert_with(|| {
            let mut harness = Harness::with_element(&self.element, Some("sink"), Some("src"));
            harness.set_drop_buffers(true);
            harness.push_event(gst::event::StreamStart::new("scenario"));
            if let Some(caps) = &self.caps {
                harness.push_event(gst::event::Caps::new(caps));
            }
            harness.push_event(gst::event::Segment::new(&self.segment));
            harness
        })
    }

    /// Feeds data in pieces until one is refused.
    pub fn feed(&mut self, data: impl AsRef<[u8]>) -> &mut Self {
        for piece in self.pieces.cut(data.as_ref()) {
            self.push(gst::Buffer::from_slice(piece.to_vec()));
        }
        self
    }

    /// Feeds one buffer, unless an earlier one was refused.
    pub fn push(&mut self, buffer: gst::Buffer) -> &mut Self {
        self.flow = self.flow.and_then(|_| self.harness().push(buffer));
        self
    }

    pub fn event(&mut self, event: gst::Event) -> &mut Self {
        self.harness().push_event(event);
        self
    }

    pub fn eos(&mut self) -> &mut Self {
        self.event(gst::event::Eos::new())
    }

    /// Flushes, and sends the segment again.
    pub fn flush(&mut self) -> &mut Self {
        let segment = gst::event::Segment::new(&self.segment);
        self.event(gst::event::FlushStart::new())
            .event(gst::event::FlushStop::new(true))
            .event(segment)
    }

    /// Takes the output since the last call.
    pub fn outputs(&mut self) -> Vec<Output> {
        self.harness();
        std::mem::take(&mut *self.outputs.lock().unwrap())
    }

    /// Takes the buffers of the output since the last call, with their caps.
    pub fn buffers_and_caps(&mut self) -> Vec<(gst::Buffer, Option<gst::Caps>)> {
        self.outputs()
            .into_iter()
            .filter_map(|output| match output {
                Output::Buffer(buffer, caps) => Some((buffer, caps)),
                Output::Event(_) => None,
            })
            .collect()
    }

    pub fn buffers(&mut self) -> Vec<gst::Buffer> {
        let buffers = self.buffers_and_caps().into_iter();
        buffers.map(|(buffer, _)| buffer).collect()
    }

    /// Takes the output since the last call, by name.
    pub fn log(&mut self) -> Vec<String> {
        self.outputs()
            .into_iter()
            .map(|output| match output {
                Output::Event(event) => event.type_().name().to_string(),
                Output::Buffer(..) => "buffer".into(),
            })
            .collect()
    }

    /// Expects these buffers as the output since the last call, byte for byte.
    #[track_caller]
    pub fn expect_frames(&mut self, frames: &[Vec<u8>]) -> &mut Self {
        let got: Vec<_> = self.buffers().iter().map(|buffer| bytes(buffer)).collect();
        assert_same(&got, frames, "the output");
        self
    }

    /// Takes the next warning or error from the bus.
    pub fn message(&mut self) -> Option<gst::Message> {
        self.bus
            .pop_filtered(&[gst::MessageType::Warning, gst::MessageType::Error])
    }

    /// Expects a warning that contains all of `parts`.
    #[track_caller]
    pub fn expect_warning(&mut self, parts: &[&str]) -> &mut Self {
        let message = self.message().expect("a warning");
        assert_eq!(
            message.type_(),
            gst::MessageType::Warning,
            "{}",
            text(&message)
        );
        expect_parts(&text(&message), parts);
        self
    }

    /// Expects an error that contains all of `parts`.
    #[track_caller]
    pub fn expect_error(&mut self, parts: &[&str]) -> &mut Self {
        let message = self.message().expect("an error");
        assert_eq!(
            message.type_(),
            gst::MessageType::Error,
            "{}",
            text(&message)
        );
        expect_parts(&text(&message), parts);
        self
    }

    /// Expects that the source got a flow error; the reason is on the bus.
    #[track_caller]
    pub fn expect_flow_error(&mut self) -> &mut Self {
        assert_eq!(self.flow, Err(gst::FlowError::Error));
        self
    }

    /// Expects neither a warning nor an error.
    #[track_caller]
    pub fn expect_silence(&mut self) -> &mut Self {
        if let Some(message) = self.message() {
            panic!("unexpected message: {}", text(&message));
        }
        self
    }

    pub fn stats(&self) -> gst::Structure {
        self.element.property("stats")
    }

    /// Expects these numbers in `stats`.
    #[track_caller]
    pub fn expect_stats(&mut self, numbers: &[(&str, u64)]) -> &mut Self {
        let stats = self.stats();
        for (name, number) in numbers {
            assert_eq!(stats.get::<u64>(*name), Ok(*number), "{name} of {stats}");
        }
        self
    }

    /// Expects this framing in `stats`.
    #[track_caller]
    pub fn expect_framing(&mut self, framing: super::wire::Framing) -> &mut Self {
        let stats = self.stats();
        assert_eq!(stats.get("header"), Ok(framing.header), "{stats}");
        assert_eq!(stats.get("payload"), Ok(framing.payload), "{stats}");
        self
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A failing assertion here would abort all tests of this binary.
            let _ = self.element.set_state(gst::State::Null);
            return;
        }
        self.expect_frames(&[]).expect_silence();
        self.harness = None;
        self.expect_silence();
        self.element.set_bus(None);
    }
}

/// The text of a warning or an error, with its debug information.
pub fn text(message: &gst::Message) -> String {
    common::pipeline::text(message).expect("a warning or an error")
}
