// SPDX-License-Identifier: MPL-2.0

//! The properties that users set, their defaults and their descriptions.

use b64jpeg_net::{host::DEFAULT_PORT, tcp::backlog::BacklogLimits};
use gst::prelude::*;

use crate::common::sender::Format;

const DEFAULT_HOST: &str = "127.0.0.1";
const DEFAULT_WAIT_FOR_CLIENT: bool = false;
const DEFAULT_MAX_CLIENTS: u32 = 0;
const DEFAULT_QUEUE_FRAMES: u32 = 25;
const DEFAULT_DRAIN_ON_EOS: bool = true;
const DEFAULT_DRAIN_TIMEOUT: Option<gst::ClockTime> = Some(gst::ClockTime::from_seconds(10));
const DEFAULT_LOOP: bool = false;

#[derive(Debug, Clone)]
pub struct Settings {
    pub format: Format,
    pub host: String,
    pub port: i32,
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
            format: Format::default(),
            host: DEFAULT_HOST.into(),
            port: DEFAULT_PORT.into(),
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
    pub fn specs() -> Vec<glib::ParamSpec> {
        let mut specs = Format::properties().to_vec();
        specs.extend([
            glib::ParamSpecString::builder("host")
                .nick("Host")
                .blurb(
                    "Local address or host name to listen on (0.0.0.0 = all IPv4 addresses, \
                     :: = all IPv4 and IPv6 addresses)",
                )
                .default_value(Some(DEFAULT_HOST))
                .mutable_ready()
                .build(),
            glib::ParamSpecInt::builder("port")
                .nick("Port")
                .blurb("TCP port to listen on (0 = any free port)")
                .minimum(0)
                .maximum(u16::MAX.into())
                .default_value(DEFAULT_PORT.into())
                .mutable_ready()
                .build(),
            glib::ParamSpecBoolean::builder("wait-for-client")
                .nick("Wait for client")
                .blurb(
                    "Start with the first client, which gets the first frame; a live source is \
                     not paused, its frames are dropped until then",
                )
                .default_value(DEFAULT_WAIT_FOR_CLIENT)
                .mutable_ready()
                .build(),
            glib::ParamSpecUInt::builder("max-clients")
                .nick("Maximum clients")
                .blurb(
                    "Clients at the same time; further connections are closed at once (0 = no \
                     limit). With 1 and a source that is not live, the stream waits for the \
                     client, and no frame is dropped",
                )
                .default_value(DEFAULT_MAX_CLIENTS)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt::builder("queue-frames")
                .nick("Queue frames")
                .blurb(
                    "Frames queued for a client; one that is further behind loses the oldest \
                     frames, or all but the newest if the source is live",
                )
                .minimum(1)
                .default_value(DEFAULT_QUEUE_FRAMES)
                .mutable_playing()
                .build(),
            glib::ParamSpecBoolean::builder("drain-on-eos")
                .nick("Drain on EOS")
                .blurb("Send the queued frames to the clients before the stream ends")
                .default_value(DEFAULT_DRAIN_ON_EOS)
                .mutable_playing()
                .build(),
            glib::ParamSpecUInt64::builder("drain-timeout")
                .nick("Drain timeout")
                .blurb(
                    "Maximum time for sending the queued frames, in nanoseconds \
                     (18446744073709551615 = no limit)",
                )
                .default_value(DEFAULT_DRAIN_TIMEOUT.map_or(u64::MAX, gst::ClockTime::nseconds))
                .mutable_playing()
                .build(),
            glib::ParamSpecBoolean::builder("loop")
                .nick("Loop")
                .blurb("Seek to the start at the end of a file, until EOS is requested")
                .default_value(DEFAULT_LOOP)
                .mutable_playing()
                .build(),
        ]);
        specs
    }

    /// Sets one of the properties in [`specs`](Self::specs).
    pub fn set(&mut self, name: &str, value: &glib::Value) {
        const OF_TYPE: &str = "GObject checks the type";
        match name {
            "host" => {
                let host = value.get::<Option<String>>().expect(OF_TYPE);
                self.host = host.unwrap_or_else(|| DEFAULT_HOST.into());
            }
            "port" => self.port = value.get().expect(OF_TYPE),
            "wait-for-client" => self.wait_for_client = value.get().expect(OF_TYPE),
            "max-clients" => self.max_clients = value.get().expect(OF_TYPE),
            "queue-frames" => self.queue_frames = value.get().expect(OF_TYPE),
            "drain-on-eos" => self.drain_on_eos = value.get().expect(OF_TYPE),
            "drain-timeout" => self.drain_timeout = value.get().expect(OF_TYPE),
            "loop" => self.loops = value.get().expect(OF_TYPE),
            name => self.format.set(name, value),
        }
    }

    /// The value of one of the properties in [`specs`](Self::specs).
    pub fn get(&self, name: &str) -> glib::Value {
        match name {
            "host" => self.host.to_value(),
            "port" => self.port.to_value(),
            "wait-for-client" => self.wait_for_client.to_value(),
            "max-clients" => self.max_clients.to_value(),
            "queue-frames" => self.queue_frames.to_value(),
            "drain-on-eos" => self.drain_on_eos.to_value(),
            "drain-timeout" => self.drain_timeout.to_value(),
            "loop" => self.loops.to_value(),
            name => self.format.get(name),
        }
    }

    pub fn limits(&self) -> BacklogLimits {
        BacklogLimits {
            max_clients: self.max_clients as usize,
            queue_frames: self.queue_frames as usize,
        }
    }
}
