// SPDX-License-Identifier: MPL-2.0

//! The framing: bytes in, bytes out, and nothing of GStreamer, sockets or time.
//!
//! ```text
//!  0         4                        4+N
//!  ├ N, u32BE ┼ base64 text of one JPEG ┤  … repeated until the connection closes
//! ```
//!
//! That is [`Framing::default`], what `struct.pack(">L", len(text)) + text` sends.
//! Other programs write the length differently or send the JPEG as it is; a
//! [`Header`] and a [`Payload`] name what they do.
//!
//! - [`OutgoingFrame`] encodes.
//! - [`parse`](parse()) finds one frame at the front of some bytes.
//! - [`FrameStream`] follows the frames of a whole stream: it finds out the framing,
//!   and the next good frame after a bad one.
//! - [`Deframer`] is a [`FrameStream`] that keeps the bytes, too.

// What is parsed comes from anybody: nothing in here may panic on it. Where an index or a
// sum stays, its `expect` says why it cannot.
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
