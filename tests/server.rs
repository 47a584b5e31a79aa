// SPDX-License-Identifier: MPL-2.0

//! `b64jpegserversink` and its clients, over real sockets.
//!
//! Whatever comes when, the tests assert order, contents and counts. Nothing is
//! expected within some time; what does not come at all is a hang, and ends the run.

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
