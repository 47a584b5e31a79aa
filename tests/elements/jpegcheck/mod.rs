// SPDX-License-Identifier: MPL-2.0

//! `jpegcheck`.

mod comments;
mod events;
mod filtering;
mod origins;

use crate::common::pipeline::{Pipeline, key_press};
use crate::elements::{
    scenario::{Output, Scenario, text},
    wire::{
        assert_same, bytes, capture_time, decode, encode, now, odd_pictures, pictures, stamped,
        with_comment,
    },
};
use gst::prelude::*;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

fn buffer(jpeg: &[u8]) -> gst::Buffer {
    gst::Buffer::from_slice(jpeg.to_vec())
}

/// A JPEG with an origin in a comment segment.
fn of(origin: &str, jpeg: &[u8]) -> Vec<u8> {
    with_comment(jpeg, format!("b64jpeg origin={origin}"))
}

fn jpeg_caps(width: i32, height: i32) -> gst::Caps {
    gst::Caps::builder("image/jpeg")
        .field("parsed", true)
        .field("width", width)
        .field("height", height)
        .build()
}
