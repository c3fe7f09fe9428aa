//! Proxies on the way to an upstream: SOCKS5 (RFC 1928, RFC 1929) and CONNECT (RFC 9110 §9.3.6). Small and real; they record
//! what they were asked. Whatever name they are asked for, they connect to this machine.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A running proxy.
pub struct OutboundProxy {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// What a proxy was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Where to, as it was written.
    pub target: String,
    /// Whether that was a name, and not an address.
    pub by_name: bool,
    pub port: u16,
    /// User and password.
    pub credentials: Option<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Socks5,
    Connect,
}

/// What a proxy does with whoever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It connects.
    Serve,
    /// It connects those who say this user and password.
    ServeOnly(String, String),
    /// SOCKS5: this reply code. CONNECT: this status.
    Refuse(u16),
    /// It says nothing at all.
    Silent,
}

struct Shared {
    kind: Kind,
    manner: Manner,
    /// To which port it connects whatever it is asked; none = the one that is asked.
    port: Option<u16>,
    asked: Mutex<Vec<Asked>>,
    stopped: AtomicBool,
}

impl OutboundProxy {
    /// SOCKS5.
    pub fn socks5(manner: Manner, port: Option<u16>) -> Self {
        Self::start(Kind::Socks5, manner, port)
    }

    /// HTTP with CONNECT.
    pub fn connect(manner: Manner, port: Option<u16>) -> Self {
        Self::start(Kind::Connect, manner, port)
    }

    fn start(kind: Kind, manner: Manner, port: Option<u16>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { kind, manner, port, asked: Mutex::default(), stopped: AtomicBool::new(false) });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                if accepting.stopped.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&accepting);
                thread::spawn(move || shared.serve(socket));
            }
        });
        Self { shared, address }
    }

    /// Where it listens: `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.address.to_string()
    }

    /// Every question so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

impl Drop for OutboundProxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect_timeout(&self.address, Duration::from_millis(200));
    }
}

impl Shared {
    fn serve(&self, mut client: TcpStream) {
        let _ = client.set_nodelay(true);
        // A thread that waits for a broken program must end some time.
        let _ = client.set_read_timeout(Some(Duration::from_secs(30)));
        if self.manner == Manner::Silent {
            let _ = client.read_to_end(&mut Vec::new());
            return;
        }
        let asked = match self.kind {
            Kind::Socks5 => self.socks5(&mut client),
            Kind::Connect => connect(&mut client),
        };
        let Ok(asked) = asked else { return };
        self.asked.lock().unwrap().push(asked.clone());
        let refusal = match &self.manner {
            Manner::Refuse(code) => Some(*code),
            Manner::ServeOnly(user, password) if asked.credentials != Some((user.clone(), password.clone())) => {
                Some(407)
            }
            _ => None,
        };
        let upstream = match refusal {
            Some(_) => None,
            None => TcpStream::connect(("127.0.0.1", self.port.unwrap_or(asked.port))).ok(),
        };
        let said = match (self.kind, refusal) {
            (Kind::Socks5, code) => {
                let failed = code.map_or(5, |code| u8::try_from(code).unwrap_or(1));
                let reply = if upstream.is_some() { 0 } else { failed };
                client.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
            }
            (Kind::Connect, None) if upstream.is_some() => {
                client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
            }
            (Kind::Connect, code) => {
                let head = format!("HTTP/1.1 {} No\r\nContent-Length: 0\r\n\r\n", code.unwrap_or(502));
                client.write_all(head.as_bytes())
            }
        };
        if let (Ok(()), Some(upstream)) = (said, upstream) {
            join(&client, &upstream);
        }
    }

    fn socks5(&self, client: &mut TcpStream) -> std::io::Result<Asked> {
        let [version, methods] = exactly(client)?;
        assert_eq!(version, 5, "SOCKS5");
        let mut offered = vec![0; methods.into()];
        client.read_exact(&mut offered)?;
        let wants_password = matches!(self.manner, Manner::ServeOnly(..));
        let chosen = if wants_password || !offered.contains(&0) { 2 } else { 0 };
        if !offered.contains(&chosen) {
            client.write_all(&[5, 0xff])?;
            return Err(std::io::ErrorKind::PermissionDenied.into());
        }
        client.write_all(&[5, chosen])?;
        let credentials = if chosen == 2 { Some(self.password(client)?) } else { None };
        let [version, command, _, kind] = exactly(client)?;
        assert_eq!((version, command), (5, 1), "CONNECT");
        let (target, by_name) = match kind {
            1 => (std::net::Ipv4Addr::from(exactly::<4>(client)?).to_string(), false),
            3 => (string(client)?, true),
            4 => (std::net::Ipv6Addr::from(exactly::<16>(client)?).to_string(), false),
            kind => panic!("an address of kind {kind}"),
        };
        let port = u16::from_be_bytes(exactly(client)?);
        Ok(Asked { target, by_name, port, credentials })
    }

    /// RFC 1929.
    fn password(&self, client: &mut TcpStream) -> std::io::Result<(String, String)> {
        let [version] = exactly(client)?;
        assert_eq!(version, 1, "RFC 1929");
        let said = (string(client)?, string(client)?);
        let good = match &self.manner {
            Manner::ServeOnly(user, password) => said == (user.clone(), password.clone()),
            _ => true,
        };
        client.write_all(&[1, u8::from(!good)])?;
        if good { Ok(said) } else { Err(std::io::ErrorKind::PermissionDenied.into()) }
    }
}

fn connect(client: &mut TcpStream) -> std::io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let [byte] = exactly(client)?;
        head.push(byte);
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let target = lines.next().unwrap().strip_prefix("CONNECT ").expect("CONNECT").strip_suffix(" HTTP/1.1").unwrap();
    let (name, port) = target.rsplit_once(':').expect("a port");
    let fields: Vec<(&str, &str)> = lines.filter_map(|line| line.split_once(": ")).collect();
    let field = |wanted: &str| fields.iter().find(|(n, _)| n.eq_ignore_ascii_case(wanted)).map(|(_, v)| *v);
    assert_eq!(field("host"), Some(target), "Host is the target (RFC 9110 §9.3.6): {head}");
    let basic = field("proxy-authorization").map(|v| v.strip_prefix("Basic ").expect("Basic"));
    let credentials = basic.map(|coded| {
        let decoded = String::from_utf8(base64_decoded(coded)).unwrap();
        let (user, password) = decoded.split_once(':').expect("user:password");
        (user.to_owned(), password.to_owned())
    });
    let by_name = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>().is_err();
    Ok(Asked { target: name.to_owned(), by_name, port: port.parse().unwrap(), credentials })
}

fn exactly<const N: usize>(client: &mut TcpStream) -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    client.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A length of one byte, and so many bytes.
fn string(client: &mut TcpStream) -> std::io::Result<String> {
    let [length] = exactly(client)?;
    let mut bytes = vec![0; length.into()];
    client.read_exact(&mut bytes)?;
    Ok(String::from_utf8(bytes).unwrap())
}

/// Bytes pass in both directions until both have ended.
fn join(one: &TcpStream, other: &TcpStream) {
    let _ = one.set_read_timeout(None);
    let pass = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(|| pass(one, other));
        pass(other, one);
    });
}

/// RFC 4648 §4.
fn base64_decoded(text: &str) -> Vec<u8> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => c - b'A',
        b'a'..=b'z' => c - b'a' + 26,
        b'0'..=b'9' => c - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        c => panic!("no base64: {}", char::from(c)),
    };
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        (bits, count) = (bits << 6 | u32::from(digit(c)), count + 6);
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
