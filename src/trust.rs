//! Whom TLS trusts: the roots of the system, and Mozilla's where it has none.

use rustls::RootCertStore;

/// The system's roots (`SSL_CERT_FILE` is honoured); Mozilla's where there are none. What cannot be read is a warning.
pub fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "a trusted root of the system cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}
