// SPDX-License-Identifier: MPL-2.0

//! Nothing: Cargo wants a library where there are dependencies to build.
