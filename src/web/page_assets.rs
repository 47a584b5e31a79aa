// SPDX-License-Identifier: MPL-2.0

//! The viewer page, in one piece, and the Socket.IO client that it has in it.

use axum::{
    body::Bytes,
    http::header,
    response::{IntoResponse, Response},
};
use once_cell::sync::Lazy;

const HTML: &str = include_str!("page/index.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");
const SOCKET_IO: &str = include_str!("page/socket.io.min.js");

/// What stands in the page for its other parts; the element that these go into.
const PARTS: [(&str, &str, &str); 3] = [
    (r#"<link rel="stylesheet" href="page.css">"#, "style", STYLE),
    (
        r#"<script src="socket.io.min.js"></script>"#,
        "script",
        SOCKET_IO,
    ),
    (
        r#"<script type="module" src="page.js"></script>"#,
        r#"script type="module""#,
        SCRIPT,
    ),
];

/// The page as it is sent, and what it may do: nothing but what is in it.
static PAGE: Lazy<(Bytes, String)> = Lazy::new(|| {
    let mut html = HTML.to_owned();
    let mut hashes = [String::new(), String::new()];
    for (place, element, text) in PARTS {
        let (name, _) = element.split_once(' ').unwrap_or((element, ""));
        html = html.replace(place, &format!("<{element}>{text}</{name}>"));
        hashes[usize::from(name == "script")] += &format!(" 'sha256-{}'", sha256(text));
    }
    let [styles, scripts] = hashes;
    let policy = format!(
        "default-src 'none'; connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; \
         form-action 'none'; style-src{styles}; script-src{scripts}"
    );
    (html.into(), policy)
});

/// As base64.
fn sha256(text: &str) -> String {
    let mut sum = glib::Checksum::new(glib::ChecksumType::Sha256).expect("GLib knows it");
    sum.update(text.as_bytes());
    glib::base64_encode(&sum.digest()).into()
}

pub async fn page() -> Response {
    let (html, policy) = &*PAGE;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, html.clone()).into_response()
}

/// Pages that were there before us load it from their server.
pub async fn socket_io() -> Response {
    let javascript = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (javascript, SOCKET_IO).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole() {
        let html = std::str::from_utf8(&PAGE.0).expect("UTF-8");
        for (place, element, text) in PARTS {
            assert_eq!(HTML.matches(place).count(), 1, "{place}");
            assert!(html.contains(text), "{element}");
            assert!(
                !text.contains("</script") && !text.contains("</style"),
                "{element}"
            );
        }
        assert!(!html.contains("src=\"") && !html.contains("href=\"page"));
    }

    #[test]
    fn hashes() {
        assert_eq!(sha256(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
