// SPDX-License-Identifier: MPL-2.0

//! RGB to JFIF's Y'CbCr, by the `yuv` crate.

use gst_video::VideoFormat;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

use super::{
    colour::Range,
    picture::{Plane, Samples},
    yuv::Subsampling,
};

type Function = fn(
    &mut YuvPlanarImageMut<u8>,
    &[u8],
    u32,
    YuvRange,
    YuvStandardMatrix,
    YuvConversionMode,
) -> Result<(), YuvError>;

/// Rows that are copied at a time, where that is needed; a multiple of those that share
/// their chroma.
const SLAB: usize = 16;

/// How pictures are converted.
#[derive(Debug, Clone, Copy)]
pub struct Converter {
    function: Function,
    /// Which component comes first in memory.
    pub first: u32,
    /// Bytes of a pixel.
    size: usize,
    range: Range,
    /// Rows of luma for one of chroma, as a power of two.
    rows: u32,
}

impl Converter {
    /// None for a format or subsampling that is not known here.
    pub fn new(format: VideoFormat, range: Range, to: Subsampling) -> Option<Self> {
        use VideoFormat::{Bgr, Bgrx, Rgb, Rgbx, Xbgr, Xrgb};
        // A byte that says nothing may as well follow its pixel as precede it.
        let (function, first, size): (Function, _, _) = match (format, to) {
            (Rgb, (1, 1)) => (yuv::rgb_to_yuv420, 0, 3),
            (Rgb, (1, 0)) => (yuv::rgb_to_yuv422, 0, 3),
            (Rgb, (0, 0)) => (yuv::rgb_to_yuv444, 0, 3),
            (Bgr, (1, 1)) => (yuv::bgr_to_yuv420, 2, 3),
            (Bgr, (1, 0)) => (yuv::bgr_to_yuv422, 2, 3),
            (Bgr, (0, 0)) => (yuv::bgr_to_yuv444, 2, 3),
            (Rgbx | Xrgb, (1, 1)) => (yuv::rgba_to_yuv420, 0, 4),
            (Rgbx | Xrgb, (1, 0)) => (yuv::rgba_to_yuv422, 0, 4),
            (Rgbx | Xrgb, (0, 0)) => (yuv::rgba_to_yuv444, 0, 4),
            (Bgrx | Xbgr, (1, 1)) => (yuv::bgra_to_yuv420, 2, 4),
            (Bgrx | Xbgr, (1, 0)) => (yuv::bgra_to_yuv422, 2, 4),
            (Bgrx | Xbgr, (0, 0)) => (yuv::bgra_to_yuv444, 2, 4),
            _ => return None,
        };
        Some(Self {
            function,
            first,
            size,
            range,
            rows: to.1,
        })
    }

    /// Converts a picture, or one of its fields, that begins with its first component.
    pub fn convert(&self, from: Samples, mut to: [Plane; 3]) -> Result<(), YuvError> {
        let (height, row) = (from.height, from.width * self.size);
        // Of the last row the byte that says nothing may be missing.
        let whole = from.data.len() >= (height - 1) * from.stride + row;
        let direct = match (self.range, whole) {
            (Range::Full, true) => height,
            (Range::Full, false) => (height - 1) / SLAB * SLAB,
            (Range::Limited, _) => 0,
        };
        if direct > 0 {
            self.call(from.data, from.stride, direct, &mut to, 0)?;
        }
        let mut copy = vec![0; SLAB * row];
        for top in (direct..height).step_by(SLAB) {
            let rows = SLAB.min(height - top);
            for (y, to) in (top..top + rows).zip(copy.chunks_exact_mut(row)) {
                for (to, from) in to.iter_mut().zip(&from.data[y * from.stride..]) {
                    *to = match self.range {
                        Range::Full => *from,
                        Range::Limited => FULL_RANGE[usize::from(*from)],
                    };
                }
            }
            self.call(&copy, row, rows, &mut to, top)?;
        }
        Ok(())
    }

    fn call(
        &self,
        pixels: &[u8],
        stride: usize,
        height: usize,
        [y, cb, cr]: &mut [Plane; 3],
        top: usize,
    ) -> Result<(), YuvError> {
        let y = y.rows(top, 1);
        let [cb, cr] = [cb, cr].map(|plane| plane.rows(top >> self.rows, 1));
        let mut image = YuvPlanarImageMut {
            width: y.width as u32,
            height: height as u32,
            y_stride: y.stride as u32,
            u_stride: cb.stride as u32,
            v_stride: cr.stride as u32,
            y_plane: BufferStoreMut::Borrowed(y.data),
            u_plane: BufferStoreMut::Borrowed(cb.data),
            v_plane: BufferStoreMut::Borrowed(cr.data),
        };
        (self.function)(
            &mut image,
            pixels,
            stride as u32,
            YuvRange::Full,
            YuvStandardMatrix::Bt601,
            YuvConversionMode::Professional,
        )
    }
}

/// Of each sample of limited range, what it is in full range.
static FULL_RANGE: [u8; 256] = {
    let mut table = [0; 256];
    let mut sample = 0;
    while sample < table.len() {
        let from_black = if sample > 16 { sample - 16 } else { 0 };
        let full = (from_black * 2 * 255 + 219) / (2 * 219);
        table[sample] = if full > 255 { 255 } else { full as u8 };
        sample += 1;
    }
    table
};
