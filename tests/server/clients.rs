// SPDX-License-Identifier: MPL-2.0

//! Clients that connect and disconnect, and how the server reports them.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, mpsc},
    thread,
};

use gst::{glib, prelude::*};

use super::server_fixture::{
    ServerFixture, assert_complete, assert_consecutive, next_number, read_in_background,
    remaining_numbers, wait_until,
};
use crate::common::viewer::Viewer;

#[test]
fn client_above_max_clients_is_closed_before_any_byte() {
    let server = ServerFixture::with_appsrc("max-clients=2").play();
    let mut first = server.viewer();
    let second = server.viewer();
    for refused in 1..=3 {
        let late = Viewer::connect(server.address());
        server.push(refused - 1..refused);
        assert_eq!(late.bytes_until_closed(), b"");
        assert_eq!(server.stat("refused"), refused as u64);
        assert_eq!(server.clients(), 2);
        assert_eq!(next_number(&mut first), refused - 1);
    }
    // A client that disconnects frees its place.
    drop(second);
    server.wait_for_clients(1);
    let mut third = server.viewer();
    server.push(3..5);
    server.push_eos();
    assert_eq!(next_number(&mut third), 3);
    assert_eq!(remaining_numbers(third), [4]);
    assert_eq!(remaining_numbers(first), [3, 4]);
    server.wait_for_clean_end();
    assert_eq!(server.stat("clients-total"), 3);
    assert_eq!(server.stat("refused"), 3);
    // Refused clients are not reported otherwise.
    assert_eq!(server.element_messages("b64jpeg-client-added").len(), 3);
    assert_eq!(server.element_messages("b64jpeg-client-removed").len(), 3);
}

/// As with the Python server, each client starts at the current frame.
#[test]
fn successive_clients_each_start_at_current_frame() {
    let server = ServerFixture::with_appsrc("max-clients=1").play();
    for number in 0..20 {
        let mut viewer = server.viewer();
        server.push(number..number + 1);
        assert_eq!(next_number(&mut viewer), number);
        drop(viewer);
        server.wait_for_clients(0);
    }
    assert_eq!(server.stat("clients-total"), 20);
    server.expect_no_messages();
}

#[test]
fn new_client_starts_at_next_frame() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewers = Vec::new();
    for number in 0..10 {
        viewers.push(server.viewer());
        server.push(number..number + 1);
        for viewer in &mut viewers {
            assert_eq!(next_number(viewer), number);
        }
    }
    server.expect_no_messages();
}

/// Records the client signals as `+address` and `-address reason`.
fn signals(server: &ServerFixture) -> Arc<Mutex<Vec<String>>> {
    let log = Arc::<Mutex<Vec<_>>>::default();
    let added = log.clone();
    server.sink.connect("client-added", false, move |values| {
        let address = values[1].get::<String>().expect("an address");
        added.lock().unwrap().push(format!("+{address}"));
        None
    });
    let removed = log.clone();
    server.sink.connect("client-removed", false, move |values| {
        let [address, reason] = [1, 2].map(|i| values[i].get::<String>().expect("a string"));
        removed.lock().unwrap().push(format!("-{address} {reason}"));
        None
    });
    log
}

/// The client messages on the bus in the same form, sorted.
fn messages(server: &ServerFixture) -> Vec<String> {
    let [added, removed] =
        ["added", "removed"].map(|what| server.element_messages(&format!("b64jpeg-client-{what}")));
    let field = |message: &gst::Structure, name| message.get::<String>(name).expect("a string");
    let added = added
        .iter()
        .map(|message| format!("+{}", field(message, "address")));
    let removed = removed.iter().map(|message| {
        format!(
            "-{} {}",
            field(message, "address"),
            field(message, "reason")
        )
    });
    let mut all: Vec<_> = added.chain(removed).collect();
    all.sort();
    all
}

#[test]
fn client_signals_and_messages_name_each_client_once() {
    let server = ServerFixture::with_appsrc("");
    let message = signals(&server);
    let counts = Arc::<Mutex<Vec<u32>>>::default();
    let log = counts.clone();
    server.sink.connect_notify(Some("clients"), move |sink, _| {
        log.lock().unwrap().push(sink.property("clients"));
    });
    let server = server.play();

    let viewers = [server.viewer(), server.viewer(), server.viewer()];
    let [left, crashed, stays] = viewers.each_ref().map(Viewer::address);
    server.push(0..1);
    let [leaving, crashing, mut staying] = viewers;
    let mut leaving = leaving;
    assert_eq!(next_number(&mut leaving), 0);
    drop(leaving);
    server.wait_for_clients(2);
    crashing.reset();
    server.wait_for_clients(1);
    assert_eq!(next_number(&mut staying), 0);
    server.push_eos();
    assert_eq!(remaining_numbers(staying), [0; 0]);
    server.wait_for_clean_end();

    let expected = [
        format!("+{left}"),
        format!("+{crashed}"),
        format!("+{stays}"),
        format!("-{left} left"),
        format!("-{crashed} reset"),
        format!("-{stays} ended"),
    ];
    assert_eq!(*message.lock().unwrap(), expected);
    let mut expected = expected;
    expected.sort();
    assert_eq!(messages(&server), expected);
    assert_eq!(*counts.lock().unwrap(), [1, 2, 3, 2, 1, 0]);

    let counts = |name: &str| {
        let count = |message: &gst::Structure| message.get::<u32>("clients").expect("a count");
        server
            .element_messages(name)
            .iter()
            .map(count)
            .collect::<Vec<_>>()
    };
    assert_eq!(counts("b64jpeg-client-added"), [1, 2, 3]);
    assert_eq!(counts("b64jpeg-client-removed"), [2, 1, 0]);
    for removed in server.element_messages("b64jpeg-client-removed") {
        assert!(removed.get::<u64>("frames").expect("a count") <= 1);
        assert_eq!(removed.get::<u64>("dropped"), Ok(0));
    }
}

/// A signal handler may read statistics and set properties of the element.
#[test]
fn signal_handler_may_use_element() {
    let server = ServerFixture::with_appsrc("");
    let seen = Arc::<Mutex<Vec<(u32, u64)>>>::default();
    for signal in ["client-added", "client-removed"] {
        let log = seen.clone();
        server.sink.connect(signal, false, move |values| {
            let sink: gst::Element = values[0].get().expect("the element");
            let stats: gst::Structure = sink.property("stats");
            let total = stats.get::<u64>("clients-total").expect("a count");
            log.lock().unwrap().push((sink.property("clients"), total));
            sink.set_property("drain-timeout", 1_000_000_000u64);
            None
        });
    }
    let server = server.play();
    let first = server.viewer();
    server.wait_for_clients(1);
    drop(first);
    server.wait_for_clients(0);
    wait_until("both signals", || seen.lock().unwrap().len() == 2);
    assert_eq!(*seen.lock().unwrap(), [(1, 1), (0, 1)]);
}

/// The backlog holds all of them while the server is busy.
#[test]
fn sixty_clients_connect_while_server_is_busy() {
    const CLIENTS: usize = 60;
    let server = ServerFixture::with_appsrc("");
    let (release, released) = mpsc::channel::<()>();
    let released = Mutex::new(released);
    server.sink.connect("client-added", false, move |_| {
        // The server waits for signal handlers, so it accepts no client before `release` is dropped.
        let _ = released.lock().unwrap().recv();
        None
    });
    let server = server.play();
    let viewers = (0..CLIENTS).map(|_| Viewer::connect(server.address()));
    let readers: Vec<_> = viewers.map(read_in_background).collect();
    drop(release);
    server.wait_for_clients(CLIENTS as u32);
    server.push(0..20);
    server.push_eos();
    for reader in readers {
        assert_complete(&reader.rest(), 20);
    }
    server.wait_for_clean_end();
    assert_eq!(server.stat("clients-total"), CLIENTS as u64);
}

fn has_ipv6() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// The server is reachable at `host` and reports the address of each client.
#[test]
fn host_address_decides_reachability() {
    let mut cases: Vec<(&str, Vec<std::net::IpAddr>)> = vec![
        ("127.0.0.1", vec![Ipv4Addr::LOCALHOST.into()]),
        ("0.0.0.0", vec![Ipv4Addr::LOCALHOST.into()]),
        ("localhost", vec![Ipv4Addr::LOCALHOST.into()]),
    ];
    if has_ipv6() {
        cases.push(("::1", vec![Ipv6Addr::LOCALHOST.into()]));
        let both = vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        cases.push(("::", both));
    }
    for (host, reachable) in cases {
        let server = ServerFixture::with_appsrc(&format!("host={host}")).play();
        let mut names = Vec::new();
        for ip in reachable {
            let mut viewer = Viewer::connect(SocketAddr::new(ip, server.port()));
            names.push(viewer.address());
            server.wait_for_clients(names.len() as u32);
            // The client stays connected on a thread of its own.
            thread::spawn(move || while viewer.next().is_some() {});
        }
        let added = server.element_messages("b64jpeg-client-added");
        let added: Vec<String> = added.iter().map(|s| s.get("address").unwrap()).collect();
        assert_eq!(added, names, "{host}");
    }
}

/// The server listens on every address of a name, with one port.
#[test]
fn localhost_listens_on_each_of_its_addresses() {
    use std::net::ToSocketAddrs;
    let server = ServerFixture::with_appsrc("host=localhost").play();
    let addresses = ("localhost", server.port())
        .to_socket_addrs()
        .expect("addresses");
    let addresses: Vec<_> = addresses.filter(|a| a.is_ipv4() || has_ipv6()).collect();
    let viewers: Vec<_> = addresses.iter().map(|a| Viewer::connect(*a)).collect();
    server.wait_for_clients(viewers.len() as u32);
}

#[test]
fn current_port_is_notified_when_bound() {
    let server = ServerFixture::with_appsrc("");
    let ports = Arc::<Mutex<Vec<i32>>>::default();
    let log = ports.clone();
    server
        .sink
        .connect_notify(Some("current-port"), move |sink, _| {
            log.lock().unwrap().push(sink.property("current-port"));
        });
    let unbound = server.sink.property::<i32>("current-port");
    assert!(unbound <= 0, "{unbound} before the server listens");
    let server = server.play();
    let port = i32::from(server.port());
    assert_eq!(ports.lock().unwrap().last(), Some(&port));
    assert_eq!(
        server.sink.property::<i32>("port"),
        0,
        "the port property keeps its value"
    );

    // With a fixed port, `current-port` is that port.
    server.set_state(gst::State::Null);
    server.sink.set_property("port", port);
    server.pipeline.play();
    assert_eq!(i32::from(server.port()), port);
    Viewer::connect(server.address());
}

/// The server discards whatever clients send, however much it is.
#[test]
fn bytes_from_clients_are_discarded() {
    let server = ServerFixture::with_appsrc("").play();
    let greetings: [&[u8]; 4] = [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"ready\n",
        b"\0",
    ];
    let mut viewers = greetings.map(|greeting| {
        let mut viewer = server.viewer();
        assert!(viewer.write(greeting));
        viewer
    });
    // One client never stops sending.
    let mut flood = server.viewer();
    let mut flooding = flood.second_handle();
    let flooding = thread::spawn(move || while flooding.write(&[0x5a; 65536]) {});
    for number in 0..50 {
        server.push(number..number + 1);
        for viewer in viewers.iter_mut().chain([&mut flood]) {
            assert_eq!(next_number(viewer), number);
            // Some scripts acknowledge each frame.
            viewer.write(b"ok");
        }
    }
    server.push_eos();
    // Bytes that the server has not read do not cut off the end of the stream.
    for viewer in viewers {
        assert_eq!(remaining_numbers(viewer), [0; 0]);
    }
    drop(flood);
    server.wait_for_clean_end();
    drop(server);
    flooding.join().unwrap();
}

/// Bytes from a client after the last frame do not reset its connection.
#[test]
fn client_may_send_after_eos() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    server.push(0..3);
    server.push_eos();
    server.wait_for_clean_end();
    for _ in 0..3 {
        assert!(viewer.write(b"ok"));
    }
    assert_eq!(remaining_numbers(viewer), [0, 1, 2]);
}

/// A client that closes its sending direction may have closed both. The server removes it, but
/// never inside a frame.
#[test]
fn client_that_shuts_down_writing_is_removed_between_frames() {
    let server = ServerFixture::with_appsrc("").play();
    let between = server.viewer();
    between.shutdown_write();
    server.wait_for_clients(0);
    let inside = server.small_viewer();
    let other = read_in_background(server.viewer());
    for number in 0..10 {
        server.push_sized(number, 200_000);
        assert_eq!(other.next(), Some(number));
    }
    inside.shutdown_write();
    let numbers = remaining_numbers(inside);
    assert_eq!(numbers[0], 0);
    assert_consecutive(&numbers);
    assert!(numbers.len() < 10, "queued frames are not sent");
    server.wait_for_clients(1);
    server.push_eos();
    assert_eq!(other.rest(), [0; 0]);
    assert_eq!(remaining_numbers(between), [0; 0]);
    server.wait_for_clean_end();
    let removed = server.element_messages("b64jpeg-client-removed");
    let reasons: Vec<String> = removed.iter().map(|s| s.get("reason").unwrap()).collect();
    assert_eq!(reasons, ["left", "left", "ended"]);
}

/// The signal signatures match the documentation.
#[test]
fn client_signals_have_documented_signatures() {
    let server = ServerFixture::with_appsrc("");
    let type_ = server.sink.type_();
    for (name, strings) in [("client-added", 1), ("client-removed", 2)] {
        let signal = glib::subclass::SignalId::lookup(name, type_).expect(name);
        let query = signal.query();
        assert_eq!(query.param_types().len(), strings);
        for param in query.param_types() {
            assert_eq!(param.type_(), glib::Type::STRING);
        }
    }
}
