// SPDX-License-Identifier: MPL-2.0

//! The bytes on the wire equal those of `b64jpegpay`.

use b64jpeg_wire::jpeg::JpegInfo;

use super::{
    numbered_pictures::{SMALL, picture, recording},
    server_fixture::{ServerFixture, buffer, next_number, recording_source, remaining_numbers},
};
use crate::common::{
    pipeline::Pipeline,
    viewer::Viewer,
    wire::{FRAMINGS, Framing, now},
};

#[test]
fn server_writes_what_payloader_writes_in_every_framing() {
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

/// The JPEG without its first comment segment, and the capture time in that segment.
#[track_caller]
fn unstamp(jpeg: &[u8]) -> (Vec<u8>, u64) {
    let time = JpegInfo::of(jpeg).capture_time.expect("a stamp");
    let len = usize::from(u16::from_be_bytes([jpeg[4], jpeg[5]]));
    ([&jpeg[..2], &jpeg[4 + len..]].concat(), time)
}

#[test]
fn capture_time_changes_nothing_else_in_jpeg() {
    let server = ServerFixture::with_appsrc("capture-time=true").play();
    let mut viewer = server.viewer();
    for number in 0..10 {
        let before = now();
        server.push(number..number + 1);
        let (jpeg, time) = unstamp(&viewer.next().expect("a picture"));
        assert_eq!(jpeg, picture(number, SMALL));
        // No capture time lies in the future.
        assert!(time <= now(), "{time}");
        if number == 0 {
            assert!(time + 3_600_000_000_000 > before, "{time}");
        }
    }
    // A capture time from the source is kept.
    let mut buffer = buffer(10, picture(10, SMALL));
    let known = gst::ClockTime::from_nseconds(1_234_567_890_123_456_789);
    gst::ReferenceTimestampMeta::add(
        buffer.get_mut().expect("the only reference"),
        &gst::Caps::new_empty_simple("timestamp/x-unix"),
        known,
        gst::ClockTime::NONE,
    );
    server.push_buffer(buffer);
    let (jpeg, time) = unstamp(&viewer.next().expect("a picture"));
    assert_eq!((jpeg, time), (picture(10, SMALL), known.nseconds()));
}

#[test]
fn jpeg_is_unchanged_without_capture_time() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    server.push(0..1);
    let jpeg = viewer.next().expect("a picture");
    assert_eq!(JpegInfo::of(&jpeg).capture_time, None);
    assert_eq!(jpeg, picture(0, SMALL));
}

#[test]
fn non_jpeg_is_dropped_with_warning() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    let bad: [&[u8]; 4] = [b"", b"\x89PNG\r\n\x1a\n", b"no picture", b"\xff\xd8"];
    for (number, bad) in bad.iter().enumerate() {
        server.push(number..number + 1);
        assert_eq!(next_number(&mut viewer), number);
        server.push_buffer(buffer(number, bad.to_vec()));
    }
    server.push(4..5);
    assert_eq!(next_number(&mut viewer), 4);
    server.push_eos();
    assert_eq!(remaining_numbers(viewer), [0; 0]);
    let (warnings, error) = server.pipeline.wait();
    assert_eq!(error, None);
    assert_eq!(warnings.len(), bad.len(), "{warnings:#?}");
    for (i, warning) in warnings.iter().enumerate() {
        // The number counts the input frames.
        let number = format!("Picture {} ", 2 * i + 1);
        assert!(warning.contains(&number), "no {number:?} in {warning}");
    }
    assert_eq!(server.stat("frames"), 5);
    assert_eq!(server.stat("errors"), bad.len() as u64);
}

/// A buffer that is not a JPEG is not sent to the first client and does not end the wait.
#[test]
fn non_jpeg_while_waiting_is_dropped() {
    let server = ServerFixture::with_appsrc("wait-for-client=true").play();
    server.push_buffer(buffer(0, b"no picture".to_vec()));
    server.push(1..3);
    let mut viewer = server.viewer();
    assert_eq!(next_number(&mut viewer), 1);
    assert_eq!(next_number(&mut viewer), 2);
}

#[test]
fn buffer_of_several_memories_is_sent_whole() {
    let server = ServerFixture::with_appsrc("").play();
    let mut viewer = server.viewer();
    let jpeg = picture(0, 50_000);
    let mut whole = buffer(0, vec![]);
    for piece in jpeg.chunks(7_001) {
        let memory = gst::Memory::from_slice(piece.to_vec());
        whole
            .get_mut()
            .expect("the only reference")
            .append_memory(memory);
    }
    server.push_buffer(whole);
    assert_eq!(next_number(&mut viewer), 0);
}

#[test]
fn jpeg_of_any_size_is_sent() {
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
