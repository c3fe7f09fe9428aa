//! The upstream's HTTP/1.1: each answer, and each event, is one write.

use std::io;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{Answer, Desk};
use crate::wire::Reader;

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, desk: &Desk) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = Reader::new(reader);
    let mut out = Vec::with_capacity(2048);
    while let Some(head) = reader.head().await? {
        reader.body(head.framing(), |_| ()).await?;
        out.clear();
        match desk.answer(head.word(1)) {
            Answer::Whole(body) => {
                let length = body.len();
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
                out.extend_from_slice(head.as_bytes());
                if length <= 4096 {
                    out.extend_from_slice(&body);
                    writer.write_all(&out).await?;
                } else {
                    writer.write_all(&out).await?;
                    writer.write_all(&body).await?;
                }
            }
            Answer::Events(mut events) => {
                out.extend_from_slice(
                    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
                );
                writer.write_all(&out).await?;
                loop {
                    // A proxy that is gone leaves nothing behind. (None sends the next request before this one's answer.)
                    let (event, last) = tokio::select! {
                        next = events.next() => next,
                        gone = reader.head() => return gone.map(drop),
                    };
                    out.clear();
                    out.extend_from_slice(format!("{:x}\r\n", event.len()).as_bytes());
                    out.extend_from_slice(event);
                    out.extend_from_slice(if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
                    writer.write_all(&out).await?;
                    if last {
                        break;
                    }
                }
            }
            Answer::Never => {
                reader.head().await?;
            }
        }
    }
    Ok(())
}
