// SPDX-License-Identifier: MPL-2.0

//! Query parameters of Engine.IO requests.

/// A parameter of a query, read as Engine.IO reads it: the first one of that name, undecoded.
pub fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(value)
}

/// The id of the Engine.IO session that a request belongs to.
pub fn session_id(query: &str) -> Option<&str> {
    parameter(query, "sid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_given_twice_is_the_first() {
        let query = "EIO=4&sid=one&flag&sid=two&transport=polling";
        assert_eq!(session_id(query), Some("one"));
        assert_eq!(parameter(query, "transport"), Some("polling"));
        assert_eq!(parameter(query, "flag"), None);
    }
}
