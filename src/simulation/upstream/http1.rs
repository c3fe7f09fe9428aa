//! An upstream of HTTP/1.

use tokio::time::sleep;

use super::Upstream;
use super::plan::{After, AnswerPlan, ConnectionPlan, Idle, Starts};
use super::reading::Reading;
use super::writing::Writing;
use crate::simulation::dice::Dice;
use crate::simulation::stream::Stream;

/// Serves one connection to its end. However it ends, the stream is dropped, and so closed.
pub(super) async fn serve(
    upstream: &Upstream,
    connection: usize,
    stream: Stream,
    plan: ConnectionPlan,
    mut dice: Dice,
) {
    let handle = stream.handle();
    let (read, write) = tokio::io::split(stream);
    let mut reading = Reading::new(&upstream.journal, connection, read, handle.clone(), &plan);
    let mut writing = Writing { upstream, connection, write, handle };
    // Whatever has come by then is read, even if nobody waits for an answer any more.
    sleep(plan.deaf).await;
    while exchange(&mut reading, &mut writing, plan.idle, &mut dice).await == Some(After::Stays) {}
}

/// A request and what becomes of it. None when the connection has ended.
async fn exchange(reading: &mut Reading<'_>, writing: &mut Writing<'_>, idle: Idle, dice: &mut Dice) -> Option<After> {
    let patience = match idle {
        Idle::Stays => None,
        Idle::Closes(pause) | Idle::Speaks(pause) => Some(pause),
    };
    if !reading.wait(patience).await? {
        if matches!(idle, Idle::Speaks(_)) {
            writing.answer(&AnswerPlan::unasked(), "GET").await;
        }
        return None;
    }
    let head = reading.head().await?;
    let method = head.line.split(' ').next().unwrap_or_default();
    let plan = AnswerPlan::draw(&head, &writing.upstream.setting, dice);
    match plan.starts {
        Starts::AfterTheRequest => {
            reading.body(&head).await?;
            writing.answer(&plan, method).await
        }
        Starts::AfterTheHead => {
            let (after, whole) = tokio::join!(writing.answer(&plan, method), reading.body(&head));
            whole.and(after)
        }
        Starts::InsteadOfTheRequest => {
            writing.answer(&plan, method).await;
            None
        }
    }
}
