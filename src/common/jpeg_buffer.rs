// SPDX-License-Identifier: MPL-2.0

//! Buffers and caps of the JPEGs that a receiver outputs.

use b64jpeg_wire::{FrameLimits, Payload, WireError, jpeg};
use once_cell::sync::Lazy;

/// Caps of the pad that outputs them.
pub static CAPS: Lazy<gst::Caps> = Lazy::new(|| {
    // With fixed caps autopluggers would not wait for the caps of the stream.
    let side = gst::IntRange::new(1, i32::from(u16::MAX));
    let jpeg = || gst::Structure::builder("image/jpeg").field("parsed", true);
    let sized = jpeg().field("width", side).field("height", side);
    gst::Caps::builder_full()
        .structure(sized.build())
        .structure(jpeg().build())
        .build()
});

/// Caps of JPEGs with this width, height and frame rate, as far as they are known.
pub fn caps(size: Option<(u16, u16)>, framerate: Option<gst::Fraction>) -> gst::Caps {
    let (width, height) = size.map(|(w, h)| (i32::from(w), i32::from(h))).unzip();
    gst::Caps::builder("image/jpeg")
        .field("parsed", true)
        .field_if_some("width", width)
        .field_if_some("height", height)
        .field_if_some("framerate", framerate)
        .build()
}

/// Decodes `payload` to a buffer with the JPEG, and parses its header.
///
/// # Errors
///
/// [`WireError::Base64`], and those of [`jpeg::JpegInfo::received`].
pub fn decode(
    kind: Payload,
    payload: &[u8],
    limits: &FrameLimits,
) -> Result<(gst::Buffer, jpeg::JpegInfo), WireError> {
    let mut buffer = gst::Buffer::with_size(kind.decoded_capacity(payload.len()))
        .expect("GStreamer aborts when memory runs out");
    let output = buffer
        .get_mut()
        .expect("the buffer is new, so it is not shared");
    let (len, info) = {
        let mut bytes = output.map_writable().expect("system memory is writable");
        let len = kind.decode(payload, &mut bytes)?;
        (len, jpeg::JpegInfo::received(&bytes[..len], limits)?)
    };
    output.set_size(len);
    Ok((buffer, info))
}

/// A copy of the picture that begins with [`stamps`](jpeg::stamps) in place of its SOI. It
/// shares the memory of the rest.
pub fn stamped(picture: &gst::BufferRef, stamps: Vec<u8>) -> gst::Buffer {
    use gst::BufferCopyFlags as Copy;
    let mut buffer = picture
        .copy_region(Copy::FLAGS | Copy::META | Copy::MEMORY, 2..)
        .expect("a picture is longer than its SOI");
    let output = buffer
        .get_mut()
        .expect("the buffer is new, so it is not shared");
    output.prepend_memory(gst::Memory::from_slice(stamps));
    output.set_pts(picture.pts());
    output.set_dts(picture.dts());
    output.set_duration(picture.duration());
    buffer
}
