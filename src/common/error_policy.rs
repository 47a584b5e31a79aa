// SPDX-License-Identifier: MPL-2.0

//! What a receiver does about bad frames: how many it skips, when it gives up, and what it says.

use std::fmt;

use b64jpeg_wire::{ForeignProtocol, FrameError, WireError};

/// Consecutive errors up to this number are all reported; beyond it, only every power of two.
const MAX_REPORTED: u32 = 1000;

/// The advice for a picture with too many pixels.
pub const RAISE_MAX_PIXELS: &str = "; if it is right, raise max-pixels";

/// What the user can do about an error that concerns the whole stream.
///
/// The protocol core reports what is wrong; only the plugin knows its properties and the
/// elements to use in its place.
pub const fn advice(error: &WireError) -> Option<&'static str> {
    Some(match error {
        WireError::Unrecognised { .. } => "set the header and payload properties",
        WireError::Foreign(foreign) => match foreign {
            ForeignProtocol::Pickle | ForeignProtocol::Numpy => {
                "a pickle can run code and is never loaded; send \
                 cv2.imencode('.jpg', frame)[1].tobytes() in its place"
            }
            ForeignProtocol::Http => "use souphttpsrc ! multipartdemux for MJPEG over HTTP",
            ForeignProtocol::Multipart => "use multipartdemux",
            ForeignProtocol::DataUrl => {
                "send the base64 text alone, without \"data:image/jpeg;base64,\""
            }
            ForeignProtocol::Rtsp => "use rtspsrc",
            ForeignProtocol::Ssh | ForeignProtocol::Tls => "check host and port",
            ForeignProtocol::Png => "encode with cv2.imencode('.jpg', …)",
            _ => return None,
        },
        _ => return None,
    })
}

/// The message about a bad frame, and the [`advice`] for it, if there is any.
pub fn with_advice(fault: &impl BadFrame) -> String {
    join_advice(fault, fault.error())
}

fn join_advice(what: &impl fmt::Display, error: &WireError) -> String {
    match advice(error) {
        Some(advice) => format!("{what}; {advice}"),
        None => what.to_string(),
    }
}

/// A bad frame. Its text says where it is and what is wrong.
pub trait BadFrame: fmt::Display {
    /// What is wrong with it.
    fn error(&self) -> &WireError;
}

impl BadFrame for FrameError {
    fn error(&self) -> &WireError {
        &self.error
    }
}

/// What to do about a bad frame, and the sentence that reports it.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// Give up: the stream is another protocol.
    Foreign(String),
    /// Give up: there were too many consecutive bad frames.
    TooMany(String),
    /// Continue with the next good frame. Of many consecutive bad frames, not every one is
    /// reported.
    Forgiven(Option<String>),
}

/// Counts the bad frames of an element, from its start to its stop.
#[derive(Debug, Default)]
pub struct ErrorPolicy {
    in_a_row: u32,
    any_good: bool,
    /// The first bad frame, while there was no good one.
    first: Option<String>,
}

impl ErrorPolicy {
    /// A frame was good.
    pub fn good(&mut self) {
        self.in_a_row = 0;
        self.any_good = true;
    }

    /// Whether there was a good frame.
    pub fn any_good(&self) -> bool {
        self.any_good
    }

    /// Another stream begins: bad frames before it do not count as consecutive.
    pub fn begin(&mut self) {
        self.in_a_row = 0;
    }

    /// Decides about a bad frame. Up to `max_errors` consecutive ones are skipped, any number if
    /// it is negative.
    pub fn judge(&mut self, fault: &impl BadFrame, max_errors: i32) -> Verdict {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if !self.any_good && self.first.is_none() {
            self.first = Some(sentence(&with_advice(fault)));
        }
        if fault.error().is_fatal() {
            let error = fault.error();
            Verdict::Foreign(sentence(&join_advice(error, error)))
        } else if u32::try_from(max_errors).is_ok_and(|max| self.in_a_row > max) {
            Verdict::TooMany(format!(
                "{}; that makes more than max-errors={max_errors} in a row",
                sentence(&with_advice(fault))
            ))
        } else {
            let what_next = match fault.error() {
                WireError::TooLong { .. } => "; if it is right, raise max-frame-size",
                WireError::TooManyPixels { .. } => RAISE_MAX_PIXELS,
                WireError::Truncated { .. } => "; everything before it was delivered",
                _ => "; going on with the next good frame",
            };
            let reported = self.in_a_row <= MAX_REPORTED || self.in_a_row.is_power_of_two();
            Verdict::Forgiven(reported.then(|| sentence(&with_advice(fault)) + what_next))
        }
    }

    /// At the end: what was wrong, if there was no good frame.
    pub fn conclude(&mut self) -> Option<String> {
        let fault = self.first.take().filter(|_| !self.any_good)?;
        Some(format!("There is no good frame in the stream. {fault}"))
    }
}

/// The text with a capital first letter.
pub fn sentence(what: &impl ToString) -> String {
    let mut text = what.to_string();
    if let Some(first) = text.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use b64jpeg_wire::FirstBytes;

    fn fault(error: WireError) -> FrameError {
        FrameError {
            frame: 3,
            offset: 70,
            error,
        }
    }

    #[test]
    fn consecutive_errors_beyond_the_limit_end_the_stream() {
        let mut faults = ErrorPolicy::default();
        let bad = fault(WireError::NoEnd);
        let mut forgiven = |max| matches!(faults.judge(&bad, max), Verdict::Forgiven(_));
        assert_eq!([2; 4].map(&mut forgiven), [true, true, false, false]);
        assert!(forgiven(-1) && !forgiven(0));
        faults.good();
        assert_eq!(
            faults.judge(&bad, 0),
            Verdict::TooMany(
                "Frame 3 at byte 70: its JPEG has no end, and no frame follows it; \
                 that makes more than max-errors=0 in a row"
                    .into()
            )
        );
        faults.begin();
        assert!(matches!(faults.judge(&bad, 1), Verdict::Forgiven(_)));
    }

    #[test]
    fn flood_of_errors_is_reported_at_powers_of_two() {
        let mut faults = ErrorPolicy::default();
        let bad = fault(WireError::NoEnd);
        let reported = |_: &_| matches!(faults.judge(&bad, -1), Verdict::Forgiven(Some(_)));
        let reported: Vec<_> = (1..=10_000).filter(reported).collect();
        let (first, rest) = reported.split_at(MAX_REPORTED as usize);
        assert!((1..=MAX_REPORTED).eq(first.iter().copied()));
        assert_eq!(rest, [1024, 2048, 4096, 8192]);
    }

    #[test]
    fn stream_without_a_good_frame_reports_its_first_error() {
        let mut faults = ErrorPolicy::default();
        assert_eq!(faults.conclude(), None, "nothing bad either");
        faults.judge(&fault(WireError::Empty), -1);
        faults.judge(&fault(WireError::NoEnd), -1);
        assert_eq!(
            faults.conclude().as_deref(),
            Some(
                "There is no good frame in the stream. \
                 Frame 3 at byte 70: there is no picture in it"
            )
        );
        assert_eq!(faults.conclude(), None, "it is said once");

        let mut faults = ErrorPolicy::default();
        faults.judge(&fault(WireError::NoEnd), -1);
        faults.good();
        assert_eq!(faults.conclude(), None);
    }

    #[test]
    fn another_protocol_ends_the_stream() {
        let http = fault(WireError::Foreign(ForeignProtocol::Http));
        let verdict = ErrorPolicy::default().judge(&http, -1);
        assert!(
            matches!(verdict, Verdict::Foreign(text) if text.starts_with("This stream is HTTP"))
        );
    }

    #[test]
    fn advice_error_of_whole_stream_is_named() {
        for (foreign, text) in [
            (
                ForeignProtocol::Pickle,
                "This stream is a Python pickle; a pickle can run code and is never loaded; send \
                 cv2.imencode('.jpg', frame)[1].tobytes() in its place",
            ),
            (
                ForeignProtocol::Numpy,
                "This stream is a NumPy array; a pickle can run code and is never loaded; send \
                 cv2.imencode('.jpg', frame)[1].tobytes() in its place",
            ),
            (
                ForeignProtocol::Http,
                "This stream is HTTP; use souphttpsrc ! multipartdemux for MJPEG over HTTP",
            ),
            (
                ForeignProtocol::Multipart,
                "This stream is a multipart stream; use multipartdemux",
            ),
            (
                ForeignProtocol::DataUrl,
                "This stream is data: URLs; send the base64 text alone, without \
                 \"data:image/jpeg;base64,\"",
            ),
            (ForeignProtocol::Rtsp, "This stream is RTSP; use rtspsrc"),
            (
                ForeignProtocol::Ssh,
                "This stream is SSH; check host and port",
            ),
            (
                ForeignProtocol::Tls,
                "This stream is TLS; check host and port",
            ),
            (
                ForeignProtocol::Png,
                "This stream is PNG pictures; encode with cv2.imencode('.jpg', …)",
            ),
        ] {
            let verdict = ErrorPolicy::default().judge(&fault(WireError::Foreign(foreign)), -1);
            assert_eq!(verdict, Verdict::Foreign(text.into()));
        }

        let first = FirstBytes::of(b"xxxx");
        let unrecognised = fault(WireError::Unrecognised { first });
        assert_eq!(
            ErrorPolicy::default().judge(&unrecognised, 1),
            Verdict::Forgiven(Some(
                "Frame 3 at byte 70: no known framing begins with 78 78 78 78 (\"xxxx\"); set the \
                 header and payload properties; going on with the next good frame"
                    .into()
            ))
        );
        assert_eq!(advice(&WireError::NoEnd), None);
        let no_end = fault(WireError::NoEnd);
        assert_eq!(with_advice(&no_end), no_end.to_string());
    }
}
