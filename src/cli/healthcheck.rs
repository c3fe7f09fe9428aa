//! `forebay healthcheck`: is the forebay with this environment well? For containers, which have no curl.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme, StreamOwned};

use super::check::refuse;
use crate::config::{Listen, Settings};

/// A forebay that needs longer than this to say that it is well is not.
const PATIENCE: Duration = Duration::from_secs(5);

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
    let stream = connect((listen.host.as_str(), listen.port).to_socket_addrs()?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    if is_tls { exchange(tls(stream)?, path) } else { exchange(stream, path) }
}

/// Connects to the first address that answers. A name may have several (`localhost`), and the listener has the first one
/// that it could bind.
fn connect(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        result = TcpStream::connect_timeout(&reachable(address), PATIENCE);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn exchange(mut stream: impl Read + Write, path: &str) -> io::Result<()> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
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

/// "All addresses" is where to listen, not where to connect.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn every_address_of_a_name_is_tried() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        // Nobody listens there, and nobody will while the socket is bound.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let closed = socket.local_addr().unwrap().as_socket().unwrap();
        let open = open.local_addr().unwrap();
        assert_eq!(connect([closed, open].into_iter()).unwrap().peer_addr().unwrap(), open);
        assert!(connect([closed].into_iter()).is_err());
        assert!(connect(std::iter::empty()).is_err());
    }
}
