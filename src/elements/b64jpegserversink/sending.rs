// SPDX-License-Identifier: MPL-2.0

//! Sends one frame.
//!
//! The state is locked twice per frame, before and after, and not while the frame waits, is
//! encoded or is sent.

use std::sync::Arc;

use b64jpeg_net::tcp::server::Server;
use b64jpeg_wire::{Framing, OutgoingFrame, WireError};
use gst::subclass::prelude::*;
use gst_base::prelude::*;

use super::imp::{B64JpegServerSink, CAT};
use crate::common::{capture_time, sender_settings::UnsendableFrame};

/// What sending one frame needs, read from the state under one lock.
struct FrameContext {
    server: Arc<Server>,
    framing: Framing,
    capture_time: bool,
    live: Option<bool>,
    buffer: Vec<u8>,
}

impl B64JpegServerSink {
    pub(super) fn render_frame(
        &self,
        buffer: &gst::Buffer,
    ) -> Result<gst::FlowSuccess, gst::FlowError> {
        self.quit.check()?;
        let Some(context) = self.begin_frame(buffer)? else {
            return Ok(gst::FlowSuccess::Ok);
        };
        self.wait_for_room(&context.server, context.live)?;
        let sent = {
            let jpeg = buffer.map_readable().map_err(|error| {
                gst::element_imp_error!(self, gst::ResourceError::Read, ["{error}"]);
                gst::FlowError::Error
            })?;
            self.send(context, buffer, &jpeg)
        };
        match sent {
            Ok((len, frame_buffer)) => {
                gst::log!(CAT, imp = self, "Frame of {len} bytes for {buffer:?}");
                let state = &mut *self.state();
                state.stats.frame(buffer.size(), len);
                state.frame_buffer = frame_buffer;
            }
            Err(error) => {
                let refused = UnsendableFrame::new(&mut self.state().stats, buffer.size(), error);
                refused.report(&*self.obj())?;
            }
        }
        Ok(gst::FlowSuccess::Ok)
    }

    /// Reads what is needed to send a frame; `None` if the frame is dropped, because a live
    /// stream waits for its first client.
    fn begin_frame(&self, buffer: &gst::BufferRef) -> Result<Option<FrameContext>, gst::FlowError> {
        let end = buffer
            .pts()
            .zip(buffer.duration())
            .and_then(|(pts, duration)| pts.checked_add(duration));
        let state = &mut *self.state();
        let server = state.running_server()?;
        state.last_frame_end = Some(end);
        state.waiting_for_client &= server.clients() == 0;
        Ok((!state.waiting_for_client).then(|| FrameContext {
            server,
            framing: state.framing,
            capture_time: state.capture_time,
            live: state.live,
            buffer: std::mem::take(&mut state.frame_buffer),
        }))
    }

    /// Sends one JPEG to all clients. Returns the length of its frame and a buffer for the next
    /// frame.
    fn send(
        &self,
        context: FrameContext,
        input: &gst::BufferRef,
        jpeg: &[u8],
    ) -> Result<(usize, Vec<u8>), WireError> {
        let FrameContext {
            server,
            framing,
            capture_time,
            mut buffer,
            ..
        } = context;
        let mut frame = OutgoingFrame::new(jpeg)?;
        if capture_time {
            let obj = self.obj();
            let time = capture_time::time_of(&*obj, &obj.segment(), input);
            frame = frame.captured_at(time.unix_ns());
        }
        let len = frame.wire_len(framing)?;
        if server.clients() > 0 {
            buffer.resize(len, 0);
            frame.encode(framing, &mut buffer);
            buffer = server.send(buffer);
        }
        Ok((len, buffer))
    }
}
