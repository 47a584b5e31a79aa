// SPDX-License-Identifier: MPL-2.0

//! Socket.IO and HTTP: pictures to and from relays, and in browsers.

pub mod protocol;
pub mod runtime;
