//! A flight under any sequence of events: nobody reads what was not written, and nobody misses anything.

use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use proptest::prelude::*;

use super::flight::{Flight, Keeping, Outlook, Pushed, Seat, Told, WINDOW};
use crate::body::Quota;
use crate::job::StoredHead;

const MAX: u64 = 400_000;

#[derive(Clone, Debug)]
enum Step {
    Join,
    Leave(prop::sample::Index),
    Read(prop::sample::Index),
    Push(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Join),
        1 => any::<prop::sample::Index>().prop_map(Step::Leave),
        8 => any::<prop::sample::Index>().prop_map(Step::Read),
        8 => prop_oneof![0usize..200, 50_000usize..100_000].prop_map(Step::Push),
    ]
}

/// More than any body here.
static BODY: LazyLock<Bytes> = LazyLock::new(|| (0..=252).cycle().take(8 << 20).collect());

/// A part of the body.
fn bytes(from: u64, length: usize) -> Bytes {
    let from = usize::try_from(from).unwrap();
    BODY.slice(from..from + length)
}

/// One who reads, and how far he has come.
struct Reader {
    seat: Seat,
    at: u64,
}

impl Reader {
    /// Reads once, and looks whether it is right. False = there is nothing at the moment.
    fn read(&mut self) -> bool {
        match self.seat.poll_told(&Context::from_waker(Waker::noop())) {
            Poll::Ready(Told::Data(data)) => {
                assert_eq!(data, bytes(self.at, data.len()), "at {}", self.at);
                self.at += data.len() as u64;
                true
            }
            Poll::Ready(Told::Complete(_) | Told::Broken) => panic!("it has not ended"),
            Poll::Pending => false,
        }
    }
}

proptest! {
    #[test]
    fn every_reader_reads_the_body_from_its_beginning(steps in prop::collection::vec(step(), 0..80), is_good in any::<bool>()) {
        let cx = Context::from_waker(Waker::noop());
        let flight = Arc::new(Flight::default());
        let mut readers = vec![Reader { seat: flight.first(), at: 0 }];
        let head = StoredHead { status: StatusCode::OK, headers: HeaderMap::new() };
        flight.land(head, None, Keeping::new(MAX, &Quota::new(1 << 30)));
        let (mut end, mut is_kept) = (0, true);
        for step in steps {
            match step {
                Step::Join => match flight.join() {
                    Some(seat) => {
                        prop_assert!(is_kept);
                        readers.push(Reader { seat, at: 0 });
                    }
                    None => prop_assert!(!is_kept),
                },
                // The last one stays: with him the flight would end.
                Step::Leave(index) if readers.len() > 1 => drop(readers.remove(index.index(readers.len()))),
                Step::Leave(_) => {}
                Step::Read(index) => {
                    let reader = index.get_mut(&mut readers);
                    let is_behind = reader.at < end;
                    prop_assert_eq!(reader.read(), is_behind);
                }
                Step::Push(length) => {
                    let slowest = readers.iter().map(|reader| reader.at).min().unwrap();
                    match flight.look_around(&cx) {
                        Outlook::Clear => {
                            prop_assert!(is_kept || end - slowest < WINDOW + MAX);
                            is_kept &= end + length as u64 <= MAX;
                            let pushed = flight.push(bytes(end, length), false);
                            prop_assert_eq!(pushed == Pushed::Kept, is_kept);
                            end += length as u64;
                        }
                        Outlook::Full { slowest: at, is_waited_for } => {
                            prop_assert!(!is_kept);
                            prop_assert_eq!(at, slowest);
                            prop_assert_eq!(is_waited_for, readers.iter().any(|reader| reader.at == end));
                        }
                        Outlook::Abandoned => prop_assert!(false, "somebody is there"),
                    }
                }
            }
        }
        if is_good { flight.complete(HeaderMap::new()) } else { flight.fail() }
        for reader in &mut readers {
            while reader.at < end {
                prop_assert!(reader.read());
            }
            let told = reader.seat.poll_told(&cx);
            prop_assert!(matches!((told, is_good), (Poll::Ready(Told::Complete(None)), true) | (Poll::Ready(Told::Broken), false)));
        }
        let whole = flight.whole().map(|(_, pieces, _)| pieces.concat());
        prop_assert_eq!(whole, (is_good && is_kept).then(|| bytes(0, usize::try_from(end).unwrap()).to_vec()));
    }
}

#[test]
fn with_nobody_left_it_is_over_and_nobody_comes() {
    let cx = Context::from_waker(Waker::noop());
    let flight = Arc::new(Flight::default());
    let seat = flight.first();
    assert!(matches!(flight.look_around(&cx), Outlook::Clear));
    drop(seat);
    assert!(!flight.is_followed());
    assert!(flight.join().is_some(), "until the leader has noticed");
    assert!(matches!(flight.look_around(&cx), Outlook::Abandoned));
    assert!(flight.join().is_none());
}
