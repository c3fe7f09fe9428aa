//! Certificates for `https://127.0.0.1` and `https://localhost`, and what servers and clients of the tests do with them.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority of the test's own.
pub struct Authority {
    pem: String,
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate for `127.0.0.1` and `localhost`, and its key.
pub struct Certificate {
    /// For `TLS_CERT_FILE`.
    pub pem: String,
    /// For `TLS_KEY_FILE`.
    pub key_pem: String,
    /// What a client sees of it.
    pub der: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Authority {
    /// A new authority, unlike any other.
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap();
        let (pem, root) = (root.pem(), root.der().clone());
        Self { pem, root, issuer: Issuer::new(params, key) }
    }

    /// Its root, for `UPSTREAM_CA_FILE`.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A new certificate.
    pub fn issue(&self) -> Certificate {
        self.issue_until(4000, 1, 1)
    }

    /// A new certificate that is valid until this day.
    pub fn issue_until(&self, year: i32, month: u8, day: u8) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Certificate {
            pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            der: certificate.der().clone(),
            key: PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        }
    }

    /// A server with a new certificate, which chooses by ALPN among these protocols.
    pub fn server_config(&self, protocols: &[&str]) -> Arc<ServerConfig> {
        let certificate = self.issue();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der], certificate.key)
            .unwrap();
        config.alpn_protocols = alpn(protocols);
        Arc::new(config)
    }

    /// A client that trusts this authority and nobody else, and offers these protocols.
    pub fn client_config(&self, protocols: &[&str]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = alpn(protocols);
        Arc::new(config)
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn alpn(protocols: &[&str]) -> Vec<Vec<u8>> {
    protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect()
}
