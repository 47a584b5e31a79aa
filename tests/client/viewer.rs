// SPDX-License-Identifier: MPL-2.0

//! A client in a pipeline, and all that it says, in order.

use std::{collections::VecDeque, sync::mpsc};

use gst::prelude::*;

use super::wire::{assert_same, bytes};
use crate::common::{
    pipeline::{Pipeline, text},
    process::PATIENCE,
    sender::Sender,
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

/// What comes out of a client, and what it posts.
#[derive(Debug)]
pub enum Said {
    Picture(Box<Picture>),
    /// An event other than a picture, by name.
    Event(&'static str),
    /// Its element message: the state and the cause.
    Connection(gst::Structure),
    Info(String),
    Warning(String),
    Error(String),
    /// The end of the whole pipeline.
    End,
}

/// A pipeline of a client and a sink that takes every picture at once.
///
/// Warnings, errors, pictures and ends that nobody expected fail the test.
pub struct Viewer {
    pub pipeline: Pipeline,
    pub src: gst::Element,
    said: mpsc::Receiver<Said>,
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

impl Viewer {
    /// A client with these properties.
    #[track_caller]
    pub fn new(properties: &str) -> Self {
        let pipeline = Pipeline::launch(&format!(
            "b64jpegclientsrc name=src {properties} ! fakesink name=sink sync=false"
        ));
        let src = pipeline.element::<gst::Element>("src");
        let (sender, said) = mpsc::channel();
        listen(&pipeline, &src, &sender);
        Self {
            pipeline,
            src,
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

    /// A client of this server, playing.
    #[track_caller]
    pub fn of(server: &Sender, properties: &str) -> Self {
        Self::playing(&format!(
            "host=127.0.0.1 port={} {properties}",
            server.port()
        ))
    }

    #[track_caller]
    pub fn playing(properties: &str) -> Self {
        let viewer = Self::new(properties);
        viewer.pipeline.play();
        viewer
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

    fn take(&mut self, said: Said) {
        let word = match &said {
            Said::Picture(_) => "picture".into(),
            Said::Event(name) => (*name).into(),
            Said::Connection(connection) => connection.get("state").expect("a state"),
            Said::Info(text) => format!("info: {text}"),
            Said::Warning(text) => format!("warning: {text}"),
            Said::Error(text) => format!("error: {text}"),
            Said::End => "end".into(),
        };
        self.log.push(word);
        match said {
            Said::Picture(picture) => self.pictures.push_back(*picture),
            Said::Event(_) => {}
            Said::Connection(connection) => self.connections.push_back(connection),
            Said::Info(text) => self.infos.push(text),
            Said::Warning(text) => self.warnings.push_back(text),
            // What GstBaseSrc adds when a source does not start.
            Said::Error(text) if self.failed && text.contains("Failed to start") => {}
            Said::Error(text) => {
                self.failed = true;
                self.errors.push_back(text);
            }
            // Files are to be whole, also when a stream ends with an error.
            Said::End if self.failed => {}
            Said::End => self.ends += 1,
        }
    }

    /// The next `n` pictures.
    #[track_caller]
    pub fn next(&mut self, n: usize) -> Vec<Picture> {
        self.wait(&format!("{n} pictures"), |viewer| {
            (viewer.pictures.len() >= n).then(|| viewer.pictures.drain(..n).collect())
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
        self.wait("connection", |viewer| viewer.connections.pop_front())
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
        let warning = self.wait("warning", |viewer| viewer.warnings.pop_front());
        expect_parts(&warning, parts);
        warning
    }

    /// Expects an error that contains all of `parts`.
    #[track_caller]
    pub fn expect_error(&mut self, parts: &[&str]) -> String {
        let error = self.wait("error", |viewer| viewer.errors.pop_front());
        expect_parts(&error, parts);
        error
    }

    /// Expects the end of the pipeline.
    #[track_caller]
    pub fn expect_end(&mut self) -> &mut Self {
        self.wait("end", |viewer| (viewer.ends > 0).then(|| viewer.ends = 0));
        self
    }

    pub fn stats(&self) -> gst::Structure {
        self.src.property("stats")
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
        pad.push_event(crate::common::pipeline::key_press(key));
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

impl Drop for Viewer {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.stop();
            self.expect_nothing();
        }
    }
}

/// Sends on whatever leaves the element and whatever is posted.
fn listen(pipeline: &Pipeline, src: &gst::Element, sender: &mpsc::Sender<Said>) {
    let pad = src.static_pad("src").expect("a pad");
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    let said = sender.clone();
    pad.add_probe(kinds, move |pad, info| {
        let _ = said.send(match &info.data {
            Some(gst::PadProbeData::Buffer(buffer)) => Said::Picture(Box::new(Picture {
                buffer: buffer.clone(),
                caps: pad.current_caps(),
                segment: pad
                    .sticky_event::<gst::event::Segment>(0)
                    .map(|event| event.segment().clone()),
            })),
            Some(gst::PadProbeData::Event(event)) => Said::Event(event.type_().name()),
            _ => return gst::PadProbeReturn::Ok,
        });
        gst::PadProbeReturn::Ok
    });

    let bus = pipeline.0.bus().expect("a bus");
    let said = sender.clone();
    let src = src.clone();
    bus.set_sync_handler(move |_, message| {
        let all = |message| text(message).unwrap_or_default();
        let said_now = match message.view() {
            gst::MessageView::Info(info) => Some(Said::Info(info.error().to_string())),
            gst::MessageView::Warning(_) => Some(Said::Warning(all(message))),
            gst::MessageView::Error(_) => Some(Said::Error(all(message))),
            gst::MessageView::Eos(_) => Some(Said::End),
            gst::MessageView::Element(_) => message
                .structure()
                .filter(|s| s.name() == "b64jpeg-connection")
                .map(|s| {
                    assert_eq!(message.src(), Some(src.upcast_ref()));
                    Said::Connection(s.to_owned())
                }),
            _ => None,
        };
        if let Some(said_now) = said_now {
            let _ = said.send(said_now);
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
