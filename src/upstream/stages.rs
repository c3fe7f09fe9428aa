//! What a connect goes through, for those who want to watch one: `forebay probe`.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, Error, ProtocolVersion, RootCertStore, SignatureScheme,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;

/// What a connect has come to.
#[derive(Clone, Debug)]
pub enum Stage {
    /// A TCP connection stands to this address: the upstream's, or the outbound proxy's.
    Tcp(SocketAddr),
    /// The outbound proxy has connected to the upstream.
    Tunnel,
    /// The upstream shows this certificate. It is not verified yet.
    Certificate(CertificateDer<'static>),
    /// The certificate is good, and TLS stands.
    Tls {
        /// TLS 1.2 or 1.3.
        version: Option<ProtocolVersion>,
        /// What encrypts.
        cipher: Option<CipherSuite>,
        /// What ALPN agreed on; none where the upstream knows nothing of ALPN.
        alpn: Option<Vec<u8>>,
    },
}

/// Who watches the connects of a pool; by default nobody. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Stages(Option<UnboundedSender<(Instant, Stage)>>);

impl Stages {
    /// Each stage of each connect, and when it was reached.
    pub fn watch() -> (Self, UnboundedReceiver<(Instant, Stage)>) {
        let (sender, receiver) = unbounded_channel();
        (Self(Some(sender)), receiver)
    }

    /// Tells of a stage, which is made only if somebody watches.
    pub(super) fn reached(&self, stage: impl FnOnce() -> Option<Stage>) {
        if let Some(sender) = &self.0
            && let Some(stage) = stage()
        {
            // Who watched may have left.
            let _ = sender.send((Instant::now(), stage));
        }
    }

    /// Where somebody watches, tells of the certificate, and then verifies it as `tls` would have done. What is wrong with
    /// a certificate is easier to see beside it, and a handshake that failed leaves none behind.
    pub(super) fn watch_certificates(&self, tls: &mut ClientConfig, roots: Arc<RootCertStore>) {
        if self.0.is_none() {
            return;
        }
        let provider = Arc::clone(tls.crypto_provider());
        // Without a single root there is nothing that could verify, nor anything to be seen.
        if let Ok(verifier) = WebPkiServerVerifier::builder_with_provider(roots, provider).build() {
            tls.dangerous().set_certificate_verifier(Arc::new(Watched { verifier, stages: self.clone() }));
        }
    }
}

/// The verifier of every connection, watched. It decides nothing.
#[derive(Debug)]
struct Watched {
    verifier: Arc<WebPkiServerVerifier>,
    stages: Stages,
}

impl ServerCertVerifier for Watched {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.stages.reached(|| Some(Stage::Certificate(certificate.clone().into_owned())));
        self.verifier.verify_server_cert(certificate, intermediates, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}
