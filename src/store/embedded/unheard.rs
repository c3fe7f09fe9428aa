//! Jobs that were claimed for somebody who has gone before he heard of it: nobody executes them, so they are handed back.

use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::job::Lease;
use crate::store::Claims;

/// The leases that nobody heard of. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Unheard(Arc<Mutex<Vec<Lease>>>);

/// What was claimed, on its way. Dropped before it is accepted, it is unheard of.
#[derive(Debug)]
pub(super) struct Offer {
    claims: Claims,
    unheard: Unheard,
}

impl Unheard {
    /// Sends claims on their way.
    pub(super) fn offer(&self, claims: Claims) -> Offer {
        Offer { claims, unheard: self.clone() }
    }

    /// What is to be handed back.
    pub(super) fn leases(&self) -> Vec<Lease> {
        self.list().clone()
    }

    /// These were handed back.
    pub(super) fn strike_off(&self, leases: &[Lease]) {
        if !leases.is_empty() {
            self.list().retain(|lease| !leases.contains(lease));
        }
    }

    fn list(&self) -> MutexGuard<'_, Vec<Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offer {
    /// They have arrived.
    pub(super) fn accept(mut self) -> Claims {
        mem::take(&mut self.claims)
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.unheard.list().extend(self.claims.jobs.iter().map(|job| job.lease));
    }
}
