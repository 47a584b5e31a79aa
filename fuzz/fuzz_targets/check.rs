// SPDX-License-Identifier: MPL-2.0

//! `jpegcheck`: any buffers with any times, and events between them. The outputs have to be JPEGs
//! within the limits, with plausible capture times.

#![no_main]

use gst_plugin_b64jpeg_fuzz::{
    LIMITS,
    elements::{Player, pieces, script},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (stream, script) = script(data);
    let stamping = script.first().is_some_and(|step| step % 2 == 0);
    let mut player = Player::new(
        "jpegcheck",
        &[
            ("max-pixels", LIMITS.max_pixels.to_string()),
            ("capture-time", stamping.to_string()),
            ("origin", if stamping { "fuzz" } else { "" }.into()),
            ("origin-timeout", "0".into()),
        ],
    );
    player.segment(false);
    let unix = gst::Caps::new_empty_simple("timestamp/x-unix");
    for (piece, step) in pieces(stream, script) {
        // A JPEG and, perhaps, the times of its buffer and of its meta.
        let (jpeg, times) =
            piece.split_at(piece.len() - piece.len().min(16 * usize::from(step % 2)));
        let mut buffer = gst::Buffer::from_slice(jpeg.to_vec());
        if let Some((pts, meta)) = times.split_first_chunk::<8>()
            && let Some(meta) = meta.first_chunk()
        {
            let time = |bytes: &[u8; 8]| {
                let none = gst::ClockTime::MAX.nseconds();
                gst::ClockTime::from_nseconds(u64::from_le_bytes(*bytes).min(none))
            };
            let output = buffer.get_mut().expect("the only reference");
            output.set_pts(time(pts));
            gst::ReferenceTimestampMeta::add(output, &unix, time(meta), None);
        }
        // The element passes on the times that others wrote. Only its own are checked.
        let has_times = !times.is_empty();
        let flow = player.push(buffer);
        player.check_messages();
        if has_times {
            player.outputs();
        } else {
            player.check_pictures(&LIMITS);
        }
        if flow.is_err() {
            break;
        }
        player.push_event_number(step);
    }
    player.check_messages();
});
