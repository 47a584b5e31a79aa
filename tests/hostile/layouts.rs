// SPDX-License-Identifier: MPL-2.0

//! Raw frames whose memory is shorter than their caps or their `GstVideoMeta` claim.

use gst_check::Harness;
use gst_video::{VideoFormat, VideoFrameFlags, VideoInfo, VideoMeta};

use crate::common;

const WIDTH: u32 = 64;
const HEIGHT: u32 = 48;

/// A valid frame whose rows are `more` bytes longer and whose buffer is cut to `keep` bytes.
struct Layout {
    more: i32,
    /// Number of bytes to keep.
    keep: fn(whole: usize, last_row: usize) -> usize,
}

/// Converts a frame with this layout; returns whether there was an output.
#[track_caller]
fn convert(format: VideoFormat, layout: &Layout) -> bool {
    common::init();
    let element = gst::ElementFactory::make("jfifconvert").build();
    let element = element.expect("jfifconvert");
    let bus = gst::Bus::new();
    gst::prelude::ElementExt::set_bus(&element, Some(&bus));
    let mut harness = Harness::with_element(&element, Some("sink"), Some("src"));
    harness.set_src_caps_str(&format!(
        "video/x-raw,format={},width={WIDTH},height={HEIGHT},framerate=25/1,colorimetry=bt709",
        format.to_str()
    ));
    let info = VideoInfo::builder(format, WIDTH, HEIGHT).build();
    let info = info.expect("a format");
    let strides: Vec<_> = info
        .stride()
        .iter()
        .map(|stride| stride + layout.more)
        .collect();
    let mut end = 0;
    let mut last_row = 0;
    let offsets: Vec<_> = (0..info.n_planes())
        .map(|plane| {
            let stride = strides[plane as usize] as usize;
            let rows = info.comp_height(plane.min(info.n_components() - 1) as u8) as usize;
            last_row = stride;
            let start = end;
            end += stride * rows;
            start
        })
        .collect();
    let mut buffer = gst::Buffer::from_mut_slice(vec![128; end]);
    let output = buffer.get_mut().expect("the only reference");
    VideoMeta::add_full(
        output,
        VideoFrameFlags::empty(),
        format,
        WIDTH,
        HEIGHT,
        &offsets,
        &strides,
    )
    .expect("a layout");
    output.set_size((layout.keep)(end, last_row));
    let passed = harness.push(buffer).is_ok();
    let error = bus.pop_filtered(&[gst::MessageType::Error]);
    assert_eq!(error.is_none(), passed, "{format:?}: {error:?}");
    harness.try_pull().is_some()
}

/// Planar, semi-planar and packed formats, and some that another converter handles.
const FORMATS: [VideoFormat; 7] = [
    VideoFormat::I420,
    VideoFormat::Nv12,
    VideoFormat::Yuy2,
    VideoFormat::Y444,
    VideoFormat::Rgb,
    VideoFormat::Xrgb,
    VideoFormat::Gray8,
];

#[test]
fn buffer_shorter_than_its_layout_is_an_error() {
    for format in FORMATS {
        for more in [0, 64, 4096] {
            let mut layout = Layout {
                more,
                keep: |whole, _| whole,
            };
            assert!(convert(format, &layout), "{format:?} {more}");
            layout.keep = |whole, last_row| whole - last_row;
            assert!(!convert(format, &layout), "{format:?} {more}");
            layout.keep = |_, _| 1;
            assert!(!convert(format, &layout), "{format:?} {more}");
        }
    }
}

/// The last row may end with the last sample.
#[test]
fn buffer_without_the_padding_of_its_last_row_is_converted() {
    for format in FORMATS {
        let layout = Layout {
            more: 64,
            keep: |whole, _| whole - 64,
        };
        assert!(convert(format, &layout), "{format:?}");
    }
}
