// SPDX-License-Identifier: MPL-2.0

//! When frames go on: waiting for the first client, catching up with the clock after it, and
//! waiting until a slow client has room.
//!
//! What happens depends on whether upstream is live:
//!
//! | | file | live source |
//! | --- | --- | --- |
//! | `wait-for-client`, no client yet | the stream waits at its first frame | frames are dropped |
//! | `max-clients=1`, queue full | the stream waits | the client loses frames |
//! | a client is too slow | loses the oldest frames | loses all but the newest |

use std::sync::atomic::Ordering;

use b64jpeg_net::tcp::{backlog::Overflow, server::Server};
use gst::{prelude::*, subclass::prelude::*};
use gst_base::prelude::*;

use super::imp::{B64JpegServerSink, CAT, check};
use crate::common::time;

impl B64JpegServerSink {
    /// Handles a buffer before it enters the sink, in the streaming thread.
    ///
    /// Not in `render()`: there BaseSink has already prerolled, the pipeline plays, and its
    /// clock would run while the stream waits for the first client.
    pub(super) fn enter(
        &self,
        pad: &gst::Pad,
        pts: Option<gst::ClockTime>,
    ) -> Result<(), gst::FlowError> {
        self.quit.check()?;
        let (server, live, started) = {
            let state = self.state();
            (state.running_server()?, state.live, state.started)
        };
        if live.is_some() && started {
            return Ok(());
        }
        let live = live.unwrap_or_else(|| self.query_live(pad, &server));
        let (wait, host) = {
            let settings = self.settings();
            (settings.wait_for_client, settings.host.clone())
        };
        if wait && !started && server.clients() == 0 {
            // After a seek the element waits again, but has already reported that it waits.
            if !std::mem::replace(&mut self.state().waiting_for_client, true) {
                gst::info!(CAT, imp = self, "Waiting for a client");
                self.post_element_message(
                    gst::Structure::builder("b64jpeg-waiting")
                        .field("host", host)
                        .field("port", i32::from(server.port()))
                        .build(),
                );
            }
            if !live {
                self.wait_for_client(pad, &server)?;
                self.catch_up(pad, pts);
            }
        }
        self.state().started = true;
        Ok(())
    }

    /// ReconnectSettings until there is a client.
    ///
    /// # Errors
    ///
    /// If the pad is flushing, EOS was requested or the server has failed.
    fn wait_for_client(&self, pad: &gst::Pad, server: &Server) -> Result<(), gst::FlowError> {
        loop {
            let unlocks = self.unlock_count.load(Ordering::SeqCst);
            // After reading the count: a pad is set to flushing before the sink is unlocked.
            if pad.pad_flags().contains(gst::PadFlags::FLUSHING) {
                return Err(gst::FlowError::Flushing);
            }
            self.quit.check()?;
            check(server)?;
            server.wait(None, |status| {
                status.clients > 0
                    || self.quit.check().is_err()
                    || self.unlock_count.load(Ordering::SeqCst) != unlocks
            });
            if server.clients() > 0 {
                self.state().waiting_for_client = false;
                return Ok(());
            }
        }
    }

    /// Shifts all timestamps by the time that the wait for a client took.
    ///
    /// Only in a pipeline that played meanwhile, where the clock did not wait: otherwise all
    /// frames up to now would be late and be sent at once.
    fn catch_up(&self, pad: &gst::Pad, pts: Option<gst::ClockTime>) {
        let obj = self.obj();
        let pipeline = time::outermost(&*obj);
        // A pipeline that prerolls with us is not in PAUSED yet, and its clock has not started.
        let prerolling = pipeline.current_state() < gst::State::Paused;
        if prerolling
            || pipeline.current_state().max(pipeline.pending_state()) < gst::State::Playing
        {
            return;
        }
        let due = pad
            .sticky_event::<gst::event::Segment>(0)
            .and_then(|event| event.segment().clone().downcast::<gst::ClockTime>().ok())
            .and_then(|segment| segment.to_running_time(pts));
        if let (Some(now), Some(due)) = (pipeline.current_running_time(), due)
            && now > due
        {
            let shift = (now - due).nseconds() as gst::ClockTimeDiff;
            self.state().catch_up_shift += shift;
            obj.set_ts_offset(obj.ts_offset() + shift);
        }
    }

    /// Takes the shift of [`catch_up`](Self::catch_up) back: after a flush or a stop the
    /// running time starts again.
    pub(super) fn undo_catch_up(&self) {
        let shift = std::mem::take(&mut self.state().catch_up_shift);
        let obj = self.obj();
        obj.set_ts_offset(obj.ts_offset() - shift);
    }

    /// Asks upstream whether it is live, and chooses accordingly what slow clients lose.
    fn query_live(&self, pad: &gst::Pad, server: &Server) -> bool {
        let mut query = gst::query::Latency::new();
        let live = pad.peer_query(&mut query) && query.result().0;
        gst::info!(CAT, imp = self, "Upstream is live: {live}");
        server.set_overflow(if live {
            Overflow::Newest
        } else {
            Overflow::Oldest
        });
        self.state().live = Some(live);
        live
    }

    /// If the source is not live, waits until the only client has room for another frame.
    ///
    /// # Errors
    ///
    /// If the sink is flushing or stopping, EOS was requested or the server has failed.
    pub(super) fn wait_for_room(
        &self,
        server: &Server,
        live: Option<bool>,
    ) -> Result<(), gst::FlowError> {
        if live != Some(false) {
            return Ok(());
        }
        loop {
            server.wait(None, |status| {
                !status.backlog_full
                    || self.quit.check().is_err()
                    || self.unlocked.load(Ordering::SeqCst)
            });
            self.quit.check()?;
            check(server)?;
            if !self.unlocked.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.obj().wait_preroll()?;
        }
    }

    /// Sets the SOURCE flag on this element and on the bins around it.
    ///
    /// An EOS that is sent to a pipeline, as by `gst-launch-1.0 -e`, goes to the children with
    /// the SOURCE flag only, bin by bin. While this element waits for a client or for room, it
    /// blocks the streaming thread of the source, so that the source cannot push the EOS that
    /// it got. Without the flag Ctrl-C would have no effect until a client connects. With it
    /// the EOS also comes to this element, which then stops waiting.
    pub(super) fn set_source_flags(&self) {
        let mut next = Some(self.obj().clone().upcast::<gst::Element>());
        while let Some(element) = next {
            next = element.parent().and_downcast();
            if !element.element_flags().contains(gst::ElementFlags::SOURCE) {
                element.set_element_flags(gst::ElementFlags::SOURCE);
                self.flagged_sources().push(element.downgrade());
            }
        }
    }

    pub(super) fn unset_source_flags(&self) {
        for element in self.flagged_sources().drain(..) {
            if let Some(element) = element.upgrade() {
                element.unset_element_flags(gst::ElementFlags::SOURCE);
            }
        }
    }
}
