// SPDX-License-Identifier: MPL-2.0

//! One element in a pipeline, with a record of its output and its messages, in order.

use std::{collections::VecDeque, sync::mpsc};

use gst::prelude::*;

use super::{
    pipeline::{Pipeline, key_press, text},
    process::PATIENCE,
    wire::{assert_same, bytes},
};

/// Properties with which an element reconnects at once, hundreds of times per second.
pub const FAST_RECONNECT: &str = "reconnect-delay=1000000 reconnect-delay-max=2000000";

/// A buffer that left the element, with the caps and the segment it left with.
#[derive(Debug, Clone)]
pub struct Picture {
    pub buffer: gst::Buffer,
    pub caps: Option<gst::Caps>,
    pub segment: Option<gst::Segment>,
}

impl Picture {
    pub fn is_discont(&self) -> bool {
        self.buffer.flags().contains(gst::BufferFlags::DISCONT)
    }

    /// Width and height in the caps.
    pub fn size(&self) -> (i32, i32) {
        let caps = self.caps.as_ref().expect("caps");
        let caps = caps.structure(0).expect("one");
        (caps.get("width").unwrap(), caps.get("height").unwrap())
    }
}

/// Something that the pipeline did: a buffer, an event or a bus message.
#[derive(Debug)]
pub enum Observation {
    Picture(Box<Picture>),
    /// Downstream event on the source pad, by name.
    Event(&'static str),
    /// Element message that reports the connection: its state, and the cause if there is one.
    Connection(gst::Structure),
    Info(String),
    Warning(String),
    Error(String),
    /// EOS message of the whole pipeline.
    End,
}

/// A pipeline with an element under test, which the pipeline names `element`.
///
/// When the fixture is dropped, warnings, errors, pictures and EOS messages that the test has
/// not asked for fail the test.
pub struct ElementFixture {
    pub pipeline: Pipeline,
    pub element: gst::Element,
    said: mpsc::Receiver<Observation>,
    pub pictures: VecDeque<Picture>,
    pub connections: VecDeque<gst::Structure>,
    pub warnings: VecDeque<String>,
    pub infos: Vec<String>,
    errors: VecDeque<String>,
    failed: bool,
    ends: usize,
    /// Short form of every observation so far, for failure messages.
    pub log: Vec<String>,
}

impl ElementFixture {
    /// Builds the pipeline; the element reports its connection in element messages named
    /// `messages`.
    #[track_caller]
    pub fn launch(line: &str, messages: &'static str) -> Self {
        let pipeline = Pipeline::launch(line);
        let element = pipeline.element::<gst::Element>("element");
        let (sender, said) = mpsc::channel();
        listen(&pipeline, &element, messages, sender);
        Self {
            pipeline,
            element,
            said,
            pictures: VecDeque::new(),
            connections: VecDeque::new(),
            warnings: VecDeque::new(),
            infos: Vec::new(),
            errors: VecDeque::new(),
            failed: false,
            ends: 0,
            log: Vec::new(),
        }
    }

    /// Starts a `socketioclientsink` that sends the JPEGs which the test pushes.
    #[track_caller]
    pub fn socketio_sink(url: &str, properties: &str) -> Self {
        Self::start_socketio(&format!(
            "appsrc name=feed format=time caps=image/jpeg is-live=true
             ! socketioclientsink name=element url={url} {FAST_RECONNECT} {properties}"
        ))
    }

    /// Starts a `socketioclientsrc`.
    #[track_caller]
    pub fn socketio_source(url: &str, properties: &str) -> Self {
        Self::start_socketio(&format!(
            "socketioclientsrc name=element url={url} {FAST_RECONNECT} {properties}
             ! fakesink name=sink sync=false"
        ))
    }

    /// Starts a pipeline whose element is a Socket.IO client.
    #[track_caller]
    pub fn start_socketio(line: &str) -> Self {
        let fixture = Self::launch(line, "socketio-connection");
        // If the element does not start, it says why on the bus.
        let _ = fixture.pipeline.0.set_state(gst::State::Playing);
        fixture
    }

    /// Waits until `look` finds something.
    #[track_caller]
    fn wait<T>(&mut self, what: &str, look: impl Fn(&mut Self) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            match self.said.recv_timeout(PATIENCE) {
                Ok(said) => self.take(said),
                Err(_) => panic!("no {what}; observed: {:#?}", self.log),
            }
        }
    }

    /// Records everything observed up to now.
    pub fn catch_up(&mut self) -> &mut Self {
        while let Ok(said) = self.said.try_recv() {
            self.take(said);
        }
        self
    }

    fn take(&mut self, said: Observation) {
        let word = match &said {
            Observation::Picture(_) => "picture".into(),
            Observation::Event(name) => (*name).into(),
            Observation::Connection(connection) => connection.get("state").expect("a state"),
            Observation::Info(text) => format!("info: {text}"),
            Observation::Warning(text) => format!("warning: {text}"),
            Observation::Error(text) => format!("error: {text}"),
            Observation::End => "end".into(),
        };
        self.log.push(word);
        match said {
            Observation::Picture(picture) => self.pictures.push_back(*picture),
            Observation::Event(_) => {}
            Observation::Connection(connection) => self.connections.push_back(connection),
            Observation::Info(text) => self.infos.push(text),
            Observation::Warning(text) => self.warnings.push_back(text),
            // GstBaseSrc adds this error when a source does not start.
            Observation::Error(text) if self.failed && text.contains("Failed to start") => {}
            Observation::Error(text) => {
                self.failed = true;
                self.errors.push_back(text);
            }
            // EOS follows an error downstream, so that files are closed properly.
            Observation::End if self.failed => {}
            Observation::End => self.ends += 1,
        }
    }

    /// Returns the next `n` pictures.
    #[track_caller]
    pub fn next(&mut self, n: usize) -> Vec<Picture> {
        self.wait(&format!("{n} pictures"), |fixture| {
            (fixture.pictures.len() >= n).then(|| fixture.pictures.drain(..n).collect())
        })
    }

    /// Expects the next pictures to equal these frames, byte for byte.
    #[track_caller]
    pub fn expect_frames(&mut self, frames: &[Vec<u8>]) -> Vec<Picture> {
        let pictures = self.next(frames.len());
        let got: Vec<_> = pictures.iter().map(|p| bytes(&p.buffer)).collect();
        assert_same(&got, frames, "the output");
        pictures
    }

    /// Returns the next connection message.
    #[track_caller]
    pub fn next_connection(&mut self) -> gst::Structure {
        self.wait("connection", |fixture| fixture.connections.pop_front())
    }

    /// Expects the next connection message to report this state.
    #[track_caller]
    pub fn expect_state(&mut self, state: &str) -> gst::Structure {
        let connection = self.next_connection();
        assert_eq!(connection.get("state"), Ok(state), "{:#?}", self.log);
        connection
    }

    /// Expects the next connection messages to report these states.
    #[track_caller]
    pub fn expect_states(&mut self, states: &[&str]) -> &mut Self {
        for state in states {
            self.expect_state(state);
        }
        self
    }

    /// Expects a warning that contains all of `parts`.
    #[track_caller]
    pub fn expect_warning(&mut self, parts: &[&str]) -> String {
        let warning = self.wait("warning", |fixture| fixture.warnings.pop_front());
        expect_parts(&warning, parts);
        warning
    }

    /// Expects an error that contains all of `parts`.
    #[track_caller]
    pub fn expect_error(&mut self, parts: &[&str]) -> String {
        let error = self.wait("error", |fixture| fixture.errors.pop_front());
        expect_parts(&error, parts);
        error
    }

    /// Expects the EOS message of the pipeline.
    #[track_caller]
    pub fn expect_end(&mut self) -> &mut Self {
        self.wait("end", |fixture| {
            (fixture.ends > 0).then(|| fixture.ends = 0)
        });
        self
    }

    pub fn stats(&self) -> gst::Structure {
        self.element.property("stats")
    }

    /// Pushes a JPEG into the `appsrc` named `feed`.
    #[track_caller]
    pub fn push(&self, jpeg: &[u8]) {
        self.push_buffer(gst::Buffer::from_slice(jpeg.to_vec()));
    }

    /// Pushes a buffer into the `appsrc` named `feed`.
    #[track_caller]
    pub fn push_buffer(&self, buffer: gst::Buffer) {
        let feed = self.pipeline.element::<gst_app::AppSrc>("feed");
        feed.push_buffer(buffer).expect("a playing pipeline");
    }

    #[track_caller]
    pub fn push_eos(&self) {
        let feed = self.pipeline.element::<gst_app::AppSrc>("feed");
        feed.end_of_stream().expect("a playing pipeline");
    }

    /// Returns a number from `stats`.
    #[track_caller]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.stats();
        stats
            .get(name)
            .unwrap_or_else(|err| panic!("{err}: {stats}"))
    }

    /// Expects these numbers in `stats`.
    #[track_caller]
    pub fn expect_stats(&self, numbers: &[(&str, u64)]) -> &Self {
        let stats = self.stats();
        for (name, number) in numbers {
            assert_eq!(stats.get::<u64>(*name), Ok(*number), "{name} of {stats}");
        }
        self
    }

    /// Sends a key press upstream, as the video window of this pipeline does.
    pub fn press(&self, key: &str) {
        let sink = self.pipeline.element::<gst::Element>("sink");
        let pad = sink.static_pad("sink").expect("a pad");
        pad.push_event(key_press(key));
    }

    /// Stops the pipeline and records what it posts while stopping.
    pub fn stop(&mut self) {
        self.pipeline
            .0
            .set_state(gst::State::Null)
            .expect("a state change");
        self.catch_up();
    }

    /// Expects that nothing is left that the test has not asked for.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        self.catch_up();
        assert!(
            self.warnings.is_empty() && self.errors.is_empty(),
            "{:#?}",
            self.log
        );
        assert!(
            self.pictures.is_empty() && self.ends == 0,
            "{:#?}",
            self.log
        );
    }
}

impl Drop for ElementFixture {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
            self.expect_nothing();
        }
    }
}

/// Sends an observation for everything that leaves the element and for every bus message.
fn listen(
    pipeline: &Pipeline,
    element: &gst::Element,
    messages: &'static str,
    sender: mpsc::Sender<Observation>,
) {
    let said = sender.clone();
    if let Some(pad) = element.static_pad("src") {
        let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
        pad.add_probe(kinds, move |pad, info| {
            let _ = said.send(match &info.data {
                Some(gst::PadProbeData::Buffer(buffer)) => {
                    Observation::Picture(Box::new(Picture {
                        buffer: buffer.clone(),
                        caps: pad.current_caps(),
                        segment: pad
                            .sticky_event::<gst::event::Segment>(0)
                            .map(|event| event.segment().clone()),
                    }))
                }
                Some(gst::PadProbeData::Event(event)) => Observation::Event(event.type_().name()),
                _ => return gst::PadProbeReturn::Ok,
            });
            gst::PadProbeReturn::Ok
        });
    }

    let bus = pipeline.0.bus().expect("a bus");
    let element = element.clone();
    bus.set_sync_handler(move |_, message| {
        let all = |message| text(message).unwrap_or_default();
        let said_now = match message.view() {
            gst::MessageView::Info(info) => Some(Observation::Info(info.error().to_string())),
            gst::MessageView::Warning(_) => Some(Observation::Warning(all(message))),
            gst::MessageView::Error(_) => Some(Observation::Error(all(message))),
            gst::MessageView::Eos(_) => Some(Observation::End),
            gst::MessageView::Element(_) => message
                .structure()
                .filter(|s| s.name() == messages)
                .map(|s| {
                    assert_eq!(message.src(), Some(element.upcast_ref()));
                    Observation::Connection(s.to_owned())
                }),
            _ => None,
        };
        if let Some(said_now) = said_now {
            let _ = sender.send(said_now);
        }
        gst::BusSyncReply::Pass
    });
}

#[track_caller]
pub fn expect_parts(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
}
