// SPDX-License-Identifier: MPL-2.0

use gst::prelude::*;
use gst_check::Harness;

/// Caps that are refused again are reported again if good caps came between, even if those were
/// the same as before.
#[test]
fn jfifconvert_refused_caps_after_good_caps_are_reported_again() {
    gst::init().expect("GStreamer starts");
    crate::plugin_register_static().expect("our plugin registers");
    let mut harness = Harness::new("jfifconvert");
    let bus = gst::Bus::new();
    harness.element().expect("an element").set_bus(Some(&bus));
    harness.set_sink_caps_str("video/x-raw");
    let caps = |format: &str| {
        let size = "width=64,height=48,framerate=25/1";
        let caps = format!("video/x-raw,format={format},{size}");
        caps.parse::<gst::Caps>().expect("caps")
    };
    let (good, bad) = (caps("I420"), caps("RGBA"));
    harness.push_event(gst::event::StreamStart::new("test"));
    let errors = || bus.iter_filtered(&[gst::MessageType::Error]).count();
    for _ in 0..2 {
        harness.push_event(gst::event::Caps::new(&good));
        assert_eq!(errors(), 0);
        for expected in [1, 0] {
            harness.push_event(gst::event::Caps::new(&bad));
            assert_eq!(errors(), expected, "each run of bad caps is reported once");
        }
    }
}
