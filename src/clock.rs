// SPDX-License-Identifier: MPL-2.0

//! The running time of an element.

use gst::prelude::*;

/// The running time now, while the element plays.
///
/// Otherwise nothing: on its way to PLAYING an element has a clock before it has its
/// base time, and in between its running time would be that of the machine.
pub fn running_time(element: &impl IsA<gst::Element>) -> Option<gst::ClockTime> {
    (element.current_state() == gst::State::Playing)
        .then(|| element.current_running_time())
        .flatten()
}
