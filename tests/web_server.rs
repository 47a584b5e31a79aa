// SPDX-License-Identifier: MPL-2.0

//! `socketioserversink` and its viewers, over real sockets.
//!
//! The tests assert order, contents and counts, never times. What does not arrive at all is a
//! hang, which ends the run.
#![cfg(feature = "web")]

mod common;

mod web_server {
    mod errors;
    mod fixture;
    mod http;
    mod limits;
    mod sharing;
    mod socketio;
    mod states;
    mod tls;
}
