// SPDX-License-Identifier: MPL-2.0

//! The scripts of `pipelines/` as people run them, with real files, sockets, terminals and windows.
//! No process may be left when they have ended.

mod common;

mod pipelines {
    mod disk;
    mod messages;
    mod script;
    mod shutdown;
    mod streams;
    mod video;
    #[cfg(feature = "web")]
    mod web;
}
