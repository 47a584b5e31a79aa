// SPDX-License-Identifier: MPL-2.0

//! Memory layouts, large and interlaced pictures.

use gst_video::prelude::*;

use super::{
    fixture::{Element, caps, info},
    reference::{BT601, BT709, INPUT, Interpretation, OUTPUT, Picture},
};

/// Padded memory, as hardware lays it out.
#[test]
fn padded_strides_are_read() {
    for format in INPUT {
        let from = caps(format, (37, 11), ",chroma-site=jpeg");
        let plain = info(&from);
        let picture = Picture::random(&plain, 7);
        let full = plain.colorimetry().range() == gst_video::VideoColorRange::Range0_255;
        let interpretation = Interpretation::new(format, full, BT601);

        let mut wide = plain.clone();
        let mut align = gst_video::VideoAlignment::new(3, 5, 7, 9, &[31; 4]);
        wide.align(&mut align).expect("an alignment");
        assert_ne!(wide.stride(), plain.stride(), "{format}");
        for output in OUTPUT {
            let mut element = Element::between(&from, &format!("video/x-raw,format={output}"));
            let buffer = element.convert(picture.buffer(&wide));
            let made = Picture::read(&buffer, &info(&element.to()));
            interpretation.check(&picture, &made, 1, &format!("{format} to {output}"));
        }
    }
}

#[test]
fn picture_of_8k_is_converted() {
    for format in ["I420", "NV12", "BGRx"] {
        let from = caps(format, (7680, 4320), "");
        let picture = Picture::random(&info(&from), 8);
        let interpretation = Interpretation::new(format, format == "BGRx", BT709);
        let mut element = Element::between(&from, "video/x-raw");
        interpretation.check(&picture, &element.picture(&picture), 997, format);
    }
}

/// Each field has its own chroma rows.
#[test]
fn interlaced_fields_are_converted_separately() {
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
            let interpretation = Interpretation::new(format, full, BT601);
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
                    interpretation.check(&picture, &made, 1, &what);
                    continue;
                }
                for field in 0..fields {
                    interpretation.check(&picture.field(field), &made.field(field), 1, &what);
                }
            }
        }
    }
}
