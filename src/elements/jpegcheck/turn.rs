// SPDX-License-Identifier: MPL-2.0

//! Whose pictures pass where several send.

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Those of whoever came first pass, until nothing of theirs has come for a while.
#[derive(Debug, Default)]
pub struct Turn(Option<Holder>);

#[derive(Debug)]
struct Holder {
    origin: String,
    /// When the last picture came.
    seen: Instant,
    /// Whether a stranger was told of.
    told: bool,
}

/// A picture of somebody else, and what to say of it if that was not said before.
#[derive(Debug, PartialEq)]
pub struct Stranger(pub Option<String>);

impl Turn {
    /// Whose it is.
    pub fn origin(&self) -> Option<&str> {
        self.0.as_ref().map(|holder| &*holder.origin)
    }

    /// Judges a picture that comes now. The turn goes to others after `patience`; with
    /// none, to anybody at once.
    pub fn take(&mut self, origin: &str, now: Instant, patience: Duration) -> Result<(), Stranger> {
        match &mut self.0 {
            Some(holder) if holder.origin == origin => holder.seen = now,
            Some(holder) if now.saturating_duration_since(holder.seen) < patience => {
                let known = std::mem::replace(&mut holder.told, true);
                return Err(Stranger((!known).then(|| {
                    format!(
                        "Pictures of {} are dropped while those of {} come: two senders use one \
                         stream; end one of them, or give it a stream of its own",
                        Name(origin),
                        Name(&holder.origin)
                    )
                })));
            }
            holder => {
                *holder = Some(Holder {
                    origin: origin.into(),
                    seen: now,
                    told: false,
                });
            }
        }
        Ok(())
    }
}

/// A sender in a sentence.
struct Name<'a>(&'a str);

impl fmt::Display for Name<'_> {
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

    /// A turn, and what comes of pictures that come so many milliseconds after its start.
    fn turn() -> impl FnMut(&str, u64) -> Result<(), Stranger> {
        let (mut turn, start) = (Turn::default(), Instant::now());
        assert_eq!(turn.origin(), None);
        move |origin, ms| {
            let taken = turn.take(origin, start + Duration::from_millis(ms), SECOND);
            let mine = turn.origin() == Some(origin);
            assert_eq!(taken.is_ok(), mine, "whose it is, is whose pictures pass");
            taken
        }
    }

    const KNOWN: Result<(), Stranger> = Err(Stranger(None));

    fn warns_of(taken: Result<(), Stranger>, stranger: &str, holder: &str) -> bool {
        let names = format!("Pictures of {stranger} are dropped while those of {holder} come: ");
        matches!(taken, Err(Stranger(Some(text))) if text.starts_with(&names))
    }

    #[test]
    fn who_came_first_stays_while_its_pictures_come() {
        let mut take = turn();
        assert_eq!(take("A", 0), Ok(()));
        assert!(warns_of(take("B", 1), "\"B\"", "\"A\""));
        for ms in (900..90_000).step_by(900) {
            assert_eq!(take("A", ms), Ok(()));
            assert_eq!(take("B", ms + 899), KNOWN, "it is told once");
            assert_eq!(take("C", ms + 899), KNOWN, "whoever else there is");
        }
    }

    #[test]
    fn the_turn_goes_to_others_in_silence() {
        let mut take = turn();
        assert_eq!(take("A", 0), Ok(()));
        assert!(
            take("B", 999).is_err(),
            "its own pictures do not keep B out"
        );
        assert_eq!(take("B", 1_000), Ok(()));
        // A has come back.
        assert!(warns_of(take("A", 1_001), "\"A\"", "\"B\""));
        assert_eq!(take("A", 1_999), KNOWN);
        assert_eq!(take("A", 2_000), Ok(()));
        assert!(warns_of(take("B", 2_001), "\"B\"", "\"A\""));
    }

    #[test]
    fn silence_alone_takes_nobody_s_turn() {
        let mut take = turn();
        assert_eq!(take("A", 0), Ok(()));
        assert_eq!(take("A", 60_000), Ok(()));
        assert!(take("B", 60_999).is_err());
    }

    #[test]
    fn nameless_ones_are_one_sender() {
        let mut take = turn();
        assert_eq!(take("", 0), Ok(()));
        assert_eq!(take("", 1), Ok(()));
        assert!(warns_of(take("A", 2), "\"A\"", "a sender without a name"));
        assert_eq!(take("A", 1_001), Ok(()));
        assert!(warns_of(
            take("", 1_002),
            "a sender without a name",
            "\"A\""
        ));
    }

    #[test]
    fn everybody_at_once() {
        let (mut turn, now) = (Turn::default(), Instant::now());
        for origin in ["A", "B", "", "A"] {
            assert_eq!(turn.take(origin, now, Duration::ZERO), Ok(()));
            assert_eq!(turn.origin(), Some(origin));
        }
        // A clock that stands still, and the longest patience there is.
        assert!(turn.take("B", now, Duration::MAX).is_err());
    }

    /// Names come from others: a line of a log stays one line.
    #[test]
    fn names_are_quoted() {
        let mut take = turn();
        assert_eq!(take("a \"b\"", 0), Ok(()));
        let quoted = r#""\u{202e}x""#;
        assert!(warns_of(take("\u{202e}x", 1), quoted, r#""a \"b\"""#));
    }
}
