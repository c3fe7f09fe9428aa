//! What is said to a proxy before it passes bytes on: CONNECT (RFC 9110 §9.3.6), or SOCKS5 (RFC 1928, RFC 1929).
//!
//! hyper-util has both, and here they would not do: it drops what an upstream says first, and HTTP/2 servers may speak
//! first; it resolves names on the thread that serves everybody; and it takes no answer to CONNECT but 200. So not a byte
//! is read here that is not the proxy's own.

use std::io::{self, ErrorKind};
use std::net::IpAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::proxy::Credentials;

/// A proxy's answer to CONNECT may be this long.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Where the proxy is to connect to.
pub(super) struct Destination {
    pub(super) host: Host,
    pub(super) port: u16,
}

pub(super) enum Host {
    Address(IpAddr),
    /// For the proxy to resolve.
    Name(String),
}

/// Asks an HTTP proxy for a tunnel.
pub(super) async fn connect(
    stream: &mut TcpStream,
    destination: &Destination,
    credentials: Option<&Credentials>,
) -> io::Result<()> {
    let port = destination.port;
    let authority = match &destination.host {
        Host::Address(IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        Host::Address(IpAddr::V4(ip)) => format!("{ip}:{port}"),
        Host::Name(name) => format!("{name}:{port}"),
    };
    let authorization = credentials.map_or_else(String::new, |Credentials { user, password }| {
        format!("Proxy-Authorization: Basic {}\r\n", base64(format!("{user}:{password}").as_bytes()))
    });
    let request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{authorization}\r\n");
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(stream).await?;
    match status(&head) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(refused("it wants a user and a password, or others (407)")),
        Some(status) => Err(refused(&format!("it answered CONNECT with {status}"))),
        None => Err(refused("its answer to CONNECT is no HTTP response")),
    }
}

/// Reads a response head and not a byte more.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while head.len() < MAX_HEAD_BYTES {
        let seen = stream.peek(&mut buffer).await?;
        if seen == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let before = head.len();
        head.extend_from_slice(&buffer[..seen]);
        let from = before.saturating_sub(3);
        let end = memmem::find(&head[from..], b"\r\n\r\n").map(|at| from + at + 4);
        head.truncate(end.unwrap_or(head.len()));
        stream.read_exact(&mut buffer[..head.len() - before]).await?;
        if end.is_some() {
            return Ok(head);
        }
    }
    Err(refused("its answer to CONNECT is too long"))
}

fn status(head: &[u8]) -> Option<u16> {
    let line = head.strip_prefix(b"HTTP/1.")?;
    let digits = line.get(1..5)?.strip_prefix(b" ")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Asks a SOCKS5 proxy for a connection.
pub(super) async fn socks5(
    stream: &mut TcpStream,
    destination: &Destination,
    credentials: Option<&Credentials>,
) -> io::Result<()> {
    const VERSION: u8 = 5;
    const NO_AUTHENTICATION: u8 = 0;
    const USER_AND_PASSWORD: u8 = 2;
    let greeting: &[u8] = match credentials {
        Some(_) => &[VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
        None => &[VERSION, 1, NO_AUTHENTICATION],
    };
    stream.write_all(greeting).await?;
    match (read_array(stream).await?, credentials) {
        ([VERSION, NO_AUTHENTICATION], _) => {}
        ([VERSION, USER_AND_PASSWORD], Some(credentials)) => authenticate(stream, credentials).await?,
        ([VERSION, _], _) => return Err(refused("it wants a user and a password, or another way to tell who we are")),
        _ => return Err(refused("it does not speak SOCKS5")),
    }
    let mut request = vec![VERSION, 1, 0];
    match &destination.host {
        Host::Address(IpAddr::V4(ip)) => {
            request.push(1);
            request.extend(ip.octets());
        }
        Host::Name(name) => {
            request.push(3);
            push_text(&mut request, name)?;
        }
        Host::Address(IpAddr::V6(ip)) => {
            request.push(4);
            request.extend(ip.octets());
        }
    }
    request.extend(destination.port.to_be_bytes());
    stream.write_all(&request).await?;
    let [version, reply, _, kind] = read_array(stream).await?;
    if version != VERSION {
        return Err(refused("it does not speak SOCKS5"));
    }
    if reply != 0 {
        return Err(refused(&format!("it cannot connect (SOCKS5 reply {reply})")));
    }
    // Where the connection comes from, which is of no concern, and a port.
    let length = match kind {
        1 => 4,
        3 => usize::from(stream.read_u8().await?),
        4 => 16,
        _ => return Err(refused("it does not speak SOCKS5")),
    };
    stream.read_exact(&mut [0; 257][..length + 2]).await?;
    Ok(())
}

/// RFC 1929.
async fn authenticate(stream: &mut TcpStream, credentials: &Credentials) -> io::Result<()> {
    let mut request = vec![1];
    push_text(&mut request, &credentials.user)?;
    push_text(&mut request, &credentials.password)?;
    stream.write_all(&request).await?;
    let [_, status] = read_array(stream).await?;
    if status == 0 { Ok(()) } else { Err(refused("it does not take this user and password")) }
}

async fn read_array<const N: usize>(stream: &mut TcpStream) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn push_text(request: &mut Vec<u8>, text: &str) -> io::Result<()> {
    let length =
        u8::try_from(text.len()).map_err(|_| refused("SOCKS5 takes no name, user or password above 255 bytes"))?;
    request.push(length);
    request.extend(text.as_bytes());
    Ok(())
}

/// A refusal in words that hold nothing of an address or a credential.
fn refused(why: &str) -> io::Error {
    io::Error::new(ErrorKind::ConnectionRefused, why)
}

/// RFC 4648 §4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(group.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit) & 63) as usize;
            text.push(if digit <= group.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (text, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(text.as_bytes()), encoded);
        }
    }

    #[test]
    fn a_status_is_read_from_a_status_line_and_from_nothing_else() {
        assert_eq!(status(b"HTTP/1.0 200 Connection established\r\n\r\n"), Some(200));
        assert_eq!(status(b"HTTP/1.1 407\r\n\r\n"), Some(407));
        for head in [&b"HTTP/2 200\r\n\r\n"[..], b"HTTP/1.1  20\r\n\r\n", b"SSH-2.0-x\r\n\r\n", b""] {
            assert_eq!(status(head), None);
        }
    }
}
