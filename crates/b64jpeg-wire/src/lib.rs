// SPDX-License-Identifier: MPL-2.0

//! The framings of JPEG streams over TCP: bytes in, bytes out. No sockets, no clock, no GStreamer.
//!
//! A sender encodes each JPEG as base64 text and writes its length in front of it. In Python that
//! is `struct.pack(">L", len(text)) + text`:
//!
//! ```text
//!  0         4                        4+N
//!  ├ N, u32BE ┼ base64 text of one JPEG ┤  … repeated until the connection closes
//! ```
//!
//! # Encode
//!
//! ```
//! use b64jpeg_wire::{Framing, OutgoingFrame};
//!
//! let jpeg = b"\xff\xd8\xff\xe0\0\x02\xff\xd9";
//! let frame = OutgoingFrame::new(jpeg)?;
//! let framing = Framing::default();
//! let mut bytes = vec![0; frame.wire_len(framing)?];
//! frame.encode(framing, &mut bytes);
//! assert_eq!(bytes, *b"\0\0\0\x0c/9j/4AAC/9k=");
//! # Ok::<(), b64jpeg_wire::WireError>(())
//! ```
//!
//! # Decode a stream
//!
//! A [`Deframer`] takes the bytes as they arrive. It detects the framing, and continues after a
//! bad frame with the next good one:
//!
//! ```
//! use b64jpeg_wire::{AcceptedFramings, Deframer, FrameLimits};
//!
//! let mut deframer = Deframer::new(AcceptedFramings::default(), FrameLimits::default());
//! for piece in [&b"\0\0\0\x0c/9j/"[..], b"4AAC/9k=\0\0\0\x0c/9j/4AAC/9k="] {
//!     deframer.push(piece);
//!     while let Some(jpeg) = deframer.next() {
//!         assert_eq!(jpeg?, b"\xff\xd8\xff\xe0\0\x02\xff\xd9");
//!     }
//! }
//! assert_eq!(deframer.stream().frames(), 2);
//! # Ok::<(), b64jpeg_wire::FrameError>(())
//! ```
//!
//! A [`FrameStream`] does the same for a caller that keeps the bytes itself.
//!
//! # Parse one frame
//!
//! [`parse()`] needs no state. That more bytes are needed is a result, not an error:
//!
//! ```
//! use b64jpeg_wire::{FrameLimits, FrameSpan, Framing, ParseProgress, ParseStatus, parse};
//!
//! let parse = |data| {
//!     let limits = FrameLimits::default();
//!     parse(data, Framing::default(), &limits, &mut ParseProgress::default())
//! };
//! assert_eq!(parse(b"\0\0\0\x0c/9j/"), Ok(ParseStatus::Need(16)));
//! let frame = FrameSpan { payload: 4..16, len: 16 };
//! assert_eq!(parse(b"\0\0\0\x0c/9j/4AAC/9k="), Ok(ParseStatus::Frame(frame)));
//! ```
//!
//! # Other framings
//!
//! A [`Framing`] combines a [`Header`], which says how the length is written, and a [`Payload`],
//! which is base64 text or the JPEG itself. Senders in the wild use them in many combinations;
//! [`recognise`] finds out which, and [`foreign`] recognises what is none of them.
//!
//! The [`jpeg`] module reads and writes the few JPEG markers that matter here.
//!
//! # Features
//!
//! - `socketio`: the module `socketio` with the packets of Engine.IO and Socket.IO. Off by
//!   default.

// The input comes from the network and must never cause a panic. Where an index or a sum
// remains, the reason of its `expect` says why it cannot panic.
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod base64;
pub mod jpeg;
#[cfg(feature = "socketio")]
pub mod socketio;

mod confirm;
mod deframer;
mod detect;
mod encode;
mod error;
mod header;
mod parse;
mod search;
mod stream;

pub use deframer::Deframer;
pub use detect::{AcceptedFramings, DETECT_LEN, foreign, recognise};
pub use encode::OutgoingFrame;
pub use error::{FirstBytes, ForeignProtocol, FrameError, WireError};
pub use header::{Framing, Header, Payload, UnknownName};
pub use parse::{FrameLimits, FrameSpan, ParseProgress, ParseStatus, parse};
pub use stream::{FrameStream, StreamStep};
