//! The accept loop: it never ends on an error.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long to wait when the process has no descriptor or no memory left for another connection.
const EXHAUSTED: Duration = Duration::from_millis(100);
/// A client that vanished without a word – asleep, or behind a forgotten NAT entry – is noticed within minutes.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Accepts connections until told to stop; then the listener is closed. At most `limit` are served at once, further ones
/// wait in the backlog. Each comes with its permit, to be dropped when it is over.
pub async fn accept_loop<F>(listener: TcpListener, limit: usize, until: impl Future<Output = ()>, mut serve: F)
where
    F: FnMut(TcpStream, SocketAddr, OwnedSemaphorePermit),
{
    let permits = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
    let mut until = pin!(until);
    loop {
        let accepted = async {
            // The semaphore is never closed.
            let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, peer) = listener.accept().await?;
            Ok::<_, io::Error>((stream, peer, permit))
        };
        let accepted = tokio::select! {
            biased;
            () = until.as_mut() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                // Small writes – events above all – must not wait for an acknowledgement.
                let _ = stream.set_nodelay(true);
                let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
                serve(stream, peer, permit);
            }
            // The client left before it was accepted: its own affair.
            Err(error) if is_about_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "no further connection can be accepted for now; is the limit of open files too low?");
                tokio::time::sleep(EXHAUSTED).await;
            }
        }
    }
}

fn is_about_the_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
