// SPDX-License-Identifier: MPL-2.0

//! Who may ask for what: a token, and pages of which sites.
//!
//! Browsers let any page of any site open a websocket to any server, and tell that server
//! where the page is from (`Origin`). So it is the server that has to look.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Query, Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{self, HeaderName},
        uri::Authority,
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::{Config, Shared, routes::short, viewers::Refusal};

/// Nobody takes longer to tell us something.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who is let in.
pub struct Guard {
    /// Empty if none is needed.
    token: String,
    /// Sites besides our own.
    origins: Vec<String>,
    /// Whether we are there for this machine alone.
    local: bool,
}

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

impl Guard {
    pub fn new(config: &Config, local: bool) -> Self {
        let origins = config.allowed_origins.split(',').map(str::trim);
        Self {
            token: config.token.clone(),
            origins: origins
                .filter(|origin| !origin.is_empty())
                .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
                .collect(),
            local,
        }
    }

    /// Whether this is the token, found out in a time that does not tell how much of it is.
    pub fn accepts(&self, token: Option<&str>) -> bool {
        let token = token.unwrap_or_default();
        self.token.is_empty() || bool::from(self.token.as_bytes().ct_eq(token.as_bytes()))
    }

    /// Whether a request brings the token in one of the ways of HTTP.
    pub fn accepts_request(&self, headers: &HeaderMap, uri: &Uri) -> bool {
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
        self.accepts(token.as_deref())
    }

    fn allows(&self, origin: &str) -> bool {
        let matches = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        self.origins.iter().any(matches)
    }

    /// Whether the page that asks, if it is one, is from here or from a site that may.
    fn allows_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        let Ok(origin) = origin.to_str() else {
            return false;
        };
        let host = headers
            .get(header::HOST)
            .and_then(|host| host.to_str().ok());
        self.allows(origin) || host.is_some_and(|host| is_site(origin, host))
    }

    /// A name that leads to this machine only now would make a foreign page one of ours.
    /// So whoever serves this machine alone has to be called what it is always called.
    fn allows_host(&self, headers: &HeaderMap) -> bool {
        if !self.local || !self.token.is_empty() {
            return true;
        }
        let Some(host) = headers.get(header::HOST) else {
            return true;
        };
        let Some(authority) = host.to_str().ok().and_then(|host| host.parse().ok()) else {
            return false;
        };
        let authority: Authority = authority;
        let name = authority.host();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        address.parse::<IpAddr>().is_ok()
            || name.eq_ignore_ascii_case("localhost")
            || name.to_ascii_lowercase().ends_with(".localhost")
            || ["http", "https"]
                .iter()
                .any(|scheme| self.allows(&format!("{scheme}://{authority}")))
    }
}

/// Whether an origin is the site of a host, whichever of the two says what goes without
/// saying. Not the scheme: there may be a proxy that speaks TLS.
fn is_site(origin: &str, host: &str) -> bool {
    let Some((scheme, site)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let bare = |host: &str| {
        host.strip_suffix(default)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    bare(site) == bare(host)
}

/// Stands before everything else.
pub async fn check(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let guard = &shared.guard;
    let headers = request.headers();
    let page = request.uri().path() == "/";
    let socket_io = request.uri().path().starts_with("/socket.io");
    let origin = headers.get(header::ORIGIN).cloned();
    let mut response = if !guard.allows_host(headers) || !page && !guard.allows_origin(headers) {
        shared.viewers.refuse(Refusal::Origin);
        short(
            StatusCode::FORBIDDEN,
            "This page is of another site. The server's property allowed-origins can let it in.",
        )
    } else if *request.method() == Method::OPTIONS {
        preflight()
    } else if !page && !socket_io && !guard.accepts_request(headers, request.uri()) {
        shared.viewers.refuse(Refusal::Token);
        let bearer = [(header::WWW_AUTHENTICATE, "Bearer")];
        let text = "This needs the token: Authorization: Bearer TOKEN, or ?token=TOKEN.";
        (bearer, short(StatusCode::UNAUTHORIZED, text)).into_response()
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
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    if let Some(origin) = origin.filter(|_| response.status() != StatusCode::FORBIDDEN) {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    }
    response
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

    fn guard(token: &str, origins: &str, local: bool) -> Guard {
        let config = Config {
            token: token.into(),
            allowed_origins: origins.into(),
            ..Config::default()
        };
        Guard::new(&config, local)
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn tokens() {
        let guard = guard("s3 cret", "", true);
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
            let sent = [(header::AUTHORIZATION, value)];
            let headers = headers(if value.is_empty() { &[] } else { &sent });
            assert_eq!(
                guard.accepts_request(&headers, &uri(path)),
                good,
                "{value} {path}"
            );
        }
        assert!(guard.accepts(Some("s3 cret")) && !guard.accepts(None));
    }

    #[test]
    fn sites() {
        let ours = "camera:8080";
        for (origin, origins, good) in [
            ("http://camera:8080", "", true),
            ("HTTP://camera:8080", "", false),
            ("https://camera:8080", "", true),
            ("http://CAMERA:8080", "", true),
            ("http://camera", "", false),
            ("http://camera:8081", "", false),
            ("http://camera:8080.evil.example", "", false),
            ("http://evil.example", "", false),
            ("null", "", false),
            ("file://", "", false),
            ("http://evil.example", "*", true),
            ("null", "null", true),
            (
                "https://a.example",
                "http://b.example, https://a.example/",
                true,
            ),
            (
                "https://c.example",
                "http://b.example, https://a.example/",
                false,
            ),
        ] {
            let headers = headers(&[(header::HOST, ours), (header::ORIGIN, origin)]);
            let guard = guard("", origins, false);
            assert_eq!(guard.allows_origin(&headers), good, "{origin} {origins}");
        }
        assert!(is_site("http://camera", "camera:80"));
        assert!(is_site("https://camera:443", "camera"));
        assert!(!is_site("https://camera", "camera:80"));
    }

    #[test]
    fn names_of_this_machine() {
        for (host, token, origins, local, good) in [
            ("127.0.0.1:8080", "", "", true, true),
            ("localhost", "", "", true, true),
            ("camera.localhost:1", "", "", true, true),
            ("[::1]:8080", "", "", true, true),
            ("evil.example:8080", "", "", true, false),
            ("evil.example:8080", "token", "", true, true),
            ("evil.example:8080", "", "", false, true),
            ("cam.example", "", "https://cam.example", true, true),
            ("a b", "", "", true, false),
        ] {
            let headers = headers(&[(header::HOST, host)]);
            assert_eq!(
                guard(token, origins, local).allows_host(&headers),
                good,
                "{host}"
            );
        }
    }
}
