// SPDX-License-Identifier: MPL-2.0

//! Each element in a harness that acts as its source and sink, and in pipelines.

mod common;

mod elements {
    use crate::common::wire;

    mod check;
    mod depay;
    mod faults;
    mod files;
    mod pay;
    mod pipeline;
    mod properties;
    mod scenario;
}
