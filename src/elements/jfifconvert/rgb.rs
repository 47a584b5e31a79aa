// SPDX-License-Identifier: MPL-2.0

//! Converts full-range RGB to JFIF's Y'CbCr with the `yuv` crate, which is faster at this than
//! [`linear`](super::linear) and as exact.
//!
//! The crate has no functions for RGB of limited range, nor for formats with the padding byte
//! first.

use gst_video::VideoFormat;
use yuv::{
    BufferStoreMut, YuvConversionMode, YuvError, YuvPlanarImageMut, YuvRange, YuvStandardMatrix,
};

use super::{linear::Subsampling, planes::PlaneMut};

/// A conversion function of the crate.
pub type RgbConversion = fn(
    &mut YuvPlanarImageMut<u8>,
    &[u8],
    u32,
    YuvRange,
    YuvStandardMatrix,
    YuvConversionMode,
) -> Result<(), YuvError>;

/// The function for an input format and an output subsampling, if the crate has one.
pub fn conversion(format: VideoFormat, to: Subsampling) -> Option<RgbConversion> {
    let functions: [RgbConversion; 3] = match format {
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

/// Converts a frame. `pixels` must be `stride` times the height long: the crate derives the number
/// of rows from the length, and would skip a last row without padding.
///
/// # Errors
///
/// If the crate finds that strides, lengths and sizes do not match.
pub fn convert(
    conversion: RgbConversion,
    pixels: &[u8],
    stride: u32,
    [y, cb, cr]: [PlaneMut; 3],
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
    conversion(
        &mut image,
        pixels,
        stride,
        YuvRange::Full,
        YuvStandardMatrix::Bt601,
        YuvConversionMode::Professional,
    )
}
