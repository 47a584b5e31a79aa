// SPDX-License-Identifier: MPL-2.0

//! Base64 of RFC 4648, standard alphabet.
//!
//! `base64-turbo` decodes well-formed text. Python's decoder also accepts line breaks, missing
//! padding, and stray bits in the last character; `decode_leniently` handles those.

use base64_turbo::{STANDARD, STANDARD_NO_PAD};

use super::error::WireError;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Length of the text for `len` bytes, including padding.
pub const fn encoded_len(len: usize) -> usize {
    len.div_ceil(3).saturating_mul(4)
}

/// Length of the buffer that [`decode`] needs for `len` bytes of text.
pub const fn decoded_capacity(len: usize) -> usize {
    len.div_ceil(4).saturating_mul(3)
}

/// Writes the text for `data` to the front of `out` and returns its length.
///
/// # Panics
///
/// If `out` is shorter than [`encoded_len`].
#[expect(
    clippy::expect_used,
    reason = "documented: the caller provides a buffer that is long enough"
)]
pub fn encode(data: &[u8], out: &mut [u8]) -> usize {
    STANDARD
        .encode_slice(data, out)
        .expect("the buffer has encoded_len bytes")
}

/// Decodes `text` to the front of `out` and returns the number of bytes written.
///
/// # Errors
///
/// [`WireError::Base64`] with the offset of the first invalid byte.
///
/// # Panics
///
/// If `out` is shorter than [`decoded_capacity`].
pub fn decode(text: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
    assert!(out.len() >= decoded_capacity(text.len()));
    STANDARD
        .decode_slice(text, out)
        .or_else(|_| decode_leniently(text, out))
}

/// Like [`decode`], but first copies the text without white space and padding.
#[cold]
fn decode_leniently(text: &[u8], out: &mut [u8]) -> Result<usize, WireError> {
    let mut digits = Vec::with_capacity(text.len());
    let mut padding = 0;
    for (offset, &byte) in text.iter().enumerate() {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            b'=' if padding < 2 && digits.len() % 4 != 0 => {
                padding = u8::saturating_add(padding, 1)
            }
            _ if padding == 0 && value(byte).is_some() => digits.push(byte),
            _ => {
                return Err(WireError::Base64 {
                    offset,
                    byte: Some(byte),
                });
            }
        }
    }

    // A last group of two or three characters has four or two bits that no byte uses.
    let spare_bits = match digits.len() % 4 {
        0 => 0,
        1 => {
            return Err(WireError::Base64 {
                offset: text.len(),
                byte: None,
            });
        }
        2 => 4,
        _ => 2,
    };
    if let Some(last) = digits.last_mut() {
        let value = value(*last).unwrap_or_default() >> spare_bits << spare_bits;
        // The alphabet has an entry for each value of six bits.
        *last = ALPHABET.get(usize::from(value)).copied().unwrap_or(*last);
    }

    // The digits are canonical now.
    STANDARD_NO_PAD
        .decode_slice(&digits, out)
        .map_err(|_| WireError::Base64 {
            offset: text.len(),
            byte: None,
        })
}

/// The six bits of a base64 character.
#[expect(clippy::indexing_slicing, reason = "256 entries, one for each byte")]
fn value(byte: u8) -> Option<u8> {
    const NONE: u8 = 64;
    const VALUES: [u8; 256] = {
        let mut values = [NONE; 256];
        let mut i = 0;
        while i < ALPHABET.len() {
            values[ALPHABET[i] as usize] = i as u8;
            i += 1;
        }
        values
    };
    Some(VALUES[usize::from(byte)]).filter(|&value| value != NONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &[u8]) -> Result<Vec<u8>, WireError> {
        let mut out = vec![0; decoded_capacity(text.len())];
        let len = decode(text, &mut out)?;
        out.truncate(len);
        Ok(out)
    }

    #[test]
    fn decode_text_that_python_accepts_is_decoded() {
        for text in [
            &b"/9j/4AA="[..],
            b"/9j/4AA",
            b"/9j/4A\r\nA=\n",
            b"/9j/4AB=", // stray bits in the last character
            b"/9j/4AA = ",
        ] {
            assert_eq!(
                decoded(text).unwrap(),
                [0xff, 0xd8, 0xff, 0xe0, 0x00],
                "{}",
                text.escape_ascii()
            );
        }
        assert_eq!(decoded(b"").unwrap(), b"");
    }

    #[test]
    fn decode_invalid_text_names_offset_and_byte() {
        for (text, offset, byte) in [
            (&b"/9j/4A-A"[..], 6, Some(b'-')),
            (b"/9j/4AA=x", 8, Some(b'x')),
            (b"/9j/4A===", 8, Some(b'=')),
            (b"/9j/=", 4, Some(b'=')),
            (b"/9j/4\0AA", 5, Some(0)),
            (b"/9j/4", 5, None),
        ] {
            assert_eq!(decoded(text), Err(WireError::Base64 { offset, byte }));
        }
    }
}
