// SPDX-License-Identifier: MPL-2.0

//! What elements share.

pub mod capture;
pub mod clock;
pub mod connection_report;
pub mod faults;
pub mod framing;
pub mod panics;
pub mod picture;
pub mod property_table;
pub mod quit;
pub mod receiver;
pub mod sender;
#[cfg(feature = "web")]
pub mod socketio_advice;
#[cfg(feature = "web")]
pub mod socketio_session;
#[cfg(feature = "web")]
pub mod socketio_settings;
pub mod stats;
pub mod uri;
pub mod waits;
