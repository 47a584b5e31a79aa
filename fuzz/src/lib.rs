// SPDX-License-Identifier: MPL-2.0

//! Shared parts of the fuzz targets.

#[cfg(feature = "elements")]
pub mod elements;

use b64jpeg_wire::{AcceptedFramings, Deframer, FrameError, FrameLimits, Framing};

pub type Received = Vec<Result<Vec<u8>, FrameError>>;

/// Limits that inputs of some kilobytes reach.
pub const LIMITS: FrameLimits = FrameLimits {
    max_frame: 2000,
    max_pixels: 1_000_000,
};

/// Splits the input into what the receiver accepts and the stream.
///
/// The last byte chooses a framing or, for most values, detection. As it is the last one, the
/// golden files are usable as inputs.
pub fn split(data: &[u8]) -> Option<(AcceptedFramings, &[u8])> {
    let (last, stream) = data.split_last()?;
    let framing = Framing::all().nth(usize::from(*last));
    Some((
        framing.map_or(AcceptedFramings::default(), AcceptedFramings::from),
        stream,
    ))
}

/// Receives a stream in pieces of these lengths, which are repeated.
pub fn receive(accept: AcceptedFramings, stream: &[u8], pieces: &[usize]) -> Received {
    // The longest frame, its header, the start of the next frame, and bytes kept for detection.
    const BOUND: usize = LIMITS.max_frame + 16 + 20 + 24;
    let mut deframer = Deframer::new(accept, LIMITS);
    let mut received = vec![];
    let mut rest = stream;
    for len in pieces.iter().cycle() {
        let (piece, later) = rest.split_at(rest.len().min(*len));
        rest = later;
        deframer.push(piece);
        if rest.is_empty() {
            deframer.finish();
        }
        received.extend(std::iter::from_fn(|| deframer.next()));
        assert!(deframer.held() <= BOUND + piece.len());
        if rest.is_empty() {
            break;
        }
    }
    assert_eq!(deframer.held(), 0);
    assert_eq!(deframer.stream().offset(), stream.len() as u64);
    received
}
