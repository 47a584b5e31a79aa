// SPDX-License-Identifier: MPL-2.0

//! `b64jpegserversink` and clients that consume resources.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use crate::common::server_fixture::{ServerFixture, read_in_background};
use crate::common::{
    isolation::{in_own_process, process_status},
    process::PATIENCE,
    wait::wait_until,
};

/// Number of frames that the well-behaved client receives in each phase.
const FRAMES: usize = 100;
const BIG: usize = 20_000;

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("a listening server");
    stream.set_write_timeout(Some(PATIENCE)).expect("not zero");
    stream
}

/// Serves frames before, during and after `attack`; a well-behaved client receives every one.
/// Returns the growth in kB of this process, which includes the attackers.
fn growth_under(attack: impl FnOnce(SocketAddr) -> Vec<TcpStream>) -> usize {
    let server = ServerFixture::with_appsrc("").play();
    let healthy = read_in_background(server.viewer());
    let mut numbers = 0..;
    let mut serve = |frames: usize| {
        for number in numbers.by_ref().take(frames) {
            server.push_sized(number, BIG);
            assert_eq!(healthy.next(), Some(number));
        }
    };
    serve(FRAMES);
    let before = process_status("VmRSS");
    let attackers = attack(server.address());
    serve(FRAMES);
    let growth = process_status("VmRSS").saturating_sub(before);
    println!(
        "TCP, {} connections at the end: {growth} kB more memory",
        attackers.len()
    );
    drop(attackers);
    server.wait_for_clients(1);
    serve(FRAMES);
    server.expect_no_messages();
    server.set_state(gst::State::Null);
    assert_eq!(healthy.rest(), [0; 0]);
    growth
}

/// The attackers read nothing. Each costs an entry in two tables, and frames are stored once for
/// all clients.
#[test]
fn four_hundred_idle_connections_cost_little_memory() {
    const CONNECTIONS: usize = 400;
    in_own_process(|| {
        let growth = growth_under(|address| (0..CONNECTIONS).map(|_| connect(address)).collect());
        assert!(growth < 10_000, "{growth} kB");
    });
}

/// Connections that are closed at once leave nothing behind.
#[test]
fn short_connections_leak_no_memory() {
    const ROUNDS: usize = 2000;
    in_own_process(|| {
        let growth = growth_under(|address| {
            for _ in 0..ROUNDS {
                drop(connect(address));
            }
            vec![]
        });
        assert!(growth < 10_000, "{growth} kB");
    });
}

/// Connections above `max-clients` are closed at once, and the clients below it stay.
#[test]
fn connections_above_max_clients_are_closed() {
    const LIMIT: usize = 10;
    const CONNECTIONS: usize = 200;
    let server = ServerFixture::with_appsrc(&format!("max-clients={LIMIT}")).play();
    let healthy = read_in_background(server.viewer());
    let mut attackers: Vec<_> = (0..CONNECTIONS)
        .map(|_| connect(server.address()))
        .collect();
    wait_until("every connection to be accepted or refused", || {
        server.stat("clients-total") + server.stat("refused") == CONNECTIONS as u64 + 1
    });
    assert_eq!(server.stat("refused"), (CONNECTIONS + 1 - LIMIT) as u64);
    assert_eq!(server.clients(), LIMIT as u32);
    for number in 0..FRAMES {
        server.push_sized(number, BIG);
        assert_eq!(healthy.next(), Some(number));
    }
    let mut closed = 0;
    for attacker in &mut attackers {
        attacker
            .set_read_timeout(Some(Duration::from_millis(10)))
            .expect("not zero");
        closed += match attacker.read(&mut [0]) {
            Ok(0) => 1,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => 1,
            _ => 0,
        };
    }
    assert_eq!(closed, CONNECTIONS + 1 - LIMIT);
    server.expect_no_messages();
}

/// The server reads and discards everything that clients send.
#[test]
fn bytes_from_clients_are_discarded() {
    const CLIENTS: usize = 8;
    const BYTES: usize = 8 << 20;
    in_own_process(|| {
        let growth = growth_under(|address| {
            let threads: Vec<_> = (0..CLIENTS)
                .map(|client| {
                    let mut stream = connect(address);
                    thread::spawn(move || {
                        let piece = vec![client as u8; 64 << 10];
                        for _ in 0..BYTES / piece.len() {
                            stream.write_all(&piece).expect("a reading peer");
                        }
                        stream
                    })
                })
                .collect();
            let streams = threads.into_iter().map(|thread| thread.join());
            streams.map(|stream| stream.expect("it sends")).collect()
        });
        assert!(growth < 10_000, "{growth} kB");
    });
}
