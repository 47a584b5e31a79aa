// SPDX-License-Identifier: MPL-2.0

//! Each element in a harness that acts as its source and sink, and in pipelines.

mod common;

mod elements {
    use crate::common::wire;

    mod depay;
    mod depay_damaged;
    mod files;
    mod jpegcheck;
    mod pay;
    mod pipeline;
    mod properties;
    mod scenario;
}
