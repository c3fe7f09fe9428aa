//! A certificate and its key: from PEM to what a listener can serve with. (p)

use std::fmt;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

/// Which of the two cannot be used, and why: the end of a sentence about the file. Never shows anything of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The certificate.
    Certificate(&'static str),
    /// The key.
    Key(&'static str),
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(why) => write!(f, "TLS_CERT_FILE {why}"),
            Self::Key(why) => write!(f, "TLS_KEY_FILE {why}"),
        }
    }
}

/// A chain, the listener's own certificate first.
pub fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, Unusable> {
    let chain = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| Unusable::Certificate("is not a PEM file that can be read to its end"))?;
    if chain.is_empty() { Err(Unusable::Certificate("contains no certificate in PEM form")) } else { Ok(chain) }
}

/// A private key without a passphrase.
pub fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, Unusable> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| match error {
        pem::Error::NoItemsFound => Unusable::Key("contains no private key in PEM form (without a passphrase)"),
        _ => Unusable::Key("is not a PEM file that can be read to its end"),
    })
}

/// The two together.
pub fn certified(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Result<CertifiedKey, Unusable> {
    CertifiedKey::from_der(chain, key, &ring::default_provider()).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            Unusable::Key("is not the key of the first certificate in TLS_CERT_FILE")
        }
        Error::InvalidCertificate(_) => Unusable::Certificate("contains a first certificate that cannot be read"),
        // The error's text may show the key's.
        _ => Unusable::Key("contains a key that cannot be used: RSA, ECDSA (P-256, P-384) and Ed25519 can"),
    })
}
