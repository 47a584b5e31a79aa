// SPDX-License-Identifier: MPL-2.0

//! Caps, passing without a copy, metadata.

use gst::prelude::*;

use super::{
    fixture::{Element, caps, info},
    reference::{BT601, BT709, FULL, INPUT, Interpretation, LIMITED, Picture},
};
use crate::common::pipeline::{Pipeline, scratch};

/// A buffer that has JFIF colours already is passed on without a copy.
#[test]
fn jfif_colours_pass_without_copy() {
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
    // Another output format needs a conversion.
    let from = caps("Y444", (64, 48), ",colorimetry=1:4:0:0");
    let mut element = Element::between(&from, "video/x-raw,format=I420");
    let picture = Picture::random(&info(&from), 1);
    let interpretation = Interpretation::new("Y444", FULL, BT601);
    interpretation.check(&picture, &element.picture(&picture), 1, "Y444 to I420");
}

/// The sink pad must not ask for JFIF colours: `videotestsrc` would claim to have them.
#[test]
fn sink_caps_leave_colours_open() {
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

/// The conversion follows the caps, also in the middle of a stream.
#[test]
fn caps_change_switches_conversion() {
    let mut element = Element::between(
        &caps("I420", (64, 48), ",colorimetry=1:4:0:0"),
        "video/x-raw",
    );
    for (format, size, more, interpretation) in [
        (
            "I420",
            (64, 48),
            "bt601",
            Interpretation::new("I420", LIMITED, BT601),
        ),
        (
            "NV12",
            (32, 98),
            "bt709",
            Interpretation::new("NV12", LIMITED, BT709),
        ),
        (
            "I420",
            (64, 48),
            "1:4:0:0",
            Interpretation::new("I420", FULL, BT601),
        ),
        (
            "RGB",
            (64, 48),
            "1:1:0:0",
            Interpretation::new("RGB", FULL, BT601),
        ),
    ] {
        let from = caps(
            format,
            size,
            &format!(",chroma-site=jpeg,colorimetry={more}"),
        );
        element.start(&from);
        let picture = Picture::random(&info(&from), 1);
        interpretation.check(&picture, &element.picture(&picture), 1, &from.to_string());
    }
}

#[test]
fn unsupported_caps_are_refused_with_one_error() {
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
        assert!(element.bus.pop_filtered(errors).is_none(), "a second error");
    }
    // Neither are other output formats possible.
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
fn buffer_metadata_and_stats_are_kept() {
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

/// The documented example runs as it is, except for the path of its file.
#[test]
fn documented_example_works() {
    let source = include_str!("../../src/elements/jfifconvert/imp.rs");
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
