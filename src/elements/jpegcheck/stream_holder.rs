// SPDX-License-Identifier: MPL-2.0

//! Which sender holds a stream that several senders use.
//!
//! The first sender holds the stream, and only its frames pass, until it has sent none for a
//! while. Then the next sender holds it. Frames without an origin count as those of one sender,
//! whose name is empty.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// The sender that holds the stream, if any has sent a frame yet.
#[derive(Debug, Default)]
pub struct StreamHolder(Option<Holder>);

#[derive(Debug)]
struct Holder {
    origin: String,
    /// When its last frame arrived.
    last_frame: Instant,
    /// Whether a conflict with another sender was reported.
    conflict_reported: bool,
}

/// A frame is not from the sender that holds the stream.
#[derive(Debug, PartialEq)]
pub struct ForeignSender {
    /// The conflict, for the first such frame since the stream got its holder.
    pub conflict: Option<SenderConflict>,
}

/// Two senders use one stream.
#[derive(Debug, PartialEq)]
pub struct SenderConflict {
    /// The sender whose frame is dropped.
    dropped: String,
    /// The sender that holds the stream.
    holder: String,
}

impl fmt::Display for SenderConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Frames of {} are dropped while those of {} arrive: two senders use one stream; stop \
             one of them, or give it a stream of its own",
            SenderName(&self.dropped),
            SenderName(&self.holder)
        )
    }
}

impl StreamHolder {
    /// The origin of the holder.
    pub fn origin(&self) -> Option<&str> {
        self.0.as_ref().map(|holder| &*holder.origin)
    }

    /// Decides on a frame of `origin` that arrives at `now`. If the holder has sent no frame for
    /// `timeout`, `origin` becomes the holder; with a timeout of zero every frame passes.
    ///
    /// # Errors
    ///
    /// If another sender holds the stream: the frame is to be dropped.
    pub fn admit(
        &mut self,
        origin: &str,
        now: Instant,
        timeout: Duration,
    ) -> Result<(), ForeignSender> {
        match &mut self.0 {
            Some(holder) if holder.origin == origin => holder.last_frame = now,
            Some(holder) if now.saturating_duration_since(holder.last_frame) < timeout => {
                let reported = std::mem::replace(&mut holder.conflict_reported, true);
                let conflict = (!reported).then(|| SenderConflict {
                    dropped: origin.into(),
                    holder: holder.origin.clone(),
                });
                return Err(ForeignSender { conflict });
            }
            holder => {
                *holder = Some(Holder {
                    origin: origin.into(),
                    last_frame: now,
                    conflict_reported: false,
                });
            }
        }
        Ok(())
    }
}

/// Quoted, as others choose the names: a log line stays one line.
struct SenderName<'a>(&'a str);

impl fmt::Display for SenderName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            "" => f.write_str("a sender without a name"),
            name => write!(f, "{name:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Decides on frames that arrive so many milliseconds after the start.
    fn admit() -> impl FnMut(&str, u64) -> Result<(), ForeignSender> {
        let (mut holder, start) = (StreamHolder::default(), Instant::now());
        assert_eq!(holder.origin(), None);
        move |origin, ms| {
            let admitted = holder.admit(origin, start + Duration::from_millis(ms), SECOND);
            let holds = holder.origin() == Some(origin);
            assert_eq!(admitted.is_ok(), holds, "exactly the holder's frames pass");
            admitted
        }
    }

    const REPORTED: Result<(), ForeignSender> = Err(ForeignSender { conflict: None });

    fn reports(admitted: Result<(), ForeignSender>, dropped: &str, holder: &str) -> bool {
        let names = format!("Frames of {dropped} are dropped while those of {holder} arrive: ");
        let conflict = admitted.err().and_then(|foreign| foreign.conflict);
        conflict.is_some_and(|conflict| conflict.to_string().starts_with(&names))
    }

    #[test]
    fn stream_holder_while_sending_keeps_stream() {
        let mut admit = admit();
        assert_eq!(admit("A", 0), Ok(()));
        assert!(reports(admit("B", 1), "\"B\"", "\"A\""));
        for ms in (900..90_000).step_by(900) {
            assert_eq!(admit("A", ms), Ok(()));
            assert_eq!(admit("B", ms + 899), REPORTED, "reported once");
            assert_eq!(admit("C", ms + 899), REPORTED, "for all other senders");
        }
    }

    #[test]
    fn stream_holder_after_timeout_is_replaced() {
        let mut admit = admit();
        assert_eq!(admit("A", 0), Ok(()));
        assert!(
            admit("B", 999).is_err(),
            "dropped frames do not extend the timeout"
        );
        assert_eq!(admit("B", 1_000), Ok(()));
        // A has returned.
        assert!(reports(admit("A", 1_001), "\"A\"", "\"B\""));
        assert_eq!(admit("A", 1_999), REPORTED);
        assert_eq!(admit("A", 2_000), Ok(()));
        assert!(reports(admit("B", 2_001), "\"B\"", "\"A\""));
    }

    #[test]
    fn stream_holder_after_timeout_without_others_keeps_stream() {
        let mut admit = admit();
        assert_eq!(admit("A", 0), Ok(()));
        assert_eq!(admit("A", 60_000), Ok(()));
        assert!(admit("B", 60_999).is_err());
    }

    #[test]
    fn stream_holder_senders_without_name_are_one_sender() {
        let mut admit = admit();
        assert_eq!(admit("", 0), Ok(()));
        assert_eq!(admit("", 1), Ok(()));
        assert!(reports(admit("A", 2), "\"A\"", "a sender without a name"));
        assert_eq!(admit("A", 1_001), Ok(()));
        assert!(reports(
            admit("", 1_002),
            "a sender without a name",
            "\"A\""
        ));
    }

    #[test]
    fn stream_holder_timeout_zero_admits_all() {
        let (mut holder, now) = (StreamHolder::default(), Instant::now());
        for origin in ["A", "B", "", "A"] {
            assert_eq!(holder.admit(origin, now, Duration::ZERO), Ok(()));
            assert_eq!(holder.origin(), Some(origin));
        }
        // The same instant again, and the longest timeout there is.
        assert!(holder.admit("B", now, Duration::MAX).is_err());
    }

    #[test]
    fn sender_conflict_quotes_names() {
        let mut admit = admit();
        assert_eq!(admit("a \"b\"", 0), Ok(()));
        let quoted = r#""\u{202e}x""#;
        assert!(reports(admit("\u{202e}x", 1), quoted, r#""a \"b\"""#));
    }
}
