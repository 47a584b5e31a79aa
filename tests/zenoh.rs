// SPDX-License-Identifier: MPL-2.0

//! Cameras and serving machines on Zenoh, each machine with addresses of its own.

mod common;

mod zenoh {
    #[cfg(feature = "web")]
    mod cameras;
    mod faults;
    mod fixture;
    mod misuse;
    mod net;
    mod participants;
    mod security;
}
