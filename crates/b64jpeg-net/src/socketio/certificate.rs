// SPDX-License-Identifier: MPL-2.0

//! Why the certificate of a server was rejected.

use std::fmt;

use rustls::CertificateError;

use crate::tls;

/// Why a certificate was rejected.
#[derive(Debug, Clone, PartialEq)]
pub enum CertificateProblem {
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is for other names.
    WrongName {
        /// The names it is for.
        presented: Vec<String>,
        /// The host of the URL.
        expected: String,
    },
    /// No authority that this machine trusts has signed it.
    UnknownIssuer,
    /// Anything else.
    Other(CertificateError),
}

impl From<CertificateError> for CertificateProblem {
    fn from(error: CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::NotValidForNameContext {
                expected,
                presented,
            } => Self::WrongName {
                presented: presented
                    .iter()
                    .map(|name| bare_name(name).into())
                    .collect(),
                expected: expected.to_str().into_owned(),
            },
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            error if tls::is_self_signed(&error) => Self::UnknownIssuer,
            error => Self::Other(error),
        }
    }
}

/// The name in a text such as `DnsName("relay")` or `IpAddress(127.0.0.1)`, the only form in
/// which the TLS library gives it.
fn bare_name(text: &str) -> &str {
    let parts = text.split(['"', '(', ')']);
    parts
        .rev()
        .find(|part| !part.is_empty())
        .unwrap_or_default()
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired => f.write_str("its certificate has expired"),
            Self::NotYetValid => f.write_str("its certificate is not valid yet"),
            Self::WrongName {
                presented,
                expected,
            } => write!(
                f,
                "its certificate is for {}, and not for {expected}",
                presented.join(", ")
            ),
            Self::UnknownIssuer => f.write_str(
                "its certificate is signed by an authority that this machine does not know",
            ),
            Self::Other(error) => write!(f, "its certificate cannot be trusted: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificate_problem_wrong_name_lists_bare_names() {
        let error = CertificateError::NotValidForNameContext {
            expected: "localhost".try_into().expect("a name"),
            presented: vec![r#"DnsName("relay")"#.into(), "IpAddress(::1)".into()],
        };
        let problem = CertificateProblem::from(error);
        assert_eq!(
            problem.to_string(),
            "its certificate is for relay, ::1, and not for localhost"
        );
    }

    #[test]
    fn certificate_problem_from_each_error_is_classified() {
        for (error, problem) in [
            (CertificateError::Expired, CertificateProblem::Expired),
            (
                CertificateError::NotValidYet,
                CertificateProblem::NotYetValid,
            ),
            (
                CertificateError::UnknownIssuer,
                CertificateProblem::UnknownIssuer,
            ),
            (
                CertificateError::BadEncoding,
                CertificateProblem::Other(CertificateError::BadEncoding),
            ),
        ] {
            assert_eq!(CertificateProblem::from(error), problem);
        }
    }
}
