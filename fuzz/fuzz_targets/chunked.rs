// SPDX-License-Identifier: MPL-2.0

//! A stream has the same frames and errors whole, byte by byte, and in pieces of some length.

#![no_main]

use gst_plugin_b64jpeg_fuzz::{receive, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((accept, stream)) = split(data) else {
        return;
    };
    let whole = receive(accept, stream, &[usize::MAX]);
    assert_eq!(receive(accept, stream, &[1]), whole);
    let len = 1 + usize::from(data[0]);
    assert_eq!(receive(accept, stream, &[len, 5, 1]), whole);
});
