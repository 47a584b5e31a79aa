// SPDX-License-Identifier: MPL-2.0

//! What a receiver puts up with, and how it says what is wrong.

use std::fmt;

use b64jpeg_wire::{ForeignProtocol, FrameError, WireError};

/// So many in a row are told one by one; of more only those whose number has doubled.
const TOLD: u32 = 1000;

/// What to do about a picture with too many pixels.
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
pub fn with_advice(fault: &impl Bad) -> String {
    join_advice(fault, fault.error())
}

fn join_advice(what: &impl fmt::Display, error: &WireError) -> String {
    match advice(error) {
        Some(advice) => format!("{what}; {advice}"),
        None => what.to_string(),
    }
}

/// A bad frame, which tells where it is and what is wrong with it.
pub trait Bad: fmt::Display {
    /// What is wrong with it.
    fn error(&self) -> &WireError;
}

impl Bad for FrameError {
    fn error(&self) -> &WireError {
        &self.error
    }
}

/// What a bad frame comes to, and the sentence that says so.
#[derive(Debug, PartialEq)]
pub enum Verdict {
    /// The stream is something else altogether.
    Foreign(String),
    /// It was one too many.
    TooMany(String),
    /// The next good frame will do. Of many in a row not every one is worth a sentence.
    Forgiven(Option<String>),
}

/// Counts the bad frames of a stream, or of one after the other.
#[derive(Debug, Default)]
pub struct Faults {
    in_a_row: u32,
    any_good: bool,
    /// The first one, while nothing was right.
    first: Option<String>,
}

impl Faults {
    /// A frame was good.
    pub fn good(&mut self) {
        self.in_a_row = 0;
        self.any_good = true;
    }

    /// Whether a frame was, ever.
    pub fn any_good(&self) -> bool {
        self.any_good
    }

    /// Another stream begins: what was bad in a row before it does not count.
    pub fn begin(&mut self) {
        self.in_a_row = 0;
    }

    /// Judges a bad frame. `max_errors` in a row are forgiven, any number if it is negative.
    pub fn judge(&mut self, fault: &impl Bad, max_errors: i32) -> Verdict {
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
            let telling = self.in_a_row <= TOLD || self.in_a_row.is_power_of_two();
            Verdict::Forgiven(telling.then(|| sentence(&with_advice(fault)) + what_next))
        }
    }

    /// At the end of everything: what was wrong if nothing was right.
    pub fn conclude(&mut self) -> Option<String> {
        let fault = self.first.take().filter(|_| !self.any_good)?;
        Some(format!("There is no good frame in the stream. {fault}"))
    }
}

/// As a sentence of its own.
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
    fn so_many_in_a_row() {
        let mut faults = Faults::default();
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
    fn a_flood_is_told_in_a_few_words() {
        let mut faults = Faults::default();
        let bad = fault(WireError::NoEnd);
        let told = |_: &_| matches!(faults.judge(&bad, -1), Verdict::Forgiven(Some(_)));
        let told: Vec<_> = (1..=10_000).filter(told).collect();
        let (first, rest) = told.split_at(TOLD as usize);
        assert!((1..=TOLD).eq(first.iter().copied()));
        assert_eq!(rest, [1024, 2048, 4096, 8192]);
    }

    #[test]
    fn nothing_good() {
        let mut faults = Faults::default();
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

        let mut faults = Faults::default();
        faults.judge(&fault(WireError::NoEnd), -1);
        faults.good();
        assert_eq!(faults.conclude(), None);
    }

    #[test]
    fn another_protocol_is_never_forgiven() {
        let http = fault(WireError::Foreign(ForeignProtocol::Http));
        let verdict = Faults::default().judge(&http, -1);
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
            let verdict = Faults::default().judge(&fault(WireError::Foreign(foreign)), -1);
            assert_eq!(verdict, Verdict::Foreign(text.into()));
        }

        let first = FirstBytes::of(b"xxxx");
        let unrecognised = fault(WireError::Unrecognised { first });
        assert_eq!(
            Faults::default().judge(&unrecognised, 1),
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
