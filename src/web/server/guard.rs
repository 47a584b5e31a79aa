// SPDX-License-Identifier: MPL-2.0

//! Who may ask for what: a token, and pages of which sites.
//!
//! Browsers let any page of any site open a websocket to any server, and tell that server
//! where the page is from (`Origin`). So it is the server that has to look.

use std::{borrow::Cow, net::IpAddr, sync::Arc, time::Duration};

use axum::{
    extract::{Extension, Query, Request, State},
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
use tokio::time::Instant;

use super::{Config, Shared, brake::Brake, line::Line, routes::short, viewers::Refusal};

/// Nobody takes longer to tell us something.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who is let in.
pub struct Guard {
    /// Empty if none is needed.
    token: String,
    /// Holds up those who guess it.
    brake: Brake,
    /// Sites besides our own.
    origins: Vec<String>,
    /// Whether we are there for this machine alone.
    local: bool,
    /// What this machine calls itself, in lower case.
    names: [String; 2],
    /// Which sites may show what is here in their pages: values of two headers.
    embedding: Embedding,
}

/// Values of the headers that tell browsers which sites may embed what is here.
struct Embedding {
    /// `Cross-Origin-Resource-Policy`.
    resources: &'static str,
    /// The directive `frame-ancestors` of `Content-Security-Policy`.
    frames: String,
}

impl Embedding {
    /// None but this site, and those that are allowed.
    fn new(origins: &[String]) -> Self {
        if origins.is_empty() {
            return Self {
                resources: "same-site",
                frames: "frame-ancestors 'none'".into(),
            };
        }
        let mut frames = String::from("frame-ancestors 'self'");
        // What is no source in the sense of the directive would end it, or begin another.
        let is_source = |origin: &&String| {
            *origin == "*"
                || origin.contains("://")
                    && origin
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b','))
        };
        for origin in origins.iter().filter(is_source) {
            frames.push(' ');
            frames.push_str(origin);
        }
        Self {
            resources: "cross-origin",
            frames,
        }
    }
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
        let origins = config.allowed_origins.split(',').map(str::trim);
        let origins: Vec<_> = origins
            .filter(|origin| !origin.is_empty())
            .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
            .collect();
        let own = glib::host_name();
        Self {
            token: config.token.clone(),
            brake: Brake::default(),
            embedding: Embedding::new(&origins),
            origins,
            local,
            names: [&*config.host, &*own].map(str::to_ascii_lowercase),
        }
    }

    /// Whether the token that somebody at an address has is the one. How long that takes does
    /// not tell how much of it is right, and those who are wrong too often have to wait.
    pub fn check(&self, token: Option<&str>, from: IpAddr) -> Result<(), Denied> {
        if self.token.is_empty() {
            return Ok(());
        }
        // Whoever has none does not guess.
        let token = token.unwrap_or_default();
        if token.is_empty() {
            return Err(Denied::Token);
        }
        let now = Instant::now();
        if self.brake.holds(from, now) {
            return Err(Denied::Brake);
        }
        if bool::from(self.token.as_bytes().ct_eq(token.as_bytes())) {
            return Ok(());
        }
        self.brake.count_wrong(from, now);
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
        self.check(token.as_deref(), from)
    }

    /// Why a request is not answered, and what is said instead; nothing if it is.
    fn objection(&self, request: &Request, line: &Line) -> Option<(Refusal, Response)> {
        let headers = request.headers();
        let page = request.uri().path() == "/";
        let socket_io = request.uri().path().starts_with("/socket.io");
        if !self.allows_host(headers) {
            let text = "The name in this address is not one that belongs to this server alone. \
                        Use its IP address, or have the server's property allowed-origins name \
                        it, or its property token keep others out.";
            return Some((Refusal::Origin, short(StatusCode::FORBIDDEN, text)));
        }
        let foreign = !page && !self.allows_origin(headers) || socket_io && is_cross_site(headers);
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

    /// Adds which sites may frame a page to what else its policy says.
    fn add_frame_ancestors(&self, headers: &mut HeaderMap) {
        let name = header::CONTENT_SECURITY_POLICY;
        let policy = headers.get(&name).and_then(|policy| policy.to_str().ok());
        let frames = &self.embedding.frames;
        let policy = match policy {
            Some(policy) => format!("{policy}; {frames}"),
            None => frames.clone(),
        };
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(name, policy);
        }
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

    /// Whether a request is for this server by a name that a foreign page cannot have made up.
    ///
    /// A page of `evil.example` may have that name lead to our address once it is loaded (DNS
    /// rebinding). To the browser we are then that page's own site, and there is no foreign
    /// `Origin`. A token keeps such a page out; where there is none the name itself has to be
    /// one that nobody elsewhere can give out.
    fn allows_host(&self, headers: &HeaderMap) -> bool {
        if !self.token.is_empty() {
            return true;
        }
        let Some(host) = headers.get(header::HOST) else {
            return true;
        };
        let Some(authority) = host.to_str().ok().and_then(|host| host.parse().ok()) else {
            return false;
        };
        let authority: Authority = authority;
        let name = authority.host().to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let name = name.trim_end_matches('.');
        address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || !self.local && (is_private_name(name) || self.names.iter().any(|own| own == name))
            || ["http", "https"]
                .iter()
                .any(|scheme| self.allows(&format!("{scheme}://{authority}")))
    }
}

/// Whether a name means something in a local network only: one without a dot, and those under
/// the domains that nobody can register (RFC 6762, RFC 8375, and what routers hand out).
fn is_private_name(name: &str) -> bool {
    !name.contains('.')
        || [".local", ".home.arpa", ".internal", ".lan"]
            .iter()
            .any(|domain| name.ends_with(domain))
}

/// Whether a page of another site asks, by the word of the browser, where it does not tell
/// which: it sends no `Origin` with what a page embeds.
fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site == "cross-site") && !headers.contains_key(header::ORIGIN)
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
pub async fn check(
    State(shared): State<Arc<Shared>>,
    Extension(line): Extension<Arc<Line>>,
    request: Request,
    next: Next,
) -> Response {
    let websocket = request.headers().contains_key(header::UPGRADE);
    let origin = request.headers().get(header::ORIGIN).cloned();
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
    let guard = &shared.guard;
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CACHE_CONTROL, "no-store");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        guard.embedding.resources,
    );
    if websocket && status != StatusCode::SWITCHING_PROTOCOLS {
        // What follows on this connection is counted as frames, so there must be nothing.
        set(header::CONNECTION, "close");
    }
    guard.add_frame_ancestors(headers);
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
            let from = [192, 0, 2, 1].into();
            let checked = guard.check_request(&headers, &uri(path), from);
            assert_eq!(checked.is_ok(), good, "{value} {path}");
        }
        let from = [192, 0, 2, 1].into();
        assert_eq!(guard.check(Some("s3 cret"), from), Ok(()));
        assert_eq!(guard.check(None, from), Err(Denied::Token));
    }

    #[test]
    fn wrong_tokens_of_one_address_hold_up_no_other() {
        let guard = guard("geheim", "", false);
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let guess = |number: i32| guard.check(Some(&number.to_string()), one);
        let denied: Vec<_> = (0..100).map(guess).collect();
        assert_eq!(denied[0], Err(Denied::Token));
        assert_eq!(denied[99], Err(Denied::Brake));
        assert_eq!(guard.check(Some("geheim"), one), Err(Denied::Brake));
        assert_eq!(guard.check(Some("geheim"), other), Ok(()));
        // Whoever brings none is asked for one.
        assert_eq!(guard.check(None, one), Err(Denied::Token));
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
            ("evil.example:8080", "", "", false, false),
            ("evil.example.:8080", "", "", false, false),
            ("localhost.evil.example", "", "", false, false),
            ("192.168.1.7.evil.example", "", "", false, false),
            ("local", "", "", true, false),
            ("camera", "", "", true, false),
            ("camera:8080", "", "", false, true),
            ("camera.local:8080", "", "", false, true),
            ("Camera.LOCAL.", "", "", false, true),
            ("camera.home.arpa", "", "", false, true),
            ("192.168.1.7:8080", "", "", false, true),
            ("[2001:db8::1]:8080", "", "", false, true),
            ("evil.example", "", "https://evil.example", false, true),
            ("evil.example", "", "*", false, true),
            ("cam.example", "", "https://cam.example", true, true),
            ("a b", "", "", true, false),
        ] {
            let headers = headers(&[(header::HOST, host)]);
            assert_eq!(
                guard(token, origins, local).allows_host(&headers),
                good,
                "{host}, on this machine alone: {local}"
            );
        }
    }

    #[test]
    fn frames_are_for_allowed_sites() {
        for (origins, frames, resources) in [
            ("", "frame-ancestors 'none'", "same-site"),
            ("*", "frame-ancestors 'self' *", "cross-origin"),
            (
                "https://a.example, http://b.example:8123/",
                "frame-ancestors 'self' https://a.example http://b.example:8123",
                "cross-origin",
            ),
            ("null", "frame-ancestors 'self'", "cross-origin"),
            (
                "https://a.example; script-src *",
                "frame-ancestors 'self'",
                "cross-origin",
            ),
        ] {
            let embedding = guard("", origins, false).embedding;
            assert_eq!(embedding.frames, frames, "{origins}");
            assert_eq!(embedding.resources, resources, "{origins}");
        }
    }
}
