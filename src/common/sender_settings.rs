// SPDX-License-Identifier: MPL-2.0

//! What senders share: the properties of the framing, and errors.

use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
};

use b64jpeg_net::host::host_and_port;
use b64jpeg_wire::{AcceptedFramings, Framing, WireError};
use gst::prelude::*;

use crate::common::{
    framing_properties::{self, HeaderProperty, PayloadProperty},
    property_table::PropertyTable,
    stats::Stats,
};

pub const DEFAULT_CAPTURE_TIME: bool = false;

/// The spec of `capture-time`, the same for every element that has it.
pub fn capture_time_spec() -> glib::ParamSpec {
    glib::ParamSpecBoolean::builder("capture-time")
        .nick("Capture time")
        .blurb(
            "Stamp each picture with the wall-clock time of its capture, in a JPEG comment that \
             decoders skip",
        )
        .default_value(DEFAULT_CAPTURE_TIME)
        .mutable_ready()
        .build()
}

/// The properties `header`, `payload` and `capture-time`.
#[derive(Debug, Default, Clone)]
pub struct SenderSettings {
    header: HeaderProperty,
    payload: PayloadProperty,
    pub capture_time: bool,
}

impl SenderSettings {
    /// The properties, for the table of an element.
    pub fn properties() -> PropertyTable<Self> {
        PropertyTable::default()
            .field(
                glib::ParamSpecEnum::builder::<HeaderProperty>("header")
                    .nick("Header")
                    .blurb("Header before each payload")
                    .mutable_ready()
                    .build(),
                |format: &Self| &format.header,
                |format| &mut format.header,
            )
            .field(
                glib::ParamSpecEnum::builder::<PayloadProperty>("payload")
                    .nick("Payload")
                    .blurb("Encoding of each picture")
                    .mutable_ready()
                    .build(),
                |format| &format.payload,
                |format| &mut format.payload,
            )
            .field(
                capture_time_spec(),
                |format| &format.capture_time,
                |format| &mut format.capture_time,
            )
    }

    /// The framing; the default if header and payload cannot be combined.
    pub fn framing(&self) -> Framing {
        Framing::new(self.header.into(), self.payload.into()).unwrap_or_default()
    }

    /// The framing.
    ///
    /// # Errors
    ///
    /// If header and payload cannot be combined.
    pub fn check(&self) -> Result<Framing, gst::ErrorMessage> {
        framing_properties::check(AcceptedFramings {
            header: Some(self.header.into()),
            payload: Some(self.payload.into()),
        })?;
        Ok(self.framing())
    }
}

/// A picture that cannot be sent.
#[derive(Debug)]
pub struct UnsendableFrame {
    /// Its number among the pictures from upstream, from zero.
    number: u64,
    error: WireError,
}

impl UnsendableFrame {
    /// Counts a picture of `len` bytes.
    pub fn new(stats: &mut Stats, len: usize, error: WireError) -> Self {
        Self::of(stats.frames + stats.errors, stats, len, error)
    }

    /// As [`new`](Self::new), for an element that does not send every good picture.
    pub fn of(number: u64, stats: &mut Stats, len: usize, error: WireError) -> Self {
        stats.errors += 1;
        stats.bytes_in += len as u64;
        Self { number, error }
    }

    /// Reports it.
    ///
    /// # Errors
    ///
    /// If further pictures cannot be sent either.
    pub fn report(self, element: &impl IsA<gst::Element>) -> Result<(), gst::FlowError> {
        let Self { number, error } = self;
        if let WireError::TooLong { .. } = error {
            gst::element_error!(
                element,
                gst::StreamError::Encode,
                ("Picture {number} cannot be sent: {error}; use another header")
            );
            return Err(gst::FlowError::Error);
        }
        gst::element_warning!(
            element,
            gst::StreamError::Encode,
            ("Picture {number} is dropped: {error}")
        );
        Ok(())
    }
}

/// The error of a server that cannot listen, with advice.
pub fn cannot_listen(
    host: &str,
    port: u16,
    addresses: Option<&[SocketAddr]>,
    error: &io::Error,
) -> gst::ErrorMessage {
    let address = host_and_port(host, port);
    let (code, advice) = match error.kind() {
        _ if addresses.is_none() => (
            gst::ResourceError::NotFound,
            "`host` has to be a name or an address of this machine, or 0.0.0.0 for all of them",
        ),
        ErrorKind::AddrInUse => (
            gst::ResourceError::Busy,
            "another program has this port: end it, or choose another `port`, or 0 for any free one",
        ),
        ErrorKind::PermissionDenied => (
            gst::ResourceError::NotAuthorized,
            "ports below 1024 are for root: choose a higher `port`",
        ),
        ErrorKind::AddrNotAvailable => (
            gst::ResourceError::NotFound,
            "this is no address of this machine: choose another `host`, or 0.0.0.0 for all of them",
        ),
        _ => (
            gst::ResourceError::OpenReadWrite,
            "choose another `host` or `port`",
        ),
    };
    gst::error_msg!(
        code,
        ("Cannot listen on {address}: {error}; {advice}"),
        ["{addresses:?}: {error:?}"]
    )
}
