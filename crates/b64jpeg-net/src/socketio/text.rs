// SPDX-License-Identifier: MPL-2.0

//! Text from a server, shortened and cleaned for a log line.

/// Longest text that is shown, in characters.
const MAX_CHARS: usize = 160;

/// `text` on one line, without control characters, cut off with `…` after 160 characters.
pub fn printable(text: &str) -> String {
    // The server decides how long the text is: copy no more than is shown.
    let words = text.split_whitespace().enumerate();
    let spaced = words.flat_map(|(n, word)| {
        let space = (n > 0).then_some(' ');
        space.into_iter().chain(word.chars())
    });
    let mut chars = spaced.filter(|c| !c.is_control());
    let mut shown: String = chars.by_ref().take(MAX_CHARS).collect();
    if chars.next().is_some() {
        shown.push('…');
    }
    shown
}

/// What the body of an HTTP response says, [printable]: the title of a page, or plain text.
pub fn summary(body: &str) -> String {
    let lower = body.to_ascii_lowercase();
    let text = match lower.find('<') {
        Some(0) => {
            let title = lower.find("<title>").map(|at| at + "<title>".len());
            let end = title.and_then(|at| Some(at + lower[at..].find('<')?));
            title.zip(end).map_or("", |(at, end)| &body[at..end])
        }
        _ => body,
    };
    printable(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printable_long_text_is_cut_off() {
        let words = "a \0".repeat(1 << 20);
        assert_eq!(printable(&words).chars().count(), MAX_CHARS + 1);
        assert_eq!(printable(&"x".repeat(MAX_CHARS)).len(), MAX_CHARS);
        assert_eq!(printable(" \n "), "");
    }

    #[test]
    fn summary_body_is_its_text_or_title() {
        assert_eq!(summary("{\"code\": 5}\n"), "{\"code\": 5}");
        assert_eq!(
            summary("<!doctype html><html><title>404 Not\nFound</title>"),
            "404 Not Found"
        );
        assert_eq!(summary("<p>nothing</p>"), "");
        assert_eq!(summary("a\u{1b}[31m\r\nb"), "a[31m b");
        assert_eq!(summary(&"ü".repeat(1000)).chars().count(), MAX_CHARS + 1);
    }
}
