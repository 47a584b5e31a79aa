// SPDX-License-Identifier: MPL-2.0

//! Pictures of any matrix, range, subsampling and siting to JFIF's.
//!
//! One multiplication by one matrix and one rounding, without a detour through RGB, which
//! would round twice and cut off what is outside of it. All that is interpolated is
//! interpolated linearly.
//!
//! ```text
//!  Cb row ─┐         ┌─► t ─── down, across ──┐
//!          ├─ matrix ┼─► Cb' ─ down, across ──┼─► Cb'
//!  Cr row ─┘         └─► Cr' ─ down, across ──┼─► Cr'
//!  Y row ──── scale ──────────────────────────┴─► Y'
//! ```
//!
//! `t` is what chroma adds to luma: it is little, as nothing but the matrix differs, but
//! it is not nothing. RGB is mixed in the same way, with grey for the row of luma.
//!
//! Numbers are 16 bits, of which [`FRACTION`] are a fraction, and loops go over whole
//! rows, so that the compiler makes vector instructions of them.

use multiversion::multiversion;

use super::{
    colour::{Matrix, Site},
    planes::{Plane, Samples},
};

/// Binary places of intermediate numbers. The largest, four times a Cb or Cr between
/// rows, is below 2^15.
const FRACTION: u32 = 5;

/// Columns and rows of luma that one sample of chroma stands for, as powers of two.
pub type Subsampling = (u32, u32);

/// [`Matrix`] as whole numbers.
#[derive(Debug, Clone)]
struct Coefficients {
    luma: i16,
    luma_offset: i16,
    chroma_offset: i16,
    columns: Vec<[i16; 3]>,
}

impl From<&Matrix> for Coefficients {
    fn from(matrix: &Matrix) -> Self {
        // `product` takes eight places away.
        let coefficient = |x: f64| (x * f64::from(1 << (FRACTION + 8))).round() as i16;
        // Half for rounding, and half a unit for each product that was rounded down.
        let offset = |x: f64, products: usize| {
            let units = x * f64::from(1 << FRACTION) + 0.5 * products as f64;
            units as i16 + (1 << (FRACTION - 1))
        };
        let mixed = matrix.columns.len();
        Self {
            luma: coefficient(matrix.luma),
            luma_offset: offset(matrix.luma * (128.0 - matrix.black), mixed + 1),
            chroma_offset: offset(128.0, mixed),
            columns: matrix.columns.iter().map(|c| c.map(coefficient)).collect(),
        }
    }
}

/// A sample, less 128, in the upper half.
#[inline(always)]
fn centred(sample: u8) -> i16 {
    i16::from_be_bytes([sample ^ 0x80, 0])
}

/// The upper half; for which there is an instruction.
#[inline(always)]
fn product(centred: i16, coefficient: i16) -> i16 {
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
            Self::DoubleBetween if i.is_multiple_of(2) => (i / 2, (i / 2).saturating_sub(1), 1),
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
fn mix<const N: usize>(from: [&[u8]; N], columns: &[[i16; 3]; N], row: &mut Row) {
    let len = row[0].len() - 2;
    let from = from.map(|samples| &samples[..len]);
    let [t, cb, cr] = row.each_mut().map(|numbers| &mut numbers[1..=len]);
    let [for_t, for_cb, for_cr] = [0, 1, 2].map(|part| columns.map(|column| column[part]));
    for i in 0..len {
        let samples = from.map(|samples| centred(samples[i]));
        let mixed =
            |coefficients: [i16; N]| (0..N).map(|c| product(samples[c], coefficients[c])).sum();
        t[i] = mixed(for_t);
        cb[i] = mixed(for_cb);
        cr[i] = mixed(for_cr);
    }
    for numbers in row {
        numbers[0] = numbers[1];
        numbers[len + 1] = numbers[len];
    }
}

/// How pictures are converted.
#[derive(Debug, Clone)]
pub struct Converter {
    coefficients: Coefficients,
    /// From the input's chroma to luma, and to the output's chroma.
    luma_axes: [Axis; 2],
    chroma_axes: [Axis; 2],
    /// Rows of the output's luma for one of its chroma, as a power of two.
    rows: u32,
}

impl Converter {
    pub fn new(matrix: &Matrix, site: Site, from: Subsampling, to: Subsampling) -> Self {
        let axes = |to: Subsampling| {
            [
                Axis::new(from.0, to.0, site.on_column),
                Axis::new(from.1, to.1, site.on_row),
            ]
        };
        Self {
            coefficients: matrix.into(),
            luma_axes: axes((0, 0)),
            chroma_axes: axes(to),
            rows: to.1,
        }
    }

    /// Converts a picture, or one of its fields: luma, and what is mixed.
    pub fn convert(&self, luma: Samples, mixed: &[Samples], to: [Plane; 3]) {
        let columns = &self.coefficients.columns[..];
        match (mixed, columns) {
            (&[a, b], &[for_a, for_b]) => convert(self, luma, [a, b], [for_a, for_b], to),
            (&[a, b, c], &[for_a, for_b, for_c]) => {
                convert(self, luma, [a, b, c], [for_a, for_b, for_c], to);
            }
            _ => unreachable!("Y'CbCr or RGB"),
        }
    }
}

/// The rows of a picture, one by one, and those of chroma as they are needed.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn convert<const N: usize>(
    converter: &Converter,
    luma: Samples<'_>,
    from: [Samples<'_>; N],
    columns: [[i16; 3]; N],
    [mut to_luma, mut to_cb, mut to_cr]: [Plane<'_>; 3],
) {
    // The row before, the one itself, the next.
    const RING: usize = 4;
    let Converter {
        coefficients,
        luma_axes,
        chroma_axes,
        rows,
    } = converter;
    let height = from[0].height;
    let width = from[0].width + 2;
    let mut ring: [Row; RING] = std::array::from_fn(|_| std::array::from_fn(|_| vec![0; width]));
    let mut ready = 0;
    let mut gathered: [Vec<u8>; N] = std::array::from_fn(|_| Vec::new());
    let mut gathered_luma = Vec::new();
    let mut blended = vec![0; width];
    let mut spread = vec![0; 2 * width];

    for y in 0..luma.height {
        let parts = luma_axes[1].parts(y, height);
        let chroma_y = y >> rows;
        let chroma_parts = chroma_axes[1].parts(chroma_y, height);
        let needed = [parts.0, parts.1, chroma_parts.0, chroma_parts.1];
        while needed.iter().any(|&row| row >= ready) {
            let mut scratch = gathered.iter_mut();
            let from = from
                .each_ref()
                .map(|samples| samples.row(ready, scratch.next().expect("as many as samples")));
            mix(from, &columns, &mut ring[ready % RING]);
            ready += 1;
        }
        let row = |part: usize, i: usize| &ring[i % RING][part][..];

        let t = blend(row(0, parts.0), row(0, parts.1), parts.2, &mut blended);
        let t = luma_axes[0].across(t, &mut spread);
        let luma = luma.row(y, &mut gathered_luma);
        for ((out, &y), t) in to_luma.row(y).iter_mut().zip(luma).zip(t) {
            *out = sample(product(centred(y), coefficients.luma) + t + coefficients.luma_offset);
        }

        if chroma_y << rows != y {
            continue;
        }
        for (part, plane) in [(1, &mut to_cb), (2, &mut to_cr)] {
            let (near, far, quarters) = chroma_parts;
            let chroma = blend(row(part, near), row(part, far), quarters, &mut blended);
            let chroma = chroma_axes[0].across(chroma, &mut spread);
            for (out, chroma) in plane.row(chroma_y).iter_mut().zip(chroma) {
                *out = sample(chroma + coefficients.chroma_offset);
            }
        }
    }
}
