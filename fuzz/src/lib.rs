// SPDX-License-Identifier: MPL-2.0

//! What the fuzz targets have in common.

#[cfg(feature = "elements")]
pub mod elements;

use b64jpeg_wire::{AcceptedFramings, Deframer, FrameError, FrameLimits, Framing};

pub type Received = Vec<Result<Vec<u8>, FrameError>>;

/// Small, so that inputs of some kilobytes meet it.
pub const LIMITS: FrameLimits = FrameLimits {
    max_frame: 2000,
    max_pixels: 1_000_000,
};

/// The last byte says what the receiver knows about the framing: all of it or, most
/// often, nothing. That leaves the golden files nearly whole as streams.
pub fn split(data: &[u8]) -> Option<(AcceptedFramings, &[u8])> {
    let (last, stream) = data.split_last()?;
    let framing = Framing::all().nth(usize::from(*last));
    Some((
        framing.map_or(AcceptedFramings::default(), AcceptedFramings::from),
        stream,
    ))
}

/// All that comes of a stream in pieces of these lengths, over and over.
pub fn receive(accept: AcceptedFramings, stream: &[u8], pieces: &[usize]) -> Received {
    // The longest frame, its header, the start of the next one, and what was cut off.
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
