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
        && end < now()
    {
        warnings.push(format!(
            "The certificate in {certificate} has expired on {}: browsers will warn, and other \
             programs refuse it",
            day(&end)
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

/// Now, as certificates say it: YYYYMMDDHHMMSSZ.
fn now() -> String {
    let now = glib::DateTime::now_utc().and_then(|now| now.format("%Y%m%d%H%M%SZ"));
    now.map(String::from).unwrap_or_default()
}

fn day(time: &str) -> String {
    match (time.get(..4), time.get(4..6), time.get(6..8)) {
        (Some(year), Some(month), Some(day)) => format!("{year}-{month}-{day}"),
        _ => time.into(),
    }
}

/// The last second in which a certificate is good (RFC 5280, section 4.1), if that can be
/// found in it.
fn not_after(certificate: &[u8]) -> Option<String> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    const UTC_TIME: u8 = 0x17;
    const GENERALIZED_TIME: u8 = 0x18;
    let (SEQUENCE, certificate, _) = der(certificate)? else {
        return None;
    };
    let (SEQUENCE, mut fields, _) = der(certificate)? else {
        return None;
    };
    if let (VERSION, _, rest) = der(fields)? {
        fields = rest;
    }
    // The serial number, the kind of signature, and who has signed.
    for _ in 0..3 {
        fields = der(fields)?.2;
    }
    let (SEQUENCE, validity, _) = der(fields)? else {
        return None;
    };
    let (_, _, rest) = der(validity)?;
    let (tag, time, _) = der(rest)?;
    let time = std::str::from_utf8(time).ok()?;
    match tag {
        GENERALIZED_TIME => Some(time.into()),
        // With two digits for the years from 1950 to 2049.
        UTC_TIME if time < "5" => Some(format!("20{time}")),
        UTC_TIME => Some(format!("19{time}")),
        _ => None,
    }
}

/// The tag and the contents of a value in DER, and what is behind it.
fn der(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, len], mut rest) = data.split_first_chunk()?;
    let len = if len < 0x80 {
        usize::from(len)
    } else {
        let (digits, tail) = rest.split_at_checked(usize::from(len & 0x7f))?;
        rest = tail;
        // More would be longer than any file.
        if digits.len() > 4 {
            return None;
        }
        digits
            .iter()
            .fold(0, |len, &digit| len << 8 | usize::from(digit))
    };
    let (contents, behind) = rest.split_at_checked(len)?;
    Some((tag, contents, behind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_a_certificate_is_good() {
        for (year, end) in [
            (1999, "19990704000000Z"),
            (2049, "20490704000000Z"),
            (2050, "20500704000000Z"),
        ] {
            let mut params = rcgen::CertificateParams::new(["localhost".into()]).unwrap();
            params.not_after = rcgen::date_time_ymd(year, 7, 4);
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            assert_eq!(not_after(certificate.der()).as_deref(), Some(end));
            for cut in 0..certificate.der().len() {
                assert_eq!(not_after(&certificate.der()[..cut]), None);
            }
        }
        assert!(*"2026" < *now() && now().len() == "20260704000000Z".len());
        assert_eq!(day("20260704000000Z"), "2026-07-04");
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(not_after(&[0x30, 0xff]), None);
    }
}
