// SPDX-License-Identifier: MPL-2.0

//! The statistics of the server as a structure.

use gst::{glib, prelude::*};
use serde_json::Value;

use crate::{common::stats::Stats, web::CameraRegistration};

/// Statistics of a camera, and of its server as in `/stats`.
pub fn statistics(registration: &CameraRegistration) -> gst::Structure {
    let mut structure = registration.camera().with_stats(Stats::structure);
    for (name, value) in registration.report() {
        structure.set_value(name, send_value(value));
    }
    structure
}

/// A JSON value as a GLib value: objects become structures.
fn send_value(json: Value) -> glib::SendValue {
    match json {
        Value::Null => None::<&str>.to_send_value(),
        Value::Bool(value) => value.to_send_value(),
        Value::Number(number) => match number.as_u64() {
            Some(number) => number.to_send_value(),
            None => number.as_f64().unwrap_or_default().to_send_value(),
        },
        Value::String(text) => text.to_send_value(),
        Value::Array(values) => {
            gst::Array::from_iter(values.into_iter().map(send_value)).to_send_value()
        }
        Value::Object(fields) => {
            let mut structure = gst::Structure::new_empty("of");
            for (name, value) in fields {
                structure.set_value(name, send_value(value));
            }
            structure.to_send_value()
        }
    }
}
