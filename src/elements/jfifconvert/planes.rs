// SPDX-License-Identifier: MPL-2.0

//! Access to the samples of a frame, with checked bounds.

use std::slice;

use gst_video::{VideoFrameRef, ffi, prelude::*};

/// The first byte of a plane and the number of mapped bytes from there; `None` if the plane is
/// outside of the mapping.
///
/// Needed because `VideoFrameRef::plane_data()` trusts stride times height as the length, and a
/// `GstVideoMeta` may state any stride and offset, however short the memory is.
fn mapped(frame: &ffi::GstVideoFrame, plane: usize) -> Option<(*const u8, usize)> {
    // Without a GstVideoMeta all planes share one mapping.
    let map = match frame.meta.is_null() {
        true => frame.map.first()?,
        false => frame.map.get(plane)?,
    };
    let data = frame.data.get(plane)?.cast_const().cast::<u8>();
    let skipped = data.addr().checked_sub(map.data.addr())?;
    let len = map.size.checked_sub(skipped).filter(|_| !data.is_null())?;
    Some((data, len))
}

/// The mapped bytes of a plane, at most stride times height.
pub fn plane_data<'a>(frame: &'a VideoFrameRef<&gst::BufferRef>, plane: usize) -> Option<&'a [u8]> {
    let stride = usize::try_from(*frame.plane_stride().get(plane)?).ok()?;
    let rows = frame.plane_height(plane as u32) as usize;
    // SAFETY: the pointer is to the frame that the reference borrows.
    let (data, len) = mapped(unsafe { &*frame.as_ptr() }, plane)?;
    // SAFETY: `mapped` has checked that this many bytes are mapped, for as long as the frame is.
    Some(unsafe { slice::from_raw_parts(data, len.min(stride.checked_mul(rows)?)) })
}

/// Whether all rows of an output plane are inside of the mapping.
pub fn has_room(frame: &VideoFrameRef<&mut gst::BufferRef>, plane: usize) -> bool {
    let inside = || {
        let stride = usize::try_from(*frame.plane_stride().get(plane)?).ok()?;
        let rows = frame.plane_height(plane as u32) as usize;
        // SAFETY: the pointer is to the frame that the reference borrows.
        let (_, len) = mapped(unsafe { &*frame.as_ptr() }, plane)?;
        (stride.checked_mul(rows)? <= len).then_some(())
    };
    inside().is_some()
}

/// One component of an input frame.
#[derive(Debug, Clone, Copy)]
pub struct Samples<'a> {
    /// The bytes from the first sample on.
    data: &'a [u8],
    /// Bytes from one sample to the next.
    step: usize,
    /// Bytes from one row to the next.
    stride: usize,
    pub width: usize,
    pub height: usize,
}

impl<'a> Samples<'a> {
    /// A component of a frame; `None` if the memory is too short for it.
    pub fn of(frame: &'a VideoFrameRef<&gst::BufferRef>, component: u32) -> Option<Self> {
        let step = frame.info().comp_pstride(component as u8);
        let plane = *frame.format_info().plane().get(component as usize)?;
        let first = usize::try_from(frame.info().comp_poffset(component as u8)).ok()?;
        let samples = Self {
            data: plane_data(frame, plane as usize)?.get(first..)?,
            step: usize::try_from(step).ok()?,
            stride: usize::try_from(frame.comp_stride(component)).ok()?,
            width: frame.comp_width(component) as usize,
            height: frame.comp_height(component) as usize,
        };
        let last_row = samples.height.checked_sub(1)?.checked_mul(samples.stride)?;
        let last = samples.width.checked_sub(1)?.checked_mul(samples.step)?;
        (last_row.checked_add(last)? < samples.data.len()).then_some(samples)
    }

    /// A component whose rows are all `row`.
    pub fn repeated(row: &'a [u8], height: usize) -> Self {
        Self {
            data: row,
            step: 1,
            stride: 0,
            width: row.len(),
            height,
        }
    }

    /// Every `every`th row from `first` on.
    pub fn rows(self, first: usize, every: usize) -> Self {
        Self {
            data: self.data.get(first * self.stride..).unwrap_or_default(),
            stride: self.stride * every,
            height: self.height.saturating_sub(first).div_ceil(every),
            ..self
        }
    }

    /// One row. Samples that are not adjacent are gathered in `scratch`.
    #[inline(always)]
    pub fn row<'s>(&self, y: usize, scratch: &'s mut Vec<u8>) -> &'s [u8]
    where
        'a: 's,
    {
        let row = &self.data[y * self.stride..];
        if self.step == 1 {
            return &row[..self.width];
        }
        scratch.resize(self.width, 0);
        match self.step {
            3 => gather::<3>(row, scratch),
            2 => gather::<2>(row, scratch),
            4 => gather::<4>(row, scratch),
            step => {
                for (to, from) in scratch.iter_mut().zip(row.iter().step_by(step)) {
                    *to = *from;
                }
            }
        }
        scratch
    }
}

/// Copies every `STEP`th sample.
#[inline(always)]
fn gather<const STEP: usize>(from: &[u8], to: &mut [u8]) {
    let (from, rest) = from.as_chunks::<STEP>();
    // The memory may end right after the last sample.
    if let ([first, ..], Some(last)) = (rest, to.get_mut(from.len())) {
        *last = *first;
    }
    for (to, from) in to.iter_mut().zip(from) {
        *to = from[0];
    }
}

/// One plane of an output frame, with one byte per sample.
#[derive(Debug)]
pub struct PlaneMut<'a> {
    pub data: &'a mut [u8],
    pub stride: usize,
    pub width: usize,
    pub height: usize,
}

impl<'a> PlaneMut<'a> {
    /// A plane; `None` if the memory is too short for it.
    pub fn new(data: &'a mut [u8], stride: i32, width: u32, height: u32) -> Option<Self> {
        let plane = Self {
            data,
            stride: usize::try_from(stride).ok()?,
            width: width as usize,
            height: height as usize,
        };
        let last_row = plane.height.checked_sub(1)?.checked_mul(plane.stride)?;
        (last_row.checked_add(plane.width)? <= plane.data.len()).then_some(plane)
    }

    /// Every `every`th row from `first` on.
    pub fn rows(&mut self, first: usize, every: usize) -> PlaneMut<'_> {
        PlaneMut {
            data: self.data.get_mut(first * self.stride..).unwrap_or_default(),
            stride: self.stride * every,
            width: self.width,
            height: self.height.saturating_sub(first).div_ceil(every),
        }
    }

    pub fn row(&mut self, y: usize) -> &mut [u8] {
        &mut self.data[y * self.stride..][..self.width]
    }
}
