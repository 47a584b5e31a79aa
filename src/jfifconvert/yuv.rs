// SPDX-License-Identifier: MPL-2.0

//! Y'CbCr of any matrix, range, subsampling and siting to JFIF's.
//!
//! One multiplication by one matrix and one rounding, without a detour through RGB,
//! which would round twice and cut off what is outside of it:
//!
//! ```text
//!  Cb row ─┐         ┌─► t ─── down, across ──┐
//!          ├─ matrix ┼─► Cb' ─ down, across ─ │ ─► Cb'
//!  Cr row ─┘         └─► Cr' ─ down, across ─ │ ─► Cr'
//!  Y row ───────────────── scale ─────────────┴─► Y'
//! ```
//!
//! `t` is what chroma adds to luma: nothing but the matrix differs, so it is little, but
//! it is not nothing. All that is interpolated is interpolated linearly.
//!
//! Numbers are 16 bits, of which [`FRACTION`] are a fraction, and loops go over whole
//! rows, so that the compiler makes vector instructions of them.

use multiversion::multiversion;

use super::{
    colour::{Matrix, Site},
    picture::{Plane, Samples},
};

/// Binary places of intermediate numbers. The largest, four times a Cb or Cr between
/// rows, is below 2^15.
const FRACTION: u32 = 5;

/// From a full-resolution sample to one that stands for so many.
pub type Subsampling = (u32, u32);

/// [`Matrix`] as whole numbers.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    luma: i16,
    luma_offset: i16,
    chroma_offset: i16,
    cb: [i16; 3],
    cr: [i16; 3],
}

impl From<Matrix> for Coefficients {
    fn from(matrix: Matrix) -> Self {
        // `product` takes eight places from the coefficients.
        let coefficient = |x: f64| (x * f64::from(1 << (FRACTION + 8))).round() as i16;
        // Half for rounding, and half a unit for each product that was rounded down.
        let offset = |x: f64, products: f64| {
            (x * f64::from(1 << FRACTION) + f64::from(1 << (FRACTION - 1)) + products / 2.0) as i16
        };
        Self {
            luma: coefficient(matrix.luma),
            luma_offset: offset(matrix.luma * (128.0 - matrix.black), 3.0),
            chroma_offset: offset(128.0, 2.0),
            cb: matrix.cb.map(coefficient),
            cr: matrix.cr.map(coefficient),
        }
    }
}

/// A sample, less 128, times a coefficient; rounded down.
#[inline(always)]
fn product(sample: u8, coefficient: i16) -> i16 {
    let centred = i16::from_be_bytes([sample ^ 0x80, 0]);
    ((i32::from(centred) * i32::from(coefficient)) >> 16) as i16
}

#[inline(always)]
fn sample(number: i16) -> u8 {
    (number >> FRACTION).clamp(0, 255) as u8
}

/// How chroma gets along one axis from the resolution and site of the input to those of
/// the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// It is there.
    Same,
    /// A quarter of a sample on.
    Shift,
    /// Each between two.
    Halve,
    /// Two between which the input's is, and which are a quarter away from it.
    DoubleBetween,
    /// One at the place of the input's, one between it and the next.
    DoubleOn,
}

impl Axis {
    fn new(from: u32, to: u32, on_sample: bool) -> Self {
        match (from, to) {
            (0, 0) => Self::Same,
            (0, _) => Self::Halve,
            (_, 0) if on_sample => Self::DoubleOn,
            (_, 0) => Self::DoubleBetween,
            _ if on_sample => Self::Shift,
            _ => Self::Same,
        }
    }

    /// The two of `len` samples that sample `i` is made of, and how many quarters of the
    /// second.
    fn parts(self, i: usize, len: usize) -> (usize, usize, i16) {
        let (near, far, quarters) = match self {
            Self::Same => (i, i, 0),
            Self::Shift => (i, i + 1, 1),
            Self::Halve => (2 * i, 2 * i + 1, 2),
            Self::DoubleBetween if i % 2 == 0 => (i / 2, (i / 2).saturating_sub(1), 1),
            Self::DoubleBetween => (i / 2, i / 2 + 1, 1),
            Self::DoubleOn => (i / 2, i / 2 + 1, 2 * (i % 2) as i16),
        };
        let last = len - 1;
        (near.min(last), far.min(last), quarters)
    }

    /// A row, which has one more number at either end, at the resolution of the output.
    #[inline(always)]
    fn across<'a>(self, row: &'a [i16], scratch: &'a mut [i16]) -> &'a [i16] {
        match self {
            Self::Same => &row[1..],
            Self::Shift => blend(&row[1..], &row[2..], 1, scratch),
            Self::Halve => {
                let (pairs, _) = row[1..].as_chunks();
                for (out, [a, b]) in scratch.iter_mut().zip(pairs) {
                    *out = (a + b + 1) >> 1;
                }
                scratch
            }
            Self::DoubleBetween => double(row, 1, 1, scratch),
            Self::DoubleOn => double(row, 0, 2, scratch),
        }
    }
}

/// Four quarters of two rows.
#[inline(always)]
fn blend<'a>(near: &'a [i16], far: &[i16], quarters: i16, scratch: &'a mut [i16]) -> &'a [i16] {
    if quarters == 0 {
        return near;
    }
    for ((out, near), far) in scratch.iter_mut().zip(near).zip(far) {
        *out = (near * (4 - quarters) + far * quarters + 2) >> 2;
    }
    scratch
}

/// Two for each of a row: so many quarters of the one before, so many of the one after.
#[inline(always)]
fn double<'a>(row: &[i16], before: i16, after: i16, scratch: &'a mut [i16]) -> &'a [i16] {
    let (pairs, _) = scratch.as_chunks_mut();
    for ([even, odd], around) in pairs.iter_mut().zip(row.windows(3)) {
        *even = (around[1] * (4 - before) + around[0] * before + 2) >> 2;
        *odd = (around[1] * (4 - after) + around[2] * after + 2) >> 2;
    }
    scratch
}

/// What chroma adds to Y', and Cb' and Cr', of one row of chroma, one more at either end.
type Row = [Vec<i16>; 3];

#[inline(always)]
fn mix(cb: &[u8], cr: &[u8], coefficients: &Coefficients, row: &mut Row) {
    let of = |part: usize| (coefficients.cb[part], coefficients.cr[part]);
    let (t, b, r) = (of(0), of(1), of(2));
    let [to_t, to_b, to_r] = row.each_mut().map(|numbers| &mut numbers[1..]);
    let out = to_t.iter_mut().zip(to_b).zip(to_r);
    for ((((to_t, to_b), to_r), &cb), &cr) in out.zip(cb).zip(cr) {
        *to_t = product(cb, t.0) + product(cr, t.1);
        *to_b = product(cb, b.0) + product(cr, b.1);
        *to_r = product(cb, r.0) + product(cr, r.1);
    }
    for numbers in row {
        let last = numbers.len() - 1;
        numbers[0] = numbers[1];
        numbers[last] = numbers[last - 1];
    }
}

/// How pictures are converted.
#[derive(Debug, Clone, Copy)]
pub struct Converter {
    coefficients: Coefficients,
    /// From the input's chroma to luma, and to the output's chroma.
    to_luma: [Axis; 2],
    to_chroma: [Axis; 2],
    /// Rows of the output's luma for one of its chroma, as a power of two.
    rows: u32,
}

impl Converter {
    pub fn new(matrix: Matrix, site: Site, from: Subsampling, to: Subsampling) -> Self {
        let axes = |to: Subsampling| {
            [
                Axis::new(from.0, to.0, site.on_column),
                Axis::new(from.1, to.1, site.on_row),
            ]
        };
        Self {
            coefficients: matrix.into(),
            to_luma: axes((0, 0)),
            to_chroma: axes(to),
            rows: to.1,
        }
    }

    /// Converts a picture, or one of its fields.
    pub fn convert(&self, from: [Samples; 3], to: [Plane; 3]) {
        convert(self, from, to);
    }
}

/// The rows of a picture, one by one, and with them those of chroma as they are needed.
#[multiversion(targets("x86_64+avx2"))]
fn convert(
    &Converter {
        coefficients,
        to_luma,
        to_chroma,
        rows: rows_per_chroma,
    }: &Converter,
    [y, cb, cr]: [Samples<'_>; 3],
    [mut to_y, mut to_cb, mut to_cr]: [Plane<'_>; 3],
) {
    // The row before, the one itself, the next.
    const RING: usize = 4;
    let width = cb.width + 2;
    let mut ring: [Row; RING] = std::array::from_fn(|_| std::array::from_fn(|_| vec![0; width]));
    let mut mixed = 0;
    let mut gathered = [vec![], vec![], vec![]];
    let mut blended = vec![0; width];
    let mut spread = vec![0; 2 * width];

    for row in 0..y.height {
        let (near, far, quarters) = to_luma[1].parts(row, cb.height);
        let chroma = (row % (1 << rows_per_chroma) == 0)
            .then(|| (row >> rows_per_chroma, to_chroma[1].parts(row >> rows_per_chroma, cb.height)));
        let needed = chroma.map_or(0, |(_, (near, far, _))| near.max(far));
        while mixed <= needed.max(near).max(far) {
            let [cb_scratch, cr_scratch, _] = &mut gathered;
            let (cb, cr) = (cb.row(mixed, cb_scratch), cr.row(mixed, cr_scratch));
            mix(cb, cr, &coefficients, &mut ring[mixed % RING]);
            mixed += 1;
        }

        let t = blend(&ring[near % RING][0], &ring[far % RING][0], quarters, &mut blended);
        let t = to_luma[0].across(t, &mut spread);
        let luma = y.row(row, &mut gathered[2]);
        for ((out, &y), t) in to_y.row(row).iter_mut().zip(luma).zip(t) {
            *out = sample(product(y, coefficients.luma) + t + coefficients.luma_offset);
        }

        let Some((row, (near, far, quarters))) = chroma else {
            continue;
        };
        for (part, plane) in [(1, &mut to_cb), (2, &mut to_cr)] {
            let (near, far) = (&ring[near % RING][part], &ring[far % RING][part]);
            let chroma = blend(near, far, quarters, &mut blended);
            let chroma = to_chroma[0].across(chroma, &mut spread);
            for (out, chroma) in plane.row(row).iter_mut().zip(chroma) {
                *out = sample(chroma + coefficients.chroma_offset);
            }
        }
    }
}
