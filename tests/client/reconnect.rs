// SPDX-License-Identifier: MPL-2.0

//! Reconnecting to servers that start late, stop, or lose_and_restart.

use std::{fs, thread, time::Duration};

use super::{
    fixture::{ClientFixture, FAST_RECONNECT, expect_parts},
    wire::{DEFAULT, encode, framing, pictures},
};
use crate::common::{
    isolation::in_unreachable_network,
    raw_server::{RawConnection, RawServer, ReservedPort},
    wait::wait_for,
};

/// Waits long enough for many connection attempts.
fn wait_for_many_attempts() {
    thread::sleep(Duration::from_millis(300));
}

fn client_of(port: &ReservedPort, properties: &str) -> ClientFixture {
    ClientFixture::playing(&format!(
        "host=127.0.0.1 port={} {FAST_RECONNECT} {properties}",
        port.number()
    ))
}

#[test]
fn late_server_is_awaited_with_one_warning() {
    let port = ReservedPort::new();
    let mut client = client_of(&port, "");
    client.expect_states(&["connecting", "waiting"]);
    let port_text = port.number().to_string();
    let again = "trying again until it is there";
    let warning = client.expect_warning(&["127.0.0.1", &port_text, again]);
    expect_parts(&warning.to_lowercase(), &["refused"]);
    wait_for_many_attempts();

    let server = port.listen();
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    let got = client.expect_frames(pictures(3));
    assert!(got[0].is_discont() && !got[1].is_discont());
    expect_alternating(&mut client);
    assert_eq!(client.stats().get("connected"), Ok(true));
    client.expect_stats(&[("connections", 1), ("frames", 3)]);
    // One warning for all attempts; dropping the fixture asserts that.
    client.stop();
}

/// Expects that the connection never reported the same state twice in a row, and that the last
/// state is `streaming`.
#[track_caller]
fn expect_alternating(client: &mut ClientFixture) {
    client.catch_up();
    let known = ["connecting", "connected", "streaming", "lost", "waiting"];
    let mut states: Vec<_> = client.log.clone();
    states.retain(|word| known.contains(&&word[..]));
    assert!(states.windows(2).all(|two| two[0] != two[1]), "{states:?}");
    assert_eq!(
        states.last().map(|s| &s[..]),
        Some("streaming"),
        "{states:?}"
    );
    client.connections.clear();
}

/// Loses the connection by `lose`, with no server for a while, and then a new server.
fn lose_and_restart(lose: impl Fn(RawConnection)) {
    let port = ReservedPort::new();
    let server = port.listen();
    let mut client = client_of(&port, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    client.expect_frames(pictures(3));
    client.expect_states(&["connecting", "connected", "streaming"]);

    drop(server);
    lose(peer);
    let lost = client.expect_state("lost");
    assert!(
        lost.get::<&str>("cause").is_ok_and(|c| !c.is_empty()),
        "{lost}"
    );
    client.expect_state("waiting");
    // At most one warning for the lost stream and one for the refused connection.
    let port_text = port.number().to_string();
    let refused = wait_for("a warning of a server that has gone", || {
        client.catch_up();
        let refused = |text: &String| text.to_lowercase().contains("refused");
        client.warnings.iter().position(refused)
    });
    expect_parts(
        &client.warnings[refused],
        &["127.0.0.1", &port_text, "trying again"],
    );
    assert!(refused <= 1, "{:?}", client.warnings);
    client.warnings.clear();
    wait_for_many_attempts();

    let larger = encode(2, 64, 48);
    let server = port.listen();
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(&larger));
    let got = client.expect_frames(&larger);
    assert!(got[0].is_discont() && !got[1].is_discont());
    assert_eq!(got[0].size(), (64, 48));
    expect_alternating(&mut client);
    client.expect_stats(&[("connections", 2), ("frames", 5)]);
    assert!(!client.infos.is_empty(), "{:?}", client.log);
    let segments = client
        .log
        .iter()
        .filter(|w| *w == "segment" || *w == "stream-start");
    assert_eq!(segments.count(), 2, "it is one stream: {:?}", client.log);
    client.stop();
}

#[test]
fn restarted_server_is_reconnected() {
    lose_and_restart(RawConnection::close);
}

#[test]
fn killed_server_is_reconnected() {
    lose_and_restart(RawConnection::reset);
}

#[test]
fn server_killed_inside_frame_is_reconnected() {
    lose_and_restart(|mut peer| {
        peer.send(&DEFAULT.frame(&pictures(1)[0])[..500]);
        peer.close();
    });
}

#[test]
fn twenty_losses_in_a_row_are_recovered() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, FAST_RECONNECT);
    let mut last = None;
    for round in 0..=20 {
        let jpegs = &pictures(63)[3 * round..3 * round + 3];
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(jpegs));
        let got = client.expect_frames(jpegs);
        let disconts: Vec<_> = got
            .iter()
            .map(super::fixture::Picture::is_discont)
            .collect();
        assert_eq!(disconts, [true, false, false], "round {round}");
        for picture in got {
            let pts = picture.buffer.pts();
            assert!(
                pts.is_some() && last <= pts,
                "round {round}: {last:?}, {pts:?}"
            );
            last = pts;
        }
        match round % 3 {
            0 => peer.close(),
            1 => peer.reset(),
            _ => {
                peer.send(&DEFAULT.frame(&pictures(1)[0])[..100]);
                peer.close();
            }
        }
    }
    let mut peer = server.accept();
    peer.send(DEFAULT.frame(&pictures(1)[0]));
    client.expect_frames(pictures(1));
    client.expect_stats(&[("connections", 22), ("frames", 64)]);
    client.expect_states(&["connecting", "connected", "streaming"]);
    for _ in 0..=20 {
        client.expect_states(&["lost", "connected", "streaming"]);
    }
    // Each truncated frame may be reported once.
    assert!(client.warnings.len() <= 7, "{:?}", client.warnings);
    client.warnings.clear();
    client.stop();
}

/// A server that closes every connection at once is not reported each time.
#[test]
fn server_that_closes_at_once_is_reported_once() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, FAST_RECONNECT);
    for _ in 0..30 {
        server.accept().close();
    }
    server.accept().send(DEFAULT.stream(pictures(2)));
    client.expect_frames(pictures(2));
    client.catch_up();
    assert!(client.warnings.len() <= 1, "{:?}", client.warnings);
    assert!(client.infos.len() <= 2, "{:?}", client.infos);
    client.warnings.clear();
}

/// Each connection detects its framing anew.
#[test]
fn framing_is_detected_anew_after_reconnect() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, FAST_RECONNECT);
    for framing in [
        DEFAULT,
        framing("le64", "jpeg"),
        framing("none", "jpeg"),
        framing("lines", "base64"),
        framing("ascii16", "base64"),
        DEFAULT,
    ] {
        let mut peer = server.accept();
        peer.send(framing.stream(pictures(3)));
        client.expect_frames(pictures(3));
        let stats = client.stats();
        assert_eq!(stats.get("header"), Ok(framing.header), "{stats}");
        assert_eq!(stats.get("payload"), Ok(framing.payload), "{stats}");
        peer.close();
    }
}

/// A cut cable: the connection stays open, but nothing arrives.
#[test]
fn timeout_reconnects() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, &format!("{FAST_RECONNECT} timeout=200000000"));
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    client.expect_frames(pictures(2));
    let mut next = server.accept();
    peer.expect_closed();
    next.send(DEFAULT.stream(pictures(3)));
    let got = client.expect_frames(pictures(3));
    assert!(got[0].is_discont());
    client.expect_states(&["connecting", "connected", "streaming"]);
    let lost = client.expect_state("lost");
    expect_parts(lost.get("cause").expect("a cause"), &["0.2 s"]);
    client.catch_up();
    assert!(client.warnings.len() <= 1, "{:?}", client.warnings);
    client.warnings.clear();
}

/// A server that first accepts connections without sending anything.
#[test]
fn silent_server_is_warned_about_once() {
    let server = RawServer::new();
    let mut client = ClientFixture::of(&server, &format!("{FAST_RECONNECT} timeout=50000000"));
    let silent: Vec<_> = (0..5).map(|_| server.accept()).collect();
    for peer in silent {
        peer.expect_closed();
    }
    // The client may have closed a connection that was not accepted yet.
    wait_for("frames", || {
        let mut peer = server.accept();
        peer.offer(DEFAULT.stream(pictures(2)));
        client.catch_up();
        let came = client.stats().get::<u64>("frames").unwrap() > 0;
        came.then_some(())
    });
    client.stop();
    client.pictures.clear();
    assert_eq!(client.warnings.len(), 1, "{:?}", client.warnings);
    let port_text = server.port().to_string();
    client.expect_warning(&["127.0.0.1", &port_text, "0.05 s", "trying again"]);
}

/// The reconnect delay grows as long as no frame arrives.
#[test]
fn unknown_host_name_is_retried_with_one_warning() {
    let mut client =
        ClientFixture::playing(&format!("host=camera.invalid port=4711 {FAST_RECONNECT}"));
    client.expect_warning(&["camera.invalid", "4711", "trying again"]);
    client.expect_states(&["connecting", "waiting"]);
    wait_for_many_attempts();
    client.catch_up();
    assert_eq!(client.connections.len(), 0, "{:?}", client.log);
}

/// A client that connects to a port of its own machine may be given the same port for its own
/// end. The socket is then connected to itself.
#[test]
fn self_connection_is_refused() {
    in_unreachable_network(|| {
        let range = "/proc/sys/net/ipv4/ip_local_port_range";
        fs::write(range, "47110 47110").expect("a range of one port");
        for host in ["127.0.0.1", "::1"] {
            let address = format!("host={host} port=47110 {FAST_RECONNECT}");
            let mut client = ClientFixture::playing(&address);
            client.expect_states(&["connecting", "waiting"]);
            client.expect_warning(&["47110", "trying again"]);
            wait_for_many_attempts();
            assert_eq!(client.catch_up().connections.len(), 0, "{:?}", client.log);
        }
    });
}
