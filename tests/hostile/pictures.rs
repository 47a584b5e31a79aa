// SPDX-License-Identifier: MPL-2.0

//! JPEGs and metadata with capture times that no camera would write.

#[cfg(feature = "web")]
use gst::prelude::*;

use super::{
    receivers::{Receiver, ReceiverKind},
    wire::{FRAMINGS, bytes, capture_time, now, pictures, stamped, with_comment},
};
use crate::common::{
    element_fixture::ElementFixture, process::PATIENCE, server_fixture::ServerFixture,
};

const DAY: u64 = 24 * 3600 * 1_000_000_000;
/// 1999-12-31 23:59:59.
const YEAR_1999: u64 = 946_684_799_000_000_000;
const STAMP: &[u8] = b"b64jpeg capture-time-unix-ns=";

/// Texts that a hostile sender may write after `capture-time-unix-ns=`.
fn hostile_stamps() -> Vec<Vec<u8>> {
    let numbers = [
        0,
        YEAR_1999,
        now() + DAY + DAY / 24,
        i64::MAX as u64,
        9_999_999_999_999_999_999,
        u64::MAX - 1,
        u64::MAX,
    ];
    let numbers = numbers.map(|number| number.to_string().into_bytes());
    let time = now().to_string();
    let texts = [
        b"".to_vec(),
        b"99999999999999999999".to_vec(),
        format!("0{time}").into_bytes(),
        format!("+{time}").into_bytes(),
        format!("-{time}").into_bytes(),
        format!(" {time}").into_bytes(),
        format!("{time} ").into_bytes(),
        format!("{time}\0").into_bytes(),
        b"\xff\xfe\xfd".to_vec(),
        vec![b'9'; 60_000],
    ];
    numbers.into_iter().chain(texts).collect()
}

#[test]
fn hostile_stamp_is_counted_and_ignored_by_every_receiver() {
    for &kind in ReceiverKind::ALL {
        let mut receiver = Receiver::new(kind, "");
        let mut jpegs = pictures(250).iter();
        let mut next = || jpegs.next().expect("there are enough").as_slice();
        let stamps = hostile_stamps();
        for (ignored, stamp) in (1_u64..).zip(&stamps) {
            let what = format!("{kind:?}: {}", stamp[..stamp.len().min(30)].escape_ascii());
            let time = now();
            let before = receiver.pass(&stamped(next(), time));
            assert_eq!(capture_time(&before), Some(time), "{what}");
            let hostile = with_comment(next(), [STAMP, stamp].concat());
            assert_eq!(capture_time(&receiver.pass(&hostile)), None, "{what}");
            let time = now();
            let after = receiver.pass(&stamped(next(), time));
            assert_eq!(capture_time(&after), Some(time), "{what}");
            receiver.fixture.expect_stats(&[
                ("capture-times-ignored", ignored),
                ("frames", receiver.before + 3 * ignored),
                ("errors", 0),
            ]);
        }
        // The ignored times do not count in the delays.
        let stats = receiver.fixture.stats();
        for name in ["delay-last", "delay-median", "delay-p99"] {
            let delay: i64 = stats.get(name).expect("a delay");
            assert!((0..PATIENCE.as_nanos() as i64).contains(&delay), "{stats}");
        }
    }
}

#[test]
fn jpegcheck_replaces_hostile_capture_times() {
    let start = now();
    let mut receiver = Receiver::new(ReceiverKind::Check, "capture-time=true");
    for (jpeg, stamp) in pictures(250).iter().zip(hostile_stamps()) {
        let hostile = with_comment(jpeg, [STAMP, &stamp].concat());
        receiver.send(&hostile);
        let output = receiver.fixture.next(1).remove(0).buffer;
        let time = capture_time(&output).expect("a time");
        assert!((start..=now()).contains(&time), "{time}");
        assert_eq!(bytes(&output), stamped(&hostile, time));
    }
}

/// The capture time in the first comment segment of a JPEG.
fn stamp_of(jpeg: &[u8]) -> u64 {
    let text = jpeg[6..].strip_prefix(STAMP).expect("a stamp in front");
    let digits = std::str::from_utf8(&text[..19]).expect("digits");
    digits.parse().expect("a number")
}

/// A buffer with `GstReferenceTimestampMeta` of these times.
fn with_metas(jpeg: &[u8], times: &[u64]) -> gst::Buffer {
    let unix: gst::Caps = "timestamp/x-unix".parse().expect("caps");
    let mut buffer = gst::Buffer::from_slice(jpeg.to_vec());
    let output = buffer.get_mut().expect("the only reference");
    for time in times {
        let time = gst::ClockTime::from_nseconds(*time);
        gst::ReferenceTimestampMeta::add(output, &unix, time, None);
    }
    buffer
}

/// Times that other elements may write into `GstReferenceTimestampMeta`.
fn hostile_metas() -> [u64; 5] {
    [
        0,
        YEAR_1999,
        now() + DAY + DAY / 24,
        i64::MAX as u64,
        gst::ClockTime::MAX.nseconds(),
    ]
}

/// A pipeline into which the test pushes buffers.
#[track_caller]
fn sender(elements: &str) -> ElementFixture {
    let line = format!("appsrc name=feed is-live=true format=time caps=image/jpeg ! {elements}");
    let fixture = ElementFixture::launch(&line, "none");
    fixture.pipeline.play();
    fixture
}

#[test]
fn hostile_meta_is_not_written_into_pictures() {
    let start = now();
    let sink = "fakesink name=sink sync=false";
    for element in ["b64jpegpay header=none payload=jpeg", "jpegcheck"] {
        let mut fixture = sender(&format!(
            "{element} name=element capture-time=true ! {sink}"
        ));
        for (jpeg, hostile) in pictures(5).iter().zip(hostile_metas()) {
            let time = now() - DAY;
            for (metas, expected) in [(&[hostile][..], None), (&[hostile, time], Some(time))] {
                fixture.push_buffer(with_metas(jpeg, metas));
                let output = fixture.next(1).remove(0).buffer;
                let stamp = stamp_of(&bytes(&output));
                match expected {
                    Some(time) => assert_eq!(stamp, time, "{element} {hostile}"),
                    None => assert!((start..=now()).contains(&stamp), "{element} {hostile}"),
                }
            }
        }
    }
}

#[test]
fn hostile_meta_is_not_sent_to_tcp_clients() {
    let start = now();
    let server = ServerFixture::with_live_appsrc("async=false capture-time=true").play();
    let mut viewer = server.viewer();
    for (jpeg, hostile) in pictures(5).iter().zip(hostile_metas()) {
        server.push_buffer(with_metas(jpeg, &[hostile]));
        let stamp = stamp_of(&viewer.next().expect("a picture"));
        assert!((start..=now()).contains(&stamp), "{hostile}: {stamp}");
    }
    server.expect_no_messages();
}

/// Capture time that the server reports with its newest frame, in nanoseconds since 1970.
#[cfg(feature = "web")]
#[track_caller]
fn snapshot_time(port: i32) -> u64 {
    use std::io::{Read, Write};

    let address = format!("127.0.0.1:{port}");
    let mut stream = std::net::TcpStream::connect(&address).expect("a listening server");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    write!(
        stream,
        "GET /snapshot.jpg HTTP/1.0\r\nHost: {address}\r\n\r\n"
    )
    .expect("a reading peer");
    let mut answer = vec![];
    stream.read_to_end(&mut answer).expect("an answer");
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    let line = answer
        .lines()
        .find_map(|line| line.strip_prefix("x-timestamp: "));
    let (seconds, micros) = line.and_then(|line| line.split_once('.')).expect("a time");
    let number = |digits: &str| digits.parse::<u64>().expect("a number");
    (number(seconds) * 1_000_000 + number(micros)) * 1_000
}

#[cfg(feature = "web")]
#[test]
fn hostile_time_is_not_reported_over_http() {
    let start = now();
    let fixture = sender("socketioserversink name=element port=0 sync=false async=false");
    let port = fixture.element.property::<i32>("current-port");
    let mut jpegs = pictures(250).iter();
    let mut next = || jpegs.next().expect("there are enough").as_slice();
    let metas = hostile_metas();
    let metas = metas.iter().map(|time| with_metas(next(), &[*time]));
    let metas: Vec<_> = metas.collect();
    let stamps = hostile_stamps();
    let stamps = stamps.iter().map(|stamp| {
        let jpeg = with_comment(next(), [STAMP, stamp].concat());
        with_metas(&jpeg, &[])
    });
    for (number, buffer) in std::iter::zip(1.., metas.into_iter().chain(stamps)) {
        fixture.push_buffer(buffer);
        crate::common::wait::wait_for("the frame to be counted", || {
            (fixture.stat("frames") == number).then_some(())
        });
        let time = snapshot_time(port);
        assert!((start - 1_000..=now()).contains(&time), "{number}: {time}");
    }
}

#[test]
fn truncated_jpeg_is_dropped_and_next_one_passes() {
    let start = b"\xff\xd8\xff";
    let jpegs = pictures(2);
    for framing in FRAMINGS
        .into_iter()
        .filter(|framing| framing.header != "none")
    {
        for kind in [ReceiverKind::Depay, ReceiverKind::ClientSrc] {
            let mut receiver = Receiver::of_framing(kind, framing, "");
            receiver.pass(&jpegs[0]);
            receiver.send(start);
            receiver.pass(&jpegs[1]);
            let place = format!("Frame 1 at byte {}: ", framing.frame(&jpegs[0]).len());
            receiver
                .fixture
                .expect_warning(&[&place, "not a JPEG", "3 bytes"]);
            receiver
                .fixture
                .expect_stats(&[("errors", 1), ("frames", 2)]);
        }
    }
    let mut check = Receiver::new(ReceiverKind::Check, "");
    check.send(start);
    check.pass(&jpegs[0]);
    check
        .fixture
        .expect_warning(&["Frame 0", "not a JPEG", "3 bytes"]);
}
