// SPDX-License-Identifier: MPL-2.0

//! Headers, payloads, and framings, which combine one of each.

use std::{fmt, str::FromStr};

use super::error::WireError;

/// How the length of a payload is written in front of it.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Header {
    /// `struct.pack(">L", n)`
    #[default]
    Be32,
    /// `struct.pack("<L", n)`
    Le32,
    /// `struct.pack(">Q", n)`
    Be64,
    /// `struct.pack("<Q", n)`, and `struct.pack("Q", n)` on nearly every machine
    Le64,
    /// `str(n).ljust(16)` or `str(n).zfill(16)`
    Ascii16,
    /// No length; the text ends with LF or CRLF.
    Lines,
    /// No length; JPEGs follow each other directly.
    None,
}

impl Header {
    /// All headers. A receiver that detects the header prefers the first ones.
    pub const ALL: [Self; 7] = [
        Self::Be32,
        Self::Le32,
        Self::Be64,
        Self::Le64,
        Self::Ascii16,
        Self::Lines,
        Self::None,
    ];

    /// Length of the header in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::Be32 | Self::Le32 => 4,
            Self::Be64 | Self::Le64 => 8,
            Self::Ascii16 => 16,
            Self::Lines | Self::None => 0,
        }
    }

    /// Number of bytes that the encoder writes after the payload.
    pub const fn trailer_len(self) -> usize {
        matches!(self, Self::Lines) as usize
    }

    /// Whether the header contains the length of the payload.
    pub const fn has_length(self) -> bool {
        self.size() > 0
    }

    /// Length of the longest payload that the header can express, in bytes.
    pub const fn max_payload(self) -> u64 {
        match self {
            Self::Be32 | Self::Le32 => u32::MAX as u64,
            Self::Ascii16 => 9_999_999_999_999_999,
            Self::Be64 | Self::Le64 | Self::Lines | Self::None => u64::MAX,
        }
    }

    /// Writes the header for a payload of `len` bytes to the front of `out`.
    ///
    /// The caller checks `len` against [`max_payload`](Self::max_payload) first.
    #[expect(
        clippy::indexing_slicing,
        reason = "documented: out has room for the header; max_payload has at most 16 digits"
    )]
    pub(super) fn write(self, len: u64, out: &mut [u8]) {
        let out = &mut out[..self.size()];
        match self {
            Self::Be32 => out.copy_from_slice(&(len as u32).to_be_bytes()),
            Self::Le32 => out.copy_from_slice(&(len as u32).to_le_bytes()),
            Self::Be64 => out.copy_from_slice(&len.to_be_bytes()),
            Self::Le64 => out.copy_from_slice(&len.to_le_bytes()),
            Self::Ascii16 => {
                let digits = len.to_string();
                out.fill(b' ');
                out[..digits.len()].copy_from_slice(digits.as_bytes());
            }
            Self::Lines | Self::None => {}
        }
    }

    /// Reads the length from the front of `data`. `None` if the header has no length or has
    /// not arrived completely.
    pub(super) fn read(self, data: &[u8]) -> Result<Option<u64>, WireError> {
        Ok(match self {
            Self::Be32 => data.first_chunk().map(|b| u32::from_be_bytes(*b).into()),
            Self::Le32 => data.first_chunk().map(|b| u32::from_le_bytes(*b).into()),
            Self::Be64 => data.first_chunk().map(|b| u64::from_be_bytes(*b)),
            Self::Le64 => data.first_chunk().map(|b| u64::from_le_bytes(*b)),
            Self::Ascii16 => match data.first_chunk() {
                Some(digits) => Some(read_digits(digits)?),
                None => None,
            },
            Self::Lines | Self::None => None,
        })
    }

    /// The name of the header, which [`FromStr`] parses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Be32 => "be32",
            Self::Le32 => "le32",
            Self::Be64 => "be64",
            Self::Le64 => "le64",
            Self::Ascii16 => "ascii16",
            Self::Lines => "lines",
            Self::None => "none",
        }
    }
}

/// Reads a decimal number padded to 16 bytes, with zeros or with spaces on either side.
fn read_digits(digits: &[u8; 16]) -> Result<u64, WireError> {
    let start = digits.iter().take_while(|byte| byte.is_ascii_whitespace());
    let start = start.count();
    let mut value = 0_u64;
    let mut has_digits = false;
    for (i, &byte) in digits.trim_ascii().iter().enumerate() {
        let Some(digit) = char::from(byte).to_digit(10) else {
            let offset = start.saturating_add(i);
            return Err(WireError::Digits { offset, byte });
        };
        // Sixteen digits always fit into a u64.
        value = value.saturating_mul(10).saturating_add(digit.into());
        has_digits = true;
    }
    match (has_digits, digits) {
        (true, _) => Ok(value),
        (false, &[byte, ..]) => Err(WireError::Digits { offset: 0, byte }),
    }
}

/// How a JPEG is written after its header.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Payload {
    /// RFC 4648 standard alphabet, padded, no line breaks.
    #[default]
    Base64,
    /// The bytes of the JPEG.
    Jpeg,
}

impl Payload {
    /// Both payloads.
    pub const ALL: [Self; 2] = [Self::Base64, Self::Jpeg];

    /// The bytes with which every payload of this kind begins: SOI and the first byte of the
    /// next marker (ITU-T T.81, B.1.1.3), or their base64 text.
    pub const fn start(self) -> &'static [u8] {
        match self {
            Self::Base64 => b"/9j/",
            Self::Jpeg => &[0xff, 0xd8, 0xff],
        }
    }

    /// The name of the payload, which [`FromStr`] parses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Jpeg => "jpeg",
        }
    }
}

/// A valid combination of a header and a payload.
///
/// ```
/// use b64jpeg_wire::{Framing, Header, Payload};
///
/// let framing = Framing::new(Header::Le64, Payload::Jpeg).unwrap();
/// assert_eq!(framing.to_string(), "le64 jpeg");
/// // A JPEG may contain line feeds, and base64 text has no end marker.
/// assert!(Framing::new(Header::Lines, Payload::Jpeg).is_none());
/// assert!(Framing::new(Header::None, Payload::Base64).is_none());
/// ```
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Framing {
    header: Header,
    payload: Payload,
}

impl Framing {
    /// Combines a header and a payload. `None` for lines of JPEG, and for base64 without a
    /// header.
    pub const fn new(header: Header, payload: Payload) -> Option<Self> {
        match (header, payload) {
            (Header::Lines, Payload::Jpeg) | (Header::None, Payload::Base64) => None,
            _ => Some(Self { header, payload }),
        }
    }

    /// All framings. A receiver that detects the framing prefers the first ones.
    pub fn all() -> impl Iterator<Item = Self> {
        Header::ALL
            .into_iter()
            .flat_map(|header| Payload::ALL.map(|payload| Self::new(header, payload)))
            .flatten()
    }

    /// How the length of the payload is written.
    pub const fn header(self) -> Header {
        self.header
    }

    /// How the JPEG is written.
    pub const fn payload(self) -> Payload {
        self.payload
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.header.as_str(), self.payload.as_str())
    }
}

/// The error of parsing a [`Header`] or [`Payload`] from an unknown name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownName(String);

impl fmt::Display for UnknownName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown header or payload \"{}\"", self.0)
    }
}

impl std::error::Error for UnknownName {}

impl FromStr for Header {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|header| header.as_str() == name)
            .ok_or_else(|| UnknownName(name.into()))
    }
}

impl FromStr for Payload {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL
            .into_iter()
            .find(|payload| payload.as_str() == name)
            .ok_or_else(|| UnknownName(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_length_is_written_like_struct_pack() {
        let write = |header: Header| {
            let mut out = vec![0; header.size()];
            header.write(0x0102, &mut out);
            out
        };
        assert_eq!(write(Header::Be32), [0, 0, 1, 2]);
        assert_eq!(write(Header::Le32), [2, 1, 0, 0]);
        assert_eq!(write(Header::Be64), [0, 0, 0, 0, 0, 0, 1, 2]);
        assert_eq!(write(Header::Le64), [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(write(Header::Ascii16), *b"258             ");
    }

    #[test]
    fn header_ascii16_any_padding_is_read() {
        for text in [
            b"258             ",
            b"0000000000000258",
            b"             258",
        ] {
            assert_eq!(Header::Ascii16.read(text), Ok(Some(258)));
        }
        assert_eq!(
            Header::Ascii16.read(b"9999999999999999"),
            Ok(Some(Header::Ascii16.max_payload()))
        );
        for (text, offset, byte) in [
            (b"25x8            ", 2, b'x'),
            (b"                ", 0, b' '),
            (b"-1              ", 0, b'-'),
            (b"  1 2           ", 3, b' '),
        ] {
            assert_eq!(
                Header::Ascii16.read(text),
                Err(WireError::Digits { offset, byte })
            );
        }
    }

    #[test]
    fn header_and_payload_names_round_trip() {
        for header in Header::ALL {
            assert_eq!(header.as_str().parse(), Ok(header));
        }
        for payload in Payload::ALL {
            assert_eq!(payload.as_str().parse(), Ok(payload));
        }
        assert!("be33".parse::<Header>().is_err());
    }
}
