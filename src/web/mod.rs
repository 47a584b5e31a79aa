// SPDX-License-Identifier: MPL-2.0

//! The HTTP and Socket.IO server behind `socketioserversink`: serves the frames of one or
//! several cameras to browsers and other programs.
//!
//! ```text
//!              ┌ accept ─ HTTP ─ access_filter ─┬ page, snapshot, stats
//!  listener ───┤                                ├ multipart ────────────────┐
//!              └ …                              └ engineio ─ socketio ──────┤
//!  camera ──── show() ──── newest frame ────────────────────────────────────┘
//! ```
//!
//! There are no queues: each viewer gets the newest frame when it is ready for one, and the
//! camera never waits for a viewer.
//!
//! # Layers
//!
//! A module uses only modules on lines below its own; a unit test checks this.
//!
//! ```text
//!  which server            server_registry
//!  assembly                server
//!  connections             accept
//!  paths                   routes
//!  viewers by Socket.IO    socketio
//!  request handlers        access_filter  engineio  event_sender  multipart  page_sender
//!  what handlers share     state  camera_query  page_assets
//!  parts of the state      access_control  engineio_sessions  new_viewers  task_panics
//!  accepted connections    metered_stream
//!                          connection
//!  typed data              origin_policy  guess_limiter  viewers  errors  connection_limits
//!  plain data and limits   config  cameras  refusals  rate_limiter  per_address
//!  HTTP helpers            responses  engineio_query
//! ```

mod accept;
mod access_control;
mod access_filter;
mod camera_query;
mod cameras;
mod config;
mod connection;
mod connection_limits;
mod engineio;
mod engineio_query;
mod engineio_sessions;
mod errors;
mod event_sender;
mod guess_limiter;
#[cfg(test)]
mod layers;
mod metered_stream;
mod multipart;
mod new_viewers;
mod origin_policy;
mod page_assets;
mod page_sender;
mod per_address;
mod rate_limiter;
mod refusals;
mod responses;
mod routes;
mod server;
mod server_registry;
mod socketio;
mod state;
mod task_panics;
mod viewers;

pub use self::{
    cameras::CameraNameError,
    config::ServerConfig,
    errors::RegistrationError,
    server_registry::CameraRegistration,
    viewers::{Viewer, WebServerEvent},
};
