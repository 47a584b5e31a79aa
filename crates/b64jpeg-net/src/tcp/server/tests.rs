// SPDX-License-Identifier: MPL-2.0

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    sync::mpsc,
};

use super::*;

/// A hang guard, nothing else.
const PATIENCE: Duration = Duration::from_secs(30);
/// More than the system takes for a client that does not read.
const LARGE: usize = 4 << 20;

struct Scene {
    server: Server,
    events: mpsc::Receiver<Event>,
}

impl Scene {
    fn new(max_clients: usize, queue_frames: usize) -> Self {
        Self::on("127.0.0.1:0", max_clients, queue_frames)
    }

    fn on(addresses: impl ToSocketAddrs, max_clients: usize, queue_frames: usize) -> Self {
        let addresses: Vec<_> = addresses.to_socket_addrs().unwrap().collect();
        let limits = Limits {
            max_clients,
            queue_frames,
        };
        let (sender, events) = mpsc::channel();
        let on_event = move |event| sender.send(event).unwrap_or_default();
        let server = Server::open(&addresses, limits, on_event).unwrap();
        Self { server, events }
    }

    /// A client that the server knows.
    fn client(&self) -> TcpStream {
        let client = self.connect();
        assert!(self.event().starts_with("added"));
        client
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(("127.0.0.1", self.server.port())).unwrap();
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client
    }

    /// The next event, in words, with the number of clients.
    fn event(&self) -> String {
        match self.events.recv_timeout(PATIENCE).unwrap() {
            Event::Added { clients, .. } => format!("added {clients}"),
            Event::Removed {
                reason, clients, ..
            } => format!("removed {clients} {reason}"),
            Event::NoRoom(error) => format!("no room: {error}"),
            Event::Failed(failure) => format!("failed: {failure:?}"),
        }
    }

    fn wait(&self, enough: impl FnMut(Status) -> bool) {
        assert!(self.server.wait(Some(Instant::now() + PATIENCE), enough));
    }

    /// Sends a frame so large that it stays under way, and waits until it is.
    fn stall(&self, byte: u8) {
        self.server.send(frame(byte, LARGE));
        let guard = Instant::now() + PATIENCE;
        while self.server.stats().1.iter().any(|peer| peer.queued > 0) {
            assert!(Instant::now() < guard);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn frame(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

/// The frames until the end: of each its first byte and its length. They have to be
/// of different bytes.
fn read_all(mut client: &TcpStream) -> Vec<(u8, usize)> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let frames = bytes.chunk_by(|a, b| a == b);
    frames.map(|frame| (frame[0], frame.len())).collect()
}

#[test]
fn everybody_gets_every_frame_from_the_next_on() {
    let scene = Scene::new(0, 25);
    scene.server.send(frame(1, 100));
    let first = scene.client();
    scene.server.send(frame(2, 100_000));
    let second = scene.client();
    scene.server.send(frame(3, 1));
    scene.server.end();
    assert_eq!(read_all(&second), [(3, 1)]);
    assert_eq!(read_all(&first), [(2, 100_000), (3, 1)]);
    let (totals, peers) = scene.server.stats();
    assert_eq!((totals.clients, totals.bytes), (2, 100_002));
    assert_eq!(peers, []);
}

#[test]
fn who_lags_loses_whole_frames_and_nobody_else_does() {
    let lags = [
        (Overflow::Oldest, [(1, LARGE), (4, 10), (5, 10)].as_slice()),
        (Overflow::Newest, &[(1, LARGE), (5, 10)]),
    ];
    for (overflow, expected) in lags {
        let scene = Scene::new(0, 2);
        scene.server.set_overflow(overflow);
        let slow = scene.client();
        scene.stall(1);
        let mut fast = scene.client();
        for byte in 2..=5 {
            scene.server.send(frame(byte, 10));
            let mut got = [0; 10];
            fast.read_exact(&mut got).unwrap();
            assert_eq!(got, [byte; 10]);
        }
        let (totals, peers) = scene.server.stats();
        let lost = 5 - expected.len() as u64;
        assert_eq!(totals.dropped, lost);
        assert_eq!((peers[0].dropped, peers[1].dropped), (lost, 0));
        scene.server.end();
        assert_eq!(read_all(&slow), expected, "{overflow:?}");
        assert_eq!(scene.server.stats().0.dropped, lost);
    }
}

#[test]
fn the_end_is_never_inside_a_frame() {
    for stops in [false, true] {
        let scene = Scene::new(0, 25);
        let client = scene.client();
        scene.stall(1);
        scene.server.send(frame(2, 10));
        scene.server.cut();
        thread::scope(|scope| {
            scope.spawn(|| stops.then(|| scene.server.stop()));
            assert_eq!(read_all(&client), [(1, LARGE)]);
        });
        assert_eq!(scene.event(), "removed 0 ended");
    }
}

#[test]
fn a_client_that_does_not_read_cannot_hold_up_a_stop() {
    let scene = Scene::new(0, 25);
    let _client = scene.client();
    scene.stall(1);
    scene.server.stop();
    assert_eq!(scene.event(), "removed 0 ended");
    scene.server.stop();
}

#[test]
fn after_the_end_nobody_is_let_in_until_it_goes_on() {
    let scene = Scene::new(0, 25);
    scene.server.end();
    assert_eq!(read_all(&scene.connect()), []);
    scene.server.resume();
    let client = scene.client();
    scene.server.send(frame(1, 10));
    scene.server.end();
    assert_eq!(read_all(&client), [(1, 10)]);
    assert_eq!(scene.server.stats().0.refused, 1);
}

#[test]
fn one_too_many_is_closed_at_once() {
    let scene = Scene::new(1, 25);
    let first = scene.client();
    assert_eq!(read_all(&scene.connect()), []);
    drop(first);
    assert_eq!(scene.event(), "removed 0 left");
    let _second = scene.client();
    let (totals, peers) = scene.server.stats();
    assert_eq!((totals.clients, totals.refused, peers.len()), (2, 1, 1));
}

#[test]
fn who_leaves_with_something_unread_resets() {
    let scene = Scene::new(0, 25);
    let mut client = scene.client();
    scene.server.send(frame(1, 10));
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    assert_eq!(scene.event(), "removed 0 reset");
}

#[test]
fn who_falls_silent_inside_a_frame_gets_the_rest_of_it() {
    let scene = Scene::new(0, 25);
    let client = scene.client();
    scene.stall(1);
    scene.server.send(frame(2, 10));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&client), [(1, LARGE)]);
    assert_eq!(scene.event(), "removed 0 left");
}

#[test]
fn who_falls_silent_between_two_frames_has_left() {
    let scene = Scene::new(0, 25);
    let mut client = scene.client();
    scene.server.send(frame(1, 10));
    client.read_exact(&mut [0; 10]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(scene.event(), "removed 0 left");
    assert_eq!(read_all(&client), []);
}

#[test]
fn what_clients_say_is_read_and_forgotten() {
    let scene = Scene::new(0, 25);
    let mut talker = scene.client();
    let listener = scene.client();
    // More than anybody would keep for a program that does not read it.
    talker.write_all(&frame(7, 32 << 20)).unwrap();
    scene.server.send(frame(1, 10));
    scene.server.end();
    assert_eq!(read_all(&listener), [(1, 10)]);
    assert_eq!(read_all(&talker), [(1, 10)]);
}

#[test]
fn waiting_ends_with_a_client_a_nudge_or_in_time() {
    let scene = Scene::new(0, 25);
    let server = &scene.server;
    assert!(!server.wait(Some(Instant::now()), |_| false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| server.wait(None, |status| status.clients == 1));
        let _client = scene.client();
        assert!(waiter.join().unwrap());

        let (asked, was_asked) = mpsc::channel();
        let waiter = scope.spawn(move || {
            let mut looks = 0;
            server.wait(None, |_| {
                asked.send(()).unwrap();
                looks += 1;
                looks == 2
            })
        });
        was_asked.recv_timeout(PATIENCE).unwrap();
        server.nudge();
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn a_client_that_takes_frames_makes_room() {
    let scene = Scene::new(1, 2);
    let client = scene.client();
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&client));
        for byte in 0..40 {
            scene.wait(|status| !status.full);
            scene.server.send(frame(byte, 300_000));
        }
        scene.server.end();
        let expected: Vec<_> = (0..40).map(|byte| (byte, 300_000)).collect();
        assert_eq!(reader.join().unwrap(), expected);
    });
    assert_eq!(scene.server.stats().0.dropped, 0);
}

#[test]
fn every_address_gets_the_same_port() {
    let addresses: Vec<SocketAddr> = ["127.0.0.1:0", "127.0.0.2:0"]
        .map(|address| address.parse().unwrap())
        .into();
    let scene = Scene::on(&addresses[..], 0, 25);
    let port = scene.server.port();
    for address in addresses {
        TcpStream::connect((address.ip(), port)).unwrap();
        assert!(scene.event().starts_with("added"));
        assert!(scene.event().starts_with("removed"));
    }
}
