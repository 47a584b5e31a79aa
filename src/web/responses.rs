// SPDX-License-Identifier: MPL-2.0

//! HTTP responses that several handlers send.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

/// A response with one line of text.
pub fn text(status: StatusCode, text: impl Into<String>) -> Response {
    (status, text.into() + "\n").into_response()
}

/// An error after which the client may retry, in `retry_after` seconds.
pub fn retry_later(
    status: StatusCode,
    retry_after: &'static str,
    message: impl Into<String>,
) -> Response {
    ([(header::RETRY_AFTER, retry_after)], text(status, message)).into_response()
}
