// SPDX-License-Identifier: MPL-2.0

//! Pages of which sites may use the server, and by which names it answers.
//!
//! Browsers let any page of any site open a websocket to any server, and tell that server
//! where the page is from (`Origin`). So it is the server that has to look.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
    uri::Authority,
};

use super::Config;

/// What is known of our own site, and of those that are allowed.
pub struct Sites {
    /// Sites besides our own.
    origins: Vec<String>,
    /// Whether a token keeps out those who come by a false name.
    token: bool,
    /// Whether we are there for this machine alone.
    local: bool,
    /// What this machine calls itself, in lower case.
    names: [String; 2],
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
    /// None but this site, and those that are allowed. Whoever knows the token, if there is
    /// one, may show pictures wherever they like.
    fn new(origins: &[String], token: bool) -> Self {
        if origins.is_empty() {
            return Self {
                resources: if token { "cross-origin" } else { "same-site" },
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

impl Sites {
    pub fn new(config: &Config, local: bool) -> Self {
        let origins = config.allowed_origins.split(',').map(str::trim);
        let origins: Vec<_> = origins
            .filter(|origin| !origin.is_empty())
            .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
            .collect();
        let own = glib::host_name();
        let token = !config.token.is_empty();
        Self {
            embedding: Embedding::new(&origins, token),
            token,
            origins,
            local,
            names: [&*config.host, &*own].map(str::to_ascii_lowercase),
        }
    }

    /// Adds to the headers of an answer which sites may embed it, besides what else its policy
    /// says.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static(self.embedding.resources),
        );
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
    pub fn allows_origin(&self, headers: &HeaderMap) -> bool {
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
    /// one that only this machine or its local network defines.
    pub fn allows_host(&self, headers: &HeaderMap) -> bool {
        if self.token {
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
pub fn is_cross_site(headers: &HeaderMap) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(token: &str, origins: &str, local: bool) -> Sites {
        let config = Config {
            token: token.into(),
            allowed_origins: origins.into(),
            ..Config::default()
        };
        Sites::new(&config, local)
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn origins() {
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
            let sites = sites("", origins, false);
            assert_eq!(sites.allows_origin(&headers), good, "{origin} {origins}");
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
                sites(token, origins, local).allows_host(&headers),
                good,
                "{host}, on this machine alone: {local}"
            );
        }
    }

    #[test]
    fn frames_are_for_allowed_sites() {
        for (token, origins, frames, resources) in [
            ("", "", "frame-ancestors 'none'", "same-site"),
            ("geheim", "", "frame-ancestors 'none'", "cross-origin"),
            ("", "*", "frame-ancestors 'self' *", "cross-origin"),
            (
                "",
                "https://a.example, http://b.example:8123/",
                "frame-ancestors 'self' https://a.example http://b.example:8123",
                "cross-origin",
            ),
            ("", "null", "frame-ancestors 'self'", "cross-origin"),
            (
                "",
                "https://a.example; script-src *",
                "frame-ancestors 'self'",
                "cross-origin",
            ),
        ] {
            let embedding = sites(token, origins, false).embedding;
            assert_eq!(embedding.frames, frames, "{origins}");
            assert_eq!(embedding.resources, resources, "{origins}");
        }
    }
}
