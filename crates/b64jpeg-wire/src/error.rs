// SPDX-License-Identifier: MPL-2.0

//! Errors of streams and frames.

use std::{error, fmt};

/// The first bytes of unexpected data, for the error message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct FirstBytes {
    bytes: [u8; Self::MAX],
    len: u8,
}

impl FirstBytes {
    /// Number of bytes it keeps at most.
    pub const MAX: usize = 8;

    /// Keeps the first [`MAX`](Self::MAX) bytes of `data`.
    pub fn of(data: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        let mut len = 0;
        for (kept, byte) in bytes.iter_mut().zip(data) {
            *kept = *byte;
            len = u8::saturating_add(len, 1);
        }
        Self { bytes, len }
    }

    /// The kept bytes.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }
}

impl fmt::Display for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.bytes().iter().enumerate() {
            let space = if i == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        write!(f, " (\"{}\")", self.bytes().escape_ascii())
    }
}

impl fmt::Debug for FirstBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FirstBytes({self})")
    }
}

/// Another protocol or format, recognised by the first bytes of a stream.
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignProtocol {
    /// Pickled Python objects, with or without a length in front.
    Pickle,
    /// An array written by `numpy.save`, with or without a length in front.
    Numpy,
    /// An HTTP request or response.
    Http,
    /// `multipart/x-mixed-replace` without its HTTP header.
    Multipart,
    /// `data:` URLs, with or without a length in front.
    DataUrl,
    /// An RTSP request or response.
    Rtsp,
    /// An SSH banner.
    Ssh,
    /// A TLS record.
    Tls,
    /// PNG pictures, raw or as base64, with or without a length in front.
    Png,
}

impl fmt::Display for ForeignProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pickle => "a Python pickle",
            Self::Numpy => "a NumPy array",
            Self::Http => "HTTP",
            Self::Multipart => "a multipart stream",
            Self::DataUrl => "data: URLs",
            Self::Rtsp => "RTSP",
            Self::Ssh => "SSH",
            Self::Tls => "TLS",
            Self::Png => "PNG pictures",
        })
    }
}

/// Why bytes are not a frame, or a picture cannot be sent as one.
///
/// Offsets count bytes from the start of the payload, unless documented otherwise. The offset
/// of the frame in the stream is in [`FrameError`].
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WireError {
    /// The payload is longer than the limit, or than the header can express. In bytes.
    TooLong { len: u64, max: u64 },
    /// The picture has no bytes.
    Empty,
    /// A 16-digit header does not hold a number. The offset counts from its start.
    Digits { offset: usize, byte: u8 },
    /// A byte is not base64. Without a byte, the text ends inside a group of four.
    Base64 { offset: usize, byte: Option<u8> },
    /// The payload does not begin like a JPEG.
    NotJpeg { first: FirstBytes },
    /// The payload begins like a JPEG and ends before a whole marker follows SOI.
    NoMarker { len: usize },
    /// The payload does not end like a JPEG, and no frame follows it: its length is wrong, or
    /// it was cut off.
    NoEnd,
    /// A frame header of the JPEG has more pixels than the limit.
    TooManyPixels { width: u16, height: u16, max: u64 },
    /// A JPEG without a length has a byte where that cannot be.
    Marker { offset: usize, byte: u8 },
    /// The stream ended inside a frame, of which it has `have` bytes instead of `want`, if
    /// that is known.
    Truncated { have: usize, want: Option<usize> },
    /// No accepted framing begins like this stream.
    Unrecognised { first: FirstBytes },
    /// No frame was found in the next `scanned` bytes.
    Lost { scanned: usize },
    /// The stream is of another protocol.
    Foreign(ForeignProtocol),
}

impl WireError {
    /// Whether no frame can follow in this stream.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Foreign(_))
    }

    /// Whether only the picture is bad: the frame is whole, and the next one follows it.
    pub const fn is_picture_error(&self) -> bool {
        matches!(self, Self::TooManyPixels { .. } | Self::NoMarker { .. })
    }
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, max } => {
                write!(f, "its length of {len} bytes is over the limit of {max}")
            }
            Self::Empty => f.write_str("there is no picture in it"),
            Self::Digits { offset, byte } => write!(
                f,
                "byte {offset} of its 16-digit header is 0x{byte:02x}, not a digit"
            ),
            Self::Base64 {
                offset,
                byte: Some(byte),
            } => write!(
                f,
                "byte {offset} of its text is 0x{byte:02x}, which is not base64"
            ),
            Self::Base64 { offset, byte: None } => write!(
                f,
                "its base64 text ends after {offset} bytes, inside a group of four"
            ),
            Self::NotJpeg { first } => {
                write!(f, "it does not begin like a JPEG but with {first}")
            }
            Self::NoMarker { len } => write!(
                f,
                "it is not a JPEG: its {len} bytes end inside the first marker"
            ),
            Self::NoEnd => f.write_str("its JPEG has no end, and no frame follows it"),
            Self::TooManyPixels { width, height, max } => write!(
                f,
                "its {width} x {height} = {} pixels are over the limit of {max}",
                u64::from(*width).saturating_mul((*height).into())
            ),
            Self::Marker { offset, byte } => write!(
                f,
                "byte {offset} of the JPEG is 0x{byte:02x}, which cannot occur there"
            ),
            Self::Truncated {
                have,
                want: Some(want),
            } => write!(
                f,
                "the stream ended inside it, after {have} of {want} bytes"
            ),
            Self::Truncated { have, want: None } => {
                write!(f, "the stream ended inside it, after {have} bytes")
            }
            Self::Unrecognised { first } => write!(f, "no known framing begins with {first}"),
            Self::Lost { scanned } => write!(f, "no frame begins in the next {scanned} bytes"),
            Self::Foreign(foreign) => write!(f, "this stream is {foreign}"),
        }
    }
}

impl error::Error for WireError {}

/// A [`WireError`] and its place in the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrameError {
    /// Number of the bad frame: how many good ones came before it.
    pub frame: u64,
    /// Offset of the bad frame in the stream, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub error: WireError,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "frame {} at byte {}: {}",
            self.frame, self.offset, self.error
        )
    }
}

impl error::Error for FrameError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}
