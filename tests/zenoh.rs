// SPDX-License-Identifier: MPL-2.0

//! One camera and many serving machines, on Zenoh, each machine with an address of its own.

mod common;

mod zenoh {
    mod bad;
    #[cfg(feature = "web")]
    mod cameras;
    mod cast;
    mod faults;
    mod net;
    mod scene;
    mod security;
}
