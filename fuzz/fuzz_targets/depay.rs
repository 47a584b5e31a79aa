// SPDX-License-Identifier: MPL-2.0

//! `b64jpegdepay`: any bytes in any pieces, and events between them. The outputs have to be JPEGs
//! within the limits.

#![no_main]

use gst_plugin_b64jpeg_fuzz::{
    LIMITS,
    elements::{Player, pieces, script},
    split,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (stream, script) = script(data);
    let Some((accept, stream)) = split(stream) else {
        return;
    };
    let mut properties = vec![
        ("max-frame-size", LIMITS.max_frame.to_string()),
        ("max-pixels", LIMITS.max_pixels.to_string()),
        ("max-errors", "-1".into()),
    ];
    properties.extend(
        accept
            .header
            .map(|header| ("header", header.as_str().into())),
    );
    properties.extend(
        accept
            .payload
            .map(|payload| ("payload", payload.as_str().into())),
    );
    let mut player = Player::new("b64jpegdepay", &properties);
    player.segment(script.first().is_some_and(|step| step % 2 == 0));
    for (piece, step) in pieces(stream, script) {
        let flow = player.push(gst::Buffer::from_slice(piece.to_vec()));
        player.check_messages();
        player.check_pictures(&LIMITS);
        if flow.is_err() {
            break;
        }
        player.push_event_number(step);
    }
    player.event(gst::event::Eos::new());
    player.check_pictures(&LIMITS);
    player.check_messages();
});
