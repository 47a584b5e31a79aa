// SPDX-License-Identifier: MPL-2.0

//! The JPEG markers that this crate reads and writes (ITU-T T.81, annex B).
//!
//! ```text
//! FF D8 │ FF E0 len … │ FF FE len text │ FF C0 len … │ FF C4 len … │ FF DA len … coded data │ FF D9
//! SOI     APP0          COM              SOF0          DHT           SOS                     EOI
//! ├──────────────────────────── header ────────────────────────────┤├──────── scan ────────┤
//! ```
//!
//! - [`JpegInfo`] holds what the header says: size and capture time.
//! - [`with_tables`] adds the Huffman tables that Motion JPEG may leave out.
//! - [`stamps`] and [`Origin`] write and read comments with the capture time and the sender.
//!
//! Nothing here decodes a picture.

mod comments;
mod end;
mod huffman;
mod info;
mod segments;

use segments::SOI;

use crate::error::{FirstBytes, WireError};

pub(crate) use comments::stamp;
pub use comments::{Origin, stamps};
pub(crate) use end::{EndScan, ends_with_eoi};
pub(crate) use huffman::insert_tables;
pub use huffman::with_tables;
pub(crate) use info::JpegHeader;
pub use info::JpegInfo;

/// Whether `data` begins like a JPEG: SOI and the first byte of another marker.
pub fn is_jpeg(data: &[u8]) -> bool {
    data.starts_with(&[0xff, SOI, 0xff])
}

/// Checks that `data` begins with SOI and another marker, which may have fill bytes in front.
///
/// # Errors
///
/// [`WireError::Empty`], [`WireError::NotJpeg`], or [`WireError::NoMarker`] if only fill bytes
/// follow SOI.
pub fn check(data: &[u8]) -> Result<(), WireError> {
    match data {
        [] => Err(WireError::Empty),
        [0xff, SOI, 0xff, rest @ ..] if rest.iter().all(|byte| *byte == 0xff) => {
            Err(WireError::NoMarker { len: data.len() })
        }
        data if is_jpeg(data) => Ok(()),
        data => Err(WireError::NotJpeg {
            first: FirstBytes::of(data),
        }),
    }
}

/// SOI, an application segment that hides a whole JPEG, SOF0, SOS, data, EOI.
#[cfg(test)]
const JPEG: &[u8] = b"\xff\xd8\xff\xe1\0\x08\xff\xd8\xff\xd9\0\0\
    \xff\xc0\0\x0b\x08\x01\xc2\x03\x20\x01\x01\x11\0\
    \xff\xda\0\x04\0\0\x12\xff\0\x34\xff\xd3\x56\xff\xff\xd9";

#[cfg(test)]
mod tests {
    use super::{segments::EOI, *};

    #[test]
    fn check_start_without_whole_marker_is_refused() {
        for len in [3, 4, 100] {
            let mut jpeg = vec![0xff; len];
            jpeg[1] = SOI;
            assert_eq!(check(&jpeg), Err(WireError::NoMarker { len }));
            jpeg.push(EOI);
            assert_eq!(check(&jpeg), Ok(()));
        }
        for short in [&b"\xff"[..], b"\xff\xd8"] {
            assert!(matches!(check(short), Err(WireError::NotJpeg { .. })));
        }
    }
}
