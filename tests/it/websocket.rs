//! HTTP/1.1 upgrades to WebSocket (contract 2, 8): tunnelled whatever the lane, on a connection of their own.

mod codex;
mod ends;
mod handshakes;
mod real_peers;

use super::client::{Client, Request, get};
use super::forebay::Forebay;
use super::upstream::{Behaviour, raw};

/// The pair of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's handshake.
fn handshake(target: &str) -> Request {
    get(target)
        .field("Connection", "Upgrade")
        .field("Upgrade", "websocket")
        .field("Sec-WebSocket-Version", "13")
        .field("Sec-WebSocket-Key", KEY)
}

/// A server's, with what follows.
fn switch() -> Behaviour {
    raw(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
    ))
}

/// A tunnel that is open.
#[track_caller]
fn tunnel(forebay: &Forebay) -> Client {
    let mut client = forebay.connect();
    let response = client.upgrade(&handshake("/chat"));
    assert_eq!(response.status, 101, "{response:?}");
    client
}
