// SPDX-License-Identifier: MPL-2.0

//! `b64jpegserversink` and its clients over real sockets.
//!
//! The tests assert order, contents and counts, never durations. Something that never arrives
//! aborts the test binary after a timeout.

mod common;

mod server {
    use crate::common::{numbered_pictures, server_fixture};

    mod clients;
    mod end_of_stream;
    mod errors;
    mod formats;
    mod load;
    mod queue;
    mod state_changes;
    mod stats;
    mod wait_for_client;
}
