// SPDX-License-Identifier: MPL-2.0

//! The settings of the element, and its properties.

use b64jpeg_net::{host::DEFAULT_PORT, tcp::backlog::BacklogLimits};
use gst::prelude::*;
use once_cell::sync::Lazy;

use crate::common::{property_table::PropertyTable, sender_settings::SenderSettings, stats};

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_WAIT_FOR_CLIENT: bool = false;
const DEFAULT_MAX_CLIENTS: u32 = 0;
const DEFAULT_QUEUE_FRAMES: u32 = 25;
const DEFAULT_DRAIN_ON_EOS: bool = true;
const DEFAULT_DRAIN_TIMEOUT: Option<gst::ClockTime> = Some(gst::ClockTime::from_seconds(10));
const DEFAULT_LOOP: bool = false;

/// GObject checks types before it calls a setter.
const TYPE_IS_CHECKED: &str = "GObject checks the type";

#[derive(Debug, Clone)]
pub struct Settings {
    pub format: SenderSettings,
    pub host: String,
    pub port: u16,
    pub wait_for_client: bool,
    pub max_clients: u32,
    pub queue_frames: u32,
    pub drain_on_eos: bool,
    /// `None` for no limit.
    pub drain_timeout: Option<gst::ClockTime>,
    pub loops: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            format: SenderSettings::default(),
            host: DEFAULT_HOST.into(),
            port: DEFAULT_PORT,
            wait_for_client: DEFAULT_WAIT_FOR_CLIENT,
            max_clients: DEFAULT_MAX_CLIENTS,
            queue_frames: DEFAULT_QUEUE_FRAMES,
            drain_on_eos: DEFAULT_DRAIN_ON_EOS,
            drain_timeout: DEFAULT_DRAIN_TIMEOUT,
            loops: DEFAULT_LOOP,
        }
    }
}

impl Settings {
    pub fn limits(&self) -> BacklogLimits {
        BacklogLimits {
            max_clients: self.max_clients as usize,
            queue_frames: self.queue_frames as usize,
        }
    }
}

pub static PROPERTIES: Lazy<PropertyTable<Settings>> = Lazy::new(|| {
    PropertyTable::default()
        .group(
            SenderSettings::properties(),
            |s: &Settings| &s.format,
            |s| &mut s.format,
        )
        .accessors(
            host_spec(),
            |s| s.host.to_value(),
            |s, value| {
                let host: Option<String> = value.get().expect(TYPE_IS_CHECKED);
                s.host = host.unwrap_or_else(|| DEFAULT_HOST.into());
            },
        )
        .field(port_spec(), |s| &s.port, |s| &mut s.port)
        .computed(current_port_spec())
        .field(
            wait_for_client_spec(),
            |s| &s.wait_for_client,
            |s| &mut s.wait_for_client,
        )
        .field(
            max_clients_spec(),
            |s| &s.max_clients,
            |s| &mut s.max_clients,
        )
        .field(
            queue_frames_spec(),
            |s| &s.queue_frames,
            |s| &mut s.queue_frames,
        )
        .field(
            drain_on_eos_spec(),
            |s| &s.drain_on_eos,
            |s| &mut s.drain_on_eos,
        )
        .accessors(
            drain_timeout_spec(),
            |s| s.drain_timeout.to_value(),
            |s, value| s.drain_timeout = value.get().expect(TYPE_IS_CHECKED),
        )
        .field(loop_spec(), |s| &s.loops, |s| &mut s.loops)
        .computed(clients_spec())
        .computed(stats::spec())
});

fn host_spec() -> glib::ParamSpec {
    glib::ParamSpecString::builder("host")
        .nick("Host")
        .blurb(
            "Local address or host name to listen on (0.0.0.0 = all IPv4 addresses, \
             :: = all IPv4 and IPv6 addresses)",
        )
        .default_value(Some(DEFAULT_HOST))
        .mutable_ready()
        .build()
}

fn port_spec() -> glib::ParamSpec {
    glib::ParamSpecInt::builder("port")
        .nick("Port")
        .blurb("TCP port to listen on (0 = any free port)")
        .minimum(0)
        .maximum(u16::MAX.into())
        .default_value(DEFAULT_PORT.into())
        .mutable_ready()
        .build()
}

fn current_port_spec() -> glib::ParamSpec {
    glib::ParamSpecInt::builder("current-port")
        .nick("Current port")
        .blurb("TCP port that the server listens on (0 = none)")
        .minimum(0)
        .maximum(u16::MAX.into())
        .read_only()
        .build()
}

fn wait_for_client_spec() -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder("wait-for-client")
        .nick("Wait for client")
        .blurb(
            "Start with the first client, which gets the first frame; a live source is \
             not paused, its frames are dropped until then",
        )
        .default_value(DEFAULT_WAIT_FOR_CLIENT)
        .mutable_ready()
        .build()
}

fn max_clients_spec() -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("max-clients")
        .nick("Maximum clients")
        .blurb(
            "Clients at the same time; further connections are closed at once (0 = no \
             limit). With 1 and a source that is not live, the stream waits for the \
             client, and no frame is dropped",
        )
        .default_value(DEFAULT_MAX_CLIENTS)
        .mutable_playing()
        .build()
}

fn queue_frames_spec() -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("queue-frames")
        .nick("Queue frames")
        .blurb(
            "Frames queued for a client; one that is further behind loses the oldest \
             frames, or all but the newest if the source is live",
        )
        .minimum(1)
        .default_value(DEFAULT_QUEUE_FRAMES)
        .mutable_playing()
        .build()
}

fn drain_on_eos_spec() -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder("drain-on-eos")
        .nick("Drain on EOS")
        .blurb("Send the queued frames to the clients before the stream ends")
        .default_value(DEFAULT_DRAIN_ON_EOS)
        .mutable_playing()
        .build()
}

fn drain_timeout_spec() -> glib::ParamSpec {
    glib::ParamSpecUInt64::builder("drain-timeout")
        .nick("Drain timeout")
        .blurb(
            "Maximum time for sending the queued frames, in nanoseconds \
             (18446744073709551615 = no limit)",
        )
        .default_value(DEFAULT_DRAIN_TIMEOUT.map_or(u64::MAX, gst::ClockTime::nseconds))
        .mutable_playing()
        .build()
}

fn loop_spec() -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder("loop")
        .nick("Loop")
        .blurb("Seek to the start at the end of a file, until EOS is requested")
        .default_value(DEFAULT_LOOP)
        .mutable_playing()
        .build()
}

fn clients_spec() -> glib::ParamSpec {
    glib::ParamSpecUInt::builder("clients")
        .nick("Clients")
        .blurb("Number of connected clients")
        .read_only()
        .build()
}
