// SPDX-License-Identifier: MPL-2.0

//! What the streaming thread does from start to stop: connect, read, deliver pictures, and
//! connect again.

use std::time::{Duration, Instant};

use b64jpeg_net::{
    backoff::Backoff,
    host::host_and_port,
    slow_peer::{self, SlowPeerDetector},
    tcp::client::{Interruption, TcpClient, TcpClientError},
};
use b64jpeg_wire::{AcceptedFramings, Deframer, FrameError, FrameLimits, jpeg};
use gst::subclass::prelude::*;
use gst_base::prelude::*;

use super::{
    imp::{self, CAT, Counts},
    settings::Settings,
};
use crate::common::{
    capture_time,
    connection_report::{ConnectionReporter, ConnectionState, PeerName, Problem, ReportCodes},
    error_policy::{ErrorPolicy, Verdict, with_advice},
    jpeg_buffer, stats,
};

/// How a connection has ended.
struct ConnectionEnd {
    cause: String,
    /// Whether the server closed it.
    closed_by_server: bool,
    /// The frame that was cut off, or what else stood behind the last whole one.
    cut_frame: Option<FrameError>,
}

/// The state of the streaming thread.
pub struct Session {
    host: String,
    port: u16,
    accept: AcceptedFramings,
    limits: FrameLimits,
    client: TcpClient,
    reporter: ConnectionReporter,
    backoff: Backoff,
    /// The next attempt to connect waits until then.
    next_attempt: Option<Instant>,
    /// While there is a connection.
    deframer: Option<Deframer>,
    /// Set when nothing more can be read. The deframer may still hold frames.
    end: Option<ConnectionEnd>,
    /// Resynchronisations on the connections before this one.
    earlier_resyncs: u64,
    faults: ErrorPolicy,
    slow: SlowPeerDetector,
    /// Width and height of the last picture, as in the caps downstream.
    size: Option<Option<(u16, u16)>>,
    discont: bool,
    stats_timer: stats::NotifyTimer,
}

impl Session {
    pub fn new(element: &super::B64JpegClientSrc, settings: &Settings, client: TcpClient) -> Self {
        let peer = PeerName {
            display: host_and_port(&settings.host, settings.port),
            message: gst::Structure::builder("b64jpeg-connection")
                .field("host", &settings.host)
                .field("port", i32::from(settings.port))
                .build(),
        };
        let codes = ReportCodes {
            open: gst::ResourceError::OpenRead,
            transfer: gst::ResourceError::Read,
        };
        Self {
            host: settings.host.clone(),
            port: settings.port,
            accept: settings.format.accept(AcceptedFramings::default()),
            limits: settings.format.tolerance.limits(),
            client,
            reporter: ConnectionReporter::new(*CAT, element, peer, codes),
            backoff: Backoff::default(),
            next_attempt: None,
            deframer: None,
            end: None,
            earlier_resyncs: 0,
            faults: ErrorPolicy::default(),
            slow: SlowPeerDetector::default(),
            size: None,
            discont: true,
            stats_timer: stats::NotifyTimer::default(),
        }
    }

    /// Whether `stats` is to be notified again.
    pub fn stats_due(&mut self, interval: gst::ClockTime) -> bool {
        self.stats_timer.is_due(interval)
    }

    /// The next picture, however long it takes and however many connections.
    pub fn next_buffer(
        &mut self,
        src: &imp::B64JpegClientSrc,
    ) -> Result<gst::Buffer, gst::FlowError> {
        loop {
            match src.interrupt.take() {
                None => {}
                Some(Interruption::Stop) => return Err(gst::FlowError::Flushing),
                Some(Interruption::Pause) => {
                    gst::debug!(CAT, imp = src, "Paused");
                    src.obj().wait_playing()?;
                }
            }
            let Some(deframer) = &mut self.deframer else {
                self.connect(src)?;
                continue;
            };
            let decode = |kind, payload: &[u8]| jpeg_buffer::decode(kind, payload, &self.limits);
            match deframer.next_with(decode) {
                Some(Ok((buffer, info))) => return Ok(self.deliver(src, buffer, &info)),
                Some(Err(error)) => self.handle_bad_frame(src, error)?,
                None => match self.end.take() {
                    Some(end) => self.end_connection(src, end)?,
                    None => self.read(src)?,
                },
            }
        }
    }

    /// ReconnectSettings for the retry delay, if there is one, and tries to connect.
    fn connect(&mut self, src: &imp::B64JpegClientSrc) -> Result<(), gst::FlowError> {
        if let Some(time) = self.next_attempt {
            match self.client.wait_until(time) {
                Ok(()) => self.next_attempt = None,
                Err(TcpClientError::Interrupted) => return Ok(()),
                Err(error) => {
                    return Err(self.fail(src, gst::ResourceError::Failed, &error.to_string()));
                }
            }
        }
        self.reporter.enter_first(ConnectionState::Connecting);
        let (timeout, reconnect) = {
            let settings = src.settings();
            (settings.waits.timeout(), settings.reconnect)
        };
        let error = match self.client.connect(&self.host, self.port, timeout) {
            Ok(()) => {
                self.begin_connection(src);
                return Ok(());
            }
            Err(TcpClientError::Interrupted) => return Ok(()),
            Err(error) => error,
        };
        let text = format!("Cannot reach {}: {error}", self.reporter.peer());
        if !reconnect {
            let code = match &error {
                TcpClientError::UnknownHost(_) => gst::ResourceError::NotFound,
                _ => gst::ResourceError::OpenRead,
            };
            return Err(self.fail(src, code, &text));
        }
        let cause = error.to_string();
        self.reporter
            .enter(ConnectionState::Unreachable, Some(&cause));
        self.reporter.warn(
            Problem::Unreachable,
            &format!("{text}; trying again until it is there"),
        );
        self.schedule_attempt(src);
        Ok(())
    }

    fn begin_connection(&mut self, src: &imp::B64JpegClientSrc) {
        {
            let counts = &mut *src.counts();
            counts.connected = true;
            counts.connections += 1;
            self.earlier_resyncs = counts.stats.resyncs;
        }
        self.deframer = Some(Deframer::new(self.accept, self.limits));
        self.faults.begin();
        self.slow = SlowPeerDetector::default();
        self.reporter.enter(ConnectionState::Connected, None);
    }

    /// Delays the next attempt to connect.
    fn schedule_attempt(&mut self, src: &imp::B64JpegClientSrc) {
        let delay = src.settings().waits.next(&mut self.backoff);
        gst::debug!(CAT, imp = src, "The next attempt is in {delay:?}");
        self.next_attempt = Instant::now().checked_add(delay);
    }

    /// Reads once.
    fn read(&mut self, src: &imp::B64JpegClientSrc) -> Result<(), gst::FlowError> {
        let timeout = src.settings().waits.timeout();
        self.report_slow(timeout);
        let Some(deframer) = &mut self.deframer else {
            return Ok(());
        };
        let start = Instant::now();
        let read = self
            .client
            .read(|mut stream| deframer.read_from(&mut stream), timeout);
        let (cause, closed_by_server) = match read {
            Ok(0) => ("the server closed the connection".into(), true),
            Ok(len) => {
                gst::trace!(CAT, imp = src, "Read {len} bytes");
                src.counts().stats.bytes_in += len as u64;
                self.slow.add(len as u64, start.elapsed());
                return Ok(());
            }
            Err(TcpClientError::Interrupted) => return Ok(()),
            Err(error) => (error.to_string(), false),
        };
        gst::debug!(CAT, imp = src, "The connection ends: {cause}");
        deframer.finish();
        self.end = Some(ConnectionEnd {
            cause,
            closed_by_server,
            cut_frame: None,
        });
        Ok(())
    }

    /// Prepares a picture for downstream.
    fn deliver(
        &mut self,
        src: &imp::B64JpegClientSrc,
        mut buffer: gst::Buffer,
        info: &jpeg::JpegInfo,
    ) -> gst::Buffer {
        if self.size != Some(info.size) {
            let caps = jpeg_buffer::caps(info.size, None);
            gst::debug!(CAT, imp = src, "The caps are {caps}");
            // This fails while the pad is flushing: then the caps are set with the next picture.
            let set = src.obj().set_caps(&caps).is_ok();
            self.size = set.then_some(info.size);
        }
        let output = buffer
            .get_mut()
            .expect("the buffer is new, so it is not shared");
        if std::mem::take(&mut self.discont) {
            output.set_flags(gst::BufferFlags::DISCONT);
        }
        {
            let counts = &mut *src.counts();
            if let Some(time) = counts.delays.judge(info) {
                capture_time::add_meta(output, time);
                counts.delays.add(time, capture_time::now());
            }
            // The bytes that came in were counted when they were read.
            counts.stats.frame(0, output.size());
            self.update_counts(src, counts);
        }
        let held = self.deframer.as_ref().map_or(0, Deframer::held);
        let timeout = src.settings().waits.timeout();
        self.slow.complete(held as u64, slow_peer::limit(timeout));
        self.backoff.reset();
        self.faults.good();
        self.reporter.enter(ConnectionState::Streaming, None);
        let peer = self.reporter.peer();
        self.reporter
            .recovered(|_| format!("Pictures come from {peer}"));
        gst::log!(CAT, imp = src, "{buffer:?}");
        buffer
    }

    /// Copies what the deframer knows to the counts.
    fn update_counts(&self, src: &imp::B64JpegClientSrc, counts: &mut Counts) {
        let Some(stream) = self.deframer.as_ref().map(Deframer::stream) else {
            return;
        };
        counts.stats.resyncs = self.earlier_resyncs + stream.resyncs();
        if counts.stats.framing != stream.framing() {
            counts.stats.framing = stream.framing();
            if let Some(framing) = stream.framing() {
                gst::info!(CAT, imp = src, "The framing is {framing}");
            }
        }
    }

    /// Reports a bad frame. Fails if the stream ends with it.
    fn handle_bad_frame(
        &mut self,
        src: &imp::B64JpegClientSrc,
        error: FrameError,
    ) -> Result<(), gst::FlowError> {
        let (max_errors, reconnect) = {
            let settings = src.settings();
            (settings.format.tolerance.max_errors, settings.reconnect)
        };
        self.discont = true;
        {
            let counts = &mut *src.counts();
            counts.stats.errors += 1;
            self.update_counts(src, counts);
        }
        match self.faults.judge(&error, max_errors) {
            Verdict::Foreign(text) if !self.faults.any_good() => {
                let text = format!("{}: {text}", self.reporter.peer());
                Err(self.fail(src, gst::StreamError::WrongType, &text))
            }
            Verdict::Foreign(text) | Verdict::TooMany(text) => {
                if !reconnect {
                    let text = format!("{}: {text}", self.reporter.peer());
                    return Err(self.fail(src, gst::StreamError::Decode, &text));
                }
                let end = ConnectionEnd {
                    cause: text,
                    closed_by_server: false,
                    cut_frame: None,
                };
                self.end_connection(src, end)
            }
            Verdict::Forgiven(text) => {
                match (&mut self.end, text) {
                    // It is reported with the end of the connection.
                    (Some(end), _) => {
                        end.cut_frame.get_or_insert(error);
                    }
                    (None, Some(text)) if self.reporter.problem() != Some(Problem::Unreachable) => {
                        gst::element_imp_warning!(src, gst::StreamError::Decode, ("{text}"));
                    }
                    _ => gst::debug!(CAT, imp = src, "{error}"),
                }
                Ok(())
            }
        }
    }

    /// Closes a connection from which nothing more will come. Fails if the stream ends with it.
    fn end_connection(
        &mut self,
        src: &imp::B64JpegClientSrc,
        end: ConnectionEnd,
    ) -> Result<(), gst::FlowError> {
        let frames = self.deframer.as_ref().map_or(0, |d| d.stream().frames());
        self.disconnect(src);
        self.reporter.enter(ConnectionState::Lost, Some(&end.cause));

        let cause = match &end.cut_frame {
            Some(error) => format!("{}; {}", end.cause, with_advice(error)),
            None => end.cause,
        };
        let peer = self.reporter.peer();
        if src.settings().reconnect {
            let lost = format!("{peer} is lost after {frames} pictures: {cause}; trying again");
            if frames == 0 {
                let text = format!("{peer} gives no pictures: {cause}; trying again until it does");
                self.reporter.warn(Problem::Unreachable, &text);
            } else if end.cut_frame.is_some() {
                self.reporter.warn(Problem::Lost, &lost);
            } else {
                self.reporter.inform_lost(&lost);
            }
            self.schedule_attempt(src);
            return Ok(());
        }

        if !end.closed_by_server || end.cut_frame.is_some() && self.faults.any_good() {
            let text = format!("{peer} is lost after {frames} pictures: {cause}");
            return Err(self.fail(src, gst::ResourceError::Read, &text));
        }
        if let Some(text) = self.faults.conclude() {
            let text = format!("{}: {text}", self.reporter.peer());
            return Err(self.fail(src, gst::StreamError::WrongType, &text));
        }
        gst::info!(CAT, imp = src, "{peer} ends after {frames} pictures");
        Err(gst::FlowError::Eos)
    }

    /// Closes the connection, if there is one.
    pub fn disconnect(&mut self, src: &imp::B64JpegClientSrc) {
        self.client.disconnect();
        self.deframer = None;
        self.end = None;
        self.discont = true;
        src.counts().connected = false;
    }

    /// Warns that bytes arrive, but no whole picture, unless people know that none comes.
    fn report_slow(&mut self, timeout: Option<Duration>) {
        let Some(report) = self.slow.report(slow_peer::limit(timeout)) else {
            return;
        };
        let Some(deframer) = &self.deframer else {
            return;
        };
        let have = deframer.held();
        let here = match deframer.frame_len() {
            Some(len) => format!("{have} of {len} bytes are here"),
            None => format!("{have} bytes are here"),
        };
        let (frame, offset) = (deframer.stream().frames(), deframer.stream().offset());
        let text = format!(
            "{} {report} and no whole picture yet (frame {frame} at byte {offset}, {here}); \
             still waiting",
            self.reporter.peer()
        );
        self.reporter.warn(Problem::Slow, &text);
    }

    /// Ends the stream with an error.
    fn fail(
        &mut self,
        src: &imp::B64JpegClientSrc,
        code: impl gst::MessageErrorDomain,
        text: &str,
    ) -> gst::FlowError {
        self.disconnect(src);
        self.reporter.fail(code, text);
        // With an error GstBaseSrc would post a second message that says nothing.
        gst::FlowError::Eos
    }
}
