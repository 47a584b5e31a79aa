// SPDX-License-Identifier: MPL-2.0

//! Hostile peers and bad luck: nothing crashes or hangs, and nothing takes memory without limit.
//!
//! Each test attacks a real server, receiver or script over loopback, bounded in time and
//! bytes, and asserts what the others notice (nothing) and what it costs (little memory). With
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
    use crate::common::wire;

    mod layouts;
    mod pictures;
    mod pixels;
    mod receivers;
    #[cfg(feature = "web")]
    mod relay;
    mod slow;
    mod tcp;
    #[cfg(feature = "web")]
    mod web;
    #[cfg(feature = "web")]
    mod web_guard;
}
