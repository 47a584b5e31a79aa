// SPDX-License-Identifier: MPL-2.0

//! `b64jpegclientsrc` at servers that do what they should, and at those that do not.

mod common;

mod client {
    mod addresses;
    mod foreign;
    mod frames;
    mod reconnect;
    mod states;
    mod times;
    mod uri;
    mod viewer;
    #[path = "../elements/wire.rs"]
    #[allow(dead_code, reason = "the elements' tests use the rest")]
    mod wire;
}
