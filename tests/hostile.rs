// SPDX-License-Identifier: MPL-2.0

//! Attacks: peers that send what no honest program would, as much of it as they can.
//!
//! Each test attacks a real server or receiver over loopback, bounded in time and bytes, and
//! asserts what the others notice (nothing) and what it costs (little memory). With
//! `--nocapture` the attacks print their figures.

mod common;

#[cfg(feature = "web")]
#[path = "web_server/scene.rs"]
#[allow(
    dead_code,
    reason = "shared with tests/web_server.rs, which uses all of it"
)]
mod scene;

mod hostile {
    #[cfg(feature = "web")]
    mod web;
    #[cfg(feature = "web")]
    mod web_guard;
}
