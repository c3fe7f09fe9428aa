//! The upstream's HTTP/2.

use std::future::poll_fn;
use std::io;
use std::rc::Rc;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{Request, Response};
use tokio::net::TcpStream;

use super::{Answer, Desk};
use crate::client::WINDOW;

/// Serves one connection to its end.
pub(super) async fn serve(stream: TcpStream, desk: Rc<Desk>) -> io::Result<()> {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW).max_concurrent_streams(1000);
    let mut connection = builder.handshake(stream).await.map_err(io::Error::other)?;
    while let Some(accepted) = connection.accept().await {
        let (request, respond) = accepted.map_err(io::Error::other)?;
        let desk = Rc::clone(&desk);
        // A stream that fails is the proxy's to report.
        tokio::task::spawn_local(async move { respond_to(request, respond, &desk).await });
    }
    Ok(())
}

async fn respond_to(
    request: Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
    desk: &Desk,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    while let Some(piece) = body.data().await {
        body.flow_control().release_capacity(piece?.len())?;
    }
    let target = head.uri.path_and_query().map_or("", |target| target.as_str());
    let answer = desk.answer(target);
    let mut response = Response::new(());
    let media = if matches!(answer, Answer::Events(_)) { "text/event-stream" } else { "application/json" };
    response.headers_mut().insert("content-type", http::HeaderValue::from_static(media));
    match answer {
        Answer::Whole(body) => {
            response.headers_mut().insert("content-length", body.len().into());
            respond.send_response(response, false)?.send_data(body, true)
        }
        Answer::Events(mut events) => {
            let mut stream = respond.send_response(response, false)?;
            loop {
                // A stream that nobody reads any more ends here, not at its next event.
                let (event, last) = tokio::select! {
                    next = events.next() => next,
                    reset = poll_fn(|cx| stream.poll_reset(cx)) => return reset.map(drop),
                };
                stream.send_data(Bytes::from_static(event), last)?;
                if last {
                    return Ok(());
                }
            }
        }
        Answer::Never => poll_fn(|cx| respond.poll_reset(cx)).await.map(drop),
    }
}
