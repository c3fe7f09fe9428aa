//! The clients: what they want, and how they behave meanwhile.

mod http1;
mod plan;

use std::sync::Arc;

pub(super) use plan::{Body, ClientPlan, How, Kind, RequestPlan, When};

use super::journal::{Event, Side};
use super::stream::{Stream, pair};
use super::world::Door;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
}

/// Lives a client's life: one connection after the other until all its requests were begun, or nobody takes connections
/// any more.
pub(super) async fn live(plan: Arc<ClientPlan>, door: Arc<Door>) {
    tokio::time::sleep(plan.starts).await;
    let mut next = 0;
    while next < plan.requests.len() {
        let Some((connection, stream)) = connect(&plan, &door) else { return };
        next += match plan.protocol {
            Protocol::Http1 => http1::talk(&plan, next, connection, stream, &door.journal).await,
        };
    }
}

fn connect(plan: &ClientPlan, door: &Door) -> Option<(usize, Stream)> {
    let connection = door.next_connection()?;
    let (ours, theirs) = pair(plan.wire, &door.journal, [Side::Client(connection), Side::ProxyToClient(connection)]);
    door.journal.note(Event::Accepted { client: plan.number, connection });
    door.accept(theirs);
    Some((connection, ours))
}
