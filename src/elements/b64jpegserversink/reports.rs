// SPDX-License-Identifier: MPL-2.0

//! What the element reports of its clients: signals, messages and `stats`.

use b64jpeg_net::tcp::{
    backlog::ClientStats,
    server::{ServerEvent, ServerFailure},
};
use gst::{prelude::*, subclass::prelude::*};

use super::imp::{B64JpegServerSink, CAT};
use crate::common::panics;

impl B64JpegServerSink {
    /// Reports an event of the server, in the server's thread.
    pub(super) fn on_event(&self, event: ServerEvent) {
        let obj = self.obj();
        match event {
            ServerEvent::ClientAdded { address, clients } => {
                gst::info!(CAT, imp = self, "Client {address} added, {clients} in all");
                let address = address.to_string();
                obj.emit_by_name::<()>("client-added", &[&address]);
                obj.notify("clients");
                self.post_element_message(
                    gst::Structure::builder("b64jpeg-client-added")
                        .field("address", address)
                        .field("clients", clients as u32)
                        .build(),
                );
            }
            ServerEvent::ClientRemoved {
                stats,
                reason,
                clients,
            } => {
                let reason = reason.to_string();
                gst::info!(
                    CAT,
                    imp = self,
                    "Client removed ({reason}): {stats:?}; {clients} left"
                );
                let address = stats.address.to_string();
                obj.emit_by_name::<()>("client-removed", &[&address, &reason]);
                obj.notify("clients");
                self.post_element_message(
                    gst::Structure::builder("b64jpeg-client-removed")
                        .field("address", address)
                        .field("clients", clients as u32)
                        .field("reason", reason)
                        .field("frames", stats.frames)
                        .field("dropped", stats.dropped)
                        .build(),
                );
            }
            ServerEvent::AcceptFailed(error) => gst::element_imp_warning!(
                self,
                gst::ResourceError::NoSpaceLeft,
                ("Cannot accept a connection: {error}; retrying")
            ),
            ServerEvent::Failed(ServerFailure::Panic(panic)) => {
                self.post_error_message(panics::message("I/O thread", &*panic));
            }
            ServerEvent::Failed(ServerFailure::Poll(error)) => gst::element_imp_error!(
                self,
                gst::ResourceError::Failed,
                ("The server cannot poll its sockets: {error}")
            ),
        }
    }

    pub(super) fn post_element_message(&self, structure: gst::Structure) {
        let obj = self.obj();
        let message = gst::message::Element::builder(structure).src(&*obj).build();
        // Fails only if there is no bus, and so no receiver.
        let _ = obj.post_message(message);
    }

    /// The value of `stats`.
    pub(super) fn stats(&self) -> gst::Structure {
        let (mut structure, waiting, server, totals) = {
            let state = &mut *self.state();
            let structure = state.stats.structure();
            let server = state.server.clone();
            (
                structure,
                state.waiting_for_client,
                server,
                state.final_totals.clone(),
            )
        };
        let (totals, clients) = match server {
            Some(server) => server.stats(),
            None => (totals, Vec::new()),
        };
        structure.set("clients", clients.len() as u32);
        structure.set("clients-total", totals.clients);
        structure.set("refused", totals.refused);
        structure.set("bytes-served", totals.bytes);
        structure.set("dropped", totals.dropped);
        structure.set("waiting", waiting && clients.is_empty());
        let peers = clients.iter().map(client_structure);
        structure.set("peers", gst::Array::new(peers));
        structure
    }
}

fn client_structure(client: &ClientStats) -> gst::Structure {
    gst::Structure::builder("peer")
        .field("address", client.address.to_string())
        .field("frames", client.frames)
        .field("bytes", client.bytes)
        .field("dropped", client.dropped)
        .field("queued", client.queued as u32)
        .build()
}
