// SPDX-License-Identifier: MPL-2.0

//! An element that connects, in a pipeline, and all that it says, in order.

use std::{collections::VecDeque, sync::mpsc};

use gst::prelude::*;

use super::{
    pipeline::{Pipeline, key_press, text},
    process::PATIENCE,
    wire::{assert_same, bytes},
};

/// A picture as it came.
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

    /// Width and height by the caps.
    pub fn size(&self) -> (i32, i32) {
        let caps = self.caps.as_ref().expect("caps");
        let caps = caps.structure(0).expect("one");
        (caps.get("width").unwrap(), caps.get("height").unwrap())
    }
}

/// What comes out of an element, and what it posts.
#[derive(Debug)]
pub enum Observation {
    Picture(Box<Picture>),
    /// An event other than a picture, by name.
    Event(&'static str),
    /// Its element message: the state, and perhaps the cause.
    Connection(gst::Structure),
    Info(String),
    Warning(String),
    Error(String),
    /// The end of the whole pipeline.
    End,
}

/// A pipeline with an element that connects, whose name is `fixture`.
///
/// Warnings, errors, pictures and ends that nobody expected fail the test.
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
    /// Everything so far, in few words.
    pub log: Vec<String>,
}

impl ElementFixture {
    /// Builds a pipeline, whose element tells about its connection in `messages` of a name.
    #[track_caller]
    pub fn launch(line: &str, messages: &'static str) -> Self {
        let pipeline = Pipeline::launch(line);
        let element = pipeline.element::<gst::Element>("fixture");
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

    /// Waits until something is there.
    #[track_caller]
    fn wait<T>(&mut self, what: &str, look: impl Fn(&mut Self) -> Option<T>) -> T {
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            match self.said.recv_timeout(PATIENCE) {
                Ok(said) => self.take(said),
                Err(_) => panic!("no {what}; there were {:#?}", self.log),
            }
        }
    }

    /// Takes what was said up to now.
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
            // What GstBaseSrc adds when a source does not start.
            Observation::Error(text) if self.failed && text.contains("Failed to start") => {}
            Observation::Error(text) => {
                self.failed = true;
                self.errors.push_back(text);
            }
            // Files are to be whole, also when a stream ends with an error.
            Observation::End if self.failed => {}
            Observation::End => self.ends += 1,
        }
    }

    /// The next `n` pictures.
    #[track_caller]
    pub fn next(&mut self, n: usize) -> Vec<Picture> {
        self.wait(&format!("{n} pictures"), |fixture| {
            (fixture.pictures.len() >= n).then(|| fixture.pictures.drain(..n).collect())
        })
    }

    /// Expects these pictures to be the next, bit for bit.
    #[track_caller]
    pub fn expect_frames(&mut self, frames: &[Vec<u8>]) -> Vec<Picture> {
        let pictures = self.next(frames.len());
        let got: Vec<_> = pictures.iter().map(|p| bytes(&p.buffer)).collect();
        assert_same(&got, frames, "what came out");
        pictures
    }

    /// The next change of the connection.
    #[track_caller]
    pub fn next_connection(&mut self) -> gst::Structure {
        self.wait("connection", |fixture| fixture.connections.pop_front())
    }

    /// Expects the next change of the connection to be this one.
    #[track_caller]
    pub fn expect_state(&mut self, state: &str) -> gst::Structure {
        let connection = self.next_connection();
        assert_eq!(connection.get("state"), Ok(state), "{:#?}", self.log);
        connection
    }

    /// Expects these changes of the connection.
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

    /// Expects the end of the pipeline.
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

    /// Pushes a picture into the source `feed`.
    #[track_caller]
    pub fn push(&self, jpeg: &[u8]) {
        let feed = self.pipeline.element::<gst_app::AppSrc>("feed");
        let buffer = gst::Buffer::from_slice(jpeg.to_vec());
        feed.push_buffer(buffer).expect("it plays");
    }

    #[track_caller]
    pub fn end_feed(&self) {
        let feed = self.pipeline.element::<gst_app::AppSrc>("feed");
        feed.end_of_stream().expect("it plays");
    }

    /// A number in the statistics.
    #[track_caller]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.stats();
        stats
            .get(name)
            .unwrap_or_else(|err| panic!("{err}: {stats}"))
    }

    /// Expects numbers in the statistics.
    #[track_caller]
    pub fn expect_stats(&self, numbers: &[(&str, u64)]) -> &Self {
        let stats = self.stats();
        for (name, number) in numbers {
            assert_eq!(stats.get::<u64>(*name), Ok(*number), "{name} of {stats}");
        }
        self
    }

    /// Presses a key in the window of this pipeline.
    pub fn press(&self, key: &str) {
        let sink = self.pipeline.element::<gst::Element>("sink");
        let pad = sink.static_pad("sink").expect("a pad");
        pad.push_event(key_press(key));
    }

    /// Stops, and forgets what was said about it.
    pub fn stop(&mut self) {
        self.pipeline
            .0
            .set_state(gst::State::Null)
            .expect("it stops");
        self.catch_up();
    }

    /// That is all, there is nothing more.
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

/// Sends on whatever leaves the element and whatever is posted.
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
