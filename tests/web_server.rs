// SPDX-License-Identifier: MPL-2.0

//! `socketioserversink` and those who watch, over real sockets.
//!
//! Whatever comes when, the tests assert order, contents and counts. Nothing is
//! expected within some time; what does not come at all is a hang, and ends the run.
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
