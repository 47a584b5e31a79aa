// SPDX-License-Identifier: MPL-2.0

//! `b64jpegclientsrc` with well-behaved and with faulty servers.

mod common;

mod client {
    use crate::common::wire;

    mod addresses;
    mod bad_input;
    mod fixture;
    mod frames;
    mod reconnect;
    mod states;
    mod times;
    mod uri;
}
