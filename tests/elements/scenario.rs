// SPDX-License-Identifier: MPL-2.0

//! One element between a source and a sink that the test plays.

use std::sync::{Arc, Mutex};

use gst::prelude::*;
use gst_check::Harness;

use super::wire::{Random, assert_same, bytes};
use crate::common::{self, element_fixture::expect_parts};

/// How bytes are cut into buffers.
#[derive(Debug, Clone, Copy)]
pub enum Pieces {
    Whole,
    Of(usize),
    /// Of up to so many bytes.
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

/// What came out of the element, in order.
#[derive(Debug, Clone)]
pub enum Output {
    Event(gst::Event),
    /// A buffer and the caps it came under.
    Buffer(gst::Buffer, Option<gst::Caps>),
}

/// An element under test: first its properties and what its source announces, then
/// what is fed to it and what is expected of it.
///
/// What nobody expected (a buffer, a warning, an error) fails the test when the
/// scenario ends.
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
    /// A source of pictures.
    pub fn pay() -> Self {
        Self::new("b64jpegpay").caps("image/jpeg").time_segment()
    }

    /// A live source of bytes of which nothing is known.
    pub fn depay() -> Self {
        Self::new("b64jpegdepay")
    }

    /// A live source of what may be pictures.
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

    /// Caps that the source announces.
    pub fn caps(mut self, caps: &str) -> Self {
        self.caps = Some(caps.parse().expect("caps"));
        self
    }

    /// A source that knows the times of its buffers.
    pub fn time_segment(mut self) -> Self {
        self.segment = gst::FormattedSegment::<gst::ClockTime>::new().upcast();
        self
    }

    pub fn byte_segment(mut self) -> Self {
        self.segment = gst::FormattedSegment::<gst::format::Bytes>::new().upcast();
        self
    }

    /// A source that can seek in its bytes: a file.
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

    /// How [`feed`](Self::feed) cuts what it is given.
    pub fn pieces(mut self, pieces: Pieces) -> Self {
        self.pieces = pieces;
        self
    }

    /// The harness, in which the element plays.
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

    /// Feeds bytes, in pieces, as long as they are taken.
    pub fn feed(&mut self, data: impl AsRef<[u8]>) -> &mut Self {
        for piece in self.pieces.cut(data.as_ref()) {
            self.push(gst::Buffer::from_slice(piece.to_vec()));
        }
        self
    }

    /// Feeds one buffer, unless one before it was refused.
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

    /// Flushes, and announces the segment again.
    pub fn flush(&mut self) -> &mut Self {
        let segment = gst::event::Segment::new(&self.segment);
        self.event(gst::event::FlushStart::new())
            .event(gst::event::FlushStop::new(true))
            .event(segment)
    }

    /// What came out since this was asked last.
    pub fn outputs(&mut self) -> Vec<Output> {
        self.harness();
        std::mem::take(&mut *self.outputs.lock().unwrap())
    }

    /// The buffers that came out since this was asked last, with their caps.
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

    /// What came out since this was asked last, by name.
    pub fn log(&mut self) -> Vec<String> {
        self.outputs()
            .into_iter()
            .map(|output| match output {
                Output::Event(event) => event.type_().name().to_string(),
                Output::Buffer(..) => "buffer".into(),
            })
            .collect()
    }

    /// Expects these buffers since this was asked last, bit for bit.
    #[track_caller]
    pub fn expect_frames(&mut self, frames: &[Vec<u8>]) -> &mut Self {
        let got: Vec<_> = self.buffers().iter().map(|buffer| bytes(buffer)).collect();
        assert_same(&got, frames, "what came out");
        self
    }

    /// The next warning or error on the bus.
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

    /// Expects that the source was told of a fatal error, which is on the bus as well.
    #[track_caller]
    pub fn expect_flow_error(&mut self) -> &mut Self {
        assert_eq!(self.flow, Err(gst::FlowError::Error));
        self
    }

    /// Expects no warning and no error.
    #[track_caller]
    pub fn expect_silence(&mut self) -> &mut Self {
        if let Some(message) = self.message() {
            panic!("nobody expected {}", text(&message));
        }
        self
    }

    pub fn stats(&self) -> gst::Structure {
        self.element.property("stats")
    }

    /// Expects numbers in the statistics.
    #[track_caller]
    pub fn expect_stats(&mut self, numbers: &[(&str, u64)]) -> &mut Self {
        let stats = self.stats();
        for (name, number) in numbers {
            assert_eq!(stats.get::<u64>(*name), Ok(*number), "{name} of {stats}");
        }
        self
    }

    /// Expects the framing in the statistics.
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
            // What is left over would abort the tests that run beside this one.
            let _ = self.element.set_state(gst::State::Null);
            return;
        }
        self.expect_frames(&[]).expect_silence();
        self.harness = None;
        self.expect_silence();
        self.element.set_bus(None);
    }
}

/// What a warning or error says, to users and to developers.
pub fn text(message: &gst::Message) -> String {
    common::pipeline::text(message).expect("a warning or an error")
}
