// SPDX-License-Identifier: MPL-2.0

//! `b64jpegclientsrc` at servers that do what they should, and at those that do not.

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
