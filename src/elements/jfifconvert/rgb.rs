// SPDX-License-Identifier: MPL-2.0

//! Full-range RGB to JFIF's Y'CbCr by the `yuv` crate, which is faster at that than
//! [`linear`](super::linear) and as exact.
//!
//! It knows no other range of RGB and no byte in front of the colours.

use gst_video::VideoFormat;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

use super::{linear::Subsampling, planes::Plane};

pub type Function = fn(
    &mut YuvPlanarImageMut<u8>,
    &[u8],
    u32,
    YuvRange,
    YuvStandardMatrix,
    YuvConversionMode,
) -> Result<(), YuvError>;

/// The crate's function, if it has one.
pub fn function(format: VideoFormat, to: Subsampling) -> Option<Function> {
    let functions: [Function; 3] = match format {
        VideoFormat::Rgb => [yuv::rgb_to_yuv420, yuv::rgb_to_yuv422, yuv::rgb_to_yuv444],
        VideoFormat::Bgr => [yuv::bgr_to_yuv420, yuv::bgr_to_yuv422, yuv::bgr_to_yuv444],
        VideoFormat::Rgbx => [
            yuv::rgba_to_yuv420,
            yuv::rgba_to_yuv422,
            yuv::rgba_to_yuv444,
        ],
        VideoFormat::Bgrx => [
            yuv::bgra_to_yuv420,
            yuv::bgra_to_yuv422,
            yuv::bgra_to_yuv444,
        ],
        _ => return None,
    };
    match to {
        (1, 1) => Some(functions[0]),
        (1, 0) => Some(functions[1]),
        (0, 0) => Some(functions[2]),
        _ => None,
    }
}

/// Converts a picture, all rows of which are as long as the stride.
///
/// The crate takes the number of rows from the length of the slices: of one that ends
/// with the last sample it would leave out that row.
pub fn convert(
    function: Function,
    pixels: &[u8],
    stride: u32,
    [y, cb, cr]: [Plane; 3],
) -> Result<(), YuvError> {
    let mut image = YuvPlanarImageMut {
        width: y.width as u32,
        height: y.height as u32,
        y_stride: y.stride as u32,
        u_stride: cb.stride as u32,
        v_stride: cr.stride as u32,
        y_plane: BufferStoreMut::Borrowed(y.data),
        u_plane: BufferStoreMut::Borrowed(cb.data),
        v_plane: BufferStoreMut::Borrowed(cr.data),
    };
    function(
        &mut image,
        pixels,
        stride,
        YuvRange::Full,
        YuvStandardMatrix::Bt601,
        YuvConversionMode::Professional,
    )
}
