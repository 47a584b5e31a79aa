// SPDX-License-Identifier: MPL-2.0

//! `jfifconvert`, compared with exact values computed in f64.

mod common;

mod jfifconvert {
    mod colours;
    mod fixture;
    mod layouts;
    mod negotiation;
    mod reference;
}
