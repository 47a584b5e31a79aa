// SPDX-License-Identifier: MPL-2.0

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream, ToSocketAddrs},
    sync::mpsc,
};

use super::*;

/// Only a hang takes longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// More bytes than the kernel buffers for a client that does not read.
const LARGE: usize = 4 << 20;

struct Scene {
    server: Server,
    events: mpsc::Receiver<ServerEvent>,
}

impl Scene {
    fn new(max_clients: usize, queue_frames: usize) -> Self {
        Self::on("127.0.0.1:0", max_clients, queue_frames)
    }

    fn on(addresses: impl ToSocketAddrs, max_clients: usize, queue_frames: usize) -> Self {
        let addresses: Vec<_> = addresses.to_socket_addrs().unwrap().collect();
        let limits = BacklogLimits {
            max_clients,
            queue_frames,
        };
        let (sender, events) = mpsc::channel();
        let on_event = move |event| sender.send(event).unwrap_or_default();
        let server = Server::open(&addresses, limits, on_event).unwrap();
        Self { server, events }
    }

    /// Connects a client and waits until the server has accepted it.
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

    /// The next event as text, with the number of clients.
    fn event(&self) -> String {
        match self.events.recv_timeout(PATIENCE).unwrap() {
            ServerEvent::ClientAdded { clients, .. } => format!("added {clients}"),
            ServerEvent::ClientRemoved {
                reason, clients, ..
            } => format!("removed {clients} {reason}"),
            ServerEvent::AcceptFailed(error) => format!("accept failed: {error}"),
            ServerEvent::Failed(failure) => format!("failed: {failure:?}"),
        }
    }

    fn wait(&self, condition: impl FnMut(ServerStatus) -> bool) {
        assert!(self.server.wait(Some(Instant::now() + PATIENCE), condition));
    }

    /// Sends a frame that is too large to be sent at once, and waits until it is started.
    fn stall(&self, byte: u8) {
        self.server.send(frame(byte, LARGE));
        let guard = Instant::now() + PATIENCE;
        while self.server.stats().1.iter().any(|client| client.queued > 0) {
            assert!(Instant::now() < guard);
            thread::sleep(Duration::from_millis(1));
        }
    }
}

fn frame(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

/// Reads to the end of the connection: the byte and the length of each frame. Neighbouring
/// frames must consist of different bytes.
fn read_all(mut client: &TcpStream) -> Vec<(u8, usize)> {
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).unwrap();
    let frames = bytes.chunk_by(|a, b| a == b);
    frames.map(|frame| (frame[0], frame.len())).collect()
}

#[test]
fn server_new_client_gets_every_frame_from_next_on() {
    let scene = Scene::new(0, 25);
    scene.server.send(frame(1, 100));
    let first = scene.client();
    scene.server.send(frame(2, 100_000));
    let second = scene.client();
    scene.server.send(frame(3, 1));
    scene.server.drain();
    assert_eq!(read_all(&second), [(3, 1)]);
    assert_eq!(read_all(&first), [(2, 100_000), (3, 1)]);
    let (totals, clients) = scene.server.stats();
    assert_eq!((totals.clients, totals.bytes), (2, 100_002));
    assert_eq!(clients, []);
}

#[test]
fn server_slow_client_loses_whole_frames_and_others_lose_none() {
    let cases = [
        (Overflow::Oldest, [(1, LARGE), (4, 10), (5, 10)].as_slice()),
        (Overflow::Newest, &[(1, LARGE), (5, 10)]),
    ];
    for (overflow, expected) in cases {
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
        let (totals, clients) = scene.server.stats();
        let lost = 5 - expected.len() as u64;
        assert_eq!(totals.dropped, lost);
        assert_eq!((clients[0].dropped, clients[1].dropped), (lost, 0));
        scene.server.drain();
        assert_eq!(read_all(&slow), expected, "{overflow:?}");
        assert_eq!(scene.server.stats().0.dropped, lost);
    }
}

#[test]
fn server_finish_frames_ends_after_whole_frame() {
    for stop in [false, true] {
        let scene = Scene::new(0, 25);
        let client = scene.client();
        scene.stall(1);
        scene.server.send(frame(2, 10));
        scene.server.finish_frames();
        thread::scope(|scope| {
            scope.spawn(|| stop.then(|| scene.server.stop()));
            assert_eq!(read_all(&client), [(1, LARGE)]);
        });
        assert_eq!(scene.event(), "removed 0 ended");
    }
}

#[test]
fn server_stop_with_stalled_client_returns() {
    let scene = Scene::new(0, 25);
    let _client = scene.client();
    scene.stall(1);
    scene.server.stop();
    assert_eq!(scene.event(), "removed 0 ended");
    scene.server.stop();
}

#[test]
fn server_drained_refuses_clients_until_resumed() {
    let scene = Scene::new(0, 25);
    scene.server.drain();
    assert_eq!(read_all(&scene.connect()), []);
    scene.server.resume();
    let client = scene.client();
    scene.server.send(frame(1, 10));
    scene.server.drain();
    assert_eq!(read_all(&client), [(1, 10)]);
    assert_eq!(scene.server.stats().0.refused, 1);
}

#[test]
fn server_client_over_limit_is_closed_at_once() {
    let scene = Scene::new(1, 25);
    let first = scene.client();
    assert_eq!(read_all(&scene.connect()), []);
    drop(first);
    assert_eq!(scene.event(), "removed 0 left");
    let _second = scene.client();
    let (totals, clients) = scene.server.stats();
    assert_eq!((totals.clients, totals.refused, clients.len()), (2, 1, 1));
}

#[test]
fn server_client_closing_with_unread_bytes_is_reset() {
    let scene = Scene::new(0, 25);
    let mut client = scene.client();
    scene.server.send(frame(1, 10));
    client.read_exact(&mut [0]).unwrap();
    drop(client);
    assert_eq!(scene.event(), "removed 0 reset");
}

#[test]
fn server_half_closed_client_inside_frame_gets_rest_of_frame() {
    let scene = Scene::new(0, 25);
    let client = scene.client();
    scene.stall(1);
    scene.server.send(frame(2, 10));
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_all(&client), [(1, LARGE)]);
    assert_eq!(scene.event(), "removed 0 left");
}

#[test]
fn server_half_closed_client_between_frames_has_left() {
    let scene = Scene::new(0, 25);
    let mut client = scene.client();
    scene.server.send(frame(1, 10));
    client.read_exact(&mut [0; 10]).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(scene.event(), "removed 0 left");
    assert_eq!(read_all(&client), []);
}

#[test]
fn server_client_input_is_discarded() {
    let scene = Scene::new(0, 25);
    let mut sending = scene.client();
    let silent = scene.client();
    // More bytes than the kernel buffers for a server that does not read them.
    sending.write_all(&frame(7, 32 << 20)).unwrap();
    scene.server.send(frame(1, 10));
    scene.server.drain();
    assert_eq!(read_all(&silent), [(1, 10)]);
    assert_eq!(read_all(&sending), [(1, 10)]);
}

#[test]
fn server_wait_ends_by_client_wake_or_deadline() {
    let scene = Scene::new(0, 25);
    let server = &scene.server;
    assert!(!server.wait(Some(Instant::now()), |_| false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| server.wait(None, |status| status.clients == 1));
        let _client = scene.client();
        assert!(waiter.join().unwrap());

        let (evaluated, was_evaluated) = mpsc::channel();
        let waiter = scope.spawn(move || {
            let mut evaluations = 0;
            server.wait(None, |_| {
                evaluated.send(()).unwrap();
                evaluations += 1;
                evaluations == 2
            })
        });
        was_evaluated.recv_timeout(PATIENCE).unwrap();
        server.wake_waiters();
        assert!(waiter.join().unwrap());
    });
}

#[test]
fn server_waiting_for_room_loses_no_frame() {
    let scene = Scene::new(1, 2);
    let client = scene.client();
    thread::scope(|scope| {
        let reader = scope.spawn(|| read_all(&client));
        for byte in 0..40 {
            scene.wait(|status| !status.backlog_full);
            scene.server.send(frame(byte, 300_000));
        }
        scene.server.drain();
        let expected: Vec<_> = (0..40).map(|byte| (byte, 300_000)).collect();
        assert_eq!(reader.join().unwrap(), expected);
    });
    assert_eq!(scene.server.stats().0.dropped, 0);
}

#[test]
fn server_several_addresses_share_one_port() {
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
