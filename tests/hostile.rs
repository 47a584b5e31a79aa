// SPDX-License-Identifier: MPL-2.0

//! Hostile peers and bad luck: nothing crashes or hangs, and nothing takes memory without limit.
//!
//! Each test attacks a real server, receiver or script over loopback, bounded in time and
//! bytes, and asserts what the others notice (nothing) and what it costs (little memory). With
//! `--nocapture` the attacks print their figures.

mod common;

#[cfg(feature = "web")]
#[path = "web_server/fixture.rs"]
#[allow(
    dead_code,
    reason = "shared with tests/web_server.rs, which uses all of it"
)]
mod web_server_fixture;

/// Former names, until the tests use the new ones.
#[cfg(feature = "web")]
mod scene {
    pub use crate::web_server_fixture::{
        HttpResponse as Answer, SocketIoViewer as Session, UPGRADE, WebServerFixture as Server,
        request,
    };
}

mod hostile {
    use crate::common::{film, wire};

    mod layouts;
    mod pictures;
    mod pixels;
    mod receivers;
    #[cfg(feature = "web")]
    mod relay;
    #[allow(
        dead_code,
        reason = "shared with tests/server.rs, which uses all of it"
    )]
    #[path = "../server/scene.rs"]
    mod scene;
    mod slow;
    mod tcp;
    #[cfg(feature = "web")]
    mod web;
    #[cfg(feature = "web")]
    mod web_guard;
}
