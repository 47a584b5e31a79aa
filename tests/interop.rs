// SPDX-License-Identifier: MPL-2.0

//! The elements with the OpenCV programs in `tests/peers`.

mod common;

mod interop {
    mod faults;
    mod fixture;
    mod streams;
}
