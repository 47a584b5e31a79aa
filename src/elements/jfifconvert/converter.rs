// SPDX-License-Identifier: MPL-2.0

//! Converts frames as GStreamer maps them.

use gst_video::{VideoFrameRef, VideoInfo, prelude::*};

use super::{
    colour::{ChromaSite, Colour, ColourRange},
    linear::{LinearConverter, Subsampling},
    planes::{self, PlaneMut, Samples},
    rgb::{self, RgbConversion},
};

/// The conversion of all frames of a stream.
#[derive(Debug)]
pub struct FrameConverter {
    linear: LinearConverter,
    /// A faster conversion for progressive frames in full-range RGB.
    rgb: Option<RgbConversion>,
}

/// The subsampling of a Y'CbCr format.
fn subsampling(info: &VideoInfo) -> Subsampling {
    let format = info.format_info();
    let of = |shifts: &[u32]| shifts.get(1).copied().unwrap_or_default();
    (of(format.w_sub()), of(format.h_sub()))
}

impl FrameConverter {
    pub fn new(colour: Colour, site: ChromaSite, from: &VideoInfo, to: &VideoInfo) -> Self {
        let out = subsampling(to);
        let (matrix, site, input) = if from.is_rgb() {
            (colour.rgb_to_jfif(), ChromaSite::JFIF, (0, 0))
        } else if from.is_gray() {
            // `convert` supplies neutral chroma with the subsampling of the output.
            (colour.yuv_to_jfif(), ChromaSite::JFIF, out)
        } else {
            (colour.yuv_to_jfif(), site, subsampling(from))
        };
        let rgb = (colour.range == ColourRange::Full)
            .then(|| rgb::conversion(from.format(), out))
            .flatten();
        let linear = LinearConverter::new(&matrix, site, input, out);
        Self { linear, rgb }
    }

    /// Converts a frame. Returns `None` if the memory of a frame is too short for its layout.
    pub fn convert(
        &self,
        from: &VideoFrameRef<&gst::BufferRef>,
        to: &mut VideoFrameRef<&mut gst::BufferRef>,
    ) -> Option<()> {
        if !(0..3).all(|plane| planes::has_room(to, plane)) {
            return None;
        }
        let strides: [i32; 3] = to.plane_stride().try_into().ok()?;
        let sizes = [0, 1, 2].map(|plane| (to.comp_width(plane), to.comp_height(plane)));
        let [y, cb, cr, _] = to.planes_data_mut();
        let plane = |data, index: usize| {
            let (width, height) = sizes[index];
            PlaneMut::new(data, strides[index], width, height)
        };
        let mut output = [plane(y, 0)?, plane(cb, 1)?, plane(cr, 2)?];

        // Each field has its own rows of chroma, if there are enough rows for both.
        let interlaced = from.is_interlaced() && from.height().is_multiple_of(4);
        if let Some(conversion) = self.rgb.filter(|_| !interlaced) {
            let stride = *from.plane_stride().first()?;
            let pixels = planes::plane_data(from, 0)?;
            let rows = from.height() as usize;
            // It needs a last row with padding.
            if stride.unsigned_abs() as usize * rows == pixels.len() {
                let stride = u32::try_from(stride).ok()?;
                return rgb::convert(conversion, pixels, stride, output).ok();
            }
        }

        let components = (0..from.n_components())
            .map(|index| Samples::of(from, index))
            .collect::<Option<Vec<_>>>()?;
        let neutral = vec![128; from.width() as usize];
        let repeated = |(width, height): (u32, u32)| {
            Samples::repeated(&neutral[..width as usize], height as usize)
        };
        let chroma = [repeated(sizes[1]); 2];
        let (luma, mixed) = match &components[..] {
            [grey] => (*grey, &chroma[..]),
            [y, chroma @ ..] if from.info().is_yuv() => (*y, chroma),
            rgb => (repeated(sizes[0]), rgb),
        };
        let fields = if interlaced { 2 } else { 1 };
        for field in 0..fields {
            let luma = luma.rows(field, fields);
            let mixed: Vec<_> = mixed.iter().map(|c| c.rows(field, fields)).collect();
            let output = output.each_mut().map(|plane| plane.rows(field, fields));
            self.linear.convert(luma, &mixed, output);
        }
        Some(())
    }
}
