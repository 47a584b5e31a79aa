// SPDX-License-Identifier: MPL-2.0

//! Finds the picture in a Socket.IO event.

use b64jpeg_net::socketio::printable;
use b64jpeg_wire::{
    FrameLimits, Payload, WireError, jpeg,
    socketio::{Args, Json},
};
use bytes::Bytes;

use crate::common::jpeg_buffer;

/// What every JPEG begins with in base64.
const BASE64_JPEG: &[u8] = b"/9j/";
/// How many cameras a warning names, at most.
const MAX_NAMES: usize = 20;

/// A picture as an event carries it, not decoded yet.
#[derive(Debug, Clone, PartialEq)]
pub struct EventPicture {
    payload: Payload,
    /// Base64 text, or the JPEG itself.
    pub bytes: Bytes,
}

impl EventPicture {
    /// The picture in the first argument of an event: the argument itself, or its value for
    /// `camera`. Strings of the arguments may be parts of `text`, the message; they are then
    /// shared with it, not copied.
    pub fn find(args: &Args<'_>, text: &Bytes, camera: Option<&str>) -> Option<Self> {
        let argument = args.values.first()?;
        let from_value = |value: &Json<'_>| Self::from_value(value, args, text);
        match (argument, camera) {
            (Json::Object(_), Some(camera)) => from_value(argument.get(camera)?),
            (Json::Object(entries), None) => {
                let values = || entries.iter().filter_map(|(_, value)| from_value(value));
                values().find(Self::is_jpeg).or_else(|| values().next())
            }
            (_, Some(_)) => None,
            (value, None) => from_value(value),
        }
    }

    fn from_value(value: &Json<'_>, args: &Args<'_>, text: &Bytes) -> Option<Self> {
        const URL: &[u8] = b"data:";
        let bytes = match value {
            Json::Binary(index) => args.attachments.get(*index)?.clone(),
            Json::String(string) => part_of(text, string.as_bytes()),
            _ => return None,
        };
        // b64encode() of Python returns bytes: programs that do not decode them to str send the
        // text as a binary attachment.
        let is_text = |bytes: &[u8]| bytes.starts_with(BASE64_JPEG) || bytes.starts_with(URL);
        if matches!(value, Json::Binary(_)) && !is_text(&bytes) {
            return Some(Self {
                payload: Payload::Jpeg,
                bytes,
            });
        }
        let start = match memchr::memchr(b',', &bytes) {
            Some(comma) if bytes.starts_with(URL) => comma + 1,
            _ => 0,
        };
        Some(Self {
            payload: Payload::Base64,
            bytes: bytes.slice(start..),
        })
    }

    /// Whether it begins like a JPEG.
    pub fn is_jpeg(&self) -> bool {
        match self.payload {
            Payload::Base64 => self.bytes.starts_with(BASE64_JPEG),
            Payload::Jpeg => jpeg::is_jpeg(&self.bytes),
        }
    }

    /// Decodes the picture.
    ///
    /// # Errors
    ///
    /// [`WireError::TooLong`], [`WireError::Empty`], and those of [`jpeg_buffer::decode`].
    pub fn decode(&self, limits: &FrameLimits) -> Result<(gst::Buffer, jpeg::JpegInfo), WireError> {
        let (len, max) = (self.bytes.len(), limits.max_frame);
        if len > max {
            let (len, max) = (len as u64, max as u64);
            return Err(WireError::TooLong { len, max });
        }
        if len == 0 {
            return Err(WireError::Empty);
        }
        jpeg_buffer::decode(self.payload, &self.bytes, limits)
    }
}

/// `bytes`, shared with `text` if they are a part of it. They are not if the JSON string had
/// escapes.
fn part_of(text: &Bytes, bytes: &[u8]) -> Bytes {
    let (whole, part) = (text.as_ptr_range(), bytes.as_ptr_range());
    if whole.start <= part.start && part.end <= whole.end {
        text.slice_ref(bytes)
    } else {
        Bytes::copy_from_slice(bytes)
    }
}

/// Says what an event without the wanted picture has in its place, and whether that is an
/// error. A picture of another camera is none.
pub fn describe_missing(event: &str, args: &Args<'_>, camera: Option<&str>) -> (String, bool) {
    let argument = args.values.first();
    match (argument, camera) {
        (Some(object @ Json::Object(entries)), Some(camera)) if object.get(camera).is_none() => {
            let names: Vec<_> = entries
                .iter()
                .take(MAX_NAMES)
                .map(|(name, _)| format!("{:?}", printable(name)))
                .collect();
            let names = printable(&names.join(", "));
            (
                format!("The event {event:?} has nothing of `camera` {camera:?}, but of {names}"),
                false,
            )
        }
        (Some(Json::String(_) | Json::Binary(_)), Some(camera)) => (
            format!(
                "The event {event:?} has a picture without the name of a camera, and `camera` is \
                 {camera:?}"
            ),
            false,
        ),
        _ => (
            format!("The event {event:?} has no picture as its first argument, no text nor binary"),
            true,
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(values: Vec<Json<'_>>) -> Args<'_> {
        Args {
            values,
            attachments: Vec::new(),
        }
    }

    #[test]
    fn text_of_the_message_is_shared_and_not_copied() {
        let text = Bytes::from_static(b"42[\"stream\",\"/9j/AAAA\"]");
        let string = std::str::from_utf8(&text[13..21]).expect("ASCII");
        let args = args(vec![Json::String(string.into())]);
        let picture = EventPicture::find(&args, &text, None).expect("a picture");
        assert_eq!(picture.bytes.as_ptr(), string.as_ptr());
        assert!(picture.is_jpeg());
    }

    #[test]
    fn object_without_camera_name_gives_its_first_jpeg() {
        let object = Json::Object(vec![
            ("note".into(), Json::String("hello".into())),
            (
                "front".into(),
                Json::String("data:image/jpeg;base64,/9j/".into()),
            ),
        ]);
        let (args, text) = (args(vec![object]), Bytes::new());
        let front = EventPicture::find(&args, &text, None).expect("a picture");
        assert_eq!(front.bytes, "/9j/");
        let note = EventPicture::find(&args, &text, Some("note")).expect("text");
        assert!(!note.is_jpeg());
        assert_eq!(EventPicture::find(&args, &text, Some("back")), None);
        let (missing, is_error) = describe_missing("stream", &args, Some("back"));
        assert!(missing.contains("\"front\"") && !is_error, "{missing}");
    }
}
