//! What lies under a client: a socket, or TLS on one.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Cut, PATIENCE};

/// A connection, in clear or not.
pub(super) enum Wire {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Wire {
    /// Connects to a port of this machine, as soon as somebody listens there.
    pub(super) fn connect(port: u16) -> Self {
        let end = Instant::now() + PATIENCE;
        let socket = loop {
            match TcpStream::connect(("127.0.0.1", port)) {
                Ok(socket) => break socket,
                Err(e) => assert!(Instant::now() < end, "nobody accepts connections on port {port}: {e}"),
            }
            thread::sleep(Duration::from_millis(5));
        };
        socket.set_nodelay(true).unwrap();
        Self::Plain(socket)
    }

    /// The same with TLS, its handshake done; or why it failed.
    pub(super) fn connect_tls(port: u16, config: Arc<ClientConfig>) -> std::io::Result<Self> {
        let Self::Plain(mut socket) = Self::connect(port) else { unreachable!("connected in clear") };
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut tls = ClientConnection::new(config, ServerName::try_from("localhost").unwrap()).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut socket)?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(tls, socket))))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(tls) => tls.get_ref(),
        }
    }

    /// What TLS agreed on; none in clear.
    pub(super) fn tls(&self) -> Option<&ClientConnection> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(tls) => Some(&tls.conn),
        }
    }

    /// Writes all of it; whether the peer still took it.
    pub(super) fn write_all(&mut self, bytes: &[u8]) -> bool {
        self.write_all_within(bytes, PATIENCE)
    }

    /// The same, as long as each part is taken within that time.
    pub(super) fn write_all_within(&mut self, bytes: &[u8], most: Duration) -> bool {
        self.socket().set_write_timeout(Some(most)).unwrap();
        match self {
            Self::Plain(socket) => socket.write_all(bytes),
            Self::Tls(tls) => tls.write_all(bytes).and_then(|()| tls.flush()),
        }
        .is_ok()
    }

    /// Appends what comes to the buffer, at least one byte, and waits for it until then.
    pub(super) fn read_into(&mut self, buffer: &mut Vec<u8>, until: Instant) -> Result<(), Cut> {
        let mut block = [0; 16 * 1024];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Cut::Timeout);
            }
            self.socket().set_read_timeout(Some(left)).unwrap();
            let read = match self {
                Self::Plain(socket) => socket.read(&mut block),
                Self::Tls(tls) => tls.read(&mut block),
            };
            match read {
                Ok(0) => return Err(Cut::Fin),
                Ok(n) => {
                    buffer.extend_from_slice(&block[..n]);
                    return Ok(());
                }
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => {}
                // With TLS also a FIN that no close_notify announced: somebody may have cut the answer short.
                Err(_) => return Err(Cut::Reset),
            }
        }
    }
}
