//! What operators see: `/metrics`, `/readyz?verbose` and the drain line (3.1).

mod exchanges;
mod format;
mod hedges;
mod jobs;
mod listener;
mod page;
mod pools;
mod words;

use super::forebay::{Forebay, Settings, free_port};
use super::upstream::FakeUpstream;
use page::Page;

/// A forebay whose figures can be asked for.
struct Observed {
    forebay: Forebay,
    admin: u16,
}

impl Observed {
    #[track_caller]
    fn start(settings: Settings) -> Self {
        let admin = free_port();
        Self { forebay: settings.set("ADMIN_PORT", admin).start(), admin }
    }

    #[track_caller]
    fn in_front_of(upstream: &FakeUpstream) -> Self {
        Self::start(Settings::in_front_of(upstream))
    }

    /// The figures as they are now.
    #[track_caller]
    fn page(&self) -> Page {
        Page::scrape(self.admin)
    }

    /// The figures once they are so: an answer may be with its client before its end is counted.
    #[track_caller]
    fn wait(&self, figures: &[(&str, u32)]) -> Page {
        let is = |page: &Page| figures.iter().all(|(series, count)| page.count(series) == *count);
        Page::wait(self.admin, &format!("{figures:?}"), is)
    }
}
