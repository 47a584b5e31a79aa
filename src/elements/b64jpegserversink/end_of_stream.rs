// SPDX-License-Identifier: MPL-2.0

//! What happens at EOS: a loop begins again, or the queued frames are sent.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use b64jpeg_net::tcp::server::Server;
use gst::{prelude::*, subclass::prelude::*};
use gst_base::prelude::*;

use super::imp::{B64JpegServerSink, CAT, check};
use crate::common::panics;

impl B64JpegServerSink {
    /// Closes all connections: with `drain-on-eos` after the queued frames, otherwise after the
    /// frame that is being sent.
    pub(super) fn drain(&self, server: &Server) -> Result<(), gst::FlowError> {
        let (drain, timeout) = {
            let settings = self.settings();
            (settings.drain_on_eos, settings.drain_timeout)
        };
        if !drain {
            server.finish_frames();
            return Ok(());
        }
        server.drain();
        let deadline =
            timeout.and_then(|timeout| Instant::now().checked_add(Duration::from(timeout)));
        let quit = self.quit.check();
        loop {
            let done = server.wait(deadline, |status| {
                status.clients == 0 && status.removals_reported
                    || self.unlocked.load(Ordering::SeqCst)
                    || self.quit.check() != quit
            });
            if self.unlocked.load(Ordering::SeqCst) {
                self.obj().wait_preroll()?;
                continue;
            }
            check(server)?;
            // A request for EOS while the element drains stops draining.
            server.finish_frames();
            if !done {
                let clients = server.clients();
                gst::element_imp_warning!(
                    self,
                    gst::ResourceError::Write,
                    (
                        "{clients} of the clients did not receive everything within \
                         drain-timeout={}; their queued frames are dropped",
                        timeout.display()
                    )
                );
            }
            return Ok(());
        }
    }

    /// Handles EOS in another thread if EOS was requested from the element. Returns whether it
    /// does.
    ///
    /// The thread that requested EOS may wait for the source to stop, and draining would block
    /// the source's streaming thread, which is this one.
    pub(super) fn hand_over(&self, eos: &gst::Event) -> bool {
        let seqnum = Some(eos.seqnum());
        if self.quit.check().is_ok()
            || std::mem::replace(&mut self.state().handed_over_eos, seqnum) == seqnum
        {
            return false;
        }
        let eos = eos.clone();
        self.obj().call_async(move |obj| {
            panics::guard(obj.imp(), "hand_over", (), || {
                obj.sink_pad().send_event(eos);
            });
        });
        true
    }

    /// If `loop` is set, seeks to the start of the stream. Returns whether it does, so that EOS
    /// is not handled.
    pub(super) fn rewind(&self) -> bool {
        let last_end = self.state().last_frame_end.take();
        let loops = self.settings().loops;
        // A stream without frames would loop without end and without a pause.
        let (Some(end), true) = (last_end, loops) else {
            return false;
        };
        let obj = self.obj();
        let mut query = gst::query::Seeking::new(gst::Format::Time);
        if !(obj.sink_pad().peer_query(&mut query) && query.result().0) {
            gst::element_imp_warning!(
                self,
                gst::ResourceError::Seek,
                ("Cannot loop, because upstream cannot seek; the stream ends. Only seekable \
                     sources, such as files, can loop")
            );
            return false;
        }
        // The last frame is shown for its duration, too.
        let segment = obj.segment().downcast::<gst::ClockTime>().ok();
        let end = segment.and_then(|segment| segment.to_running_time(end));
        if end.is_some() && obj.wait(end).0.is_err() {
            return true;
        }
        if self.quit.check().is_err() {
            return false;
        }
        let seek = gst::event::Seek::new(
            1.0,
            gst::SeekFlags::FLUSH,
            gst::SeekType::Set,
            gst::ClockTime::ZERO,
            gst::SeekType::None,
            gst::ClockTime::NONE,
        );
        self.state().loop_seek = Some(seek.seqnum());
        gst::info!(CAT, imp = self, "Seeking to the start");
        // A flushing seek waits for this thread, so another one sends it.
        obj.call_async(move |obj| {
            panics::guard(obj.imp(), "rewind", (), || {
                let pad = obj.sink_pad();
                if !pad.push_event(seek) && !pad.pad_flags().contains(gst::PadFlags::FLUSHING) {
                    gst::element_error!(
                        obj,
                        gst::ResourceError::Seek,
                        ("Cannot loop: seeking to the start of the stream failed")
                    );
                }
            });
        });
        true
    }
}
