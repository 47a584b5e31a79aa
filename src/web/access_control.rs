// SPDX-License-Identifier: MPL-2.0

//! Decides whether a request or a viewer is let in: by its token, host name and origin.

use std::{borrow::Cow, error::Error, fmt, net::IpAddr};

use axum::{
    extract::{Query, Request},
    http::{HeaderMap, Method, Uri, header},
};
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::time::Instant;

use super::{
    config::ServerConfig,
    guess_limiter::TokenGuessLimiter,
    origin_policy::{OriginPolicy, is_cross_site},
    refusals::RefusalReason,
};

/// Decides whether a request or a viewer is let in.
pub struct AccessControl {
    /// The token that viewers must send; empty = none.
    token: String,
    guesses: TokenGuessLimiter,
    origins: OriginPolicy,
}

/// Why a request or a viewer is not let in. Shown to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessError {
    /// The host name in the request may be under the control of another site.
    HostName,
    /// A page of another site sends the request.
    Origin,
    /// The token is wrong or missing.
    Token,
    /// Too many wrong tokens came from this address. Even a right one is refused for now.
    TooManyGuesses,
}

impl AccessError {
    /// Under which reason it is counted.
    pub const fn reason(self) -> RefusalReason {
        match self {
            Self::HostName | Self::Origin => RefusalReason::Origin,
            Self::Token | Self::TooManyGuesses => RefusalReason::Token,
        }
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostName => {
                "This server does not answer to this host name, because any web site could point \
                 it here. Use the IP address, or list the name in the server's property \
                 allowed-origins, or set its property token."
            }
            Self::Origin => {
                "This page belongs to another site. The server's property allowed-origins can \
                 allow it."
            }
            Self::Token => {
                "The token is wrong or missing. Send it as Authorization: Bearer TOKEN, or as \
                 ?token=TOKEN."
            }
            Self::TooManyGuesses => {
                "Too many wrong tokens came from this address. Try again later."
            }
        })
    }
}

impl Error for AccessError {}

#[derive(Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

impl AccessControl {
    /// The access control of a configuration; `local` if the server listens on loopback
    /// addresses only.
    pub fn new(config: &ServerConfig, local: bool) -> Self {
        Self {
            token: config.token.clone(),
            guesses: TokenGuessLimiter::default(),
            origins: OriginPolicy::new(config, local),
        }
    }

    /// Which origins and host names are accepted.
    pub fn origins(&self) -> &OriginPolicy {
        &self.origins
    }

    /// Checks a token in constant time, and limits wrong ones per address. `cross_site` says
    /// that a page of another site sends it.
    ///
    /// # Errors
    ///
    /// [`AccessError::Token`] or [`AccessError::TooManyGuesses`].
    pub fn check_token(
        &self,
        token: Option<&str>,
        from: IpAddr,
        cross_site: bool,
    ) -> Result<(), AccessError> {
        if self.token.is_empty() {
            return Ok(());
        }
        // A missing token is no guess.
        let token = token.unwrap_or_default();
        if token.is_empty() {
            return Err(AccessError::Token);
        }
        let now = Instant::now();
        if self.guesses.is_blocked(from, cross_site, now) {
            return Err(AccessError::TooManyGuesses);
        }
        if bool::from(self.token.as_bytes().ct_eq(token.as_bytes())) {
            return Ok(());
        }
        self.guesses.count_wrong(from, cross_site, token, now);
        Err(AccessError::Token)
    }

    /// Checks the token in the `Authorization` header or the query of a request.
    ///
    /// # Errors
    ///
    /// As [`check_token`](Self::check_token).
    pub fn check_request_token(
        &self,
        headers: &HeaderMap,
        uri: &Uri,
        from: IpAddr,
    ) -> Result<(), AccessError> {
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
        self.check_token(token.as_deref(), from, is_cross_site(headers))
    }

    /// Checks the host name, the origin and, unless it comes later, the token of a request.
    ///
    /// # Errors
    ///
    /// Why the request must not be answered.
    pub fn check_request(&self, request: &Request, from: IpAddr) -> Result<(), AccessError> {
        let headers = request.headers();
        let is_page = request.uri().path() == "/";
        let is_socket_io = request.uri().path().starts_with("/socket.io");
        if !self.origins.allows_host(headers) {
            return Err(AccessError::HostName);
        }
        if !is_page && !self.origins.allows_origin(headers)
            || is_socket_io && is_cross_site(headers)
        {
            return Err(AccessError::Origin);
        }
        // Socket.IO sends its token later, in the packet that opens a namespace.
        if is_page || is_socket_io || *request.method() == Method::OPTIONS {
            return Ok(());
        }
        self.check_request_token(headers, request.uri(), from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access_control(token: &str) -> AccessControl {
        let config = ServerConfig {
            token: token.into(),
            ..ServerConfig::default()
        };
        AccessControl::new(&config, true)
    }

    #[test]
    fn token_in_header_or_query_is_checked() {
        let access = access_control("s3 cret");
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
            let checked = access.check_request_token(&headers, &uri(path), from);
            assert_eq!(checked.is_ok(), good, "{value} {path}");
        }
        let from = [192, 0, 2, 1].into();
        assert_eq!(access.check_token(Some("s3 cret"), from, false), Ok(()));
        assert_eq!(
            access.check_token(None, from, false),
            Err(AccessError::Token)
        );
    }

    #[test]
    fn wrong_tokens_of_one_address_block_only_that_address() {
        let access = access_control("geheim");
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let guess = |number: i32| access.check_token(Some(&number.to_string()), one, false);
        let errors: Vec<_> = (0..100).map(guess).collect();
        assert_eq!(errors[0], Err(AccessError::Token));
        assert_eq!(errors[99], Err(AccessError::TooManyGuesses));
        assert_eq!(
            access.check_token(Some("geheim"), one, false),
            Err(AccessError::TooManyGuesses)
        );
        assert_eq!(access.check_token(Some("geheim"), other, false), Ok(()));
        // A request without a token is not a guess.
        assert_eq!(
            access.check_token(None, one, false),
            Err(AccessError::Token)
        );
    }
}
