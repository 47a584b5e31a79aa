// SPDX-License-Identifier: MPL-2.0

//! TLS, and certificates that cannot be used.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    sync::Arc,
};

use gst::prelude::*;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, crypto::ring};

use super::{
    errors::{expect_recovery, expect_start_error},
    fixture::{HttpResponse, WebServerFixture, connect, request},
};
use crate::common::{numbered_pictures::number, pipeline::scratch, wait::wait_until};

/// A certificate for localhost and its key, in files of this test.
struct Certificate {
    certificate: PathBuf,
    key: PathBuf,
    roots: RootCertStore,
}

impl Certificate {
    fn new(test: &str, until: i32) -> Self {
        let mut params = rcgen::CertificateParams::new(["localhost".into()]).expect("a name");
        params.not_after = rcgen::date_time_ymd(until, 2, 28);
        let pair = rcgen::KeyPair::generate().expect("a key");
        let signed = params.self_signed(&pair).expect("a certificate");
        let [certificate, key] =
            ["certificate", "key"].map(|part| scratch(&format!("{test}-{part}.pem")));
        fs::write(&certificate, signed.pem()).expect("a file");
        fs::write(&key, pair.serialize_pem()).expect("a file");
        let mut roots = RootCertStore::empty();
        roots.add(signed.der().clone()).expect("a certificate");
        Self {
            certificate,
            key,
            roots,
        }
    }

    fn server(&self) -> WebServerFixture {
        let server = WebServerFixture::new("");
        server
            .sink
            .set_property("tls-certificate", self.certificate.to_str());
        server.sink.set_property("tls-key", self.key.to_str());
        server
    }

    /// Requests a path over TLS.
    fn get(&self, server: &WebServerFixture, path: &str) -> HttpResponse {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("protocol versions")
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        let name = "localhost".try_into().expect("a name");
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut stream = StreamOwned::new(client, connect(server.address()));
        let request = request("GET", path, &[]);
        stream.write_all(request.as_bytes()).expect("a TLS server");
        HttpResponse::read(stream, false)
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.certificate);
        let _ = fs::remove_file(&self.key);
    }
}

#[test]
fn server_with_certificate_speaks_only_tls() {
    let files = Certificate::new("secret", 2099);
    let server = files.server().play();
    let url = server.sink.property::<Option<String>>("url");
    assert_eq!(url, Some(format!("https://127.0.0.1:{}/", server.port())));
    server.show(7);
    assert_eq!(number(&files.get(&server, "/snapshot.jpg").body), 7);

    // Peers that speak plain HTTP, or send nothing, are refused.
    let mut silent = connect(server.address());
    let mut plain = connect(server.address());
    plain
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .expect("a listening server");
    for stream in [&mut plain, &mut silent] {
        let mut response = Vec::new();
        let _ = stream.read_to_end(&mut response);
        assert!(!response.starts_with(b"HTTP"));
    }
    wait_until("counted refusals", || server.refused("tls") == 2);
    assert_eq!(number(&files.get(&server, "/snapshot.jpg").body), 7);
    server.expect_no_messages();
}

#[test]
fn expired_certificate_is_used_with_warning() {
    let files = Certificate::new("expired", 2020);
    let server = files.server().play();
    server.show(0);
    let warnings = server.pipeline.messages();
    let file = files.certificate.to_str().expect("UTF-8");
    for part in [file, "2020-02-28", "expired"] {
        assert!(
            matches!(&warnings[..], [one] if one.contains(part)),
            "{warnings:?}"
        );
    }
}

#[test]
fn unusable_certificate_or_key_posts_error() {
    let files = Certificate::new("bad", 2099);
    let other = Certificate::new("other", 2099);
    let (certificate, key) = (
        files.certificate.to_str().expect("UTF-8"),
        files.key.to_str().expect("UTF-8"),
    );
    let other = other.key.to_str().expect("UTF-8");
    let text = scratch("no-certificate.pem");
    fs::write(&text, "no certificate\n").expect("a file");
    let text = text.to_str().expect("UTF-8");
    for (first, second, parts) in [
        (certificate, "", &["`tls-certificate`", "`tls-key`"][..]),
        ("", key, &["`tls-certificate`", "`tls-key`"]),
        ("missing.pem", key, &["missing.pem", "No such file"]),
        (certificate, "missing.pem", &["missing.pem", "No such file"]),
        (text, key, &[text, "certificate"]),
        (certificate, text, &[text, "key"]),
        (certificate, certificate, &[certificate, "key"]),
        (certificate, other, &[certificate, other]),
    ] {
        let server = WebServerFixture::new("");
        server.sink.set_property("tls-certificate", first);
        server.sink.set_property("tls-key", second);
        expect_start_error(&server, parts);
        server.sink.set_property("tls-certificate", "");
        expect_recovery(&server, "tls-key", "");
    }
    fs::remove_file(text).expect("our file");
}
