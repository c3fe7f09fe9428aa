//! A real WebSocket server and client at the two ends: they check masks, fragments, close codes and UTF-8 for us.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::thread;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
use tokio_tungstenite::{WebSocketStream, accept_hdr_async, client_async};

/// A server that sends every message back. The text `close <code>` makes it close with that code.
pub struct EchoServer {
    address: SocketAddr,
    closed_with: Arc<Mutex<Vec<Option<u16>>>>,
}

impl EchoServer {
    pub fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let closed_with = Arc::new(Mutex::new(Vec::new()));
        let codes = Arc::clone(&closed_with);
        // Ends with the process: what it holds is one port.
        thread::spawn(move || {
            block_on(async move {
                listener.set_nonblocking(true).unwrap();
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(echo(socket, Arc::clone(&codes)));
                }
            });
        });
        Self { address, closed_with }
    }

    /// `UPSTREAM_BASE_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The codes with which its clients closed.
    pub fn closed_with(&self) -> Vec<Option<u16>> {
        self.closed_with.lock().unwrap().clone()
    }
}

async fn echo(socket: TcpStream, codes: Arc<Mutex<Vec<Option<u16>>>>) {
    // The first protocol that is offered is chosen.
    #[allow(clippy::result_large_err, clippy::unnecessary_wraps)] // the shape that the library asks for
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        if let Some(offered) = request.headers().get("sec-websocket-protocol") {
            let first = offered.to_str().unwrap().split(',').next().unwrap().trim().parse().unwrap();
            response.headers_mut().insert("sec-websocket-protocol", first);
        }
        Ok(response)
    };
    let Ok(mut socket) = accept_hdr_async(socket, choose).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        match message {
            Message::Close(frame) => codes.lock().unwrap().push(frame.map(|f| f.code.into())),
            Message::Text(text) if text.starts_with("close ") => {
                let code: u16 = text["close ".len()..].parse().unwrap();
                let _ = socket.close(Some(CloseFrame { code: CloseCode::from(code), reason: "as asked".into() })).await;
            }
            Message::Text(_) | Message::Binary(_) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// A client that has shaken hands with what listens on this port of this machine, and the protocol that was chosen.
pub async fn connect(port: u16, path: &str, protocols: Option<&str>) -> (WebSocketStream<TcpStream>, Option<String>) {
    let socket = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let mut request = format!("ws://localhost:{port}{path}").into_client_request().unwrap();
    if let Some(protocols) = protocols {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
    }
    let (socket, response) = client_async(request, socket).await.expect("a WebSocket handshake");
    let chosen = response.headers().get("sec-websocket-protocol").map(|v| v.to_str().unwrap().to_owned());
    (socket, chosen)
}

/// Runs it to its end, on this thread.
pub fn block_on<T>(what: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(what)
}
