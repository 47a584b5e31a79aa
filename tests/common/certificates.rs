// SPDX-License-Identifier: MPL-2.0

//! Certificates, and an authority that nobody knows.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair,
};

use super::pipeline::scratch;

/// Signs certificates, and keeps everything in PEM files.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// A certificate and its key.
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
        name.push(DnType::CommonName, "An authority for tests");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        let authority = Self { issuer, directory };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    /// The file that says whom to believe.
    pub fn file(&self) -> String {
        path(&self.directory.join("ca.pem"))
    }

    /// A certificate for a name or an address.
    pub fn certify(&self, name: &str) -> Certified {
        self.sign(&params(name))
    }

    /// One that has run out.
    pub fn certify_expired(&self, name: &str) -> Certified {
        self.sign(&expired(params(name)))
    }

    /// One that is its own authority, as `openssl req -x509` makes it.
    pub fn certify_itself(&self, name: &str) -> Certified {
        self.have_signed_itself(params(name))
    }

    /// One of these that has run out.
    pub fn certify_itself_expired(&self, name: &str) -> Certified {
        self.have_signed_itself(expired(params(name)))
    }

    fn sign(&self, params: &CertificateParams) -> Certified {
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        self.keep(&certificate, &key)
    }

    fn have_signed_itself(&self, mut params: CertificateParams) -> Certified {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        self.keep(&params.self_signed(&key).expect("it signs"), &key)
    }

    fn keep(&self, certificate: &Certificate, key: &KeyPair) -> Certified {
        static KEPT: AtomicU32 = AtomicU32::new(0);
        let n = KEPT.fetch_add(1, Ordering::Relaxed);
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
