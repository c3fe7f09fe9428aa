//! A small HTTP client that says what it sees, when it sees it.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::timeout;

use super::stage::{Moment, Side};
use crate::time::Human;

/// The field that names a request's scene.
pub(super) const SCENE: &str = "demo-scene";
/// What is shown of a response head, beside its status.
const SHOWN: [&str; 3] = ["X-Forebay-Attempts", "X-Forebay-Timeline", "X-Forebay-Error"];
const BODY: &str = r#"{"model":"demo","stream":true}"#;

/// One of the two clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// Which.
    pub(super) side: Side,
    /// Whom it asks.
    pub(super) address: SocketAddr,
    /// It gives up when nothing came for so long.
    pub(super) patience: Duration,
}

/// Why a client has no whole answer.
enum Trouble {
    Refused(io::Error),
    Reset(io::Error),
    Closed,
    GaveUp(Duration),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                f.write_str("connection refused")
            }
            Self::Reset(error) if error.kind() == io::ErrorKind::ConnectionReset => f.write_str("connection reset"),
            Self::Refused(error) | Self::Reset(error) => error.fmt(f),
            Self::Closed => f.write_str("closed before the end"),
            Self::GaveUp(patience) => write!(f, "nothing for {}: gives up", Human(*patience)),
        }
    }
}

impl Client {
    /// Sends the request of a scene and tells what comes of it.
    pub(super) async fn send(self, scene: &str, moments: UnboundedSender<Moment>) {
        // Nobody listens any more when the output has failed; then nobody has to.
        let tell = |text: String| drop(moments.send(Moment { side: self.side, text }));
        if let Err(trouble) = self.exchange(scene, tell).await {
            tell(trouble.to_string());
        }
    }

    async fn exchange(self, scene: &str, tell: impl Fn(String)) -> Result<(), Trouble> {
        let stream = TcpStream::connect(self.address).await.map_err(Trouble::Refused)?;
        let mut wire = Wire { stream, bytes: Vec::new(), patience: self.patience };
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{SCENE}: {scene}\r\n\
             x-stainless-lang: python\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{BODY}",
            self.address,
            BODY.len(),
        );
        wire.stream.write_all(request.as_bytes()).await.map_err(Trouble::Reset)?;
        let head = wire.head().await?;
        tell(head.lines().next().and_then(|line| line.split_once(' ')).map_or("?", |(_, status)| status).to_owned());
        for name in SHOWN {
            if let Some(value) = field(&head, name) {
                tell(format!("{name}: {value}"));
            }
        }
        if field(&head, "transfer-encoding").is_some() {
            return wire.events(tell).await;
        }
        let length = field(&head, "content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        tell(wire.body(length).await?);
        Ok(())
    }
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).next()
}

struct Wire {
    stream: TcpStream,
    /// Read and not used yet.
    bytes: Vec<u8>,
    patience: Duration,
}

impl Wire {
    async fn read(&mut self) -> Result<(), Trouble> {
        match timeout(self.patience, self.stream.read_buf(&mut self.bytes)).await {
            Err(_) => Err(Trouble::GaveUp(self.patience)),
            Ok(Err(error)) => Err(Trouble::Reset(error)),
            Ok(Ok(0)) => Err(Trouble::Closed),
            Ok(Ok(_)) => Ok(()),
        }
    }

    /// Takes so many bytes, as text.
    fn take(&mut self, length: usize) -> String {
        let taken: Vec<u8> = self.bytes.drain(..length.min(self.bytes.len())).collect();
        String::from_utf8_lossy(&taken).into_owned()
    }

    async fn head(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(self.take(end + 4));
            }
            self.read().await?;
        }
    }

    async fn body(&mut self, length: usize) -> Result<String, Trouble> {
        while self.bytes.len() < length {
            self.read().await?;
        }
        Ok(self.take(length))
    }

    /// Tells every event of a chunked stream, and its end.
    async fn events(&mut self, tell: impl Fn(String)) -> Result<(), Trouble> {
        let mut text = String::new();
        loop {
            let chunk = self.chunk().await?;
            if chunk.is_empty() {
                tell("the stream ends".to_owned());
                return Ok(());
            }
            text.push_str(&chunk);
            while let Some((event, rest)) = text.split_once("\n\n") {
                tell(event.to_owned());
                text = rest.to_owned();
            }
        }
    }

    /// The next chunk; the last one is empty.
    async fn chunk(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(line) = self.bytes.windows(2).position(|two| two == b"\r\n") {
                let size = String::from_utf8_lossy(&self.bytes[..line]);
                // What is no size is no chunked body either, and cannot be read on.
                let size = usize::from_str_radix(&size, 16).map_err(|_| Trouble::Closed)?;
                if self.bytes.len() >= line + 2 + size + 2 {
                    self.take(line + 2);
                    let chunk = self.take(size);
                    self.take(2);
                    return Ok(chunk);
                }
            }
            self.read().await?;
        }
    }
}
