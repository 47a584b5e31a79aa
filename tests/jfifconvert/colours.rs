// SPDX-License-Identifier: MPL-2.0

//! Ranges, matrices, chroma sites and their defaults.

use gst::prelude::*;

use super::{
    fixture::{Element, caps, info},
    reference::{
        BT601, BT709, Component, FULL, INPUT, Interpretation, LIMITED, MATRICES, OUTPUT, Picture,
    },
};
use crate::common::{self, pipeline::text};

#[test]
fn every_format_matrix_and_range_is_converted_exactly() {
    for format in INPUT {
        for (number, kr, kb) in MATRICES {
            for full in [FULL, LIMITED] {
                let range = if full { 1 } else { 2 };
                let number = if Interpretation::new(format, full, BT601).rgb {
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
                    let interpretation = Interpretation::new(format, full, (kr, kb));
                    interpretation.check(&picture, &element.picture(&picture), 1, &what);
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
fn every_size_and_chroma_site_is_converted_exactly() {
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
                // RGB and grey have full range by default.
                let plain = Interpretation::new(format, FULL, BT601).rgb || format == "GRAY8";
                let colorimetry = if plain { "" } else { ",colorimetry=bt601" };
                let from = caps(format, size, &format!(",chroma-site={site}{colorimetry}"));
                let picture = Picture::random(&info(&from), size.0);
                let interpretation = Interpretation {
                    on,
                    ..Interpretation::new(format, plain, BT601)
                };
                for output in OUTPUT {
                    let to = format!("video/x-raw,format={output}");
                    let what = format!("{from} to {output}");
                    let mut element = Element::shifting();
                    element.harness.set_sink_caps_str(&to);
                    element.start(&from);
                    interpretation.check(&picture, &element.picture(&picture), 1, &what);
                    // Without `shift-chroma` the chroma site is ignored.
                    let unshifted = Interpretation {
                        on: (false, false),
                        ..interpretation
                    };
                    let made = Element::between(&from, &to).picture(&picture);
                    unshifted.check(&picture, &made, 1, &what);
                }
            }
        }
    }
}

#[test]
fn black_white_and_grey_are_exact() {
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

#[test]
fn missing_colorimetry_depends_on_size() {
    for (format, size, more, full, weights) in [
        ("I420", (64, 578), "", LIMITED, BT709),
        ("I420", (64, 576), "", LIMITED, BT601),
        ("I420", (64, 578), ",colorimetry=0:0:0:0", LIMITED, BT709),
        ("I420", (64, 576), ",colorimetry=0:0:0:0", LIMITED, BT601),
        // Fields that are present count.
        ("I420", (64, 578), ",colorimetry=1:0:0:0", FULL, BT709),
        ("I420", (64, 576), ",colorimetry=0:3:0:0", LIMITED, BT709),
        ("GRAY8", (64, 578), "", FULL, BT601),
        ("RGB", (64, 578), "", FULL, BT601),
    ] {
        let from = caps(format, size, &format!(",chroma-site=jpeg{more}"));
        let picture = Picture::random(&info(&from), 1);
        let mut element = Element::between(&from, "video/x-raw");
        let interpretation = Interpretation::new(format, full, weights);
        interpretation.check(&picture, &element.picture(&picture), 1, &from.to_string());
    }
}

/// Without a chroma site, HD is co-sited horizontally and SD is not.
#[test]
fn missing_chroma_site_depends_on_size() {
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
        let interpretation = Interpretation {
            on,
            ..Interpretation::new("I420", full, weights)
        };
        interpretation.check(&picture, &element.picture(&picture), 1, &from.to_string());
    }
}

#[test]
fn colorimetry_property_overrides_caps() {
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
        let interpretation = Interpretation::new("I420", full, weights);
        interpretation.check(&picture, &element.picture(&picture), 1, colorimetry);
    }
    // With the property set to JFIF colours, the buffer passes without a copy.
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
fn invalid_colorimetry_is_an_error() {
    for invalid in ["rainbow", "9:4:0:0", "2:77:0:0", "2:1:0:0", "2:4"] {
        let from = caps("I420", (64, 48), &format!(",colorimetry=(string){invalid}"));
        let element = Element::refuses(&from, "video/x-raw");
        element.expect_error(&[&format!("'{invalid}' is not a colorimetry"), "bt601"]);
    }
    for invalid in ["rainbow", "9:4:0:0", "bt601 "] {
        common::init();
        let element = gst::ElementFactory::make("jfifconvert")
            .property("colorimetry", invalid)
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
            error.contains(&format!("'{invalid}' is not a colorimetry")),
            "{error}"
        );
        element.set_state(gst::State::Null).expect("a state change");
    }
}
