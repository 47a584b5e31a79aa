// SPDX-License-Identifier: MPL-2.0

//! Recognises a framed stream for `decodebin`, players and `gst-discoverer-1.0`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use b64jpeg_wire::{DETECT_LEN, Payload, recognise};
use gst::{Rank, TypeFind, TypeFindProbability};

use crate::common::framing_properties::{CAPS, MEDIA_TYPE};

/// Registers the typefinder. It is named by its media type: with the name of the
/// plugin it would hide the plugin's page from `gst-inspect-1.0`.
pub fn register(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    TypeFind::register(
        Some(plugin),
        MEDIA_TYPE,
        Rank::PRIMARY,
        Some("b64jpeg,b64"),
        Some(&CAPS),
        |find| {
            // A panic would abort the process. There is no element that could report it.
            let look = || find.peek(0, DETECT_LEN as u32).and_then(recognise);
            let Ok(Some(framing)) = catch_unwind(AssertUnwindSafe(look)) else {
                return;
            };
            let probability = match framing.payload() {
                // No other format has base64 text after a matching length.
                Payload::Base64 => TypeFindProbability::NearlyCertain,
                Payload::Jpeg => TypeFindProbability::Likely,
            };
            find.suggest(probability, &CAPS);
        },
    )
}
