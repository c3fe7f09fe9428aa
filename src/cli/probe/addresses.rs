//! Each address of a name by itself: connects are raced, and what a dead address costs is not seen in the one that won.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::shutdown::Tasks;

/// No more are tried: some names have hundreds.
const MOST: usize = 8;

/// Connects to each of these addresses, all at the same time, and tells what became of it, in their order. A connection
/// that stands is closed at once.
pub(super) async fn knock(
    addresses: impl IntoIterator<Item = SocketAddr>,
    patience: Duration,
    tasks: &Tasks,
) -> Vec<(SocketAddr, io::Result<()>)> {
    let (sender, mut receiver) = unbounded_channel();
    for (index, address) in addresses.into_iter().take(MOST).enumerate() {
        let sender = sender.clone();
        tasks.spawn(async move {
            let connect = timeout(patience, TcpStream::connect(address)).await;
            let result = connect.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
            // Nobody waits for it where the probe was given up.
            let _ = sender.send((index, address, result.map(drop)));
        });
    }
    drop(sender);
    let mut found = Vec::new();
    while let Some(one) = receiver.recv().await {
        found.push(one);
    }
    found.sort_by_key(|(index, ..)| *index);
    found.into_iter().map(|(_, address, result)| (address, result)).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn each_address_answers_for_itself_in_its_place() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let listening = listener.local_addr().unwrap();
        // Bound and not listening: refused, and nobody else takes the port.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let closed = socket.local_addr().unwrap().as_socket().unwrap();
        let found = knock([closed, listening], Duration::from_secs(60), &Tasks::default()).await;
        assert_eq!(found.iter().map(|(address, _)| *address).collect::<Vec<_>>(), [closed, listening]);
        assert_eq!(found[0].1.as_ref().unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        assert!(found[1].1.is_ok());
    }
}
