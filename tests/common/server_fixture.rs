// SPDX-License-Identifier: MPL-2.0

//! A serving sink with its source, and the clients that read from it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread::{self, JoinHandle},
};

use gst::prelude::*;
use gst_app::AppSrc;

use super::numbered_pictures::{SMALL, number, picture, recording};
use crate::common::{pipeline::Pipeline, process::PATIENCE, viewer::Viewer, wait::HangGuard};

pub use super::numbered_pictures::{FRAME_TIME, buffer};
pub use crate::common::wait::wait_until;

/// A pipeline that ends with a server on any free port: a `b64jpegserversink`, unless the pipeline
/// is launched by [`ServerFixture::launch_line`]. The server sends each frame as soon as it arrives,
/// unless the options say otherwise.
pub struct ServerFixture {
    pub pipeline: Pipeline,
    pub sink: gst::Element,
    messages: Arc<Mutex<Vec<gst::Structure>>>,
    recording: Option<PathBuf>,
    _guard: HangGuard,
}

impl ServerFixture {
    /// Serves what a source produces.
    #[track_caller]
    pub fn launch(source: &str, options: &str) -> Self {
        Self::launch_line(&format!(
            "{source} ! b64jpegserversink name=server port=0 sync=false {options}"
        ))
    }

    /// Builds a pipeline whose sink is named `server`. A source named `feed` serves what the test
    /// pushes.
    #[track_caller]
    pub fn launch_line(line: &str) -> Self {
        let guard = HangGuard::new();
        let pipeline = Pipeline::launch(line);
        let messages = Arc::<Mutex<Vec<_>>>::default();
        let log = messages.clone();
        let bus = pipeline.0.bus().expect("a bus");
        bus.set_sync_handler(move |_, message| {
            let said = match message.view() {
                gst::MessageView::Element(said) => said.structure().map(ToOwned::to_owned),
                gst::MessageView::Eos(_) => Some(gst::Structure::new_empty("eos")),
                _ => None,
            };
            log.lock().unwrap().extend(said);
            gst::BusSyncReply::Pass
        });
        Self {
            sink: pipeline.element("server"),
            pipeline,
            messages,
            recording: None,
            _guard: guard,
        }
    }

    /// Serves a recording.
    #[track_caller]
    pub fn with_recording(frames: usize, len: usize, options: &str) -> Self {
        let path = recording(frames, len);
        let mut server = Self::launch(&recording_source(&path), options);
        server.recording = Some(path);
        server
    }

    /// Serves the JPEGs that the test pushes, from a source that is not live.
    #[track_caller]
    pub fn with_appsrc(options: &str) -> Self {
        Self::launch("appsrc name=feed format=time caps=image/jpeg", options)
    }

    /// Serves the JPEGs that the test pushes, from a live source.
    #[track_caller]
    pub fn with_live_appsrc(options: &str) -> Self {
        Self::launch(
            "appsrc name=feed format=time caps=image/jpeg is-live=true",
            options,
        )
    }

    /// Starts the pipeline; from then on the server has a port.
    #[track_caller]
    pub fn play(self) -> Self {
        self.pipeline.play();
        self
    }

    pub fn set_state(&self, state: gst::State) {
        let change = self.pipeline.0.set_state(state);
        change.expect("a state change");
    }

    #[track_caller]
    pub fn port(&self) -> u16 {
        let port = self.sink.property::<i32>("current-port");
        port.try_into()
            .ok()
            .filter(|port| *port > 0)
            .expect("a listening server")
    }

    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// Connects a client and waits until the server has accepted it.
    #[track_caller]
    pub fn viewer(&self) -> Viewer {
        self.connect_accepted(Viewer::connect)
    }

    /// As [`Self::viewer`], with a small receive buffer in the kernel.
    #[track_caller]
    pub fn small_viewer(&self) -> Viewer {
        self.connect_accepted(Viewer::with_small_buffer)
    }

    #[track_caller]
    fn connect_accepted(&self, connect: impl FnOnce(SocketAddr) -> Viewer) -> Viewer {
        let before = self.stat("clients-total");
        let viewer = connect(self.address());
        wait_until("the server to accept the client", || {
            self.stat("clients-total") > before
        });
        viewer
    }

    fn source(&self) -> AppSrc {
        self.pipeline.element("feed")
    }

    /// Pushes small JPEGs with these numbers.
    pub fn push(&self, numbers: Range<usize>) {
        for number in numbers {
            self.push_sized(number, SMALL);
        }
    }

    pub fn push_sized(&self, number: usize, len: usize) {
        self.push_buffer(buffer(number, picture(number, len)));
    }

    pub fn push_buffer(&self, buffer: gst::Buffer) {
        self.source()
            .push_buffer(buffer)
            .expect("a playing pipeline");
    }

    pub fn push_eos(&self) {
        self.source().end_of_stream().expect("a playing pipeline");
    }

    /// Sends EOS into the pipeline, as Ctrl-C does with `gst-launch-1.0 -e`.
    pub fn send_eos(&self) {
        assert!(self.pipeline.0.send_event(gst::event::Eos::new()));
    }

    /// Seeks to the frame with this number.
    #[track_caller]
    pub fn seek(&self, number: usize) {
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let time = FRAME_TIME * number as u64;
        let sought = self.pipeline.0.seek_simple(flags, time);
        sought.expect("a seekable pipeline");
    }

    pub fn stats(&self) -> gst::Structure {
        self.sink.property("stats")
    }

    /// Returns a number of any width from `stats`.
    #[track_caller]
    pub fn stat(&self, name: &str) -> u64 {
        let stats = self.stats();
        let value = stats
            .value(name)
            .unwrap_or_else(|err| panic!("{err}: {stats}"));
        let value = value.transform::<u64>().expect("a number");
        value.get().expect("a number")
    }

    #[track_caller]
    pub fn is_waiting(&self) -> bool {
        self.stats().get("waiting").expect("a boolean")
    }

    /// Returns the statistics of each client.
    pub fn peers(&self) -> Vec<gst::Structure> {
        let stats = self.stats();
        let peers = stats.get::<gst::Array>("peers").expect("an array");
        peers
            .iter()
            .map(|peer| peer.get().expect("a structure"))
            .collect()
    }

    pub fn clients(&self) -> u32 {
        self.sink.property("clients")
    }

    #[track_caller]
    pub fn wait_for_clients(&self, clients: u32) {
        wait_until(&format!("the server to have {clients} clients"), || {
            self.clients() == clients
        });
    }

    /// Waits for the message that the server waits for its first client.
    #[track_caller]
    pub fn wait_until_waiting(&self) {
        wait_until("the server to wait for a client", || {
            !self.element_messages("b64jpeg-waiting").is_empty()
        });
    }

    /// Names of all element messages so far, and `eos` for the EOS message.
    pub fn message_names(&self) -> Vec<String> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .map(|said| said.name().to_string())
            .collect()
    }

    /// All element messages with this name so far.
    pub fn element_messages(&self, name: &str) -> Vec<gst::Structure> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .filter(|said| said.name() == name)
            .cloned()
            .collect()
    }

    /// Counts the buffers that reach the sink's pad from now on.
    pub fn count_arrivals(&self) -> Arc<Mutex<usize>> {
        let count = Arc::<Mutex<usize>>::default();
        let arrivals = count.clone();
        let pad = self.sink.static_pad("sink").expect("a pad");
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            *arrivals.lock().unwrap() += 1;
            gst::PadProbeReturn::Ok
        });
        count
    }

    /// Signals when EOS reaches the sink's pad, before the sink handles it.
    pub fn notify_eos(&self) -> Receiver<()> {
        let (sender, receiver) = mpsc::channel();
        let pad = self.sink.static_pad("sink").expect("a pad");
        pad.add_probe(gst::PadProbeType::EVENT_DOWNSTREAM, move |_, info| {
            if info
                .event()
                .is_some_and(|e| e.type_() == gst::EventType::Eos)
            {
                let _ = sender.send(());
            }
            gst::PadProbeReturn::Ok
        });
        receiver
    }

    #[track_caller]
    pub fn wait_for_clean_end(&self) {
        self.pipeline.wait_for_clean_end();
    }

    /// Expects that there was neither a warning nor an error so far.
    #[track_caller]
    pub fn expect_no_messages(&self) {
        assert_eq!(self.pipeline.messages(), [""; 0]);
    }
}

impl Drop for ServerFixture {
    fn drop(&mut self) {
        let _ = self.pipeline.0.set_state(gst::State::Null);
        if let Some(recording) = &self.recording {
            let _ = std::fs::remove_file(recording);
        }
    }
}

/// Elements that read a recording.
pub fn recording_source(recording: &Path) -> String {
    format!(
        "filesrc location={} ! b64jpegdepay framerate=25/1",
        recording.display()
    )
}

/// Address in the `b64jpeg-waiting` message that `gst-launch-1.0 -m` prints.
#[track_caller]
pub fn parse_address(line: &str) -> SocketAddr {
    let (_, port) = line.split_once("port=(int)").expect("a port");
    let port = port.split([',', ';']).next().expect("a number");
    (Ipv4Addr::LOCALHOST, port.parse().expect("a number")).into()
}

/// Number of the next JPEG.
#[track_caller]
pub fn next_number(viewer: &mut Viewer) -> usize {
    number(&viewer.next().expect("a picture"))
}

/// Numbers of all JPEGs until the server ends the stream.
#[track_caller]
pub fn remaining_numbers(viewer: Viewer) -> Vec<usize> {
    viewer.map(|jpeg| number(&jpeg)).collect()
}

/// A client that reads on a thread of its own.
pub struct BackgroundReader {
    numbers: Receiver<usize>,
    thread: JoinHandle<()>,
}

pub fn read_in_background(viewer: Viewer) -> BackgroundReader {
    let (sender, numbers) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Keep reading after the test has dropped the receiver.
        viewer.for_each(|jpeg| sender.send(number(&jpeg)).unwrap_or(()));
    });
    BackgroundReader { numbers, thread }
}

impl BackgroundReader {
    /// Number of the next JPEG, or `None` at the end of the stream.
    #[track_caller]
    pub fn next(&self) -> Option<usize> {
        match self.numbers.recv_timeout(PATIENCE) {
            Ok(number) => Some(number),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("timed out waiting for a picture"),
        }
    }

    /// Numbers of the remaining JPEGs; panics if the stream does not end cleanly.
    pub fn rest(self) -> Vec<usize> {
        let numbers = self.numbers.iter().collect();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
        numbers
    }
}

/// Expects every frame of a recording, in order.
#[track_caller]
pub fn assert_complete(numbers: &[usize], frames: usize) {
    let wrong = (0..)
        .zip(numbers)
        .find(|(expected, number)| expected != *number);
    assert_eq!(
        (wrong, numbers.len()),
        (None, frames),
        "of {frames} pictures"
    );
}

/// Expects consecutive numbers.
#[track_caller]
pub fn assert_consecutive(numbers: &[usize]) {
    let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(gap, None, "of {} pictures", numbers.len());
}
