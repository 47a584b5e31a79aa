// SPDX-License-Identifier: MPL-2.0

//! What elements share.

pub mod capture;
pub mod clock;
pub mod faults;
pub mod framing;
pub mod panics;
pub mod picture;
pub mod quit;
pub mod receiver;
#[cfg(feature = "web")]
pub mod relay;
pub mod sender;
#[cfg(feature = "web")]
pub mod socketio_advice;
pub mod stats;
pub mod uri;
pub mod waits;
