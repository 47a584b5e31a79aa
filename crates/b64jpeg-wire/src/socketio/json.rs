// SPDX-License-Identifier: MPL-2.0

//! JSON that borrows its text and can refer to attachments.

use std::{borrow::Cow, fmt};

use serde::{
    Serialize, Serializer,
    de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::Number;

use super::error::ProtocolError;

/// A JSON value. Strings are only copied if they contain escapes.
///
/// ```
/// use b64jpeg_wire::socketio::Json;
///
/// let auth = Json::parse(r#"{"token": "secret"}"#)?;
/// assert_eq!(auth.get("token").and_then(Json::as_str), Some("secret"));
/// assert_eq!(auth.to_string(), r#"{"token":"secret"}"#);
/// # Ok::<(), b64jpeg_wire::socketio::ProtocolError>(())
/// ```
#[derive(Debug, Default, Clone, PartialEq)]
pub enum Json<'a> {
    #[default]
    Null,
    Bool(bool),
    Number(Number),
    String(Cow<'a, str>),
    Array(Vec<Json<'a>>),
    /// Entries in the order of the text.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    /// The number of an attachment. In a decoded packet, that attachment exists.
    Binary(usize),
}

impl<'a> Json<'a> {
    /// Parses a text that consists of one value.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::Json`].
    pub fn parse(text: &'a str) -> Result<Self, ProtocolError> {
        Self::parse_at(text, 0, usize::MAX)
    }

    /// Parses the value in `text` from `offset` on, which may consist of up to `max` values.
    pub(super) fn parse_at(
        text: &'a str,
        offset: usize,
        max: usize,
    ) -> Result<Self, ProtocolError> {
        let mut left = Some(max);
        let text = text.get(offset..).unwrap_or_default();
        let mut json = serde_json::Deserializer::from_str(text);
        let value = CountingSeed { left: &mut left }.deserialize(&mut json);
        let value = value.and_then(|value| json.end().map(|()| value));
        value.map_err(|error| match left {
            None => ProtocolError::Values { max },
            Some(_) => ProtocolError::Json {
                offset: offset.saturating_add(error_offset(text, &error)),
                reason: reason(&error),
            },
        })
    }

    /// The text, if this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of `key`, if this is an object that has it; the last one of several.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let Self::Object(entries) = self else {
            return None;
        };
        let entry = entries.iter().rfind(|(name, _)| name == key);
        entry.map(|(_, value)| value)
    }

    /// Removes and returns the value that [`get`](Self::get) returns.
    pub(super) fn take(&mut self, key: &str) -> Option<Self> {
        let Self::Object(entries) = self else {
            return None;
        };
        let at = entries.iter().rposition(|(name, _)| name == key)?;
        Some(entries.remove(at).1)
    }

    /// The number, if this is a whole number that is not negative.
    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Number(number) => number.as_u64(),
            _ => None,
        }
    }

    /// Copies all borrowed text.
    pub fn into_owned(self) -> Json<'static> {
        let owned = |text: Cow<str>| Cow::Owned(text.into_owned());
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(value),
            Self::Number(value) => Json::Number(value),
            Self::String(text) => Json::String(owned(text)),
            Self::Array(values) => Json::Array(values.into_iter().map(Json::into_owned).collect()),
            Self::Object(entries) => {
                let entries = entries.into_iter();
                Json::Object(entries.map(|(k, v)| (owned(k), v.into_owned())).collect())
            }
            Self::Binary(number) => Json::Binary(number),
        }
    }

    /// Replaces placeholders by [`Binary`](Self::Binary). Sets `seen` for each attachment; each
    /// may have one placeholder.
    pub(super) fn resolve_placeholders(&mut self, seen: &mut [bool]) -> Result<(), ProtocolError> {
        if self.get("_placeholder") == Some(&Self::Bool(true)) {
            let count = seen.len();
            let number = self.get("num").and_then(Self::as_u64);
            let index = number.and_then(|number| usize::try_from(number).ok());
            return match index.and_then(|index| Some((index, seen.get_mut(index)?))) {
                Some((index, seen)) if !*seen => {
                    *seen = true;
                    *self = Self::Binary(index);
                    Ok(())
                }
                _ => Err(ProtocolError::Placeholder { number, count }),
            };
        }
        match self {
            Self::Array(values) => values
                .iter_mut()
                .try_for_each(|value| value.resolve_placeholders(seen)),
            Self::Object(entries) => {
                let mut values = entries.iter_mut().map(|(_, value)| value);
                values.try_for_each(|value| value.resolve_placeholders(seen))
            }
            _ => Ok(()),
        }
    }
}

impl<'a> From<&'a str> for Json<'a> {
    fn from(text: &'a str) -> Self {
        Self::String(text.into())
    }
}

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&serde_json::to_string(self).map_err(|_| fmt::Error)?)
    }
}

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => value.serialize(serializer),
            Self::Number(value) => value.serialize(serializer),
            Self::String(text) => text.serialize(serializer),
            Self::Array(values) => values.serialize(serializer),
            Self::Object(entries) => {
                serializer.collect_map(entries.iter().map(|(key, value)| (key, value)))
            }
            Self::Binary(number) => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("_placeholder", &true)?;
                map.serialize_entry("num", number)?;
                map.end()
            }
        }
    }
}

/// Deserializes a value and counts the values of which it consists.
struct CountingSeed<'c> {
    /// Number of values still allowed. `None` if there was one too many.
    left: &'c mut Option<usize>,
}

impl CountingSeed<'_> {
    fn reborrow(&mut self) -> CountingSeed<'_> {
        CountingSeed { left: self.left }
    }
}

impl<'de> DeserializeSeed<'de> for CountingSeed<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        *self.left = self.left.and_then(|left| left.checked_sub(1));
        match self.left {
            Some(_) => deserializer.deserialize_any(self),
            None => Err(D::Error::custom("too many values")),
        }
    }
}

impl<'de> Visitor<'de> for CountingSeed<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json<'de>, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json<'de>, E> {
        Ok(Number::from_f64(value).map_or(Json::Null, Json::Number))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::String(Cow::Owned(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<Json<'de>, A::Error> {
        let mut values = vec![];
        while let Some(value) = seq.next_element_seed(self.reborrow())? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Json<'de>, A::Error> {
        let mut entries = vec![];
        while let Some(key) = map.next_key_seed(self.reborrow())? {
            let Json::String(key) = key else {
                return Err(A::Error::custom("a key is not a string"));
            };
            entries.push((key, map.next_value_seed(self.reborrow())?));
        }
        Ok(Json::Object(entries))
    }
}

/// The offset of `error` in `text`, in bytes.
fn error_offset(text: &str, error: &serde_json::Error) -> usize {
    if error.is_eof() {
        return text.len();
    }
    let lines = text.split_inclusive('\n');
    let before = lines.take(error.line().saturating_sub(1)).map(str::len);
    let column = error.column().saturating_sub(1);
    before.sum::<usize>().saturating_add(column).min(text.len())
}

/// The message of `error` without its line and column.
fn reason(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if let Some(at) = text.rfind(" at line ") {
        text.truncate(at);
    }
    text
}
