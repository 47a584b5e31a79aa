// SPDX-License-Identifier: MPL-2.0

//! One camera and many serving machines, on Zenoh, each machine with an address of its own.

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
