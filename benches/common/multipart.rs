// SPDX-License-Identifier: MPL-2.0

//! Pictures one after the other, behind headers with their lengths.

use std::io::{self, BufRead, ErrorKind};

/// Reads the next one.
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
