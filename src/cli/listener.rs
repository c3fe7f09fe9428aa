//! Asks a listener of the forebay that runs with this environment: one request, one connection, no runtime.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use crate::config::Listen;
use crate::secret::Secret;
use crate::time::Human;

/// A forebay that needs longer than this for an answer is not well. It gives its store three seconds.
const PATIENCE: Duration = Duration::from_secs(5);
/// No answer is larger; what is, is somebody else's.
const LARGEST: usize = 64 << 20;

/// What a listener answered.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Sends a request, and reads the answer to its end.
pub(super) fn ask(listen: &Listen, method: &str, path: &str, token: Option<&Secret<String>>) -> io::Result<Answered> {
    let mut stream = connect(listen)?;
    let answered = send(&mut stream, method, path, token).and_then(|()| receive(&mut stream));
    answered.map_err(|error| match error.kind() {
        // This is how a system says that a read has timed out.
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer in {}", Human(PATIENCE)))
        }
        _ => error,
    })
}

fn receive(stream: &mut impl Read) -> io::Result<Answered> {
    let (mut answer, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let length = stream.read(&mut piece)?;
        answer.extend_from_slice(&piece[..length]);
        if let Some(whole) = whole(&answer) {
            return Ok(whole);
        }
        if length == 0 || answer.len() > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what answers is no forebay"));
        }
    }
}

/// Connects, with little patience. "All addresses" is where to listen; there it connects to this machine.
pub(super) fn connect(listen: &Listen) -> io::Result<TcpStream> {
    let stream = connect_to((listen.host.as_str(), listen.port).to_socket_addrs()?)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a request without a body, the last one of its connection.
pub(super) fn send(
    stream: &mut impl Write,
    method: &str,
    path: &str,
    token: Option<&Secret<String>>,
) -> io::Result<()> {
    let authorization = token.map(|token| format!("Authorization: Bearer {}\r\n", token.expose())).unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: close\r\n\r\n");
    stream.write_all(head.as_bytes())
}

/// Connects to the first address that answers. A name may have several (`localhost`), and the listener has the first one
/// that it could bind.
fn connect_to(addresses: impl Iterator<Item = SocketAddr>) -> io::Result<TcpStream> {
    let mut result = Err(io::ErrorKind::AddrNotAvailable.into());
    for address in addresses {
        result = TcpStream::connect_timeout(&reachable(address), PATIENCE);
        if result.is_ok() {
            break;
        }
    }
    result
}

/// An answer that is there to its end, as far as its head says. Our listeners say how long each of theirs is.
fn whole(answer: &[u8]) -> Option<Answered> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(answer.get(..end)?).ok()?;
    let body = answer.get(end + 4..)?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let mut fields = lines.filter_map(|line| line.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let is_whole = length.trim().parse() == Ok(body.len());
    is_whole.then(|| Answered { status, body: body.to_vec() })
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
        assert_eq!(connect_to([closed, open].into_iter()).unwrap().peer_addr().unwrap(), open);
        assert!(connect_to([closed].into_iter()).is_err());
        assert!(connect_to(std::iter::empty()).is_err());
    }

    #[test]
    fn a_request_carries_the_token_that_there_is() {
        let mut sent = Vec::new();
        send(&mut sent, "POST", "/jobs/x/retry", Some(&Secret::new("s3cret".to_owned()))).unwrap();
        let text = String::from_utf8(sent).unwrap();
        assert!(text.starts_with("POST /jobs/x/retry HTTP/1.1\r\nHost: localhost\r\n"), "{text}");
        assert!(text.contains("\r\nAuthorization: Bearer s3cret\r\n") && text.ends_with("\r\n\r\n"), "{text}");
        let mut sent = Vec::new();
        send(&mut sent, "GET", "/healthz", None).unwrap();
        assert!(!String::from_utf8(sent).unwrap().contains("Authorization"));
    }

    #[test]
    fn only_a_whole_answer_is_one() {
        let answered = |status, body: &str| Some(Answered { status, body: body.as_bytes().to_vec() });
        assert_eq!(whole(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), answered(200, "{}"));
        assert_eq!(whole(b"HTTP/1.1 503 Service Unavailable\r\nx: y\r\ncontent-length: 0\r\n\r\n"), answered(503, ""));
        for other in [
            "",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\n\r\n{}",
            "HTTP/1.1 2x OK\r\nContent-Length: 2\r\n\r\n{}",
            "SSH-2.0-OpenSSH_9.9\r\n\r\n",
        ] {
            assert_eq!(whole(other.as_bytes()), None, "{other}");
            assert_eq!(receive(&mut other.as_bytes()).unwrap_err().kind(), io::ErrorKind::InvalidData, "{other}");
        }
    }
}
