//! `forebay healthcheck`: is the forebay with this environment well? For containers, which have no curl.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::process::ExitCode;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::check::refuse;
use super::listener;
use crate::config::{Listen, Settings};

/// Asks the proxy listener, or the admin one where `HEALTH_PATH` is off or the proxy speaks TLS. 0 = well, 1 = not, 78 = bad environment.
pub fn run(vars: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    let settings = match Settings::from_env(vars) {
        Ok(settings) => settings,
        Err(problems) => return refuse(&problems),
    };
    let is_tls = settings.edge.tls.is_some();
    // A process that only executes jobs has no proxy listener.
    let health_path = settings.edge.health_path.as_ref().filter(|_| settings.queue.roles.front);
    let (listen, path, is_tls) = match (health_path, &settings.admin) {
        // The admin listener never speaks TLS.
        (None, Some(admin)) => (admin, "/healthz", false),
        (Some(_), Some(admin)) if is_tls => (admin, "/healthz", false),
        (Some(path), _) => (&settings.listen, path.as_str(), is_tls),
        (None, None) => {
            eprintln!("forebay: neither HEALTH_PATH on a proxy listener nor ADMIN_PORT is on: there is nothing to ask");
            return ExitCode::FAILURE;
        }
    };
    match ask(listen, path, is_tls) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("forebay: {}:{} is not well: {error}", listen.host, listen.port);
            ExitCode::FAILURE
        }
    }
}

fn ask(listen: &Listen, path: &str, is_tls: bool) -> io::Result<()> {
    let stream = listener::connect(listen)?;
    if is_tls { exchange(tls(stream)?, path) } else { exchange(stream, path) }
}

fn exchange(mut stream: impl Read + Write, path: &str) -> io::Result<()> {
    listener::send(&mut stream, "GET", path, None)?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer)?;
    if &answer == b"HTTP/1.1 200" {
        return Ok(());
    }
    Err(io::Error::other(format!("it answered {:?}", String::from_utf8_lossy(&answer))))
}

/// TLS with whoever listens here. Its certificate names some other host and may be anybody's: nothing secret is said, and
/// whether it is well is all that is asked.
fn tls(stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(StreamOwned::new(connection, stream))
}

/// Checks that the other side has the key of its certificate, and not whose it is.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
