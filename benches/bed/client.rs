//! A client: asks, and checks that the answer is a 200 of the right length.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::Protocol;
use crate::exchange::Exchange;
use crate::wire::Reader;

/// The window of a stream and of a connection: no body of the bed is longer.
pub(crate) const WINDOW: u32 = 8 << 20;

/// One exchange at a time; on HTTP/2 several clients may share a connection.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
}

#[derive(Debug)]
enum Connection {
    Http1 { reader: Reader<OwnedReadHalf>, writer: OwnedWriteHalf },
    Http2(h2::client::SendRequest<Bytes>),
}

impl Client {
    /// Connects to the proxy: one client on HTTP/1.1, on HTTP/2 so many that share the connection.
    ///
    /// Dropping clients closes their connection; on HTTP/1.1 with a reset, so that no port is left waiting.
    pub async fn connect(proxy: SocketAddr, protocol: Protocol, clients: usize) -> io::Result<Vec<Self>> {
        let stream = TcpStream::connect(proxy).await?;
        stream.set_nodelay(true)?;
        match protocol {
            Protocol::Http1 => {
                stream.set_zero_linger()?;
                let (reader, writer) = stream.into_split();
                Ok(vec![Self { connection: Connection::Http1 { reader: Reader::new(reader), writer } }])
            }
            Protocol::Http2 => {
                let mut builder = h2::client::Builder::new();
                builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
                let (sender, connection) = builder.handshake(stream).await.map_err(io::Error::other)?;
                // It ends with the last of its clients, or with an error that they see as well.
                tokio::spawn(connection);
                let client = || Self { connection: Connection::Http2(sender.clone()) };
                Ok(std::iter::repeat_with(client).take(clients).collect())
            }
        }
    }

    /// Asks, and reads the answer to its end; each piece of its body is shown as it comes.
    ///
    /// # Errors
    ///
    /// A status other than 200, another length than expected, and whatever the connection says.
    pub async fn ask(&mut self, exchange: &Exchange, mut show: impl FnMut(&[u8])) -> io::Result<()> {
        let (status, length) = match &mut self.connection {
            Connection::Http1 { reader, writer } => {
                writer.write_all(&exchange.http1).await?;
                let head = reader.head().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                (head.word(1).to_owned(), reader.body(head.framing(), &mut show).await?)
            }
            Connection::Http2(sender) => multiplexed(sender, exchange, &mut show).await.map_err(io::Error::other)?,
        };
        if status != "200" || length != exchange.expected {
            let expected = exchange.expected;
            return Err(io::Error::other(format!("answered {status} with {length} bytes instead of {expected}")));
        }
        Ok(())
    }
}

async fn multiplexed(
    sender: &mut h2::client::SendRequest<Bytes>,
    exchange: &Exchange,
    mut show: impl FnMut(&[u8]),
) -> Result<(String, usize), h2::Error> {
    let uri = format!("http://bed.test{}", exchange.target);
    let mut request = Request::builder().method(exchange.method()).uri(uri);
    for (name, value) in exchange.fields() {
        request = request.header(name, value);
    }
    if !exchange.body.is_empty() {
        request = request.header("content-length", exchange.body.len());
    }
    // Parts that no caller chose: they are always a request.
    let request = request.body(()).unwrap_or_default();
    std::future::poll_fn(|cx| sender.poll_ready(cx)).await?;
    let (answer, mut stream) = sender.send_request(request, exchange.body.is_empty())?;
    if !exchange.body.is_empty() {
        // Queued as a whole: h2 sends it as the windows allow.
        stream.send_data(exchange.body.clone(), true)?;
    }
    let (head, mut body) = answer.await?.into_parts();
    let mut length = 0;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        show(&piece);
        length += piece.len();
    }
    Ok((head.status.as_str().to_owned(), length))
}
