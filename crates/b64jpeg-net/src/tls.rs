// SPDX-License-Identifier: MPL-2.0

//! What TLS needs to know: whom to trust, and who we are.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::ParsedCertificate,
};
use x509_parser::time::ASN1Time;

/// For a client that trusts what this machine does, and the certificates in a file (PEM)
/// as well, unless its name is empty.
///
/// # Errors
///
/// A sentence that says what is wrong with the file.
pub fn client(ca_file: &str) -> Result<Arc<ClientConfig>, String> {
    let named = match ca_file {
        "" => Vec::new(),
        file => certificates(file)?,
    };
    let mut roots = RootCertStore::empty();
    // Those of the system that are no good are nothing that a user could mend.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for certificate in &named {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("{ca_file} has a certificate that cannot be used: {error}"))?;
    }
    let ring = Arc::new(ring::default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(roots.into(), ring.clone())
        .build()
        .map_err(|_| "there are no certificates to trust on this machine; name some")?;
    let mut config = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { authorities, named }))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// Whether a certificate is signed by one that signs nothing but itself.
pub fn is_self_signed(error: &CertificateError) -> bool {
    // webpki's name for it: such a certificate may be an authority's, and so no server's.
    matches!(error, CertificateError::Other(error) if error.to_string().contains("CaUsedAsEndEntity"))
}

/// Takes what the authorities vouch for, and a certificate that has signed itself, if it
/// was named: `openssl req -x509` makes such.
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
            // All else about it, such as its time, is looked at before that.
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

/// For a server that has a certificate, with those that lead from it to one that is known,
/// and its private key, each in a file (PEM). Adds to `warnings` what is doubtful.
///
/// # Errors
///
/// A sentence that says what is wrong with which file.
pub fn server(
    certificate: &str,
    key: &str,
    warnings: &mut Vec<String>,
) -> Result<Arc<ServerConfig>, String> {
    if certificate.is_empty() || key.is_empty() {
        return Err("TLS needs both `tls-certificate` and `tls-key`".into());
    }
    let chain = certificates(certificate)?;
    if let Some(end) = chain.first().and_then(|first| not_after(first))
        && end < ASN1Time::now()
    {
        warnings.push(format!(
            "The certificate in {certificate} has expired on {}: browsers will warn, and other \
             programs refuse it",
            day(end)
        ));
    }
    let private = PrivateKeyDer::from_pem_file(Path::new(key))
        .map_err(|error| format!("cannot read a private key, unencrypted, from {key}: {error}"))?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(|error| {
            format!(
                "the certificate in {certificate} cannot be used with the key in {key}: {error}"
            )
        })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The certificates in a PEM file, at least one.
fn certificates(file: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates = CertificateDer::pem_file_iter(Path::new(file))
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| format!("cannot read certificates from {file}: {error}"))?;
    if certificates.is_empty() {
        return Err(format!("{file} has no certificate in it (PEM)"));
    }
    Ok(certificates)
}

/// The last second in which a certificate is valid, unless it cannot be parsed: then the TLS
/// library says what is wrong with it.
fn not_after(certificate: &[u8]) -> Option<ASN1Time> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    Some(certificate.validity().not_after)
}

/// YYYY-MM-DD.
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
