// SPDX-License-Identifier: MPL-2.0

//! A `b64jpegclientsrc` in a pipeline whose sink takes every frame at once.

pub use crate::common::element_fixture::{
    ElementFixture as ClientFixture, FAST_RECONNECT, Picture, expect_parts,
};
use crate::common::raw_server::RawServer;

impl ClientFixture {
    /// A client with these properties, not yet started.
    #[track_caller]
    pub fn new(properties: &str) -> Self {
        let line =
            format!("b64jpegclientsrc name=element {properties} ! fakesink name=sink sync=false");
        Self::launch(&line, "b64jpeg-connection")
    }

    /// A started client of this server.
    #[track_caller]
    pub fn of(server: &RawServer, properties: &str) -> Self {
        Self::playing(&format!(
            "host=127.0.0.1 port={} {properties}",
            server.port()
        ))
    }

    #[track_caller]
    /// A started client with these properties.
    pub fn playing(properties: &str) -> Self {
        let client = Self::new(properties);
        client.pipeline.play();
        client
    }
}
