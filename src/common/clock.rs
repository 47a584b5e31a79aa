// SPDX-License-Identifier: MPL-2.0

//! The running time of an element, and of what it is in; segments and properties of time.

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

/// The pipeline that an element is in; the outermost bin, or itself, if that is none.
pub fn outermost(element: &impl IsA<gst::Element>) -> gst::Element {
    let mut top = element.clone().upcast::<gst::Element>();
    while let Some(parent) = top.parent().and_downcast() {
        top = parent;
    }
    top
}

/// A segment of something else becomes one of time; other events stay as they are.
///
/// Places in whatever JPEGs were read from mean nothing downstream of it.
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
