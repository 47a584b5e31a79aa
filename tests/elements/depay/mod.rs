// SPDX-License-Identifier: MPL-2.0

//! `b64jpegdepay` with valid streams.

mod events;
mod framing;
mod timestamps;

use crate::elements::{
    scenario::{Output, Pieces, Scenario},
    wire::{
        DEFAULT, FRAMINGS, Framing, assert_same, bytes, encode, framing, odd_pictures, pictures,
        stamped,
    },
};
use gst::prelude::*;
