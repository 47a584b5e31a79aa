// SPDX-License-Identifier: MPL-2.0

//! The middleware in front of all handlers: refuses requests without access, and adds the
//! headers that every response has.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Extension, Request, State},
    http::{
        HeaderValue, Method, StatusCode,
        header::{self, HeaderName},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::time::timeout;

use super::{
    access_control::AccessError, connection::HttpConnection, guess_limiter::TokenGuessLimiter,
    refusals::RefusalReason, responses, state::ServerState,
};

/// Maximum time in which a request must be complete, with its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Refuses a request, or passes it on to its handler.
pub async fn filter(
    State(state): State<Arc<ServerState>>,
    Extension(connection): Extension<Arc<HttpConnection>>,
    request: Request,
    next: Next,
) -> Response {
    let origins = state.access.origins();
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let origin = origin.filter(|_| origins.allows_origin(request.headers()));
    let checked = state
        .access
        .check_request(&request, connection.address.ip());
    let mut response = if let Err(error) = checked {
        state.viewers.count_refusal(error.reason());
        refuse(error)
    } else if *request.method() == Method::OPTIONS {
        preflight()
    } else if *request.method() == Method::POST {
        match timeout(BODY_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                state.viewers.count_refusal(RefusalReason::Request);
                responses::text(StatusCode::REQUEST_TIMEOUT, "The request took too long.")
            }
        }
    } else {
        next.run(request).await
    };
    let status = response.status();
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if is_upgrade && status != StatusCode::SWITCHING_PROTOCOLS {
        // The connection counts what follows as WebSocket frames, so no request may follow.
        set(header::CONNECTION, "close");
    }
    origins.add_headers(headers);
    if let Some(origin) = origin.filter(|_| status != StatusCode::FORBIDDEN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

fn refuse(error: AccessError) -> Response {
    let text = error.to_string();
    match error {
        AccessError::HostName | AccessError::Origin => responses::text(StatusCode::FORBIDDEN, text),
        AccessError::Token => {
            let bearer = [(header::WWW_AUTHENTICATE, "Bearer")];
            (bearer, responses::text(StatusCode::UNAUTHORIZED, text)).into_response()
        }
        AccessError::TooManyGuesses => responses::retry_later(
            StatusCode::TOO_MANY_REQUESTS,
            TokenGuessLimiter::RETRY_AFTER,
            text,
        ),
    }
}

/// The response to the CORS preflight of an allowed origin.
fn preflight() -> Response {
    let headers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST"),
        (
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            "authorization, content-type",
        ),
    ];
    (StatusCode::NO_CONTENT, headers).into_response()
}
