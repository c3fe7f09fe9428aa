//! An upstream that does what a scene says. Raw sockets: a proper server could not be this rude.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::client::SCENE;
use super::scenes::SCENES;
use crate::edge::accept_loop;
use crate::shutdown::{Shutdown, Tasks};

/// What the upstream does with one request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Act {
    /// Nothing, and the connection stays open.
    Silence,
    /// Resets the connection.
    Reset,
    /// Sends half a response head and closes.
    HalfHead,
    /// Answers, whole and at once.
    Answer,
    /// Streams some events.
    Tokens,
    /// Streams some events, and then nothing more.
    TokensThenSilence,
}

const ANSWER: &str = r#"{"choices":[{"text":"Here you are."}]}"#;
const WORDS: [&str; 5] = ["The", " basin", " is", " full", "."];
const MAX_CONNECTIONS: usize = 64;

/// The scripted upstream.
pub(super) struct Upstream {
    address: SocketAddr,
    tasks: Tasks,
    shutdown: Shutdown,
}

impl Upstream {
    /// Listens on a free port of loopback. `token` passes between two events of a stream.
    pub(super) async fn start(token: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (tasks, shutdown) = (Tasks::default(), Shutdown::default());
        let tries = Arc::<Tries>::default();
        let (connections, stop) = (tasks.clone(), shutdown.clone());
        tasks.spawn(async move {
            accept_loop(listener, MAX_CONNECTIONS, stop.draining(), |stream, _, permit| {
                let (tries, cut) = (Arc::clone(&tries), stop.cutting());
                connections.spawn(async move {
                    // A client that leaves is no concern of an upstream.
                    tokio::select! {
                        _ = serve(stream, &tries, token) => {}
                        () = cut => {}
                    }
                    drop(permit);
                });
            })
            .await;
        });
        Ok(Self { address, tasks, shutdown })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on nobody listens at its address. Idempotent.
    pub(super) async fn stop(&self) {
        self.shutdown.cut();
        self.tasks.finished().await;
    }
}

/// How often each scene was tried.
#[derive(Debug, Default)]
struct Tries(Mutex<HashMap<&'static str, usize>>);

impl Tries {
    /// What to do with one more request of the scene that this head names.
    fn next(&self, head: &str) -> Act {
        let mut values = head.lines().filter_map(|line| line.split_once(": ")).filter(|(name, _)| *name == SCENE);
        let named = values.next().and_then(|(_, value)| SCENES.iter().find(|scene| scene.name == value));
        let Some(scene) = named else { return Act::Answer };
        let mut tries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = tries.entry(scene.name).or_default();
        let act = scene.acts.get(*count).or(scene.acts.last());
        *count += 1;
        act.copied().unwrap_or(Act::Answer)
    }
}

/// One request on each connection.
async fn serve(mut stream: TcpStream, tries: &Tries, token: Duration) -> io::Result<()> {
    let head = read_request(&mut stream).await?;
    match tries.next(&head) {
        Act::Silence => silence(&mut stream).await,
        Act::Reset => stream.set_zero_linger(),
        Act::HalfHead => stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-ty").await,
        Act::Answer => {
            stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/json\r\n").await?;
            stream.write_all(format!("content-length: {}\r\n\r\n{ANSWER}", ANSWER.len()).as_bytes()).await
        }
        Act::Tokens => {
            tokens(&mut stream, token).await?;
            stream.write_all(chunk("[DONE]").as_bytes()).await?;
            stream.write_all(b"0\r\n\r\n").await
        }
        Act::TokensThenSilence => {
            tokens(&mut stream, token).await?;
            silence(&mut stream).await
        }
    }
}

/// Reads a request to its end and returns its head.
async fn read_request(stream: &mut TcpStream) -> io::Result<String> {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let fields = head.lines().filter_map(|line| line.split_once(": "));
            let mut lengths = fields.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
            let length = lengths.next().and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Ok(head.to_owned());
            }
        }
    }
}

/// Says nothing until the client leaves.
async fn silence(stream: &mut TcpStream) -> io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

async fn tokens(stream: &mut TcpStream, token: Duration) -> io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\n").await?;
    stream.write_all(b"transfer-encoding: chunked\r\n\r\n").await?;
    for word in WORDS {
        stream.write_all(chunk(&format!("{{\"delta\":\"{word}\"}}")).as_bytes()).await?;
        tokio::time::sleep(token).await;
    }
    Ok(())
}

/// An event in a chunk of its own.
fn chunk(data: &str) -> String {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len())
}
