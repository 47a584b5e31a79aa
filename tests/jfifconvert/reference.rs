// SPDX-License-Identifier: MPL-2.0

//! Pictures, and the exact values to which `jfifconvert` should convert them.

use gst_video::{VideoFrame, VideoInfo, prelude::*};

pub const INPUT: [&str; 15] = [
    "I420", "YV12", "NV12", "NV21", "Y42B", "YUY2", "UYVY", "Y444", "RGB", "BGR", "RGBx", "BGRx",
    "xRGB", "xBGR", "GRAY8",
];

pub const OUTPUT: [&str; 3] = ["I420", "Y42B", "Y444"];

/// GStreamer's number of each matrix, with its weights of red and blue.
pub const MATRICES: [(u32, f64, f64); 5] = [
    (2, 0.30, 0.11),
    (3, 0.2126, 0.0722),
    (4, 0.299, 0.114),
    (5, 0.212, 0.087),
    (6, 0.2627, 0.0593),
];

pub const BT601: (f64, f64) = (0.299, 0.114);

pub const BT709: (f64, f64) = (0.2126, 0.0722);

pub const FULL: bool = true;

pub const LIMITED: bool = false;

/// Pseudo-random bytes, the same in every run.
pub fn random(seed: u32) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    }
}

/// The samples of one component.
#[derive(Clone)]
pub struct Component {
    pub width: usize,
    pub height: usize,
    pub samples: Vec<u8>,
}

impl Component {
    pub fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.width..][..self.width]
    }

    /// Every second row: one field of an interlaced picture.
    pub fn field(&self, first: usize) -> Self {
        let rows: Vec<_> = (first..self.height).step_by(2).collect();
        Self {
            width: self.width,
            height: rows.len(),
            samples: rows.iter().flat_map(|&y| self.row(y)).copied().collect(),
        }
    }

    /// Value at a point, interpolated linearly. Outside, the nearest sample counts.
    pub fn at(&self, x: f64, y: f64) -> f64 {
        let (x, y) = (
            x.clamp(0.0, self.width as f64 - 1.0),
            y.clamp(0.0, self.height as f64 - 1.0),
        );
        let across = |y: usize| {
            let row = self.row(y);
            let (left, part) = (x.floor() as usize, x.fract());
            let right = row[(left + 1).min(self.width - 1)];
            f64::from(row[left]) * (1.0 - part) + f64::from(right) * part
        };
        let (top, part) = (y.floor() as usize, y.fract());
        across(top) * (1.0 - part) + across((top + 1).min(self.height - 1)) * part
    }
}

/// A picture as its one or three components.
#[derive(Clone)]
pub struct Picture(pub Vec<Component>);

impl Picture {
    pub fn random(info: &VideoInfo, seed: u32) -> Self {
        let mut next = random(seed);
        let component = |index| {
            let (width, height) = (
                info.comp_width(index) as usize,
                info.comp_height(index) as usize,
            );
            Component {
                width,
                height,
                samples: (0..width * height).map(|_| next()).collect(),
            }
        };
        Self((0..info.n_components() as u8).map(component).collect())
    }

    pub fn each(info: &VideoInfo, samples: [u8; 3]) -> Self {
        let mut picture = Self::random(info, 0);
        for (component, sample) in picture.0.iter_mut().zip(samples) {
            component.samples.fill(sample);
        }
        picture
    }

    /// The picture in a buffer, with noise between the samples.
    pub fn buffer(&self, info: &VideoInfo) -> gst::Buffer {
        let mut next = random(99);
        let noise: Vec<u8> = (0..info.size()).map(|_| next()).collect();
        let mut buffer = gst::Buffer::from_mut_slice(noise);
        if info.stride() != self.default(info).stride() {
            gst_video::VideoMeta::add_full(
                buffer.get_mut().unwrap(),
                gst_video::VideoFrameFlags::empty(),
                info.format(),
                info.width(),
                info.height(),
                info.offset(),
                info.stride(),
            )
            .expect("a layout");
        }
        let mut frame = VideoFrame::from_buffer_writable(buffer, info).expect("a frame");
        for (index, component) in self.0.iter().enumerate() {
            let step = info.comp_pstride(index as u8) as usize;
            let stride = frame.comp_stride(index as u32) as usize;
            let data = frame.comp_data_mut(index as u32).expect("a component");
            for y in 0..component.height {
                for (x, sample) in component.row(y).iter().enumerate() {
                    data[y * stride + x * step] = *sample;
                }
            }
        }
        frame.into_buffer()
    }

    pub fn default(&self, info: &VideoInfo) -> VideoInfo {
        let plain = VideoInfo::builder(info.format(), info.width(), info.height());
        plain.build().expect("a layout")
    }

    pub fn read(buffer: &gst::BufferRef, info: &VideoInfo) -> Self {
        let frame = gst_video::VideoFrameRef::from_buffer_ref_readable(buffer, info);
        let frame = frame.expect("a frame");
        let component = |index| {
            let (width, height) = (frame.comp_width(index) as usize, frame.comp_height(index));
            let stride = frame.comp_stride(index) as usize;
            let data = frame.comp_data(index).expect("a component");
            Component {
                width,
                height: height as usize,
                samples: data
                    .chunks(stride)
                    .flat_map(|row| &row[..width])
                    .copied()
                    .collect(),
            }
        };
        Self((0..frame.n_components()).map(component).collect())
    }

    pub fn field(&self, first: usize) -> Self {
        Self(
            self.0
                .iter()
                .map(|component| component.field(first))
                .collect(),
        )
    }
}

/// How to interpret the samples of an input picture.
#[derive(Clone, Copy)]
pub struct Interpretation {
    pub rgb: bool,
    pub full: bool,
    pub weights: (f64, f64),
    /// Whether chroma samples are co-sited with the first luma sample, across and down.
    pub on: (bool, bool),
}

impl Interpretation {
    pub fn new(format: &str, full: bool, weights: (f64, f64)) -> Self {
        let rgb = ![
            "I420", "YV12", "NV12", "NV21", "Y42B", "YUY2", "UYVY", "Y444", "GRAY8",
        ]
        .contains(&format);
        Self {
            rgb,
            full,
            weights,
            on: (false, false),
        }
    }

    /// Exact value of a JFIF component at a point of the luma grid.
    pub fn exact(&self, from: &Picture, component: usize, x: f64, y: f64) -> f64 {
        let luma = &from.0[0];
        let (black, white) = if self.full {
            (0.0, 255.0)
        } else {
            (16.0, 235.0)
        };
        let luma_like = |component: &Component| (component.at(x, y) - black) / (white - black);
        let [r, g, b] = match &from.0[..] {
            [grey] => [luma_like(grey); 3],
            [r, g, b] if self.rgb => [r, g, b].map(luma_like),
            [_, cb, cr] => {
                let place = |len: usize, of: usize, on: bool, at: f64| match (
                    of > 1 && len == of.div_ceil(2),
                    on,
                ) {
                    (false, _) => at,
                    (true, true) => at / 2.0,
                    (true, false) => (at - 0.5) / 2.0,
                };
                let chroma = |c: &Component| {
                    let x = place(c.width, luma.width, self.on.0, x);
                    let y = place(c.height, luma.height, self.on.1, y);
                    (c.at(x, y) - 128.0) / if self.full { 255.0 } else { 224.0 }
                };
                let (y, cb, cr) = (luma_like(luma), chroma(cb), chroma(cr));
                let (kr, kb) = self.weights;
                let (r, b) = (y + 2.0 * (1.0 - kr) * cr, y + 2.0 * (1.0 - kb) * cb);
                [r, (y - kr * r - kb * b) / (1.0 - kr - kb), b]
            }
            _ => unreachable!("one or three components"),
        };
        let y = 0.299 * r + 0.587 * g + 0.114 * b;
        let value = match component {
            0 => y * 255.0,
            1 => (b - y) / 1.772 * 255.0 + 128.0,
            _ => (r - y) / 1.402 * 255.0 + 128.0,
        };
        value.clamp(0.0, 255.0)
    }

    /// Compares each `every`th sample of the output with its exact value.
    #[track_caller]
    pub fn check(&self, from: &Picture, to: &Picture, every: usize, what: &str) {
        let luma = &to.0[0];
        for (index, plane) in to.0.iter().enumerate() {
            let (mut sum, mut count) = (0.0, 0);
            // A sample of a subsampled plane lies in the middle of the luma samples it covers.
            let place = |of: usize, luma: usize, i: usize| {
                let halved = index > 0 && luma > 1 && of == luma.div_ceil(2);
                if halved {
                    2.0 * i as f64 + 0.5
                } else {
                    i as f64
                }
            };
            for at in (0..plane.samples.len()).step_by(every) {
                let (x, y) = (at % plane.width, at / plane.width);
                let exact = self.exact(
                    from,
                    index,
                    place(plane.width, luma.width, x),
                    place(plane.height, luma.height, y),
                );
                let off = (f64::from(plane.samples[at]) - exact).abs();
                assert!(
                    off <= 1.0,
                    "{what}: component {index} at {x}, {y} is {}, not {exact}",
                    plane.samples[at]
                );
                sum += off;
                count += 1;
            }
            let mean = sum / f64::from(count);
            assert!(
                count < 200 || mean < 0.3,
                "{what}: component {index} is off by {mean}"
            );
        }
    }
}
