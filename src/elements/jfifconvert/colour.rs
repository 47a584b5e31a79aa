// SPDX-License-Identifier: MPL-2.0

//! The colour encoding of a frame, and the matrix that converts it to that of JFIF.

use std::fmt;

use gst_video::{
    VideoChromaSite, VideoColorMatrix, VideoColorRange, VideoColorimetry, VideoFormat, VideoInfo,
};

/// Range and matrix. JFIF specifies neither primaries nor a transfer function, so those stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour {
    pub range: ColourRange,
    /// The weights of red and blue in luma.
    kr: f64,
    kb: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColourRange {
    /// Luma and chroma use 0 to 255.
    Full,
    /// Luma uses 16 to 235, chroma 16 to 240.
    Limited,
}

impl ColourRange {
    /// For conversion to full range: the scale of luma, the luma of black, the scale of chroma.
    fn to_full(self) -> (f64, f64, f64) {
        match self {
            Self::Full => (1.0, 0.0, 1.0),
            Self::Limited => (255.0 / 219.0, 16.0, 255.0 / 224.0),
        }
    }
}

/// A string that is not a colorimetry, or whose matrix does not fit the format.
#[derive(Debug, Clone, PartialEq)]
pub struct InvalidColorimetry(String);

impl fmt::Display for InvalidColorimetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "'{text}' is not a colorimetry for this format: use bt601, bt709, smpte240m, bt2020 or \
             range:matrix:transfer:primaries in numbers"
        )
    }
}

/// Parses a colorimetry as in caps.
///
/// # Errors
///
/// If GStreamer does not know it, its range or its matrix.
pub fn parse(text: &str) -> Result<VideoColorimetry, InvalidColorimetry> {
    text.parse()
        .ok()
        .filter(|stated: &VideoColorimetry| {
            !matches!(stated.range(), VideoColorRange::__Unknown(_))
                && !matches!(stated.matrix(), VideoColorMatrix::__Unknown(_))
        })
        .ok_or_else(|| InvalidColorimetry(text.to_owned()))
}

impl Colour {
    /// Full range and the matrix of BT.601.
    pub const JFIF: Self = Self {
        range: ColourRange::Full,
        kr: 0.299,
        kb: 0.114,
    };

    /// The encoding that the colorimetry `text` specifies. What it leaves open, and a missing
    /// `text`, is GStreamer's default for the format and size.
    ///
    /// # Errors
    ///
    /// If `text` is not a colorimetry, or not one for Y'CbCr although the frames are Y'CbCr.
    pub fn new(text: Option<&str>, info: &VideoInfo) -> Result<Self, InvalidColorimetry> {
        let stated = text.map(parse).transpose()?;
        let default = default_info(info).colorimetry();
        let range = match stated.as_ref().map(VideoColorimetry::range) {
            None | Some(VideoColorRange::Unknown) => default.range(),
            Some(range) => range,
        };
        let range = match range {
            VideoColorRange::Range16_235 => ColourRange::Limited,
            _ => ColourRange::Full,
        };
        if !info.is_yuv() {
            // RGB has no matrix, and grey is the same under every matrix.
            return Ok(Self {
                range,
                ..Self::JFIF
            });
        }
        let matrix = match stated.as_ref().map(VideoColorimetry::matrix) {
            None | Some(VideoColorMatrix::Unknown) => default.matrix(),
            Some(matrix) => matrix,
        };
        let (kr, kb) = matrix
            .kr_kb()
            .map_err(|_| InvalidColorimetry(text.unwrap_or_default().to_owned()))?;
        Ok(Self { range, kr, kb })
    }

    /// The conversion of Y'CbCr with this encoding.
    pub fn yuv_to_jfif(self) -> ConversionMatrix {
        let Self { range, kr, kb } = self;
        let kg = 1.0 - kr - kb;
        let (b, r) = (2.0 * (1.0 - kb), 2.0 * (1.0 - kr));
        let (luma, black, chroma) = range.to_full();
        let columns = [[0.0, -b * kb / kg, b], [r, -r * kr / kg, 0.0]];
        ConversionMatrix {
            luma,
            black,
            columns: columns.map(|rgb| Self::JFIF.ycbcr(rgb, chroma)).into(),
        }
    }

    /// The conversion of RGB with this range.
    pub fn rgb_to_jfif(self) -> ConversionMatrix {
        let (luma, black, _) = self.range.to_full();
        let columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        ConversionMatrix {
            luma,
            black,
            columns: columns.map(|rgb| Self::JFIF.ycbcr(rgb, luma)).into(),
        }
    }

    /// Full-range Y'CbCr of RGB values that are multiplied by `scale`.
    fn ycbcr(self, rgb: [f64; 3], scale: f64) -> [f64; 3] {
        let Self { kr, kb, .. } = self;
        let [r, g, b] = rgb.map(|part| part * scale);
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        [
            y,
            (b - y) / (2.0 * (1.0 - kb)),
            (r - y) / (2.0 * (1.0 - kr)),
        ]
    }
}

/// A linear conversion of samples to JFIF's Y'CbCr that keeps grey grey.
#[derive(Debug, Clone, PartialEq)]
pub struct ConversionMatrix {
    /// The factor of luma in Y'.
    pub luma: f64,
    /// The input luma of black, which becomes 0.
    pub black: f64,
    /// What each other component adds to Y', Cb and Cr, per unit above 128. The other components
    /// are Cb and Cr, or red, green and blue, whose luma counts as 128.
    pub columns: Vec<[f64; 3]>,
}

/// The position of chroma samples along each axis: on every second luma sample (cosited), or
/// between two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChromaSite {
    pub h_cosited: bool,
    pub v_cosited: bool,
}

impl ChromaSite {
    /// Between the luma samples on both axes.
    pub const JFIF: Self = Self {
        h_cosited: false,
        v_cosited: false,
    };

    /// The site that caps specify as `text`, or the default for the encoding, format and size.
    pub fn new(text: Option<&str>, colour: Colour, info: &VideoInfo) -> Self {
        let site = text.and_then(|text| text.parse().ok());
        let site = site.unwrap_or_else(|| {
            if colour == Colour::JFIF {
                VideoChromaSite::JPEG
            } else {
                default_info(info).chroma_site()
            }
        });
        Self {
            h_cosited: site.contains(VideoChromaSite::H_COSITED),
            v_cosited: site.contains(VideoChromaSite::V_COSITED),
        }
    }
}

/// GStreamer's defaults for a format and size, which hold where caps specify nothing.
fn default_info(info: &VideoInfo) -> VideoInfo {
    VideoInfo::builder(info.format(), info.width(), info.height())
        .build()
        .unwrap_or_else(|_| info.clone())
}

/// Whether frames have the colours and an output format of `jfifconvert` already.
pub fn is_jfif(colour: Colour, site: ChromaSite, info: &VideoInfo) -> bool {
    match info.format() {
        VideoFormat::I420 | VideoFormat::Y42b => colour == Colour::JFIF && site == ChromaSite::JFIF,
        VideoFormat::Y444 => colour == Colour::JFIF,
        _ => false,
    }
}
