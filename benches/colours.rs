// SPDX-License-Identifier: MPL-2.0

//! `jfifconvert` compared with `videoconvert` and the `yuv` crate, on the same frame in the same
//! run, with one thread each.
//!
//! `identity` measures the overhead of the harness; `yuv crate` converts by way of RGB, without a
//! harness. `videoconvert` converts to the matrix of FCC, which is nearly that of BT.601: for
//! BT.601 itself GStreamer 1.22 only relabels limited-range input and converts no sample.
//!
//! `cargo bench --bench colours [-- PART OF A NAME]`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use gst_check::Harness;
use yuv::{
    YuvChromaSubsampling, YuvConversionMode, YuvPlanarImage, YuvPlanarImageMut, YuvRange,
    YuvStandardMatrix,
};

const FRAMES: [(&str, u32, u32, &str); 7] = [
    ("I420", 1280, 720, "bt709"),
    ("I420", 800, 450, "bt709"),
    ("NV12", 1280, 720, "bt709"),
    ("YUY2", 640, 480, "bt601"),
    ("RGB", 1280, 720, "sRGB"),
    ("BGRx", 1920, 1080, "sRGB"),
    ("xRGB", 1920, 1080, "sRGB"),
];

const ELEMENTS: [(&str, &str); 3] = [
    ("identity", "video/x-raw"),
    (
        "videoconvert",
        "video/x-raw,format=I420,colorimetry=1:2:0:0",
    ),
    ("jfifconvert", "video/x-raw,format=I420"),
];

/// Pseudo-random bytes, the same in every run.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    };
    (0..len).map(|_| byte()).collect()
}

fn elements(c: &mut Criterion) {
    gst::init().expect("GStreamer starts");
    gstb64jpeg::plugin_register_static().expect("our plugin registers");
    let mut group = c.benchmark_group("to I420 of JFIF");
    for (format, width, height, colorimetry) in FRAMES {
        let caps = format!(
            "video/x-raw,format={format},width={width},height={height},\
             colorimetry={colorimetry},framerate=25/1"
        );
        let caps: gst::Caps = caps.parse().expect("caps");
        let info = gst_video::VideoInfo::from_caps(&caps).expect("video caps");
        let frame = gst::Buffer::from_slice(noise(info.size()));
        group.throughput(Throughput::Elements(u64::from(width * height)));
        for (name, to) in ELEMENTS {
            let id = BenchmarkId::new(name, format!("{format} {width}x{height} {colorimetry}"));
            group.bench_function(id, |b| {
                let mut harness = Harness::new(name);
                harness.set_sink_caps_str(to);
                harness.set_src_caps(caps.clone());
                b.iter(|| harness.push_and_pull(frame.clone()).expect("a picture"));
            });
        }
    }
    group.finish();
}

fn yuv_crate_by_way_of_rgb(c: &mut Criterion) {
    let mut group = c.benchmark_group("to I420 of JFIF");
    for (format, width, height, colorimetry) in FRAMES {
        if format != "I420" {
            continue;
        }
        let (w, h) = (width as usize, height as usize);
        let (y, u, v) = (noise(w * h), noise(w * h / 4), noise(w * h / 4));
        let from = YuvPlanarImage {
            y_plane: &y,
            y_stride: width,
            u_plane: &u,
            u_stride: width / 2,
            v_plane: &v,
            v_stride: width / 2,
            width,
            height,
        };
        let mut rgb = vec![0; 3 * w * h];
        let mut to = YuvPlanarImageMut::alloc(width, height, YuvChromaSubsampling::Yuv420);
        let id = BenchmarkId::new(
            "yuv crate",
            format!("{format} {width}x{height} {colorimetry}"),
        );
        group.throughput(Throughput::Elements(u64::from(width * height)));
        group.bench_function(id, |b| {
            b.iter(|| {
                let (limited, bt709) = (YuvRange::Limited, YuvStandardMatrix::Bt709);
                yuv::yuv420_to_rgb(&from, &mut rgb, 3 * width, limited, bt709)?;
                let (full, bt601) = (YuvRange::Full, YuvStandardMatrix::Bt601);
                let mode = YuvConversionMode::Professional;
                yuv::rgb_to_yuv420(&mut to, &rgb, 3 * width, full, bt601, mode)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, elements, yuv_crate_by_way_of_rgb);
criterion_main!(benches);
