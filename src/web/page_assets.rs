// SPDX-License-Identifier: MPL-2.0

//! The page as one file, and the Socket.IO client that it contains.

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

/// Each reference in the HTML, the HTML element that replaces it, and the content of that.
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

/// The page as it is sent, and its `Content-Security-Policy`, which allows nothing that the page
/// does not contain.
static PAGE: Lazy<(Bytes, String)> = Lazy::new(|| {
    let mut html = HTML.to_owned();
    let mut hashes = [String::new(), String::new()];
    for (reference, element, text) in PARTS {
        let (name, _) = element.split_once(' ').unwrap_or((element, ""));
        html = html.replace(reference, &format!("<{element}>{text}</{name}>"));
        hashes[usize::from(name == "script")] += &format!(" 'sha256-{}'", sha256(text));
    }
    let [styles, scripts] = hashes;
    let policy = format!(
        "default-src 'none'; connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; \
         form-action 'none'; style-src{styles}; script-src{scripts}"
    );
    (html.into(), policy)
});

/// The SHA-256 of a text, as base64.
fn sha256(text: &str) -> String {
    let checksum = glib::Checksum::new(glib::ChecksumType::Sha256);
    let mut checksum = checksum.expect("GLib has SHA-256");
    checksum.update(text.as_bytes());
    glib::base64_encode(&checksum.digest()).into()
}

/// `/`: the page.
pub async fn page() -> Response {
    let (html, policy) = &*PAGE;
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, html.clone()).into_response()
}

/// `/socket.io/socket.io.js`: pages written for other Socket.IO servers load the client from
/// their server.
pub async fn socket_io_client() -> Response {
    let javascript = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (javascript, SOCKET_IO).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_with_parts_has_no_references() {
        let html = std::str::from_utf8(&PAGE.0).expect("UTF-8");
        for (reference, element, text) in PARTS {
            assert_eq!(HTML.matches(reference).count(), 1, "{reference}");
            assert!(html.contains(text), "{element}");
            assert!(
                !text.contains("</script") && !text.contains("</style"),
                "{element}"
            );
        }
        assert!(!html.contains("src=\"") && !html.contains("href=\"page"));
    }

    #[test]
    fn sha256_of_empty_text_is_known() {
        assert_eq!(sha256(""), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
