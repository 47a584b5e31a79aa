// SPDX-License-Identifier: MPL-2.0

//! Hostile peers: nothing crashes or hangs, and memory stays bounded.
//!
//! Each test attacks a server, a receiver or a script over loopback, with a limit of time and
//! bytes. It asserts that other peers notice nothing and that the attack costs little memory. With
//! `--nocapture` the attacks print their figures.

mod common;

#[cfg(feature = "web")]
#[path = "web_server/fixture.rs"]
#[allow(
    dead_code,
    reason = "shared with tests/web_server.rs, which uses all of it"
)]
mod web_server_fixture;

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
    #[cfg(feature = "web")]
    mod websocket;
}
