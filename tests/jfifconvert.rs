// SPDX-License-Identifier: MPL-2.0

//! `jfifconvert`, against the exact values in f64.

mod common;

use common::{
    element_fixture::expect_parts,
    pipeline::{Pipeline, scratch, text},
};
use gst::prelude::*;
use gst_check::Harness;
use gst_video::{VideoFrame, VideoInfo, prelude::*};

const INPUT: [&str; 15] = [
    "I420", "YV12", "NV12", "NV21", "Y42B", "YUY2", "UYVY", "Y444", "RGB", "BGR", "RGBx", "BGRx",
    "xRGB", "xBGR", "GRAY8",
];
const OUTPUT: [&str; 3] = ["I420", "Y42B", "Y444"];
/// GStreamer's numbers, and the weights of red and blue.
const MATRICES: [(u32, f64, f64); 5] = [
    (2, 0.30, 0.11),
    (3, 0.2126, 0.0722),
    (4, 0.299, 0.114),
    (5, 0.212, 0.087),
    (6, 0.2627, 0.0593),
];
const BT601: (f64, f64) = (0.299, 0.114);
const BT709: (f64, f64) = (0.2126, 0.0722);
const FULL: bool = true;
const LIMITED: bool = false;

/// Bytes that look like chance and are the same each time.
fn random(seed: u32) -> impl FnMut() -> u8 {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 11) as u8
    }
}

fn caps(format: &str, (width, height): (u32, u32), more: &str) -> gst::Caps {
    common::init();
    let text =
        format!("video/x-raw,format={format},width={width},height={height},framerate=25/1{more}");
    text.parse().expect("caps")
}

fn info(caps: &gst::Caps) -> VideoInfo {
    VideoInfo::from_caps(caps).expect("video caps")
}

/// The samples of one component.
#[derive(Clone)]
struct Component {
    width: usize,
    height: usize,
    samples: Vec<u8>,
}

impl Component {
    fn row(&self, y: usize) -> &[u8] {
        &self.samples[y * self.width..][..self.width]
    }

    /// Every second row.
    fn field(&self, first: usize) -> Self {
        let rows: Vec<_> = (first..self.height).step_by(2).collect();
        Self {
            width: self.width,
            height: rows.len(),
            samples: rows.iter().flat_map(|&y| self.row(y)).copied().collect(),
        }
    }

    /// What is there, interpolated linearly; beyond the edge is what is at the edge.
    fn at(&self, x: f64, y: f64) -> f64 {
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

/// A picture as its components, as many as it has.
#[derive(Clone)]
struct Picture(Vec<Component>);

impl Picture {
    fn random(info: &VideoInfo, seed: u32) -> Self {
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

    fn each(info: &VideoInfo, samples: [u8; 3]) -> Self {
        let mut picture = Self::random(info, 0);
        for (component, sample) in picture.0.iter_mut().zip(samples) {
            component.samples.fill(sample);
        }
        picture
    }

    /// In memory, with whatever lies between the samples.
    fn buffer(&self, info: &VideoInfo) -> gst::Buffer {
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

    fn default(&self, info: &VideoInfo) -> VideoInfo {
        let plain = VideoInfo::builder(info.format(), info.width(), info.height());
        plain.build().expect("a layout")
    }

    fn read(buffer: &gst::BufferRef, info: &VideoInfo) -> Self {
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

    fn field(&self, first: usize) -> Self {
        Self(
            self.0
                .iter()
                .map(|component| component.field(first))
                .collect(),
        )
    }
}

/// What the numbers of an input mean.
#[derive(Clone, Copy)]
struct Meaning {
    rgb: bool,
    full: bool,
    weights: (f64, f64),
    /// Chroma is on the first of the samples that it stands for, across and down.
    on: (bool, bool),
}

impl Meaning {
    fn new(format: &str, full: bool, weights: (f64, f64)) -> Self {
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

    /// The exact value of one component of JFIF at a place of the luma's grid.
    fn exact(&self, from: &Picture, component: usize, x: f64, y: f64) -> f64 {
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

    /// Compares each `every`th sample of what was made with what ought to have been.
    #[track_caller]
    fn check(&self, from: &Picture, to: &Picture, every: usize, what: &str) {
        let luma = &to.0[0];
        for (index, plane) in to.0.iter().enumerate() {
            let (mut sum, mut count) = (0.0, 0);
            // One sample of a subsampled plane is in the middle of those it stands for.
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

/// A `jfifconvert` and what it says.
struct Element {
    harness: Harness,
    bus: gst::Bus,
    from: gst::Caps,
}

impl Element {
    fn new() -> Self {
        common::init();
        let harness = Harness::new("jfifconvert");
        let bus = gst::Bus::new();
        harness.element().expect("an element").set_bus(Some(&bus));
        let from = gst::Caps::new_any();
        Self { harness, bus, from }
    }

    /// One that asks where chroma is.
    fn shifting() -> Self {
        let element = Self::new();
        let inner = element.harness.element().expect("an element");
        inner.set_property("shift-chroma", true);
        element
    }

    /// Between caps; `to` may leave open what it likes.
    fn between(from: &gst::Caps, to: &str) -> Self {
        let mut element = Self::new();
        element.harness.set_sink_caps_str(to);
        element.start(from);
        element
    }

    /// Announces pictures.
    fn start(&mut self, from: &gst::Caps) {
        self.from = from.clone();
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        self.harness
            .push_event(gst::event::StreamStart::new("test"));
        self.harness.push_event(gst::event::Caps::new(from));
        self.harness.push_event(gst::event::Segment::new(&segment));
    }

    /// Announces pictures between which and `to` nothing can be done.
    #[track_caller]
    fn refuses(from: &gst::Caps, to: &str) -> Self {
        let mut element = Self::between(from, to);
        let flow = element.harness.push(gst::Buffer::new());
        assert_eq!(flow, Err(gst::FlowError::NotNegotiated), "{from} to {to}");
        element
    }

    fn to(&self) -> gst::Caps {
        let pad = self.harness.element().unwrap().static_pad("src");
        pad.unwrap().current_caps().expect("caps")
    }

    fn convert(&mut self, buffer: gst::Buffer) -> gst::Buffer {
        assert_eq!(self.harness.push(buffer), Ok(gst::FlowSuccess::Ok));
        self.harness.pull().expect("a picture")
    }

    /// Converts a picture to what caps came out.
    fn picture(&mut self, from: &Picture) -> Picture {
        let buffer = self.convert(from.buffer(&info(&self.from)));
        Picture::read(&buffer, &info(&self.to()))
    }

    #[track_caller]
    fn expect_error(&self, parts: &[&str]) {
        let error = self.bus.pop_filtered(&[gst::MessageType::Error]);
        let error = text(&error.expect("an error")).expect("its text");
        expect_parts(&error, parts);
    }
}

#[test]
fn every_format_matrix_and_range() {
    for format in INPUT {
        for (number, kr, kb) in MATRICES {
            for full in [FULL, LIMITED] {
                let range = if full { 1 } else { 2 };
                let number = if Meaning::new(format, full, BT601).rgb {
                    1
                } else {
                    number
                };
                let from = caps(
                    format,
                    (50, 38),
                    &format!(",colorimetry={range}:{number}:0:0,chroma-site=jpeg"),
                );
                let picture = Picture::random(&info(&from), 3 + number);
                for output in OUTPUT {
                    let what = format!("{from} to {output}");
                    let mut element =
                        Element::between(&from, &format!("video/x-raw,format={output}"));
                    let meaning = Meaning::new(format, full, (kr, kb));
                    meaning.check(&picture, &element.picture(&picture), 1, &what);
                    let to = element.to();
                    let to = to.structure(0).unwrap();
                    assert_eq!(to.get("format"), Ok(output));
                    assert_eq!(to.get("colorimetry"), Ok("1:4:0:0"));
                    assert_eq!(to.get("chroma-site"), Ok("jpeg"));
                    assert_eq!(to.get("framerate"), Ok(gst::Fraction::new(25, 1)));
                }
            }
        }
    }
}

#[test]
fn every_size_and_site() {
    let sites = [
        ("jpeg", (false, false)),
        ("mpeg2", (true, false)),
        ("v-cosited", (false, true)),
        ("cosited", (true, true)),
    ];
    for format in INPUT {
        for size in [
            (1, 1),
            (1, 2),
            (2, 1),
            (3, 5),
            (2, 2),
            (17, 9),
            (66, 3),
            (129, 33),
        ] {
            for (site, on) in sites {
                // What no matrix was applied to has full range, if nothing else is said.
                let plain = Meaning::new(format, FULL, BT601).rgb || format == "GRAY8";
                let colorimetry = if plain { "" } else { ",colorimetry=bt601" };
                let from = caps(format, size, &format!(",chroma-site={site}{colorimetry}"));
                let picture = Picture::random(&info(&from), size.0);
                let meaning = Meaning {
                    on,
                    ..Meaning::new(format, plain, BT601)
                };
                for output in OUTPUT {
                    let to = format!("video/x-raw,format={output}");
                    let what = format!("{from} to {output}");
                    let mut element = Element::shifting();
                    element.harness.set_sink_caps_str(&to);
                    element.start(&from);
                    meaning.check(&picture, &element.picture(&picture), 1, &what);
                    // Nobody asks where it is.
                    let unasked = Meaning {
                        on: (false, false),
                        ..meaning
                    };
                    let made = Element::between(&from, &to).picture(&picture);
                    unasked.check(&picture, &made, 1, &what);
                }
            }
        }
    }
}

#[test]
fn black_white_and_grey() {
    let limited = [(16, 0), (235, 255), (126, 128), (0, 0), (255, 255)];
    let full = [(0, 0), (255, 255), (128, 128), (1, 1), (254, 254)];
    for (range, levels) in [(2, limited), (1, full)] {
        for (number, ..) in MATRICES {
            for format in ["I420", "NV12", "YUY2", "Y444", "GRAY8"] {
                let more = format!(",colorimetry={range}:{number}:0:0,chroma-site=mpeg2");
                let from = caps(format, (6, 4), &more);
                let mut element = Element::between(&from, "video/x-raw");
                for (level, grey) in levels {
                    let picture = Picture::each(&info(&from), [level, 128, 128]);
                    let planes = element.picture(&picture).0;
                    let is = |plane: &Component, sample| plane.samples.iter().all(|&s| s == sample);
                    assert!(
                        is(&planes[0], grey),
                        "{from} {level}: {:?}",
                        planes[0].samples
                    );
                    assert!(is(&planes[1], 128) && is(&planes[2], 128), "{from} {level}");
                }
            }
        }
    }
}

/// Memory as hardware lays it out, with noise between the rows.
#[test]
fn strides() {
    for format in INPUT {
        let from = caps(format, (37, 11), ",chroma-site=jpeg");
        let plain = info(&from);
        let picture = Picture::random(&plain, 7);
        let full = plain.colorimetry().range() == gst_video::VideoColorRange::Range0_255;
        let meaning = Meaning::new(format, full, BT601);

        let mut wide = plain.clone();
        let mut align = gst_video::VideoAlignment::new(3, 5, 7, 9, &[31; 4]);
        wide.align(&mut align).expect("an alignment");
        assert_ne!(wide.stride(), plain.stride(), "{format}");
        for output in OUTPUT {
            let mut element = Element::between(&from, &format!("video/x-raw,format={output}"));
            let buffer = element.convert(picture.buffer(&wide));
            let made = Picture::read(&buffer, &info(&element.to()));
            meaning.check(&picture, &made, 1, &format!("{format} to {output}"));
        }
    }
}

#[test]
fn eight_k() {
    for format in ["I420", "NV12", "BGRx"] {
        let from = caps(format, (7680, 4320), "");
        let picture = Picture::random(&info(&from), 8);
        let meaning = Meaning::new(format, format == "BGRx", BT709);
        let mut element = Element::between(&from, "video/x-raw");
        meaning.check(&picture, &element.picture(&picture), 997, format);
    }
}

/// Each field has chroma of its own.
#[test]
fn interlaced() {
    for format in ["I420", "NV12", "YUY2", "RGB", "xBGR", "GRAY8"] {
        for (mode, flags, fields) in [
            ("interleaved", gst_video::VideoBufferFlags::TFF, 2),
            ("mixed", gst_video::VideoBufferFlags::INTERLACED, 2),
            ("mixed", gst_video::VideoBufferFlags::empty(), 1),
        ] {
            let more = format!(",chroma-site=jpeg,interlace-mode={mode}");
            let from = caps(format, (22, 16), &more);
            let picture = Picture::random(&info(&from), 5);
            let full = info(&from).colorimetry().range() == gst_video::VideoColorRange::Range0_255;
            let meaning = Meaning::new(format, full, BT601);
            for output in OUTPUT {
                let mut element = Element::between(&from, &format!("video/x-raw,format={output}"));
                let mut buffer = picture.buffer(&info(&from));
                buffer.get_mut().unwrap().set_video_flags(flags);
                let buffer = element.convert(buffer);
                assert!(buffer.video_flags().contains(flags));
                let to = element.to();
                assert_eq!(to.structure(0).unwrap().get("interlace-mode"), Ok(mode));
                let made = Picture::read(&buffer, &info(&to));
                let what = format!("{format} {mode} to {output}");
                if fields == 1 {
                    meaning.check(&picture, &made, 1, &what);
                    continue;
                }
                for field in 0..fields {
                    meaning.check(&picture.field(field), &made.field(field), 1, &what);
                }
            }
        }
    }
}

/// What has the right colours is not touched, and is not even copied.
#[test]
fn passthrough() {
    let cases = [
        ("I420", "colorimetry=1:4:0:0,chroma-site=jpeg", true),
        ("I420", "colorimetry=1:4:0:0", true),
        ("I420", "colorimetry=1:4:7:1", true),
        ("Y42B", "colorimetry=1:4:0:0,chroma-site=jpeg", true),
        ("Y444", "colorimetry=1:4:0:0", true),
        ("Y444", "colorimetry=1:4:0:0,chroma-site=mpeg2", true),
        ("I420", "colorimetry=1:4:0:0,chroma-site=mpeg2", true),
        ("I420", "colorimetry=bt601", false),
        ("I420", "colorimetry=1:2:0:0", false),
        ("NV12", "colorimetry=1:4:0:0", false),
    ];
    for (format, more, passes) in cases {
        let from = caps(format, (64, 48), &format!(",{more}"));
        let mut element = Element::between(&from, "video/x-raw");
        let buffer = Picture::random(&info(&from), 1).buffer(&info(&from));
        let address = buffer.as_ptr();
        assert_eq!(
            element.convert(buffer).as_ptr() == address,
            passes,
            "{from}"
        );
        let to = info(&element.to());
        assert_eq!(to.colorimetry().to_string(), "1:4:0:0");
        if passes {
            assert_eq!(to.format(), info(&from).format());
        }
    }
    for (format, site, passes) in [
        ("I420", "jpeg", true),
        ("I420", "mpeg2", false),
        ("Y42B", "mpeg2", false),
        ("Y444", "mpeg2", true),
    ] {
        let more = format!(",colorimetry=1:4:0:0,chroma-site={site}");
        let from = caps(format, (64, 48), &more);
        let mut element = Element::shifting();
        element.harness.set_sink_caps_str("video/x-raw");
        element.start(&from);
        let buffer = Picture::random(&info(&from), 1).buffer(&info(&from));
        let address = buffer.as_ptr();
        assert_eq!(
            element.convert(buffer).as_ptr() == address,
            passes,
            "{from}"
        );
    }
    // Unless downstream wants it otherwise.
    let from = caps("Y444", (64, 48), ",colorimetry=1:4:0:0");
    let mut element = Element::between(&from, "video/x-raw,format=I420");
    let picture = Picture::random(&info(&from), 1);
    let meaning = Meaning::new("Y444", FULL, BT601);
    meaning.check(&picture, &element.picture(&picture), 1, "Y444 to I420");
}

/// Nobody is asked for the right colours: `videotestsrc` would say that it has them.
#[test]
fn any_colours_are_welcome() {
    let mut element = Element::new();
    element
        .harness
        .set_sink_caps_str("video/x-raw,width=64,colorimetry=1:4:0:0");
    let pad = element
        .harness
        .element()
        .unwrap()
        .static_pad("sink")
        .unwrap();
    let welcome = pad.query_caps(None);
    assert!(!welcome.is_empty());
    for structure in welcome.iter() {
        assert!(!structure.has_field("colorimetry"), "{welcome}");
        assert!(!structure.has_field("chroma-site"), "{welcome}");
        assert_eq!(structure.get("width"), Ok(64));
    }
    let wished = caps("NV12", (64, 48), ",colorimetry=bt2020");
    assert_eq!(pad.query_caps(Some(&wished)), wished);
    assert!(pad.query_caps(Some(&caps("NV12", (32, 48), ""))).is_empty());
}

/// It changes from stream to stream, also in the middle of one.
#[test]
fn new_caps() {
    let mut element = Element::between(
        &caps("I420", (64, 48), ",colorimetry=1:4:0:0"),
        "video/x-raw",
    );
    for (format, size, more, meaning) in [
        (
            "I420",
            (64, 48),
            "bt601",
            Meaning::new("I420", LIMITED, BT601),
        ),
        (
            "NV12",
            (32, 98),
            "bt709",
            Meaning::new("NV12", LIMITED, BT709),
        ),
        (
            "I420",
            (64, 48),
            "1:4:0:0",
            Meaning::new("I420", FULL, BT601),
        ),
        ("RGB", (64, 48), "1:1:0:0", Meaning::new("RGB", FULL, BT601)),
    ] {
        let from = caps(
            format,
            size,
            &format!(",chroma-site=jpeg,colorimetry={more}"),
        );
        element.start(&from);
        let picture = Picture::random(&info(&from), 1);
        meaning.check(&picture, &element.picture(&picture), 1, &from.to_string());
    }
}

#[test]
fn colours_of_which_nothing_is_said() {
    for (format, size, more, full, weights) in [
        ("I420", (64, 578), "", LIMITED, BT709),
        ("I420", (64, 576), "", LIMITED, BT601),
        ("I420", (64, 578), ",colorimetry=0:0:0:0", LIMITED, BT709),
        ("I420", (64, 576), ",colorimetry=0:0:0:0", LIMITED, BT601),
        // What is said is heard.
        ("I420", (64, 578), ",colorimetry=1:0:0:0", FULL, BT709),
        ("I420", (64, 576), ",colorimetry=0:3:0:0", LIMITED, BT709),
        ("GRAY8", (64, 578), "", FULL, BT601),
        ("RGB", (64, 578), "", FULL, BT601),
    ] {
        let from = caps(format, size, &format!(",chroma-site=jpeg{more}"));
        let picture = Picture::random(&info(&from), 1);
        let mut element = Element::between(&from, "video/x-raw");
        let meaning = Meaning::new(format, full, weights);
        meaning.check(&picture, &element.picture(&picture), 1, &from.to_string());
    }
}

/// HD has chroma on luma's columns, and SD between them, if nothing is said.
#[test]
fn a_site_of_which_nothing_is_said() {
    for (height, colorimetry, full, weights, on) in [
        (578, "bt709", LIMITED, BT709, (true, false)),
        (576, "bt709", LIMITED, BT709, (false, false)),
        (578, "1:3:0:0", FULL, BT709, (true, false)),
    ] {
        let from = caps("I420", (64, height), &format!(",colorimetry={colorimetry}"));
        let picture = Picture::random(&info(&from), 1);
        let mut element = Element::shifting();
        element.harness.set_sink_caps_str("video/x-raw");
        element.start(&from);
        let meaning = Meaning {
            on,
            ..Meaning::new("I420", full, weights)
        };
        meaning.check(&picture, &element.picture(&picture), 1, &from.to_string());
    }
}

#[test]
fn colours_by_property() {
    for (colorimetry, full, weights) in [
        ("bt709", LIMITED, BT709),
        ("1:3:0:0", FULL, BT709),
        ("1:0:0:0", FULL, BT601),
        ("", LIMITED, BT601),
    ] {
        let from = caps("I420", (64, 48), ",colorimetry=bt601,chroma-site=jpeg");
        let picture = Picture::random(&info(&from), 1);
        let mut element = Element::new();
        element
            .harness
            .element()
            .unwrap()
            .set_property("colorimetry", colorimetry);
        element.harness.set_sink_caps_str("video/x-raw");
        element.start(&from);
        let meaning = Meaning::new("I420", full, weights);
        meaning.check(&picture, &element.picture(&picture), 1, colorimetry);
    }
    // It may be what is already there.
    let from = caps("I420", (64, 48), ",colorimetry=bt601");
    let mut element = Element::new();
    element
        .harness
        .element()
        .unwrap()
        .set_property("colorimetry", "1:4:0:0");
    element.harness.set_sink_caps_str("video/x-raw");
    element.start(&from);
    let buffer = Picture::random(&info(&from), 1).buffer(&info(&from));
    let address = buffer.as_ptr();
    assert_eq!(element.convert(buffer).as_ptr(), address);
}

#[test]
fn colours_that_make_no_sense() {
    for nonsense in ["rainbow", "9:4:0:0", "2:77:0:0", "2:1:0:0", "2:4"] {
        let from = caps(
            "I420",
            (64, 48),
            &format!(",colorimetry=(string){nonsense}"),
        );
        let element = Element::refuses(&from, "video/x-raw");
        element.expect_error(&[&format!("'{nonsense}' is not a colorimetry"), "bt601"]);
    }
    for nonsense in ["rainbow", "9:4:0:0", "bt601 "] {
        common::init();
        let element = gst::ElementFactory::make("jfifconvert")
            .property("colorimetry", nonsense)
            .build()
            .expect("an element");
        let bus = gst::Bus::new();
        element.set_bus(Some(&bus));
        assert!(element.set_state(gst::State::Paused).is_err());
        let error = bus
            .pop_filtered(&[gst::MessageType::Error])
            .expect("an error");
        let error = text(&error).expect("its text");
        assert!(
            error.contains(&format!("'{nonsense}' is not a colorimetry")),
            "{error}"
        );
        element.set_state(gst::State::Null).expect("it stops");
    }
}

#[test]
fn what_is_not_taken() {
    let takes = INPUT.join(", ");
    for from in [
        caps("I420_10LE", (64, 48), ""),
        caps("Y41B", (64, 48), ""),
        caps("RGBA", (64, 48), ""),
        caps("I420", (70_000, 48), ""),
    ] {
        let mut element = Element::refuses(&from, "video/x-raw");
        element.expect_error(&[&takes, "65535", "videoconvert", &from.to_string()]);
        let again = element.harness.push(gst::Buffer::new());
        assert_eq!(again, Err(gst::FlowError::NotNegotiated));
        let errors = &[gst::MessageType::Error];
        assert!(element.bus.pop_filtered(errors).is_none(), "it said so");
    }
    // And what is not made.
    for to in [
        "video/x-raw,format=NV12",
        "video/x-raw,colorimetry=bt709",
        "video/x-raw,width=32",
    ] {
        let from = caps("I420", (64, 48), "");
        Element::refuses(&from, to);
    }
}

#[test]
fn what_a_buffer_carries_stays() {
    let ms = gst::ClockTime::from_mseconds;
    let from = caps("I420", (64, 48), ",colorimetry=bt709");
    let mut element = Element::between(&from, "video/x-raw");
    let unix = "timestamp/x-unix".parse::<gst::Caps>().unwrap();
    for flags in [
        gst::BufferFlags::empty(),
        gst::BufferFlags::LIVE | gst::BufferFlags::MARKER,
    ] {
        let mut buffer = Picture::random(&info(&from), 1).buffer(&info(&from));
        let input = buffer.get_mut().unwrap();
        input.set_pts(ms(120));
        input.set_duration(ms(40));
        input.set_flags(flags);
        gst::ReferenceTimestampMeta::add(input, &unix, ms(1), None);
        let output = element.convert(buffer);
        assert_eq!(
            (output.pts(), output.duration()),
            (Some(ms(120)), Some(ms(40)))
        );
        assert!(output.flags().contains(flags));
        let stamp = output
            .meta::<gst::ReferenceTimestampMeta>()
            .expect("a time stamp");
        assert_eq!(stamp.timestamp(), ms(1));
    }
    let stats = element
        .harness
        .element()
        .unwrap()
        .property::<gst::Structure>("stats");
    assert_eq!(stats.get("frames"), Ok(2_u64));
    assert_eq!(stats.get("bytes-in"), Ok(2 * 64 * 48 * 3 / 2_u64));
    assert_eq!(stats.get("bytes-out"), Ok(2 * 64 * 48 * 3 / 2_u64));
}

/// The example in the documentation, as it stands there.
#[test]
fn the_example() {
    let source = include_str!("../src/elements/jfifconvert/imp.rs");
    let mut lines = source.lines();
    let line = lines.find_map(|line| line.strip_prefix("//! gst-launch-1.0 "));
    let file = scratch("true.avi");
    let file = format!("location={}", file.display());
    let line = line
        .expect("an example")
        .replace("location=true.avi", &file);
    let pipeline = Pipeline::launch(&line.replace("! jpegenc", "! jpegenc name=encoder"));
    pipeline.play();
    pipeline.wait_for_clean_end();
    let pad = pipeline
        .element::<gst::Element>("encoder")
        .static_pad("sink");
    let caps = pad.and_then(|pad| pad.current_caps()).expect("caps");
    let caps = caps.structure(0).unwrap();
    assert_eq!(caps.get("colorimetry"), Ok("1:4:0:0"));
    assert_eq!(caps.get("chroma-site"), Ok("jpeg"));
    assert_eq!(caps.get("width"), Ok(800));
}
