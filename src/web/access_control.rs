// SPDX-License-Identifier: MPL-2.0

//! Checks each request before anything else does: its token, and the site of the page that
//! sends it.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Extension, Query, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{self, HeaderName},
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{
    Config, Shared,
    connection::Line,
    guess_limiter::Brake,
    origin_policy::{Sites, is_cross_site},
    routes::short,
    viewers::Refusal,
};

/// A request whose body takes longer is refused.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who is let in.
pub struct Guard {
    /// Empty if none is needed.
    token: String,
    /// Holds up those who guess it.
    brake: Brake,
    sites: Sites,
}

/// Why a request or a viewer is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// There is no token, or a wrong one.
    Token,
    /// Too many wrong ones came from the same address. Not even a right one counts for now.
    Brake,
}

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

impl Guard {
    pub fn new(config: &Config, local: bool) -> Self {
        Self {
            token: config.token.clone(),
            brake: Brake::default(),
            sites: Sites::new(config, local),
        }
    }

    /// Whether the token that somebody at an address has is the one. How long that takes does
    /// not tell how much of it is right, and those who are wrong too often have to wait.
    /// `foreign` says that a page of another site has it sent.
    pub fn check(&self, token: Option<&str>, from: IpAddr, foreign: bool) -> Result<(), Denied> {
        if self.token.is_empty() {
            return Ok(());
        }
        // Whoever has none does not guess.
        let token = token.unwrap_or_default();
        if token.is_empty() {
            return Err(Denied::Token);
        }
        let now = Instant::now();
        if self.brake.holds(from, foreign, now) {
            return Err(Denied::Brake);
        }
        if bool::from(self.token.as_bytes().ct_eq(token.as_bytes())) {
            return Ok(());
        }
        self.brake.count_wrong(from, foreign, token, now);
        Err(Denied::Token)
    }

    /// Whether a request brings the token in one of the ways of HTTP.
    pub fn check_request(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        from: IpAddr,
    ) -> Result<(), Denied> {
        let bearer = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| Cow::from(token.trim()));
        let token = bearer.or_else(|| {
            let query = Query::<TokenQuery>::try_from_uri(uri).ok()?;
            query.0.token.map(Cow::from)
        });
        self.check(token.as_deref(), from, is_cross_site(headers))
    }

    /// Why a request is not answered, and what is said instead; nothing if it is.
    fn objection(&self, request: &Request, line: &Line) -> Option<(Refusal, Response)> {
        let headers = request.headers();
        let page = request.uri().path() == "/";
        let socket_io = request.uri().path().starts_with("/socket.io");
        if !self.sites.allows_host(headers) {
            let text = "This server does not answer to this name, because any web site could \
                        point it here. Use the IP address, or list the name in the server's \
                        property allowed-origins, or set its property token.";
            return Some((Refusal::Origin, short(StatusCode::FORBIDDEN, text)));
        }
        let foreign =
            !page && !self.sites.allows_origin(headers) || socket_io && is_cross_site(headers);
        if foreign {
            let text = "This page is of another site. The server's property allowed-origins can \
                        let it in.";
            return Some((Refusal::Origin, short(StatusCode::FORBIDDEN, text)));
        }
        // Socket.IO brings its token later.
        if page || socket_io || *request.method() == Method::OPTIONS {
            return None;
        }
        let checked = self.check_request(headers, request.uri(), line.address.ip());
        checked
            .err()
            .map(|denied| (Refusal::Token, refusal(denied)))
    }
}

/// Answers, or has the rest of the server do it.
pub async fn check(
    State(shared): State<Arc<Shared>>,
    Extension(line): Extension<Arc<Line>>,
    request: Request,
    next: Next,
) -> Response {
    let websocket = request.headers().contains_key(header::UPGRADE);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let origin = origin.filter(|_| shared.guard.sites.allows_origin(request.headers()));
    let mut response = if let Some((why, refusal)) = shared.guard.objection(&request, &line) {
        shared.viewers.refuse(why);
        refusal
    } else if *request.method() == Method::OPTIONS {
        preflight()
    } else if *request.method() == Method::POST {
        match tokio::time::timeout(BODY_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => {
                shared.viewers.refuse(Refusal::Request);
                short(StatusCode::REQUEST_TIMEOUT, "This takes too long.")
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
    if websocket && status != StatusCode::SWITCHING_PROTOCOLS {
        // What follows on this connection is counted as frames, so there must be nothing.
        set(header::CONNECTION, "close");
    }
    shared.guard.sites.add_headers(headers);
    if let Some(origin) = origin.filter(|_| status != StatusCode::FORBIDDEN) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// What whoever is not let in is told.
fn refusal(denied: Denied) -> Response {
    match denied {
        Denied::Token => {
            let bearer = [(header::WWW_AUTHENTICATE, "Bearer")];
            let text = "This needs the token: Authorization: Bearer TOKEN, or ?token=TOKEN.";
            (bearer, short(StatusCode::UNAUTHORIZED, text)).into_response()
        }
        Denied::Brake => {
            let later = [(header::RETRY_AFTER, Brake::RETRY_AFTER)];
            let text = "Too many wrong tokens came from this address. Try again later.";
            (later, short(StatusCode::TOO_MANY_REQUESTS, text)).into_response()
        }
    }
}

/// What a browser asks first on behalf of a page that may ask.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(token: &str) -> Guard {
        let config = Config {
            token: token.into(),
            ..Config::default()
        };
        Guard::new(&config, true)
    }

    #[test]
    fn tokens() {
        let guard = guard("s3 cret");
        let uri = |uri: &str| uri.parse::<Uri>().expect("a URI");
        for (value, path, good) in [
            ("Bearer s3 cret", "/", true),
            ("bearer  s3 cret ", "/", true),
            ("Bearer s3 cre", "/", false),
            ("Bearer s3 crett", "/", false),
            ("Basic s3 cret", "/", false),
            ("s3", "/", false),
            ("", "/stats", false),
            ("", "/stats?token=s3%20cret", true),
            ("", "/stats?token=s3+cret&camera=front", true),
            ("", "/stats?camera=front&token=s3", false),
            ("", "/stats?token=", false),
            ("Bearer wrong", "/stats?token=s3+cret", false),
        ] {
            let mut headers = HeaderMap::new();
            if !value.is_empty() {
                headers.insert(header::AUTHORIZATION, value.parse().expect("a value"));
            }
            let from = [192, 0, 2, 1].into();
            let checked = guard.check_request(&headers, &uri(path), from);
            assert_eq!(checked.is_ok(), good, "{value} {path}");
        }
        let from = [192, 0, 2, 1].into();
        assert_eq!(guard.check(Some("s3 cret"), from, false), Ok(()));
        assert_eq!(guard.check(None, from, false), Err(Denied::Token));
    }

    #[test]
    fn wrong_tokens_of_one_address_hold_up_no_other() {
        let guard = guard("geheim");
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let guess = |number: i32| guard.check(Some(&number.to_string()), one, false);
        let denied: Vec<_> = (0..100).map(guess).collect();
        assert_eq!(denied[0], Err(Denied::Token));
        assert_eq!(denied[99], Err(Denied::Brake));
        assert_eq!(guard.check(Some("geheim"), one, false), Err(Denied::Brake));
        assert_eq!(guard.check(Some("geheim"), other, false), Ok(()));
        // Whoever brings none is asked for one.
        assert_eq!(guard.check(None, one, false), Err(Denied::Token));
    }
}
