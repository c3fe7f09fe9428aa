//! A recording is read: from any byte, in pages.

use super::fixture::*;
use crate::job::Status;
use crate::store::{Batch, PIECE};

/// Lengths of what is written at once: below and above what a store keeps as one, and on the border.
const LENGTHS: [usize; 9] = [1, 62, 1, 65_536, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 17, 5];

pub(crate) async fn a_recording_is_read_from_any_byte<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "long").await;
    record(&store, lease, head("head")).await;
    let (mut length, mut borders) = (0, vec![0]);
    for piece in LENGTHS {
        // As one, and as a batch of two.
        let (first, second) = (piece / 3, piece - piece / 3);
        let batch = Batch {
            at: length as u64,
            data: vec![pattern(length, first), pattern(length + first, second)],
            ..Batch::default()
        };
        record(&store, lease, batch).await;
        borders.extend([length + first, length + piece]);
        length += piece;
    }
    let whole = pattern(0, length);
    let near = |border: usize| [border.saturating_sub(1), border, border + 1, border + 1000];
    for from in borders.into_iter().flat_map(near).filter(|from| *from <= length) {
        let page = page(&store, lease.job, from as u64).await;
        let read = page.data.concat();
        assert_eq!(read, whole[from..from + read.len()], "from {from}");
        assert_eq!((page.length, read.is_empty()), (length as u64, from == length), "from {from}");
    }
    assert!(content(&store, lease.job, 0).await == whole);
}

pub(crate) async fn a_page_holds_no_more_than_a_piece<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    let lease = leased(&store, "long").await;
    record(&store, lease, Batch { data: vec![pattern(0, 3 * PIECE)], ..head("head") }).await;
    for most in [1, 1000, PIECE, PIECE + 1, usize::MAX] {
        for from in [0, 1, PIECE as u64 - 1, PIECE as u64] {
            let page = store.read(lease.job, from, most).await.unwrap().unwrap();
            let length = page.data.iter().map(bytes::Bytes::len).sum::<usize>();
            assert!((1..=PIECE).contains(&length), "{length} bytes from {from} on, of at most {most}");
        }
    }
}

pub(crate) async fn what_is_not_there_is_not_read<P: Place>() {
    let (_place, store) = opened::<P>(&Limits::default()).await;
    assert!(store.read(job("unknown").id, 0, PIECE).await.unwrap().is_none());
    let id = submit(&store, job("queued")).await;
    let queued = page(&store, id, 0).await;
    assert_eq!((queued.record.status, queued.head, queued.length), (Status::Queued, None, 0));
    let lease = claim(&store).await.lease;
    record(&store, lease, Batch { data: vec!["short".into()], ..head("head") }).await;
    for from in [5, 6, u64::MAX] {
        let page = page(&store, id, from).await;
        assert_eq!((page.data.concat().len(), page.length), (0, 5), "from {from}");
    }
}
