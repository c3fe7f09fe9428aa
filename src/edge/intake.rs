//! Takes the body of a request in as its lane and its size want it.

use hyper::body::Body;

use super::exchange::Scene;
use super::jobs::{JobBody, no_store, too_large_for_a_job};
use super::upload::Upload;
use super::wording::{body_failure, too_large};
use crate::answer::Answer;
use crate::body::{Beginning, Collected, Limits, Passing, Payload, Snapshot};
use crate::race::Mode;
use crate::routes::{Chunked, Lane, Oversize, RouteSettings};
use crate::time::LazyDeadline;

/// What became of a request's body.
pub(super) enum Intake {
    /// It can go on, and may be sent so.
    Payload(Payload, Mode),
    /// It is to be stored.
    Job(JobBody),
    /// The client is to bring it to the upstream itself.
    Redirect,
}

impl Scene<'_> {
    /// Kept whole, passed on as it comes, or on its way into the store.
    pub(super) async fn take_in(
        &self,
        settings: &RouteSettings,
        lane: Lane,
        mut body: Upload,
        timer: &mut LazyDeadline,
    ) -> Result<Intake, Answer> {
        let whole = |snapshot| match lane {
            Lane::Queue => Intake::Job(JobBody::Kept(snapshot)),
            Lane::Stream => Intake::Payload(Payload::Kept(snapshot), Mode::Once),
            Lane::Race | Lane::Redirect => Intake::Payload(Payload::Kept(snapshot), Mode::Race),
        };
        if body.is_end_stream() {
            return Ok(whole(Snapshot::default()));
        }
        if lane == Lane::Stream {
            return Ok(self.pass_on(Beginning::default(), body));
        }
        let length = body.size_hint().exact();
        if settings.chunked == Chunked::Bypass && length.is_none() {
            return match oversize(settings, lane) {
                Oversize::Reject => Ok(self.pass_on(Beginning::default(), body)),
                Oversize::Stream | Oversize::Queue | Oversize::Redirect => {
                    self.oversized(settings, lane, Beginning::default(), body)
                }
            };
        }
        let kept = settings.max_request_body;
        let (max, is_stored) = match lane {
            Lane::Queue => (kept.min(settings.jobs.max_body), kept < settings.jobs.max_body),
            Lane::Race | Lane::Stream | Lane::Redirect => (kept, false),
        };
        let limits = Limits { max: max.get(), progress: self.edge.settings.body_timeout };
        let collected = Snapshot::collect(&mut body, limits, &self.edge.quota, timer).await;
        match collected.map_err(|error| body_failure(&error))? {
            Collected::Whole(snapshot) => Ok(whole(snapshot)),
            // More than is kept, and perhaps not more than is stored.
            Collected::Over(beginning)
                if is_stored && length.is_none_or(|length| length <= settings.jobs.max_body.get()) =>
            {
                Ok(Intake::Job(JobBody::Passing { beginning, body: Box::new(body), most: settings.jobs.max_body }))
            }
            Collected::Over(beginning) => self.oversized(settings, lane, beginning, body),
        }
    }

    /// What `OVERSIZE` says.
    fn oversized(
        &self,
        settings: &RouteSettings,
        lane: Lane,
        beginning: Beginning,
        body: Upload,
    ) -> Result<Intake, Answer> {
        let most = settings.jobs.max_body;
        match oversize(settings, lane) {
            Oversize::Reject if lane == Lane::Queue => Err(too_large_for_a_job(most)),
            Oversize::Reject => Err(too_large(settings.max_request_body)),
            Oversize::Stream => Ok(self.pass_on(beginning, body)),
            Oversize::Redirect => Ok(Intake::Redirect),
            Oversize::Queue if self.edge.queue.is_none() => Err(no_store()),
            Oversize::Queue if body.size_hint().lower() > most.get() => Err(too_large_for_a_job(most)),
            Oversize::Queue => Ok(Intake::Job(JobBody::Passing { beginning, body: Box::new(body), most })),
        }
    }

    fn pass_on(&self, beginning: Beginning, body: Upload) -> Intake {
        let passing = Passing::new(beginning, body, self.edge.settings.body_timeout);
        Intake::Payload(Payload::Passing(passing), Mode::Once)
    }
}

/// What `OVERSIZE` says on this lane: its default is another one on the queue lane.
fn oversize(settings: &RouteSettings, lane: Lane) -> Oversize {
    match lane {
        Lane::Queue => settings.queue_oversize,
        Lane::Race | Lane::Stream | Lane::Redirect => settings.oversize,
    }
}
