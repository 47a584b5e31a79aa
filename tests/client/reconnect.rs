// SPDX-License-Identifier: MPL-2.0

//! Servers that come, go, and come again.

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

/// Long enough for many tries.
fn a_while() {
    thread::sleep(Duration::from_millis(300));
}

fn client_of(port: &ReservedPort, properties: &str) -> ClientFixture {
    ClientFixture::playing(&format!(
        "host=127.0.0.1 port={} {FAST_RECONNECT} {properties}",
        port.number()
    ))
}

#[test]
fn a_server_that_comes_later() {
    let port = ReservedPort::new();
    let mut viewer = client_of(&port, "");
    viewer.expect_states(&["connecting", "waiting"]);
    let there = port.number().to_string();
    let again = "trying again until it is there";
    let warning = viewer.expect_warning(&["127.0.0.1", &there, again]);
    expect_parts(&warning.to_lowercase(), &["refused"]);
    a_while();

    let server = port.listen();
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    let got = viewer.expect_frames(pictures(3));
    assert!(got[0].is_discont() && !got[1].is_discont());
    expect_alternating(&mut viewer);
    assert_eq!(viewer.stats().get("connected"), Ok(true));
    viewer.expect_stats(&[("connections", 1), ("frames", 3)]);
    // However many tries there were, there was one warning.
    viewer.stop();
}

/// Whatever it said about its connection, it never said the same twice in a row, and
/// that there are pictures last.
#[track_caller]
fn expect_alternating(viewer: &mut ClientFixture) {
    viewer.catch_up();
    let known = ["connecting", "connected", "streaming", "lost", "waiting"];
    let mut states: Vec<_> = viewer.log.clone();
    states.retain(|word| known.contains(&&word[..]));
    assert!(states.windows(2).all(|two| two[0] != two[1]), "{states:?}");
    assert_eq!(
        states.last().map(|s| &s[..]),
        Some("streaming"),
        "{states:?}"
    );
    viewer.connections.clear();
}

/// A loss, of any kind, and then nobody there for a while.
fn restart(lose: impl Fn(RawConnection)) {
    let port = ReservedPort::new();
    let server = port.listen();
    let mut viewer = client_of(&port, "");
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(3)));
    viewer.expect_frames(pictures(3));
    viewer.expect_states(&["connecting", "connected", "streaming"]);

    drop(server);
    lose(peer);
    let lost = viewer.expect_state("lost");
    assert!(
        lost.get::<&str>("cause").is_ok_and(|c| !c.is_empty()),
        "{lost}"
    );
    viewer.expect_state("waiting");
    // One for each change for the worse: of the stream, of the server.
    let there = port.number().to_string();
    let refused = wait_for("a warning of a server that has gone", || {
        viewer.catch_up();
        let refused = |text: &String| text.to_lowercase().contains("refused");
        viewer.warnings.iter().position(refused)
    });
    expect_parts(
        &viewer.warnings[refused],
        &["127.0.0.1", &there, "trying again"],
    );
    assert!(refused <= 1, "{:?}", viewer.warnings);
    viewer.warnings.clear();
    a_while();

    let larger = encode(2, 64, 48);
    let server = port.listen();
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(&larger));
    let got = viewer.expect_frames(&larger);
    assert!(got[0].is_discont() && !got[1].is_discont());
    assert_eq!(got[0].size(), (64, 48));
    expect_alternating(&mut viewer);
    viewer.expect_stats(&[("connections", 2), ("frames", 5)]);
    assert!(!viewer.infos.is_empty(), "{:?}", viewer.log);
    let segments = viewer
        .log
        .iter()
        .filter(|w| *w == "segment" || *w == "stream-start");
    assert_eq!(segments.count(), 2, "it is one stream: {:?}", viewer.log);
    viewer.stop();
}

#[test]
fn a_server_that_is_restarted() {
    restart(RawConnection::close);
}

#[test]
fn a_server_that_is_killed() {
    restart(RawConnection::reset);
}

#[test]
fn a_server_that_dies_inside_a_frame() {
    restart(|mut peer| {
        peer.send(&DEFAULT.frame(&pictures(1)[0])[..500]);
        peer.close();
    });
}

#[test]
fn twenty_losses_in_a_row() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, FAST_RECONNECT);
    let mut last = None;
    for round in 0..=20 {
        let jpegs = &pictures(63)[3 * round..3 * round + 3];
        let mut peer = server.accept();
        peer.send(DEFAULT.stream(jpegs));
        let got = viewer.expect_frames(jpegs);
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
    viewer.expect_frames(pictures(1));
    viewer.expect_stats(&[("connections", 22), ("frames", 64)]);
    viewer.expect_states(&["connecting", "connected", "streaming"]);
    for _ in 0..=20 {
        viewer.expect_states(&["lost", "connected", "streaming"]);
    }
    // Frames that were cut off may be reported, each once.
    assert!(viewer.warnings.len() <= 7, "{:?}", viewer.warnings);
    viewer.warnings.clear();
    viewer.stop();
}

/// A fixture that opens and shuts: no reason to say so a hundred times.
#[test]
fn a_server_that_hangs_up_on_everyone() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, FAST_RECONNECT);
    for _ in 0..30 {
        server.accept().close();
    }
    server.accept().send(DEFAULT.stream(pictures(2)));
    viewer.expect_frames(pictures(2));
    viewer.catch_up();
    assert!(viewer.warnings.len() <= 1, "{:?}", viewer.warnings);
    assert!(viewer.infos.len() <= 2, "{:?}", viewer.infos);
    viewer.warnings.clear();
}

/// What one server sends has nothing to do with what another has sent.
#[test]
fn another_framing_after_a_loss() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, FAST_RECONNECT);
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
        viewer.expect_frames(pictures(3));
        let stats = viewer.stats();
        assert_eq!(stats.get("header"), Ok(framing.header), "{stats}");
        assert_eq!(stats.get("payload"), Ok(framing.payload), "{stats}");
        peer.close();
    }
}

/// A link that was cut: the connection stays, but nothing comes.
#[test]
fn silence_is_a_loss() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, &format!("{FAST_RECONNECT} timeout=200000000"));
    let mut peer = server.accept();
    peer.send(DEFAULT.stream(pictures(2)));
    viewer.expect_frames(pictures(2));
    let mut next = server.accept();
    peer.expect_closed();
    next.send(DEFAULT.stream(pictures(3)));
    let got = viewer.expect_frames(pictures(3));
    assert!(got[0].is_discont());
    viewer.expect_states(&["connecting", "connected", "streaming"]);
    let lost = viewer.expect_state("lost");
    expect_parts(lost.get("cause").expect("a cause"), &["0.2 s"]);
    viewer.catch_up();
    assert!(viewer.warnings.len() <= 1, "{:?}", viewer.warnings);
    viewer.warnings.clear();
}

/// A server that answers nobody, and then does.
#[test]
fn a_silent_server_is_reported_once() {
    let server = RawServer::new();
    let mut viewer = ClientFixture::of(&server, &format!("{FAST_RECONNECT} timeout=50000000"));
    let silent: Vec<_> = (0..5).map(|_| server.accept()).collect();
    for peer in silent {
        peer.expect_closed();
    }
    // It may have given up one that was not accepted yet.
    wait_for("frames", || {
        let mut peer = server.accept();
        peer.offer(DEFAULT.stream(pictures(2)));
        viewer.catch_up();
        let came = viewer.stats().get::<u64>("frames").unwrap() > 0;
        came.then_some(())
    });
    viewer.stop();
    viewer.pictures.clear();
    assert_eq!(viewer.warnings.len(), 1, "{:?}", viewer.warnings);
    let there = server.port().to_string();
    viewer.expect_warning(&["127.0.0.1", &there, "0.05 s", "trying again"]);
}

/// The patience grows, but only while there are no frames.
#[test]
fn a_name_that_nobody_has() {
    let mut viewer =
        ClientFixture::playing(&format!("host=camera.invalid port=4711 {FAST_RECONNECT}"));
    viewer.expect_warning(&["camera.invalid", "4711", "trying again"]);
    viewer.expect_states(&["connecting", "waiting"]);
    a_while();
    viewer.catch_up();
    assert_eq!(viewer.connections.len(), 0, "{:?}", viewer.log);
}

/// Two ends of one socket can be each other's server, if a client that tries a port of
/// this machine happens to be given the same one for its own end.
#[test]
fn nobody_is_their_own_server() {
    in_unreachable_network(|| {
        let range = "/proc/sys/net/ipv4/ip_local_port_range";
        fs::write(range, "47110 47110").expect("a range of one port");
        for host in ["127.0.0.1", "::1"] {
            let address = format!("host={host} port=47110 {FAST_RECONNECT}");
            let mut viewer = ClientFixture::playing(&address);
            viewer.expect_states(&["connecting", "waiting"]);
            viewer.expect_warning(&["47110", "trying again"]);
            a_while();
            assert_eq!(viewer.catch_up().connections.len(), 0, "{:?}", viewer.log);
        }
    });
}
