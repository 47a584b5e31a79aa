// SPDX-License-Identifier: MPL-2.0

//! What the samples of a picture mean, and how they become what JFIF means by them.

use std::fmt;

use gst_video::{
    VideoChromaSite, VideoColorMatrix, VideoColorRange, VideoColorimetry, VideoFormat, VideoInfo,
};

/// Range and matrix; JFIF knows nothing of primaries and transfer functions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Colour {
    pub range: Range,
    /// Of the luma: the weights of red and blue.
    kr: f64,
    kb: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// 0 is black and 255 white; chroma is as wide.
    Full,
    /// 16 is black and 235 white; chroma is 16 to 240.
    Limited,
}

impl Range {
    /// From this range to the full one: the scale of luma, which black is, the scale of
    /// chroma.
    fn scale(self) -> (f64, f64, f64) {
        match self {
            Self::Full => (1.0, 0.0, 1.0),
            Self::Limited => (255.0 / 219.0, 16.0, 255.0 / 224.0),
        }
    }
}

/// A colorimetry that means nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Nonsense(String);

impl fmt::Display for Nonsense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(
            f,
            "'{text}' is not a colorimetry of such pictures: bt601, bt709, smpte240m, bt2020 or \
             range:matrix:transfer:primaries in numbers is"
        )
    }
}

/// What `text` says, if it means anything.
pub fn parse(text: &str) -> Result<VideoColorimetry, Nonsense> {
    text.parse()
        .ok()
        .filter(|stated: &VideoColorimetry| {
            !matches!(stated.range(), VideoColorRange::__Unknown(_))
                && !matches!(stated.matrix(), VideoColorMatrix::__Unknown(_))
        })
        .ok_or_else(|| Nonsense(text.to_owned()))
}

impl Colour {
    /// Full range, and the matrix of BT.601.
    pub const JFIF: Self = Self {
        range: Range::Full,
        kr: 0.299,
        kb: 0.114,
    };

    /// The colours of pictures of which `text` is said.
    ///
    /// What it leaves open is GStreamer's default for their format and size.
    pub fn new(text: Option<&str>, info: &VideoInfo) -> Result<Self, Nonsense> {
        let stated = text.map(parse).transpose()?;
        let default = default_info(info).colorimetry();
        let range = match stated.as_ref().map(VideoColorimetry::range) {
            None | Some(VideoColorRange::Unknown) => default.range(),
            Some(range) => range,
        };
        let range = match range {
            VideoColorRange::Range16_235 => Range::Limited,
            _ => Range::Full,
        };
        if !info.is_yuv() {
            // No matrix has been applied; grey is the same in all of them.
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
            .map_err(|_| Nonsense(text.unwrap_or_default().to_owned()))?;
        Ok(Self { range, kr, kb })
    }

    /// How Y'CbCr of these colours becomes JFIF's.
    pub fn yuv_to_jfif(self) -> Matrix {
        let Self { range, kr, kb } = self;
        let kg = 1.0 - kr - kb;
        let (b, r) = (2.0 * (1.0 - kb), 2.0 * (1.0 - kr));
        let (luma, black, chroma) = range.scale();
        let columns = [[0.0, -b * kb / kg, b], [r, -r * kr / kg, 0.0]];
        Matrix {
            luma,
            black,
            columns: columns.map(|rgb| Self::JFIF.of_rgb(rgb, chroma)).into(),
        }
    }

    /// How RGB of this range becomes JFIF's Y'CbCr.
    pub fn rgb_to_jfif(self) -> Matrix {
        let (luma, black, _) = self.range.scale();
        let columns = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        Matrix {
            luma,
            black,
            columns: columns.map(|rgb| Self::JFIF.of_rgb(rgb, luma)).into(),
        }
    }

    /// Y'CbCr of full range, of RGB times a scale.
    fn of_rgb(self, rgb: [f64; 3], scale: f64) -> [f64; 3] {
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

/// What samples are multiplied by, so that what is grey stays grey.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    pub luma: f64,
    /// The luma that becomes 0.
    pub black: f64,
    /// What each other component, above 128, adds to Y', Cb and Cr: Cb and Cr, or, of a
    /// picture whose luma is 128 everywhere, red, green and blue.
    pub columns: Vec<[f64; 3]>,
}

/// Where chroma samples are: between the luma samples, or on the first of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    pub on_column: bool,
    pub on_row: bool,
}

impl Site {
    /// Between, as JFIF has them.
    pub const JFIF: Self = Self {
        on_column: false,
        on_row: false,
    };

    /// The site that caps state, or that pictures of such colours and size have.
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
            on_column: site.contains(VideoChromaSite::H_COSITED),
            on_row: site.contains(VideoChromaSite::V_COSITED),
        }
    }
}

/// What GStreamer takes pictures of such a format and size for when nothing is said.
fn default_info(info: &VideoInfo) -> VideoInfo {
    VideoInfo::builder(info.format(), info.width(), info.height())
        .build()
        .unwrap_or_else(|_| info.clone())
}

/// Whether the pictures are what `jfifconvert` would make of them.
pub fn is_jfif(colour: Colour, site: Site, info: &VideoInfo) -> bool {
    match info.format() {
        VideoFormat::I420 | VideoFormat::Y42b => colour == Colour::JFIF && site == Site::JFIF,
        VideoFormat::Y444 => colour == Colour::JFIF,
        _ => false,
    }
}
