// SPDX-License-Identifier: MPL-2.0

//! What TLS needs to know: whom to trust.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};

/// For a client that trusts what this machine does, and the certificates in a file (PEM)
/// as well, unless its name is empty.
///
/// # Errors
///
/// A sentence that says what is wrong with the file.
pub fn client(ca_file: &str) -> Result<Arc<ClientConfig>, String> {
    let mut roots = RootCertStore::empty();
    // Those of the system that are no good are nothing that a user could mend.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !ca_file.is_empty() {
        for certificate in certificates(ca_file)? {
            roots.add(certificate).map_err(|error| {
                format!("{ca_file} has a certificate that cannot be used: {error}")
            })?;
        }
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
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
