//! Short pieces in one write.
//!
//! A message of two short pieces, a head and its body, leaves sooner as one: the system takes longer for a list of pieces
//! than a copy of a few thousand bytes takes.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncWrite, ReadBuf};

/// What is copied at most. Beyond it a list is cheaper.
const SHORT: usize = 4096;

/// Writes what it can of these pieces, as `poll_write_vectored` does.
pub fn poll_write_gathered<S>(
    stream: Pin<&mut S>,
    cx: &mut Context<'_>,
    pieces: &[IoSlice<'_>],
) -> Poll<io::Result<usize>>
where
    S: AsyncWrite,
{
    if let [only] = pieces {
        return stream.poll_write(cx, only);
    }
    if pieces.iter().map(|piece| piece.len()).sum::<usize>() > SHORT {
        return stream.poll_write_vectored(cx, pieces);
    }
    let mut space = [MaybeUninit::uninit(); SHORT];
    let mut gathered = ReadBuf::uninit(&mut space);
    for piece in pieces {
        gathered.put_slice(piece);
    }
    stream.poll_write(cx, gathered.filled())
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Takes everything, and tells how it came.
    #[derive(Default)]
    struct Sink {
        written: Vec<u8>,
        lists: usize,
    }

    impl AsyncWrite for Sink {
        fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, piece: &[u8]) -> Poll<io::Result<usize>> {
            self.written.extend_from_slice(piece);
            Poll::Ready(Ok(piece.len()))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            pieces: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.lists += 1;
            for piece in pieces {
                self.written.extend_from_slice(piece);
            }
            Poll::Ready(Ok(pieces.iter().map(|piece| piece.len()).sum()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn pieces_are_written_in_order_and_only_long_ones_as_a_list() {
        let long = vec![b'x'; SHORT];
        for (pieces, lists) in
            [(&[&b"head"[..], b"body"][..], 0), (&[&long], 0), (&[&long[1..], b"y"], 0), (&[&long, b"y"], 1), (&[], 0)]
        {
            let mut sink = Sink::default();
            let slices: Vec<IoSlice<'_>> = pieces.iter().map(|piece| IoSlice::new(piece)).collect();
            let taken = poll_fn(|cx| poll_write_gathered(Pin::new(&mut sink), cx, &slices)).await.unwrap();
            assert_eq!((sink.written, sink.lists, taken), (pieces.concat(), lists, pieces.concat().len()));
        }
    }
}
