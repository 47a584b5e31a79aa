// SPDX-License-Identifier: MPL-2.0

//! TLS configurations: the certificates that a client trusts, and those of a server.

use std::{error, fmt, path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer, ServerName, UnixTime,
        pem::{self, PemObject},
    },
    server::ParsedCertificate,
};
use x509_parser::time::ASN1Time;

/// Why there is no TLS configuration.
#[derive(Debug)]
pub enum TlsError {
    /// A file cannot be read, or is not in PEM format.
    ReadCertificates { file: String, error: pem::Error },
    /// A PEM file contains no certificate.
    NoCertificate { file: String },
    /// A certificate to trust cannot be used.
    UnusableCertificate { file: String, error: Error },
    /// There is no certificate to trust: neither on this machine nor in a file.
    NoTrustAnchors,
    /// A file cannot be read, or contains no unencrypted private key in PEM format.
    ReadKey { file: String, error: pem::Error },
    /// The certificate of a server cannot be used with the private key.
    UnusablePair {
        certificate: String,
        key: String,
        error: Error,
    },
    /// The TLS library does not accept its own defaults.
    Defaults(Error),
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadCertificates { file, error } => {
                write!(f, "cannot read certificates from {file}: {error}")
            }
            Self::NoCertificate { file } => {
                write!(f, "the file {file} has no certificate in it (PEM)")
            }
            Self::UnusableCertificate { file, error } => {
                write!(
                    f,
                    "the file {file} contains a certificate that cannot be used: {error}"
                )
            }
            Self::NoTrustAnchors => f.write_str("this machine trusts no certificates"),
            Self::ReadKey { file, error } => {
                write!(
                    f,
                    "cannot read an unencrypted private key from {file}: {error}"
                )
            }
            Self::UnusablePair {
                certificate,
                key,
                error,
            } => write!(
                f,
                "the certificate in {certificate} cannot be used with the key in {key}: {error}"
            ),
            Self::Defaults(error) => error.fmt(f),
        }
    }
}

impl error::Error for TlsError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::ReadCertificates { error, .. } | Self::ReadKey { error, .. } => Some(error),
            Self::UnusableCertificate { error, .. }
            | Self::UnusablePair { error, .. }
            | Self::Defaults(error) => Some(error),
            Self::NoCertificate { .. } | Self::NoTrustAnchors => None,
        }
    }
}

/// The configuration of a client that trusts the certificates that this machine does and those
/// in the PEM file `ca_file`, unless its name is empty.
///
/// # Errors
///
/// If the file cannot be used, or there is no certificate to trust.
pub fn client_config(ca_file: &str) -> Result<Arc<ClientConfig>, TlsError> {
    let named = match ca_file {
        "" => Vec::new(),
        file => certificates(file)?,
    };
    let mut roots = RootCertStore::empty();
    // A user cannot repair bad certificates of the system, so they are ignored.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in &named {
        roots
            .add(certificate.clone())
            .map_err(|error| TlsError::UnusableCertificate {
                file: ca_file.into(),
                error,
            })?;
    }
    let ring = Arc::new(ring::default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), ring.clone())
        .build()
        .map_err(|_| TlsError::NoTrustAnchors)?;
    let mut config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Defaults)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { authorities, named }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether a certificate was rejected because it is self-signed.
pub fn is_self_signed(error: &CertificateError) -> bool {
    // webpki takes a self-signed certificate for that of an authority, which no server may use.
    matches!(error, CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity"))
}

/// Accepts certificates that a trusted authority has signed, and self-signed certificates
/// that were named, such as `openssl req -x509` makes.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    named: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = (self.authorities).verify_server_cert(certificate, others, name, ocsp, now);
        match verdict {
            // The other checks, such as that of its time, come before this error.
            Err(Error::InvalidCertificate(error))
                if is_self_signed(&error) && self.named.contains(certificate) =>
            {
                verify_server_name(&ParsedCertificate::try_from(certificate)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.authorities).verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.authorities).verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// The configuration of a server.
#[derive(Debug)]
pub struct ServerTls {
    /// For the TLS library.
    pub config: Arc<ServerConfig>,
    /// The last day of the certificate, `YYYY-MM-DD`, if it has expired. Clients reject it then.
    pub expired: Option<String>,
}

/// The configuration of a server with the certificate chain in one PEM file and its private
/// key in another.
///
/// # Errors
///
/// If one of the files cannot be used, or they do not belong together.
pub fn server_config(certificate: &str, key: &str) -> Result<ServerTls, TlsError> {
    let chain = certificates(certificate)?;
    let expired = chain
        .first()
        .and_then(|first| not_after(first))
        .filter(|end| *end < ASN1Time::now())
        .map(day);
    let private =
        PrivateKeyDer::from_pem_file(Path::new(key)).map_err(|error| TlsError::ReadKey {
            file: key.into(),
            error,
        })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Defaults)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| TlsError::UnusablePair {
            certificate: certificate.into(),
            key: key.into(),
            error,
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(ServerTls {
        config: Arc::new(config),
        expired,
    })
}

/// The certificates in a PEM file, at least one.
fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(Path::new(file))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| TlsError::ReadCertificates {
            file: file.into(),
            error,
        })?;
    if certificates.is_empty() {
        return Err(TlsError::NoCertificate { file: file.into() });
    }
    Ok(certificates)
}

/// The last second in which a certificate is valid. `None` if it cannot be parsed: the TLS
/// library reports what is wrong with it.
fn not_after(certificate: &[u8]) -> Option<ASN1Time> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after)
}

/// `YYYY-MM-DD`.
fn day(time: ASN1Time) -> String {
    let time = time.to_datetime();
    format!(
        "{}-{:02}-{:02}",
        time.year(),
        u8::from(time.month()),
        time.day()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_after_any_century_is_last_valid_day() {
        for (year, last) in [
            (1999, "1999-07-04"),
            (2049, "2049-07-04"),
            (2050, "2050-07-04"),
        ] {
            let mut params = rcgen::CertificateParams::new(["localhost".into()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 7, 4);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let end = not_after(certificate.der()).unwrap();
            assert_eq!(day(end), last);
            assert_eq!(end < ASN1Time::now(), year == 1999);
            for cut in 0..certificate.der().len() {
                assert_eq!(not_after(&certificate.der()[..cut]), None);
            }
        }
    }
}
