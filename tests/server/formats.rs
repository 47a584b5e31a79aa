// SPDX-License-Identifier: MPL-2.0

//! What the bytes are: those of `b64jpegpay`.

use std::time::{SystemTime, UNIX_EPOCH};

use b64jpeg_wire::jpeg::JpegInfo;

use super::{
    numbered_pictures::{SMALL, picture, recording},
    server_fixture::{ServerFixture, buffer, next_number, recording_source, remaining_numbers},
};
use crate::common::{
    pipeline::Pipeline,
    viewer::Viewer,
    wire::{FRAMINGS, Framing},
};

#[test]
fn every_framing_is_what_the_payloader_writes() {
    const FRAMES: usize = 30;
    let recording = recording(FRAMES, SMALL);
    for Framing { header, payload } in FRAMINGS {
        let options = format!("header={header} payload={payload}");
        let pay = Pipeline::launch(&format!(
            "{} ! b64jpegpay name=pay {options} ! fakesink",
            recording_source(&recording)
        ));
        let frames = pay.collect("pay", "src");
        pay.play();
        pay.wait_for_clean_end();

        let options = format!("{options} wait-for-client=true max-clients=1");
        let server = ServerFixture::launch(&recording_source(&recording), &options).play();
        let bytes = Viewer::connect(server.address()).bytes_until_closed();
        server.wait_for_clean_end();
        assert!(bytes == frames.take().concat(), "{header} {payload}");
        assert_eq!(server.stats().get("header"), Ok(header));
        assert_eq!(server.stats().get("payload"), Ok(payload));
        assert_eq!(server.stat("bytes-out"), bytes.len() as u64);
        assert_eq!(server.stat("bytes-in"), (FRAMES * SMALL) as u64);
    }
    std::fs::remove_file(recording).expect("our file");
}

/// The picture without the comment that stands behind its start, and the time in it.
#[track_caller]
fn unstamp(jpeg: &[u8]) -> (Vec<u8>, u64) {
    let time = JpegInfo::of(jpeg).capture_time.expect("a stamp");
    let len = usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
    ([&jpeg[..2], &jpeg[4 + len..]].concat(), time)
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("after 1970")
        .as_nanos()
        .try_into()
        .expect("not so late")
}

#[test]
fn stamped_pictures_are_the_same_pictures() {
    let server = ServerFixture::with_appsrc("capture-time=true").play();
    let mut viewer = server.viewer();
    for number in 0..10 {
        let before = now();
        server.push(number..number + 1);
        let (jpeg, time) = unstamp(&viewer.next().expect("a picture"));
        assert_eq!(jpeg, picture(number, SMALL));
        // No picture is stamped with a time that has not come.
        assert!(time <= now(), "{time}");
        if number == 0 {
            assert!(time + 3_600_000_000_000 > before, "{time}");
        }
    }
    // What a source knows better is taken over.
    let mut buffer = buffer(10, picture(10, SMALL));
    let known = gst::ClockTime::from_nseconds(1_234_567_890_123_456_789);
    gst::ReferenceTimestampMeta::add(
        buffer.get_mut().expect("nobody else has it"),
        &gst::Caps::new_empty_simple("timestamp/x-unix"),
        known,
        gst::ClockTime::NONE,
    );
    let feed: gst_app::AppSrc = server.pipeline.element("feed");
    feed.push_buffer(buffer).expect("it plays");
    let (jpeg, time) = unstamp(&viewer.next().expect("a picture"));
    assert_eq!((jpeg, time), (picture(10, SMALL), known.nseconds()));
}

#[test]
fn without_it_nothing_is_stamped() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    server.push(0..1);
    let jpeg = viewer.next().expect("a picture");
    assert_eq!(JpegInfo::of(&jpeg).capture_time, None);
    assert_eq!(jpeg, picture(0, SMALL));
}

#[test]
fn what_is_no_jpeg_is_dropped() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    let feed: gst_app::AppSrc = server.pipeline.element("feed");
    let bad: [&[u8]; 4] = [b"", b"\x89PNG\r\n\x1a\n", b"no picture", b"\xff\xd8"];
    for (number, bad) in bad.iter().enumerate() {
        server.push(number..number + 1);
        assert_eq!(next_number(&mut viewer), number);
        feed.push_buffer(buffer(number, bad.to_vec()))
            .expect("it plays");
    }
    server.push(4..5);
    assert_eq!(next_number(&mut viewer), 4);
    server.push_eos();
    assert_eq!(remaining_numbers(viewer), [0; 0]);
    let (warnings, error) = server.pipeline.wait();
    assert_eq!(error, None);
    assert_eq!(warnings.len(), bad.len(), "{warnings:#?}");
    for (i, warning) in warnings.iter().enumerate() {
        // Its number is that of the input.
        let number = format!("Picture {} ", 2 * i + 1);
        assert!(warning.contains(&number), "no {number:?} in {warning}");
    }
    assert_eq!(server.stat("frames"), 5);
    assert_eq!(server.stat("errors"), bad.len() as u64);
}

/// A first client is not shown what is no picture; it does not end the wait either.
#[test]
fn what_is_no_jpeg_while_it_waits() {
    let server = ServerFixture::with_appsrc("wait-for-client=true").play();
    let feed: gst_app::AppSrc = server.pipeline.element("feed");
    feed.push_buffer(buffer(0, b"no picture".to_vec()))
        .expect("it plays");
    server.push(1..3);
    let mut viewer = server.viewer();
    assert_eq!(next_number(&mut viewer), 1);
    assert_eq!(next_number(&mut viewer), 2);
}

#[test]
fn a_picture_in_several_pieces_of_memory() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    let jpeg = picture(0, 50_000);
    let mut whole = buffer(0, vec![]);
    for piece in jpeg.chunks(7_001) {
        let memory = gst::Memory::from_slice(piece.to_vec());
        whole
            .get_mut()
            .expect("nobody else has it")
            .append_memory(memory);
    }
    let feed: gst_app::AppSrc = server.pipeline.element("feed");
    feed.push_buffer(whole).expect("it plays");
    assert_eq!(next_number(&mut viewer), 0);
}

#[test]
fn pictures_of_every_size() {
    const SIZES: [usize; 7] = [400, 65_536, 401, 1_000_000, 402, 10_000_000, 403];
    let server = ServerFixture::with_appsrc("").play();
    let mut viewers = [server.viewer(), server.small_viewer()];
    for (number, size) in SIZES.into_iter().enumerate() {
        server.push_sized(number, size);
        for viewer in &mut viewers {
            let jpeg = viewer.next().expect("a picture");
            assert!(jpeg == picture(number, size), "{size} bytes");
        }
    }
}
