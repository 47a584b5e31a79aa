// SPDX-License-Identifier: MPL-2.0

//! The properties and metadata that `gst-inspect-1.0` shows.

use gst::{glib, prelude::*};

use crate::common::{self, pipeline::text};

/// The elements and their own properties.
const ELEMENTS: [(&str, &[&str]); 6] = [
    (
        "b64jpegpay",
        &["capture-time", "header", "payload", "quit-key", "stats"],
    ),
    (
        "b64jpegdepay",
        &[
            "framerate",
            "header",
            "max-errors",
            "max-frame-size",
            "max-pixels",
            "payload",
            "quit-key",
            "stats",
        ],
    ),
    (
        "b64jpegclientsrc",
        &[
            "header",
            "host",
            "max-errors",
            "max-frame-size",
            "max-pixels",
            "payload",
            "port",
            "quit-key",
            "reconnect",
            "reconnect-delay",
            "reconnect-delay-max",
            "stats",
            "stats-interval",
            "timeout",
            "uri",
        ],
    ),
    (
        "b64jpegserversink",
        &[
            "capture-time",
            "clients",
            "current-port",
            "drain-on-eos",
            "drain-timeout",
            "header",
            "host",
            "loop",
            "max-clients",
            "payload",
            "port",
            "queue-frames",
            "stats",
            "wait-for-client",
        ],
    ),
    ("jfifconvert", &["colorimetry", "shift-chroma", "stats"]),
    (
        "jpegcheck",
        &[
            "capture-time",
            "max-pixels",
            "origin",
            "origin-timeout",
            "stats",
            "stats-interval",
        ],
    ),
];

fn make(factory: &str) -> gst::Element {
    common::init();
    gst::ElementFactory::make(factory).build().expect(factory)
}

fn own_properties(element: &gst::Element) -> Vec<glib::ParamSpec> {
    let all = element.list_properties().to_vec().into_iter();
    all.filter(|pspec| pspec.owner_type() == element.type_())
        .collect()
}

fn equal(a: &glib::Value, b: &glib::Value) -> bool {
    a.compare(b) == Some(std::cmp::Ordering::Equal)
}

#[test]
fn properties_have_documented_defaults() {
    for (factory, names) in ELEMENTS {
        let element = make(factory);
        let properties = own_properties(&element);
        let mut found: Vec<_> = properties.iter().map(|pspec| pspec.name()).collect();
        found.sort_unstable();
        assert_eq!(found, names);
        for pspec in properties {
            let name = pspec.name();
            assert!(pspec.flags().contains(glib::ParamFlags::READABLE), "{name}");
            let value = element.property_value(name);
            if name == "stats" {
                let stats: gst::Structure = value.get().expect("a structure");
                assert_eq!(stats.name(), "application/x-b64jpeg-stats");
            } else {
                assert!(
                    equal(&value, pspec.default_value()),
                    "{factory} {name}: {value:?} is not {:?}",
                    pspec.default_value()
                );
            }
        }
    }
}

/// The limits of a property's range, or all its values.
fn extremes(pspec: &glib::ParamSpec) -> Vec<glib::Value> {
    if let Some(pspec) = pspec.downcast_ref::<glib::ParamSpecUInt>() {
        return [pspec.minimum(), pspec.maximum()]
            .map(|v| v.to_value())
            .into();
    }
    if let Some(pspec) = pspec.downcast_ref::<glib::ParamSpecInt>() {
        return [pspec.minimum(), pspec.maximum()]
            .map(|v| v.to_value())
            .into();
    }
    if let Some(pspec) = pspec.downcast_ref::<gst::ParamSpecFraction>() {
        return [pspec.minimum(), pspec.maximum()]
            .map(|v| v.to_value())
            .into();
    }
    if let Some(pspec) = pspec.downcast_ref::<glib::ParamSpecUInt64>() {
        return [pspec.minimum(), pspec.maximum()]
            .map(|v| v.to_value())
            .into();
    }
    if pspec.is::<glib::ParamSpecEnum>() {
        let class = glib::EnumClass::with_type(pspec.value_type()).expect("an enum");
        let values = class.values().iter();
        return values.map(|value| value.to_value(&class)).collect();
    }
    if pspec.is::<glib::ParamSpecBoolean>() {
        return [true, false].map(|v| v.to_value()).into();
    }
    assert!(pspec.is::<glib::ParamSpecString>(), "{pspec:?}");
    match pspec.name() {
        "uri" => ["b64jpeg://example.org:1", "b64jpeg://[::1]:65535"],
        "host" => ["example.org", "::1"],
        _ => ["Escape", "ü"],
    }
    .map(|v| v.to_value())
    .into()
}

#[test]
fn properties_accept_their_whole_range() {
    for (factory, _) in ELEMENTS {
        let element = make(factory);
        for pspec in own_properties(&element) {
            if !pspec.flags().contains(glib::ParamFlags::WRITABLE) {
                continue;
            }
            for value in extremes(&pspec) {
                element.set_property_from_value(pspec.name(), &value);
                let got = element.property_value(pspec.name());
                assert!(equal(&got, &value), "{factory} {}: {got:?}", pspec.name());
            }
        }
        if element.has_property("quit-key") {
            for none in [Some(""), None] {
                element.set_property("quit-key", none);
                assert_eq!(element.property::<String>("quit-key"), "");
            }
        }
    }
}

#[test]
fn properties_and_elements_are_described() {
    for (factory, _) in ELEMENTS {
        let element = make(factory);
        for pspec in own_properties(&element) {
            let nick = pspec.nick();
            assert!(nick.starts_with(char::is_uppercase), "{nick}");
            let blurb = pspec.blurb().expect("a blurb");
            assert!(blurb.len() > 10 && !blurb.ends_with('.'), "{blurb}");
        }
        let factory = element.factory().expect("a factory");
        for key in ["long-name", "klass", "description", "author"] {
            assert!(
                factory.metadata(key).is_some_and(|text| !text.is_empty()),
                "{key}"
            );
        }
    }
}

#[test]
fn klass_and_rank_fit_autoplugging() {
    let rank = |name| make(name).factory().expect("a factory").rank();
    let klass = |name| {
        let factory = make(name).factory().expect("a factory");
        factory.metadata("klass").expect("a class").to_string()
    };
    assert_eq!(klass("b64jpegpay"), "Codec/Payloader/Network");
    assert_eq!(rank("b64jpegpay"), gst::Rank::NONE);
    // decodebin links the pad of a demuxer or parser before it starts the element.
    let depay = klass("b64jpegdepay");
    assert!(
        depay.contains("Demuxer") || depay.contains("Parser"),
        "{depay}"
    );
    assert!(depay.ends_with("/Depayloader/Network"), "{depay}");
    assert_eq!(rank("b64jpegdepay"), gst::Rank::PRIMARY);
    assert_eq!(klass("b64jpegclientsrc"), "Source/Network");
    assert_eq!(klass("b64jpegserversink"), "Sink/Network");
    assert_eq!(rank("b64jpegserversink"), gst::Rank::NONE);
    assert_eq!(klass("jfifconvert"), "Filter/Converter/Video/Colorspace");
    assert_eq!(rank("jfifconvert"), gst::Rank::NONE);
    // An element that accepts any caps must not be autoplugged.
    assert_eq!(klass("jpegcheck"), "Filter/Video/Network");
    assert_eq!(rank("jpegcheck"), gst::Rank::NONE);
}

#[test]
fn invalid_header_payload_pair_is_refused() {
    for (factory, names) in ELEMENTS {
        if !names.contains(&"header") {
            continue;
        }
        for (header, payload) in [("lines", "jpeg"), ("none", "base64")] {
            let element = make(factory);
            let bus = gst::Bus::new();
            element.set_bus(Some(&bus));
            if element.has_property("current-port") {
                element.set_property("port", 0);
            }
            element.set_property_from_str("header", header);
            element.set_property_from_str("payload", payload);
            assert!(element.set_state(gst::State::Paused).is_err(), "{factory}");
            let error = bus.pop_filtered(&[gst::MessageType::Error]);
            let error = text(&error.expect("an error")).expect("its text");
            let sentence = format!("header={header} and payload={payload} do not go together");
            assert!(error.contains(&sentence), "{factory}: {error}");

            // The element starts once the property is corrected.
            let fitting = if header == "lines" { "base64" } else { "jpeg" };
            element.set_state(gst::State::Null).expect("a state change");
            element.set_property_from_str("payload", fitting);
            element
                .set_state(gst::State::Paused)
                .expect("a state change");
            element.set_state(gst::State::Null).expect("a state change");
        }
    }
}
