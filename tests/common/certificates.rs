// SPDX-License-Identifier: MPL-2.0

//! Certificates, and the private certificate authority that signs them.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};

use super::pipeline::scratch;

/// Certificate authority that signs certificates and keeps everything in PEM files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// PEM files of a certificate and its private key.
pub struct Certified {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(directory: &str) -> Self {
        let directory = scratch(directory);
        fs::create_dir_all(&directory).expect("a directory");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "Test certificate authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Self { issuer, directory };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    /// PEM file of the authority's own certificate, to be trusted by clients.
    pub fn file(&self) -> String {
        path(&self.directory.join("ca.pem"))
    }

    /// Certificate for a host name or an IP address.
    pub fn certify(&self, name: &str) -> Certified {
        self.sign(&params(name))
    }

    /// Expired certificate for a host name or an IP address.
    pub fn certify_expired(&self, name: &str) -> Certified {
        self.sign(&expired(params(name)))
    }

    /// Self-signed certificate, as `openssl req -x509` makes it.
    pub fn certify_self_signed(&self, name: &str) -> Certified {
        self.self_sign(params(name))
    }

    /// Expired self-signed certificate.
    pub fn certify_self_signed_expired(&self, name: &str) -> Certified {
        self.self_sign(expired(params(name)))
    }

    fn sign(&self, params: &CertificateParams) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        self.save(&certificate, &key)
    }

    fn self_sign(&self, mut params: CertificateParams) -> Certified {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        self.save(&params.self_signed(&key).expect("it signs"), &key)
    }

    fn save(&self, certificate: &Certificate, key: &KeyPair) -> Certified {
        static SAVED: AtomicU32 = AtomicU32::new(0);
        let n = SAVED.fetch_add(1, Ordering::Relaxed);
        Certified {
            certificate: self.write(&format!("certificate{n}.pem"), &certificate.pem()),
            key: self.write(&format!("key{n}.pem"), &key.serialize_pem()),
        }
    }

    fn write(&self, name: &str, text: &str) -> String {
        let file = self.directory.join(name);
        fs::write(&file, text).expect("a file");
        path(&file)
    }
}

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new([name.to_string()]).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn expired(mut params: CertificateParams) -> CertificateParams {
    params.not_after = rcgen::date_time_ymd(2020, 2, 29);
    params
}

fn path(file: &Path) -> String {
    file.to_str().expect("UTF-8").into()
}
