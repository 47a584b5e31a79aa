// SPDX-License-Identifier: MPL-2.0

//! Errors of messages.

use std::{error, fmt};

use crate::FirstBytes;

/// Why a message violates the protocol or a limit.
///
/// Offsets count bytes from the start of the websocket message.
#[non_exhaustive]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProtocolError {
    /// The message, or the packet with its attachments, is longer than the limit. In bytes.
    TooLong { len: usize, max: usize },
    /// The text of the ping is longer than the limit. In bytes.
    PingTooLong { len: usize, max: usize },
    /// The packet has more attachments than the limit.
    Attachments { count: u64, max: usize },
    /// The JSON has more values, including keys, than the limit.
    Values { max: usize },
    /// The text has something other than `what` at `offset`.
    Expected {
        offset: usize,
        what: &'static str,
        found: FirstBytes,
    },
    /// The text is not JSON.
    Json { offset: usize, reason: String },
    /// The JSON lacks what a packet of this type has.
    Missing { what: &'static str },
    /// A placeholder has no number, the number of another one, or that of no attachment.
    Placeholder { number: Option<u64>, count: usize },
    /// The packet has fewer placeholders than attachments.
    Placeholders { placeholders: usize, count: usize },
    /// The packet arrived before all attachments of the one before it.
    Interrupted { have: usize, want: usize },
    /// A binary message arrived without a packet that has attachments.
    Stray { len: usize, first: FirstBytes },
    /// The name of the namespace is not valid.
    Namespace,
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len, max } => {
                write!(f, "its length of {len} bytes is over the limit of {max}")
            }
            Self::PingTooLong { len, max } => write!(
                f,
                "its ping has {len} bytes of text, over the limit of {max}"
            ),
            Self::Attachments { count, max } => {
                write!(f, "its {count} attachments are over the limit of {max}")
            }
            Self::Values { max } => write!(f, "it has more than {max} values"),
            Self::Expected {
                offset,
                what,
                found,
            } if found.bytes().is_empty() => {
                write!(f, "it ends at byte {offset}, where {what} is expected")
            }
            Self::Expected {
                offset,
                what,
                found,
            } => write!(f, "at byte {offset} it has {found} instead of {what}"),
            Self::Json { offset, reason } => {
                write!(f, "it is not JSON at byte {offset}: {reason}")
            }
            Self::Missing { what } => write!(f, "it has no {what}"),
            Self::Placeholder {
                number: Some(number),
                count,
            } => write!(
                f,
                "placeholder {number} occurs twice, or is not one of its {count} attachments"
            ),
            Self::Placeholder {
                number: None,
                count,
            } => write!(
                f,
                "a placeholder for one of its {count} attachments has no number"
            ),
            Self::Placeholders {
                placeholders,
                count,
            } => write!(
                f,
                "it has {placeholders} placeholders for {count} attachments"
            ),
            Self::Interrupted { have, want } => write!(
                f,
                "it arrived after {have} of the {want} attachments of the packet before it"
            ),
            Self::Stray { len, first } => write!(
                f,
                "no packet has announced these {len} bytes, which begin with {first}"
            ),
            Self::Namespace => f.write_str(
                "a namespace begins with a slash and has neither a comma nor a question mark",
            ),
        }
    }
}

impl error::Error for ProtocolError {}
