// SPDX-License-Identifier: MPL-2.0

//! What elements share.

pub mod capture_time;
pub mod connection_report;
pub mod error_policy;
pub mod framing_properties;
pub mod jpeg_buffer;
pub mod panics;
pub mod property_table;
pub mod quit_key;
pub mod receiver_settings;
pub mod reconnect_settings;
pub mod sender_settings;
#[cfg(feature = "web")]
pub mod socketio_advice;
#[cfg(feature = "web")]
pub mod socketio_session;
#[cfg(feature = "web")]
pub mod socketio_settings;
pub mod stats;
pub mod stream_uri;
pub mod time;
