// SPDX-License-Identifier: MPL-2.0

//! Attacks on `socketioserversink`, most of them without its token.
//!
//! The attackers use addresses of their own, 127.0.0.2 and up. The viewer, which must not notice
//! anything, uses 127.0.0.1.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    ops::RangeInclusive,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};

use crate::{
    common::{
        isolation::{in_own_process, process_status, raise_file_limit, reset_peak_memory},
        process::PATIENCE,
        wait::wait_until,
    },
    web_server_fixture::{HttpResponse, SocketIoViewer, UPGRADE, WebServerFixture, request},
};

/// A flood ends after this time, however little the server accepts.
const FLOOD: Duration = Duration::from_secs(4);
/// The request with which a browser opens a websocket.
const WEBSOCKET: &str = "/socket.io/?EIO=4&transport=websocket";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Address of an attacker.
pub fn attacker(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number).expect("a few"))
}

/// Connects from this local address.
#[track_caller]
pub fn connect_from(address: Ipv4Addr, server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let local = SocketAddr::from((address, 0));
    socket.bind(&local.into()).expect("an address of loopback");
    socket.connect(&server.into()).expect("a listening server");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A websocket frame of a client. Its mask is zero, so that the payload is unchanged.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let len = payload.len();
    let mut frame = vec![0x80 | opcode];
    match len {
        0..126 => frame.push(0x80 | len as u8),
        126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        _ => panic!("longer than any attack needs"),
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const PING: u8 = 9;

/// A new websocket, or `None` if the server refuses it.
fn websocket(address: Ipv4Addr, server: SocketAddr) -> Option<TcpStream> {
    let mut stream = connect_from(address, server);
    let head = ["GET ", WEBSOCKET, " HTTP/1.1\r\nHost: localhost\r\n"].concat();
    let head = head + &UPGRADE.join("\r\n") + "\r\n\r\n";
    stream.write_all(head.as_bytes()).ok()?;
    // The response and the first Engine.IO packet, which begins with 0{.
    let mut answer = Vec::new();
    let mut piece = [0; 1024];
    while !answer.windows(2).any(|window: &[u8]| window == b"0{") {
        match stream.read(&mut piece) {
            Ok(len @ 1..) => answer.extend(&piece[..len]),
            _ => return None,
        }
    }
    Some(stream)
}

/// Waits until the server closes the connection, whatever it sends before.
#[track_caller]
fn expect_end(mut stream: TcpStream) {
    stream.set_nonblocking(false).expect("a flag");
    let end = stream.read_to_end(&mut Vec::new());
    let kind = end.err().map(|error| error.kind());
    assert!(
        matches!(kind, None | Some(ErrorKind::ConnectionReset)),
        "{kind:?}"
    );
}

/// Opens websockets from several addresses, as many as the server accepts.
fn websockets(count: usize, addresses: usize, server: SocketAddr) -> Vec<TcpStream> {
    let streams = (0..count).map(|number| websocket(attacker(number % addresses), server));
    streams.flatten().collect()
}

/// Repeats `message` on all connections at once, up to `bytes_each`, and reads nothing. Returns
/// the number of bytes accepted, and removes the connections that were closed.
fn flood(streams: &mut Vec<TcpStream>, message: &[u8], bytes_each: usize) -> usize {
    let piece = message.repeat((64 << 10) / message.len() + 1);
    for stream in &*streams {
        stream.set_nonblocking(true).expect("a flag");
    }
    let mut flooding: Vec<_> = streams.drain(..).map(|stream| (stream, 0_usize)).collect();
    let end = Instant::now() + FLOOD;
    let mut taken = 0;
    while Instant::now() < end && flooding.iter().any(|(_, sent)| *sent < bytes_each) {
        let mut blocked = true;
        flooding.retain_mut(|(stream, sent)| {
            if *sent >= bytes_each {
                return true;
            }
            // On a message boundary whenever a whole number of messages was accepted.
            match stream.write(&piece[*sent % message.len()..]) {
                Ok(len) => {
                    *sent += len;
                    taken += len;
                    blocked = false;
                    true
                }
                Err(error) => error.kind() == ErrorKind::WouldBlock,
            }
        });
        if blocked {
            thread::sleep(Duration::from_millis(1));
        }
    }
    streams.extend(flooding.into_iter().map(|(stream, _)| stream));
    taken
}

/// Result and cost of an attack.
struct Outcome<T> {
    /// What the attack returned.
    result: T,
    /// Peak memory of this process above its memory before the attack, in MB.
    memory: usize,
}

/// Runs an attack while 50 frames per second are sent to a viewer, which must keep receiving new
/// ones. Prints what the attack cost.
#[track_caller]
fn attack<T>(
    name: &str,
    server: &WebServerFixture,
    token: &str,
    attack: impl FnOnce() -> T,
) -> Outcome<T> {
    let mut viewer = server.watch(&format!("/stream.mjpg?token={token}"));
    let (over, seen) = (AtomicBool::new(false), AtomicBool::new(false));
    let before = process_status("VmRSS");
    reset_peak_memory();
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                if seen.load(Ordering::Relaxed) {
                    break;
                }
                server.push(number..number + 1);
                thread::sleep(Duration::from_millis(20));
            }
        });
        let watching = scope.spawn(|| {
            viewer.next();
            let (mut longest, mut last) = (Duration::ZERO, Instant::now());
            while !over.load(Ordering::Relaxed) {
                viewer.next();
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            // One more frame after the attack.
            viewer.next();
            seen.store(true, Ordering::Relaxed);
            longest
        });
        let result = attack();
        let asked = Instant::now();
        assert_eq!(server.get(&format!("/stats?token={token}")).status, 200);
        let answered = asked.elapsed();
        over.store(true, Ordering::Relaxed);
        let gap = watching.join().expect("it sees pictures to the end");
        let memory = process_status("VmHWM").saturating_sub(before) / 1000;
        println!(
            "{name}: {memory} MB more memory, no new picture for {} ms at most, an answer after {} ms",
            gap.as_millis(),
            answered.as_millis()
        );
        Outcome { result, memory }
    })
}

/// A packet that announces thousands of attachments, and then attachments without end.
#[test]
fn attachments_without_token_cost_no_memory() {
    in_own_process(|| {
        raise_file_limit(2000);
        let server = WebServerFixture::start("token=geheim");
        let outcome = attack("attachments", &server, "geheim", || {
            let mut streams = websockets(300, 4, server.address());
            assert_eq!(streams.len(), 300);
            let announced = br#"459999-["x",{"_placeholder":true,"num":0}]"#;
            for stream in &mut streams {
                stream
                    .write_all(&frame(TEXT, announced))
                    .expect("a reading peer");
            }
            flood(&mut streams, &frame(BINARY, &[7; 60_000]), 6_000_000)
        });
        assert!(outcome.memory < 100, "{} MB", outcome.memory);
    });
}

/// Thousands of connect packets with a wrong token on each connection.
#[test]
fn connects_without_token_cost_no_memory() {
    in_own_process(|| {
        let server = WebServerFixture::start("token=geheim");
        let outcome = attack("connects", &server, "geheim", || {
            let mut streams = websockets(8, 2, server.address());
            let connect = frame(TEXT, br#"40/view,{"token":"falsch"}"#);
            flood(&mut streams, &connect, 6_000_000);
            streams
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
        outcome.result.into_iter().for_each(expect_end);
        wait_until("no Socket.IO viewer", || server.viewers() == 0);
    });
}

/// With the right token, a session counts as one viewer however often it connects.
#[test]
fn connects_with_token_make_one_viewer() {
    in_own_process(|| {
        let server = WebServerFixture::start("token=geheim");
        let outcome = attack("connects with the token", &server, "geheim", || {
            let mut streams = websockets(8, 2, server.address());
            let again = br#"40/view,{"token":"geheim"}"#;
            flood(&mut streams, &frame(TEXT, again), 1_000_000);
            let viewers = server.viewers();
            drop(streams);
            viewers
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
        assert!(outcome.result <= 8 + 1, "{} viewers", outcome.result);
        server.wait_for_viewers(0);
    });
}

/// An accepted viewer that asks for the time as fast as it can.
#[test]
fn events_of_one_viewer_do_not_disturb_others() {
    in_own_process(|| {
        let server = WebServerFixture::start("token=geheim");
        let outcome = attack("events", &server, "geheim", || {
            let stream = connect_from(attacker(0), server.address());
            let session = SocketIoViewer::join(stream, "/view", r#"{"token":"geheim"}"#);
            let session = session.expect("it has the token");
            let stream = session.stream().try_clone().expect("a descriptor");
            flood(
                &mut vec![stream],
                &frame(TEXT, br#"42/view,1["time"]"#),
                7_000_000,
            )
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
    });
}

/// Websocket pings whose pongs are never read.
#[test]
fn pings_with_unread_pongs_cost_no_memory() {
    in_own_process(|| {
        let server = WebServerFixture::start("token=geheim");
        let outcome = attack("pings", &server, "geheim", || {
            let mut streams = websockets(16, 2, server.address());
            flood(&mut streams, &frame(PING, &[7; 125]), 32_000_000)
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
    });
}

/// Pipelined HTTP requests on open connections.
#[test]
fn requests_without_token_do_not_disturb_viewers() {
    in_own_process(|| {
        let server = WebServerFixture::start("token=geheim");
        let outcome = attack("requests", &server, "geheim", || {
            let connect = |number: usize| connect_from(attacker(number % 2), server.address());
            let mut streams: Vec<_> = (0..20).map(connect).collect();
            flood(
                &mut streams,
                b"GET /stats HTTP/1.1\r\nHost: a\r\n\r\n",
                50_000_000,
            )
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
    });
}

/// Opens an Engine.IO session by polling; returns the response.
#[track_caller]
fn open_session(address: Ipv4Addr, server: &WebServerFixture) -> HttpResponse {
    let mut stream = connect_from(address, server.address());
    let request = request("GET", POLLING, &[]);
    stream
        .write_all(request.as_bytes())
        .expect("a listening server");
    HttpResponse::read(stream, false)
}

/// Number of sessions that one address can have opened: 250, which are freed after 10 s. An attack
/// takes longer only on a slow machine.
fn shares_since(start: Instant) -> RangeInclusive<usize> {
    let times = 1 + start.elapsed().as_secs() as usize / 10;
    250..=250 * times
}

/// Polling sessions need no connection. Without a share per address, one address could use up all
/// of them.
#[test]
fn polling_sessions_of_one_address_keep_no_other_out() {
    in_own_process(|| {
        let server = WebServerFixture::start("");
        let start = Instant::now();
        let outcome = attack("sessions", &server, "", || {
            let open = |_| open_session(attacker(0), &server).status == 200;
            (0..2100).filter(|number| open(*number)).count()
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
        let share = shares_since(start);
        assert!(share.contains(&outcome.result), "{}", outcome.result);
        assert_eq!(open_session(Ipv4Addr::LOCALHOST, &server).status, 200);
        assert_eq!(open_session(attacker(0), &server).status, 503);
        // None of the sessions has joined a namespace; the server ends them after a while.
        wait_until("the sessions to end", || server.count("sessions") == 0);
        assert_eq!(open_session(attacker(0), &server).status, 200);
    });
}

#[test]
fn sessions_of_viewers_who_left_are_forgotten() {
    let server = WebServerFixture::start("");
    for namespace in ["/", "/view"].repeat(50) {
        let session = server.join(namespace, "").expect("an accepted viewer");
        assert!(server.count("sessions") > 0);
        drop(session);
    }
    server.wait_for_viewers(0);
    wait_until("the sessions to end", || server.count("sessions") == 0);
    server.expect_no_messages();
}

#[test]
fn connections_of_one_address_are_a_share_of_all() {
    in_own_process(|| {
        raise_file_limit(3000);
        let server = WebServerFixture::start("");
        server.show(0);
        let connections: Vec<_> = (0..1100)
            .map(|_| connect_from(attacker(0), server.address()))
            .collect();
        wait_until("the connections to be refused", || {
            server.refused("address") == 850
        });
        let mut viewer = server.watch("/stream.mjpg");
        assert_eq!(viewer.next(), 0);
        assert_eq!(server.refused("connections"), 0);
        drop(connections);
        wait_until("a free share", || {
            websocket(attacker(0), server.address()).is_some()
        });
    });
}

/// One address may stand for many viewers: that of a proxy.
#[test]
fn share_of_an_address_can_be_lifted() {
    in_own_process(|| {
        raise_file_limit(3000);
        let server = WebServerFixture::start("max-connections-per-address=0");
        let connections: Vec<_> = (0..600)
            .map(|_| connect_from(attacker(0), server.address()))
            .collect();
        assert!(websocket(attacker(0), server.address()).is_some());
        assert_eq!(server.refused("address"), 0);
        drop(connections);
    });
}

/// The body of one request can hold thousands of packets.
#[test]
fn packets_of_one_request_are_limited() {
    let server = WebServerFixture::start("");
    let open = open_session(Ipv4Addr::LOCALHOST, &server);
    let open: serde_json::Value = serde_json::from_str(&open.text()[1..]).expect("JSON");
    let path = format!("{POLLING}&sid={}", open["sid"].as_str().expect("a session"));
    assert_eq!(
        server
            .post(&path, &["40/view,"; 20_000].join("\u{1e}"))
            .status,
        413
    );
    assert_eq!(server.viewers(), 0);
    // A few packets are accepted.
    assert_eq!(
        server.post(&path, &["40/view,"; 3].join("\u{1e}")).status,
        200
    );
    server.wait_for_viewers(1);
    server.expect_no_messages();
}

/// Each piece of a body used to keep the buffer that it was read into.
#[test]
fn body_in_single_bytes_costs_no_memory() {
    in_own_process(|| {
        let server = WebServerFixture::start("token=geheim");
        let open = |number| open_session(attacker(number), &server);
        let session = |open: HttpResponse| {
            let open: serde_json::Value = serde_json::from_str(&open.text()[1..]).expect("JSON");
            open["sid"].as_str().expect("a session").to_owned()
        };
        let sessions: Vec<_> = (0..40).map(|number| session(open(number % 2))).collect();
        let outcome = attack("single bytes", &server, "geheim", || {
            // Half of the requests name a session that does not exist.
            let begin = |(number, session): (usize, &String)| {
                let mut stream = connect_from(attacker(number % 2), server.address());
                let path = match number % 4 {
                    0 | 1 => format!("{POLLING}&sid={session}"),
                    _ => format!("{POLLING}&sid=nobody"),
                };
                let head = request("POST", &path, &["Transfer-Encoding: chunked"]);
                stream.write_all(head.as_bytes()).expect("a reading peer");
                stream
            };
            let mut streams: Vec<_> = sessions.iter().enumerate().map(begin).collect();
            flood(&mut streams, b"1\r\n4\r\n", 2_000_000);
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
    });
}

/// Engine.IO keeps the state of a websocket for a while after it is closed.
#[test]
fn websockets_that_come_and_go_have_a_share() {
    in_own_process(|| {
        let server = WebServerFixture::start("");
        let start = Instant::now();
        let outcome = attack("websockets that come and go", &server, "", || {
            let visit = |_: &usize| {
                let stream = websocket(attacker(0), server.address())?;
                let linger = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
                linger.ok()
            };
            (0..2000).filter(|number| visit(number).is_some()).count()
        });
        assert!(outcome.memory < 50, "{} MB", outcome.memory);
        let share = shares_since(start);
        assert!(share.contains(&outcome.result), "{}", outcome.result);
        assert_eq!(server.refused("address"), 2000 - outcome.result as u64);
        // Other addresses are accepted by both transports.
        assert_eq!(open_session(attacker(1), &server).status, 200);
        assert!(server.join("/view", "").is_ok());
    });
}

/// If Engine.IO accepted such a request, the frames would not be counted.
#[test]
fn websocket_without_its_upgrade_header_is_refused() {
    let server = WebServerFixture::start("");
    for upgrade in [
        "Upgrade: x",
        "Upgrade: websocket, x",
        "X-Upgrade: websocket",
    ] {
        let mut headers = UPGRADE;
        headers[1] = upgrade;
        let answer = server.request("GET", WEBSOCKET, &headers);
        assert_eq!(answer.status, 400, "{upgrade}");
    }
    assert!(server.join("/", "").is_ok());
}

/// Frames might hide behind the body of the request.
#[test]
fn websocket_request_with_body_is_refused() {
    let server = WebServerFixture::start("");
    let headers = [&UPGRADE[..], &["Content-Length: 5"]].concat();
    let mut stream = connect_from(attacker(0), server.address());
    let head = request("GET", WEBSOCKET, &headers);
    let head = head.replace("Connection: close\r\n", "");
    stream
        .write_all((head + "12345").as_bytes())
        .expect("a listening server");
    assert_eq!(HttpResponse::read(stream, false).status, 400);
}
