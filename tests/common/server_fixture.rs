// SPDX-License-Identifier: MPL-2.0

//! A server with its source, and those who watch it.

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

/// A pipeline that ends with a `b64jpegserversink` on any free port, and shows each
/// picture as soon as it comes, unless its options say otherwise.
pub struct ServerFixture {
    pub pipeline: Pipeline,
    pub sink: gst::Element,
    messages: Arc<Mutex<Vec<gst::Structure>>>,
    recording: Option<PathBuf>,
    _guard: HangGuard,
}

impl ServerFixture {
    #[track_caller]
    pub fn launch(source: &str, options: &str) -> Self {
        let guard = HangGuard::new();
        let pipeline = Pipeline::launch(&format!(
            "{source} ! b64jpegserversink name=server port=0 sync=false {options}"
        ));
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

    /// Serves a file.
    #[track_caller]
    pub fn recording(frames: usize, len: usize, options: &str) -> Self {
        let path = recording(frames, len);
        let mut server = Self::launch(&read(&path), options);
        server.recording = Some(path);
        server
    }

    /// Serves what the test pushes, which is not live.
    #[track_caller]
    pub fn feed(options: &str) -> Self {
        Self::launch("appsrc name=feed format=time caps=image/jpeg", options)
    }

    /// Serves what the test pushes, as a camera would.
    #[track_caller]
    pub fn live(options: &str) -> Self {
        Self::launch(
            "appsrc name=feed format=time caps=image/jpeg is-live=true",
            options,
        )
    }

    /// Starts it; from then on it has its port.
    #[track_caller]
    pub fn play(self) -> Self {
        self.pipeline.play();
        self
    }

    pub fn set_state(&self, state: gst::State) {
        let change = self.pipeline.0.set_state(state);
        change.expect("it changes its state");
    }

    pub fn port(&self) -> u16 {
        let port = self.sink.property::<i32>("current-port");
        port.try_into()
            .ok()
            .filter(|port| *port > 0)
            .expect("it listens")
    }

    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port()).into()
    }

    /// A client that the server has taken.
    #[track_caller]
    pub fn viewer(&self) -> Viewer {
        self.admit(Viewer::connect)
    }

    /// A client that the server has taken, for which the kernel keeps little.
    #[track_caller]
    pub fn small_viewer(&self) -> Viewer {
        self.admit(Viewer::with_small_buffer)
    }

    #[track_caller]
    fn admit(&self, connect: impl FnOnce(SocketAddr) -> Viewer) -> Viewer {
        let before = self.stat("clients-total");
        let viewer = connect(self.address());
        wait_until("the client is taken", || {
            self.stat("clients-total") > before
        });
        viewer
    }

    fn source(&self) -> AppSrc {
        self.pipeline.element("feed")
    }

    /// Feeds the small pictures of these numbers.
    pub fn push(&self, numbers: Range<usize>) {
        for number in numbers {
            self.push_sized(number, SMALL);
        }
    }

    pub fn push_sized(&self, number: usize, len: usize) {
        let buffer = buffer(number, picture(number, len));
        self.source().push_buffer(buffer).expect("it plays");
    }

    pub fn end_feed(&self) {
        self.source().end_of_stream().expect("it plays");
    }

    /// As Ctrl-C does with `gst-launch-1.0 -e`.
    pub fn send_eos(&self) {
        assert!(self.pipeline.0.send_event(gst::event::Eos::new()));
    }

    /// Goes on with the picture of this number.
    #[track_caller]
    pub fn seek(&self, number: usize) {
        let flags = gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE;
        let time = FRAME_TIME * number as u64;
        let sought = self.pipeline.0.seek_simple(flags, time);
        sought.expect("it seeks");
    }

    pub fn stats(&self) -> gst::Structure {
        self.sink.property("stats")
    }

    /// A count of the statistics, whatever its width.
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

    /// What the statistics say of each client.
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
        wait_until(&format!("{clients} clients"), || self.clients() == clients);
    }

    /// Waits until it waits for its first client.
    #[track_caller]
    pub fn wait_for_waiting(&self) {
        wait_until("it waits", || !self.said("b64jpeg-waiting").is_empty());
    }

    /// The names of all element messages from the start, and the end as `eos`.
    pub fn all_said(&self) -> Vec<String> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .map(|said| said.name().to_string())
            .collect()
    }

    /// The element messages of a name, from the start.
    pub fn said(&self, name: &str) -> Vec<gst::Structure> {
        let messages = self.messages.lock().unwrap();
        messages
            .iter()
            .filter(|said| said.name() == name)
            .cloned()
            .collect()
    }

    /// How many buffers have come to the sink's pad, counted from now.
    pub fn arrivals(&self) -> Arc<Mutex<usize>> {
        let count = Arc::<Mutex<usize>>::default();
        let arrivals = count.clone();
        let pad = self.sink.static_pad("sink").expect("a pad");
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, _| {
            *arrivals.lock().unwrap() += 1;
            gst::PadProbeReturn::Ok
        });
        count
    }

    /// Tells when the end of the stream comes to the sink, before the sink knows.
    pub fn end_arrives(&self) -> Receiver<()> {
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

    /// Expects that nothing went wrong so far.
    #[track_caller]
    pub fn expect_silence(&self) {
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

/// A source that reads a film.
pub fn read(recording: &Path) -> String {
    format!(
        "filesrc location={} ! b64jpegdepay framerate=25/1",
        recording.display()
    )
}

/// Where a server listens, of whose wait `gst-launch-1.0 -m` tells.
#[track_caller]
pub fn port_in(line: &str) -> SocketAddr {
    let (_, port) = line.split_once("port=(int)").expect("a port");
    let port = port.split([',', ';']).next().expect("a number");
    (Ipv4Addr::LOCALHOST, port.parse().expect("a number")).into()
}

/// The number of the next picture.
#[track_caller]
pub fn next(viewer: &mut Viewer) -> usize {
    number(&viewer.next().expect("a picture"))
}

/// The numbers of all pictures until the server ends the stream.
#[track_caller]
pub fn rest(viewer: Viewer) -> Vec<usize> {
    viewer.map(|jpeg| number(&jpeg)).collect()
}

/// Somebody who reads on a thread of their own.
pub struct Watcher {
    numbers: Receiver<usize>,
    thread: JoinHandle<()>,
}

pub fn watch(viewer: Viewer) -> Watcher {
    let (sender, numbers) = mpsc::channel();
    let thread = thread::spawn(move || {
        // Reads on when nobody asks any longer.
        viewer.for_each(|jpeg| sender.send(number(&jpeg)).unwrap_or(()));
    });
    Watcher { numbers, thread }
}

impl Watcher {
    /// The number of the next picture, unless the stream ends.
    #[track_caller]
    pub fn next(&self) -> Option<usize> {
        match self.numbers.recv_timeout(PATIENCE) {
            Ok(number) => Some(number),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no picture comes"),
        }
    }

    /// The numbers of what else comes until the end, if that is a good one.
    pub fn rest(self) -> Vec<usize> {
        let numbers = self.numbers.iter().collect();
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
        numbers
    }
}

/// Expects every picture of a film.
#[track_caller]
pub fn assert_whole(numbers: &[usize], frames: usize) {
    let wrong = (0..)
        .zip(numbers)
        .find(|(expected, number)| expected != *number);
    assert_eq!(
        (wrong, numbers.len()),
        (None, frames),
        "of {frames} pictures"
    );
}

/// Expects one number after the other.
#[track_caller]
pub fn assert_run(numbers: &[usize]) {
    let gap = numbers.windows(2).find(|pair| pair[1] != pair[0] + 1);
    assert_eq!(gap, None, "of {} pictures", numbers.len());
}
