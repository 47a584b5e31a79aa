// SPDX-License-Identifier: MPL-2.0

//! The settings of the element: its properties.

use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::common::{
    property_table::PropertyTable, quit_key, receiver_settings::ReceiverLimits,
    socketio_settings::SocketIoSettings, stats,
};

const DEFAULT_RECONNECT: bool = true;

#[derive(Debug, Clone)]
pub struct Settings {
    pub relay: SocketIoSettings,
    pub tolerance: ReceiverLimits,
    pub reconnect: bool,
    pub quit_key: String,
    pub stats_interval: gst::ClockTime,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            relay: SocketIoSettings::default(),
            tolerance: ReceiverLimits::default(),
            reconnect: DEFAULT_RECONNECT,
            quit_key: String::new(),
            stats_interval: stats::DEFAULT_INTERVAL,
        }
    }
}

pub static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    let reconnect = glib::ParamSpecBoolean::builder("reconnect")
        .nick("Reconnect")
        .blurb(
            "Connect again when the relay cannot be reached, closes the connection or sends \
             nothing; otherwise the stream ends with the first connection",
        )
        .default_value(DEFAULT_RECONNECT)
        .mutable_playing()
        .build();
    PropertyTable::default()
        .group(
            SocketIoSettings::properties(
                "Name of the camera, if the event has several: the picture under this name; \
                 empty for the only one, or the first one",
            ),
            |s: &Settings| &s.relay,
            |s| &mut s.relay,
        )
        .field(reconnect, |s| &s.reconnect, |s| &mut s.reconnect)
        .field(quit_key::key_spec(), |s| &s.quit_key, |s| &mut s.quit_key)
        .computed(stats::spec())
        .field(
            stats::interval_spec(),
            |s| &s.stats_interval,
            |s| &mut s.stats_interval,
        )
        .group(
            ReceiverLimits::properties(
                "ends the connection",
                "after one more the stream ends with an error",
            ),
            |s| &s.tolerance,
            |s| &mut s.tolerance,
        )
});
