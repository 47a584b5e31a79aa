// SPDX-License-Identifier: MPL-2.0

//! `jfifconvert`: caps of every format, with odd sizes, colours and layouts, and buffers that may
//! be shorter than their caps require. The outputs have to be as long as their caps require.

#![no_main]

use gst_plugin_b64jpeg_fuzz::elements::Player;
use gst_video::{VideoFormat, VideoInfo, VideoMeta};
use libfuzzer_sys::fuzz_target;

const FORMATS: [&str; 17] = [
    "I420",
    "YV12",
    "NV12",
    "NV21",
    "Y42B",
    "YUY2",
    "UYVY",
    "Y444",
    "RGB",
    "BGR",
    "RGBx",
    "BGRx",
    "xRGB",
    "xBGR",
    "GRAY8",
    "RGBA",
    "P010_10LE",
];
const COLORIMETRIES: [&str; 8] = [
    "bt601",
    "bt709",
    "smpte240m",
    "bt2020",
    "1:4:0:0",
    "0:0:0:0",
    "2:1:7:1",
    "99:99:99:99",
];
const SITES: [&str; 5] = ["jpeg", "mpeg2", "cosited", "v-cosited", "none"];
const INTERLACED: [&str; 4] = ["progressive", "interleaved", "mixed", "fields"];

fuzz_target!(|data: &[u8]| {
    let Some((choices, pixels)) = data.split_first_chunk::<12>() else {
        return;
    };
    let [
        format,
        width,
        height,
        colours,
        site,
        fields,
        flags,
        s0,
        s1,
        s2,
        offset,
        cut,
    ] = choices.map(usize::from);
    let shift = (flags & 1 == 0).to_string();
    let mut player = Player::new("jfifconvert", &[("shift-chroma", shift)]);
    let format = FORMATS[format % FORMATS.len()];
    let (width, height) = (1 + width % 64, 1 + height % 64);
    let mut caps = gst::Caps::builder("video/x-raw")
        .field("format", format)
        .field("width", width as i32)
        .field("height", height as i32)
        .field("framerate", gst::Fraction::new(25, 1));
    if flags & 2 != 0 {
        caps = caps.field("colorimetry", COLORIMETRIES[colours % COLORIMETRIES.len()]);
    }
    if flags & 4 != 0 {
        caps = caps.field("chroma-site", SITES[site % SITES.len()]);
    }
    if flags & 8 != 0 {
        caps = caps.field("interlace-mode", INTERLACED[fields % INTERLACED.len()]);
    }
    player.caps(&caps.build());
    player.segment(false);

    let Ok(info) = format
        .parse::<VideoFormat>()
        .map_err(drop)
        .and_then(|format| {
            VideoInfo::builder(format, width as u32, height as u32)
                .build()
                .map_err(drop)
        })
    else {
        return;
    };
    // Long enough for the format, even with longer rows.
    let mut memory = vec![0; info.size() + 4 * 256 * 64];
    for (to, from) in memory.iter_mut().zip(pixels.iter().cycle()) {
        *to = *from;
    }
    let mut buffer = gst::Buffer::from_mut_slice(memory);
    let output = buffer.get_mut().expect("the only reference");
    if flags & 16 != 0 {
        let planes = info.n_planes() as usize;
        let more = [s0, s1, s2];
        let strides: Vec<_> = (0..planes)
            .map(|plane| info.stride()[plane] + more[plane.min(2)] as i32)
            .collect();
        let mut next = offset;
        let offsets: Vec<_> = strides
            .iter()
            .map(|stride| {
                let start = next;
                next += *stride as usize * height;
                start
            })
            .collect();
        let meta = VideoMeta::add_full(
            output,
            gst_video::VideoFrameFlags::empty(),
            info.format(),
            width as u32,
            height as u32,
            &offsets,
            &strides,
        );
        drop(meta);
    }
    if flags & 32 != 0 {
        output.set_size(info.size() * cut / 256);
    } else if flags & 16 == 0 {
        output.set_size(info.size());
    }
    let input = buffer.as_ptr();
    let _ = player.push(buffer);
    player.check_messages();
    for output in player.outputs() {
        if output.as_ptr() == input {
            // A buffer with the right colours is passed on unchanged.
            continue;
        }
        let map = output.map_readable().expect("readable memory");
        assert!(map.len() >= width * height);
    }
    player.check_messages();
});
