//! The balance: what must be true of every world, however bad its actors were.
//!
//! The journal is put into books first, a dossier for each request; then each rule looks at each dossier. A rule that
//! allows something names the reason, and reasons are as narrow as the actors' plans allow.

mod answers;
mod books;
mod errors;
mod sights;
#[cfg(test)]
mod tampering_tests;
mod tries;

use books::{Books, Dossier};
pub(super) use sights::sights;

use super::journal::{Event, Side};
use super::world::Played;

/// What a rule says of a request: nothing, or what is wrong.
type Verdict = Result<(), String>;

type Rule = fn(&Books<'_>, &Dossier<'_>) -> Verdict;

const RULES: &[(&str, Rule)] = &[
    ("a request that was begun is answered", answers::is_answered),
    ("an answer is the request's own, and clean", answers::is_its_own),
    ("an answer's body is the upstream's, or is visibly cut", answers::has_its_body),
    ("no answer is cut without a reason", answers::is_not_cut_in_vain),
    ("an answer that stalls is cut", answers::is_cut_when_it_stalls),
    ("a client that does not read is given up", answers::is_given_up),
    ("an error of forebay's own has the shape of section 5", errors::has_its_shape),
    ("an error of forebay's own has its reason", errors::has_its_reason),
    ("nobody gives up before the attempts are used", errors::is_not_given_up_early),
    ("a good head that came in time is the answer", tries::commit),
    ("no more attempts than allowed, and they are told", tries::are_counted),
    ("nothing is sent before the request is complete, or after an answer began", tries::are_in_time),
    ("sending stops when the answer comes", tries::stop_sending),
    ("attempts do not overlap", tries::do_not_overlap),
    ("what may not be repeated is sent once", tries::are_safe),
    ("the upstream sees the client's request", tries::are_true),
    ("an attempt has its whole header deadline, and no more", tries::have_their_deadline),
    ("who has left costs nothing", tries::end_with_the_client),
];

/// Everything that is wrong with a world.
pub(super) fn complaints(played: &Played) -> Vec<String> {
    let books = Books::new(played);
    let mut complaints = played.complaints.clone();
    for dossier in books.dossiers.values() {
        for (name, rule) in RULES {
            if let Err(what) = rule(&books, dossier) {
                complaints.push(format!("request {}: {name}: {what}", dossier.plan.id));
            }
        }
    }
    for (stamp, event) in &played.journal {
        match event {
            Event::Surplus { connection, bytes } => {
                complaints.push(format!("client connection {connection}: something answers nothing: {bytes:?}"));
            }
            Event::Dropped { side: Side::ProxyToClient(connection) } => {
                if let Some(cut) = books.cut
                    && stamp.at > cut.at + books::AFTER_THE_CUT
                {
                    complaints.push(format!("client connection {connection} outlives the cut"));
                }
            }
            _ => {}
        }
    }
    complaints
}

/// What a world has shown.
pub(super) fn seen(played: &Played) -> Vec<&'static str> {
    let books = Books::new(played);
    books.dossiers.values().flat_map(|dossier| sights::seen(&books, dossier)).collect()
}
