// SPDX-License-Identifier: MPL-2.0

//! Running time, segments in time, and properties in nanoseconds.

use gst::prelude::*;

/// The running time now, while the element plays; otherwise `None`.
///
/// While an element changes to PLAYING, it has a clock before it has its base time. Its running
/// time would then be that of the clock.
pub fn running_time(element: &impl IsA<gst::Element>) -> Option<gst::ClockTime> {
    (element.current_state() == gst::State::Playing)
        .then(|| element.current_running_time())
        .flatten()
}

/// The outermost bin that contains an element, which is mostly a pipeline; without one the
/// element itself.
pub fn outermost(element: &impl IsA<gst::Element>) -> gst::Element {
    let mut top = element.clone().upcast::<gst::Element>();
    while let Some(parent) = top.parent().and_downcast() {
        top = parent;
    }
    top
}

/// Replaces a segment in another format by one in time; other events stay as they are.
///
/// Positions in the bytes that the JPEGs were read from mean nothing downstream.
pub fn segment_of_time(event: gst::Event) -> gst::Event {
    match event.view() {
        gst::EventView::Segment(segment) if segment.segment().format() != gst::Format::Time => {
            let time = gst::FormattedSegment::<gst::ClockTime>::new();
            gst::event::Segment::builder(&time)
                .seqnum(event.seqnum())
                .build()
        }
        _ => event,
    }
}

/// The spec of a property in nanoseconds, which can be set at any time.
pub fn time_spec(
    name: &str,
    nick: &str,
    blurb: &str,
    default: gst::ClockTime,
    least: gst::ClockTime,
) -> glib::ParamSpec {
    glib::ParamSpecUInt64::builder(name)
        .nick(nick)
        .blurb(blurb)
        .minimum(least.nseconds())
        .maximum(i64::MAX as u64)
        .default_value(default.nseconds())
        .mutable_playing()
        .build()
}
