// SPDX-License-Identifier: MPL-2.0

//! Readers for streams in which each JPEG follows a header with its length.

use std::io::{self, BufRead, ErrorKind};

/// Reads the next JPEG of a multipart stream.
pub fn next_part(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut len = None;
    let mut line = String::new();
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let header = line.trim().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            len = value.trim().parse().ok();
        }
        if let ("", Some(len)) = (&*header, len) {
            let mut body = vec![0; len];
            stream.read_exact(&mut body)?;
            return Ok(body);
        }
    }
}

/// Reads the next payload after a big-endian length of four bytes.
pub fn next_of_be32(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; u32::from_be_bytes(header) as usize];
    stream.read_exact(&mut body)?;
    Ok(body)
}
