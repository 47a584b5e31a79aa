// SPDX-License-Identifier: MPL-2.0

//! Which sites' pages may use the server, and which host names it answers to.
//!
//! Browsers let a page of any site open a WebSocket to any server and only send where the page
//! is from (`Origin`). So the server has to check it.

use std::net::IpAddr;

use axum::http::{
    HeaderMap, HeaderValue,
    header::{self, HeaderName},
    uri::Authority,
};

use super::config::ServerConfig;

/// Which origins and host names a server accepts.
pub struct OriginPolicy {
    /// Allowed origins besides the server's own, in lower case.
    origins: Vec<String>,
    /// Whether viewers need a token.
    token: bool,
    /// Whether the server listens on loopback addresses only.
    local: bool,
    /// Names of this machine, in lower case.
    names: [String; 2],
    embedding: EmbeddingHeaders,
}

/// Values of the headers by which browsers decide which sites may embed a response.
struct EmbeddingHeaders {
    /// `Cross-Origin-Resource-Policy`.
    resource_policy: &'static str,
    /// The directive `frame-ancestors` of `Content-Security-Policy`.
    frame_ancestors: String,
}

impl EmbeddingHeaders {
    /// Lets the server's own site and the allowed origins embed responses. If there is a token,
    /// any site that knows it may embed pictures.
    fn new(origins: &[String], token: bool) -> Self {
        if origins.is_empty() {
            return Self {
                resource_policy: if token { "cross-origin" } else { "same-site" },
                frame_ancestors: "frame-ancestors 'none'".into(),
            };
        }
        let mut frame_ancestors = String::from("frame-ancestors 'self'");
        // Text that is not a source could end the directive or begin another one.
        let is_source = |origin: &&String| {
            *origin == "*"
                || origin.contains("://")
                    && origin
                        .bytes()
                        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b';' | b','))
        };
        for origin in origins.iter().filter(is_source) {
            frame_ancestors.push(' ');
            frame_ancestors.push_str(origin);
        }
        Self {
            resource_policy: "cross-origin",
            frame_ancestors,
        }
    }
}

impl OriginPolicy {
    /// The policy of a configuration; `local` if the server listens on loopback addresses only.
    pub fn new(config: &ServerConfig, local: bool) -> Self {
        let origins = config.allowed_origins.split(',').map(str::trim);
        let origins: Vec<_> = origins
            .filter(|origin| !origin.is_empty())
            .map(|origin| origin.trim_end_matches('/').to_ascii_lowercase())
            .collect();
        let machine = glib::host_name();
        let token = !config.token.is_empty();
        Self {
            embedding: EmbeddingHeaders::new(&origins, token),
            token,
            origins,
            local,
            names: [&*config.host, &*machine].map(str::to_ascii_lowercase),
        }
    }

    /// Adds the headers that say which sites may embed a response. Keeps its own
    /// `Content-Security-Policy`.
    pub fn add_headers(&self, headers: &mut HeaderMap) {
        headers.insert(
            HeaderName::from_static("cross-origin-resource-policy"),
            HeaderValue::from_static(self.embedding.resource_policy),
        );
        let name = header::CONTENT_SECURITY_POLICY;
        let policy = headers.get(&name).and_then(|policy| policy.to_str().ok());
        let frame_ancestors = &self.embedding.frame_ancestors;
        let policy = match policy {
            Some(policy) => format!("{policy}; {frame_ancestors}"),
            None => frame_ancestors.clone(),
        };
        if let Ok(policy) = HeaderValue::try_from(policy) {
            headers.insert(name, policy);
        }
    }

    fn lists(&self, origin: &str) -> bool {
        let matches = |allowed: &String| allowed == "*" || allowed.eq_ignore_ascii_case(origin);
        self.origins.iter().any(matches)
    }

    /// Whether a request comes from this server's own page, from an allowed origin, or from no
    /// page at all.
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
        self.lists(origin) || host.is_some_and(|host| is_site(origin, host))
    }

    /// Whether the host name in a request is one that a page of another site cannot control.
    ///
    /// Once it is loaded, a page of `evil.example` may change the address of that name to the
    /// address of this server (DNS rebinding). The browser then takes the server for that page's
    /// own site and sends no foreign `Origin`. A token protects against such a page. Without a
    /// token, only names that this machine or its local network defines are accepted.
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
            || !self.local
                && (is_private_name(name) || self.names.iter().any(|other| other == name))
            || ["http", "https"]
                .iter()
                .any(|scheme| self.lists(&format!("{scheme}://{authority}")))
    }
}

/// Whether a name can only be defined in a local network: it has no dot, or is under a domain
/// that cannot be registered (RFC 6762, RFC 8375, and domains that routers use).
fn is_private_name(name: &str) -> bool {
    !name.contains('.')
        || [".local", ".home.arpa", ".internal", ".lan"]
            .iter()
            .any(|domain| name.ends_with(domain))
}

/// Whether the browser says that a page of another site embeds the resource. Such requests have
/// no `Origin`.
pub fn is_cross_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site == "cross-site") && !headers.contains_key(header::ORIGIN)
}

/// Whether an origin is the site of a host, with or without the default port. The scheme is not
/// compared, because a proxy may add TLS.
fn is_site(origin: &str, host: &str) -> bool {
    let Some((scheme, site)) = origin.split_once("://") else {
        return false;
    };
    let default = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => return false,
    };
    let without_port = |host: &str| {
        host.strip_suffix(default)
            .unwrap_or(host)
            .to_ascii_lowercase()
    };
    without_port(site) == without_port(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(token: &str, origins: &str, local: bool) -> OriginPolicy {
        let config = ServerConfig {
            token: token.into(),
            allowed_origins: origins.into(),
            ..ServerConfig::default()
        };
        OriginPolicy::new(&config, local)
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        let pairs = pairs.iter().cloned();
        pairs
            .map(|(name, value)| (name, value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn origin_own_or_listed_is_allowed() {
        let own = "camera:8080";
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
            let headers = headers(&[(header::HOST, own), (header::ORIGIN, origin)]);
            let policy = policy("", origins, false);
            assert_eq!(policy.allows_origin(&headers), good, "{origin} {origins}");
        }
        assert!(is_site("http://camera", "camera:80"));
        assert!(is_site("https://camera:443", "camera"));
        assert!(!is_site("https://camera", "camera:80"));
    }

    #[test]
    fn host_that_another_site_may_define_is_not_allowed() {
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
                policy(token, origins, local).allows_host(&headers),
                good,
                "{host}, on loopback only: {local}"
            );
        }
    }

    #[test]
    fn embedding_is_allowed_for_listed_origins_only() {
        for (token, origins, frame_ancestors, resource_policy) in [
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
            let embedding = policy(token, origins, false).embedding;
            assert_eq!(embedding.frame_ancestors, frame_ancestors, "{origins}");
            assert_eq!(embedding.resource_policy, resource_policy, "{origins}");
        }
    }
}
