// SPDX-License-Identifier: MPL-2.0

//! Converts frames with any matrix, range, subsampling and chroma site to those of JFIF.
//!
//! Each sample is multiplied by one matrix and rounded once. A conversion by way of RGB would
//! round twice and clip colours outside of RGB. Chroma is resampled by linear interpolation.
//!
//! ```text
//!  Cb row ─┐         ┌─► t ─── down, across ──┐
//!          ├─ matrix ┼─► Cb' ─ down, across ──┼─► Cb'
//!  Cr row ─┘         └─► Cr' ─ down, across ──┼─► Cr'
//!  Y row ──── scale ──────────────────────────┴─► Y'
//! ```
//!
//! `t` is what chroma adds to luma. It is small, because only the matrices differ, but not zero.
//! RGB is converted in the same way, with grey as the row of luma.
//!
//! Numbers have 16 bits, of which [`FRACTION`] are the fraction, and the loops run over whole
//! rows, so that the compiler can vectorise them.

use multiversion::multiversion;

use super::{
    colour::{ChromaSite, ConversionMatrix},
    planes::{PlaneMut, Samples},
};

/// Fraction bits of intermediate numbers. The largest number, four times a Cb or Cr in the
/// interpolation of rows, must stay below 2^15.
const FRACTION: u32 = 5;

/// Columns and rows of luma per sample of chroma, as powers of two.
pub type Subsampling = (u32, u32);

/// A [`ConversionMatrix`] in fixed point.
#[derive(Debug, Clone)]
struct Coefficients {
    luma: i16,
    luma_offset: i16,
    chroma_offset: i16,
    columns: Vec<[i16; 3]>,
}

impl From<&ConversionMatrix> for Coefficients {
    fn from(matrix: &ConversionMatrix) -> Self {
        // `product` drops eight more bits.
        let coefficient = |x: f64| (x * f64::from(1 << (FRACTION + 8))).round() as i16;
        // One half rounds the result; half a unit per product corrects its rounding down.
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

/// A sample minus 128, in the upper byte.
#[inline(always)]
fn centred(sample: u8) -> i16 {
    i16::from_be_bytes([sample ^ 0x80, 0])
}

/// The upper half of the product, for which CPUs have a vector instruction.
#[inline(always)]
fn product(centred: i16, coefficient: i16) -> i16 {
    ((i32::from(centred) * i32::from(coefficient)) >> 16) as i16
}

/// Rounds a number, whose rounding offset was added, to a sample.
#[inline(always)]
fn sample(number: i16) -> u8 {
    (number >> FRACTION).clamp(0, 255) as u8
}

/// How chroma is resampled along one axis, from the resolution and site of the input to those of
/// the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChromaResampling {
    /// Resolution and site are the same.
    Copy,
    /// The output is a quarter of a sample further on.
    Shift,
    /// Each output sample is in the middle of two input samples.
    Halve,
    /// Two output samples, a quarter of a sample before and after each input sample.
    DoubleCentred,
    /// Two output samples, at each input sample and in the middle to the next.
    DoubleCosited,
}

impl ChromaResampling {
    fn new(from: u32, to: u32, cosited: bool) -> Self {
        match (from, to) {
            (0, 0) => Self::Copy,
            (0, _) => Self::Halve,
            (_, 0) if cosited => Self::DoubleCosited,
            (_, 0) => Self::DoubleCentred,
            _ if cosited => Self::Shift,
            _ => Self::Copy,
        }
    }

    /// The two of `len` input samples for the output sample `i`, and the weight of the second in
    /// quarters.
    fn taps(self, i: usize, len: usize) -> (usize, usize, i16) {
        let (near, far, quarters) = match self {
            Self::Copy => (i, i, 0),
            Self::Shift => (i, i + 1, 1),
            Self::Halve => (2 * i, 2 * i + 1, 2),
            Self::DoubleCentred if i.is_multiple_of(2) => (i / 2, (i / 2).saturating_sub(1), 1),
            Self::DoubleCentred => (i / 2, i / 2 + 1, 1),
            Self::DoubleCosited => (i / 2, i / 2 + 1, 2 * (i % 2) as i16),
        };
        let last = len - 1;
        (near.min(last), far.min(last), quarters)
    }

    /// Resamples a row, which has one more number at either end.
    #[inline(always)]
    fn resample_row<'a>(self, row: &'a [i16], scratch: &'a mut [i16]) -> &'a [i16] {
        match self {
            Self::Copy => &row[1..],
            Self::Shift => blend(&row[1..], &row[2..], 1, scratch),
            Self::Halve => {
                let (pairs, _) = row[1..].as_chunks();
                for (out, [a, b]) in scratch.iter_mut().zip(pairs) {
                    *out = (a + b + 1) >> 1;
                }
                scratch
            }
            Self::DoubleCentred => double(row, 1, 1, scratch),
            Self::DoubleCosited => double(row, 0, 2, scratch),
        }
    }
}

/// Interpolates between two rows; `quarters` is the weight of `far`.
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

/// Two numbers for each in a row; `before` and `after` are the weights of its neighbours in
/// quarters.
#[inline(always)]
fn double<'a>(row: &[i16], before: i16, after: i16, scratch: &'a mut [i16]) -> &'a [i16] {
    let (pairs, _) = scratch.as_chunks_mut();
    for ([even, odd], around) in pairs.iter_mut().zip(row.windows(3)) {
        *even = (around[1] * (4 - before) + around[0] * before + 2) >> 2;
        *odd = (around[1] * (4 - after) + around[2] * after + 2) >> 2;
    }
    scratch
}

/// What chroma adds to Y', and Cb' and Cr', for one row of chroma, with one more number at either
/// end.
type MixedRow = [Vec<i16>; 3];

/// Multiplies a row of chroma, or of RGB, by the matrix.
#[inline(always)]
fn mix<const N: usize>(from: [&[u8]; N], columns: &[[i16; 3]; N], row: &mut MixedRow) {
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

/// The conversion of all frames of a stream.
#[derive(Debug, Clone)]
pub struct LinearConverter {
    coefficients: Coefficients,
    /// From the input's chroma to luma, horizontally and vertically.
    to_luma: [ChromaResampling; 2],
    /// From the input's chroma to the output's chroma.
    to_chroma: [ChromaResampling; 2],
    /// Rows of luma per row of chroma in the output, as a power of two.
    rows: u32,
}

impl LinearConverter {
    pub fn new(
        matrix: &ConversionMatrix,
        site: ChromaSite,
        from: Subsampling,
        to: Subsampling,
    ) -> Self {
        let resampling = |to: Subsampling| {
            [
                ChromaResampling::new(from.0, to.0, site.h_cosited),
                ChromaResampling::new(from.1, to.1, site.v_cosited),
            ]
        };
        Self {
            coefficients: matrix.into(),
            to_luma: resampling((0, 0)),
            to_chroma: resampling(to),
            rows: to.1,
        }
    }

    /// Converts a frame or a field: `luma`, and the components that are mixed by the matrix, which
    /// are Cb and Cr or red, green and blue.
    pub fn convert(&self, luma: Samples, mixed: &[Samples], to: [PlaneMut; 3]) {
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

/// Converts row by row, and mixes the rows of chroma when they are needed.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512dq+avx512vl", "x86_64+avx2"))]
fn convert<const N: usize>(
    converter: &LinearConverter,
    luma: Samples<'_>,
    from: [Samples<'_>; N],
    columns: [[i16; 3]; N],
    [mut to_luma, mut to_cb, mut to_cr]: [PlaneMut<'_>; 3],
) {
    // A row of output needs at most three rows of chroma: the one before, its own and the next.
    const RING: usize = 4;
    let LinearConverter {
        coefficients,
        to_luma: luma_resampling,
        to_chroma: chroma_resampling,
        rows,
    } = converter;
    let height = from[0].height;
    let width = from[0].width + 2;
    let mut ring: [MixedRow; RING] =
        std::array::from_fn(|_| std::array::from_fn(|_| vec![0; width]));
    let mut ready = 0;
    let mut gathered: [Vec<u8>; N] = std::array::from_fn(|_| Vec::new());
    let mut gathered_luma = Vec::new();
    let mut blended = vec![0; width];
    let mut spread = vec![0; 2 * width];

    for y in 0..luma.height {
        let luma_taps = luma_resampling[1].taps(y, height);
        let chroma_y = y >> rows;
        let chroma_taps = chroma_resampling[1].taps(chroma_y, height);
        let needed = [luma_taps.0, luma_taps.1, chroma_taps.0, chroma_taps.1];
        while needed.iter().any(|&row| row >= ready) {
            let mut scratch = gathered.iter_mut();
            let from = from
                .each_ref()
                .map(|samples| samples.row(ready, scratch.next().expect("as many as samples")));
            mix(from, &columns, &mut ring[ready % RING]);
            ready += 1;
        }
        let row = |part: usize, i: usize| &ring[i % RING][part][..];

        let t = blend(
            row(0, luma_taps.0),
            row(0, luma_taps.1),
            luma_taps.2,
            &mut blended,
        );
        let t = luma_resampling[0].resample_row(t, &mut spread);
        let luma = luma.row(y, &mut gathered_luma);
        for ((out, &y), t) in to_luma.row(y).iter_mut().zip(luma).zip(t) {
            *out = sample(product(centred(y), coefficients.luma) + t + coefficients.luma_offset);
        }

        if chroma_y << rows != y {
            continue;
        }
        for (part, plane) in [(1, &mut to_cb), (2, &mut to_cr)] {
            let (near, far, quarters) = chroma_taps;
            let chroma = blend(row(part, near), row(part, far), quarters, &mut blended);
            let chroma = chroma_resampling[0].resample_row(chroma, &mut spread);
            for (out, chroma) in plane.row(chroma_y).iter_mut().zip(chroma) {
                *out = sample(chroma + coefficients.chroma_offset);
            }
        }
    }
}
