//! The names of everything that is in Redis. They stand here, and nowhere else.
//!
//! All keys of a queue begin with `<CACHE_KEY_PREFIX>{<QUEUE_NAME>}:`. What is between the braces is their hash tag: in
//! Redis Cluster they are all in one slot, so that one script can touch them together.
//!
//! | key | type | what |
//! |---|---|---|
//! | `meta` | hash | the format, how many bytes are stored, the number of the newest job |
//! | `ready` | sorted set | jobs that wait for a worker, by their number |
//! | `delayed` | sorted set | jobs that wait for a repeat, by when it is due (ms) |
//! | `leases` | sorted set | jobs that are executed, by when their lease runs out (ms) |
//! | `paused` | sorted set | the same as `delayed`, by their number |
//! | `completed`, `failed` | sorted sets | jobs in this status, by their number |
//! | `expiry` | sorted set | finished jobs, abandoned bodies, cache entries, by when they are removed (ms) |
//! | `sizes` | hash | how many bytes each job and cache entry counts for |
//! | `job:<id>` | hash | a job: its request, its state, the head and the end of its recording |
//! | `body:<id>` | hash | a large request body in pieces |
//! | `segments:<id>`, `tail:<id>` | hash, string | a recorded body: what is full, and what is still written to |
//! | `key:<digest>` | string | the job of an idempotency key, and the fingerprint of its request |
//! | `cache:<digest>` | string | a cache entry |
//! | `claims:<process>` | string | what a process claimed last |
//!
//! Channels: `work`, `cancelled`, `changed:<id>`.

use std::fmt::Write as _;
use std::time::Duration;

use crate::ids::JobId;

/// The format of what is stored. It counts up with every change that an older forebay could not read.
pub(super) const FORMAT: &str = "1";
/// What a job or a cache entry counts for beside its bytes: about what Redis needs to keep it.
pub(super) const FLAT: usize = 512;
/// The bytes of a recorded body that are kept together.
pub(super) const SEGMENT: usize = crate::store::PIECE;
/// How much later than a sweep Redis itself removes what is over.
const NET: Duration = Duration::from_secs(600);

/// The fields of a job that make its record, in the order in which a script answers them.
pub(super) const RECORD: [&str; 10] =
    ["state", "route", "method", "path", "owner", "created", "started", "ended", "executions", "error"];

/// The names that scripts know, and what stands behind the prefix of a queue.
const NAMES: [(&str, &str); 19] = [
    ("META", "meta"),
    ("READY", "ready"),
    ("DELAYED", "delayed"),
    ("LEASES", "leases"),
    ("PAUSED", "paused"),
    ("COMPLETED", "completed"),
    ("FAILED", "failed"),
    ("EXPIRY", "expiry"),
    ("SIZES", "sizes"),
    ("JOB", "job:"),
    ("BODY", "body:"),
    ("SEGMENTS", "segments:"),
    ("TAIL", "tail:"),
    ("KEY", "key:"),
    ("CACHE", "cache:"),
    ("CLAIMS", "claims:"),
    ("WORK", "work"),
    ("CANCELLED", "cancelled"),
    ("CHANGED", "changed:"),
];

/// The names of one queue.
#[derive(Clone, Debug)]
pub(super) struct Keys {
    base: String,
}

/// A prefix and a queue that leave the keys without a hash tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoHashTag;

/// What a message on a channel is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Channel {
    Work,
    Cancelled,
    Changed(JobId),
}

impl Keys {
    /// The names below this prefix, of this queue.
    pub(super) fn new(prefix: &str, queue: &str) -> Result<Self, NoHashTag> {
        let base = format!("{prefix}{{{queue}}}:");
        // The tag is what is between the first brace and the first closing one behind it; if that is nothing, there is none.
        let behind = base.split_once('{').map_or("", |(_, behind)| behind);
        if behind.split_once('}').is_some_and(|(tag, _)| !tag.is_empty()) { Ok(Self { base }) } else { Err(NoHashTag) }
    }

    /// What every key begins with. No key itself, but in the slot of all.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn meta(&self) -> String {
        format!("{}meta", self.base)
    }

    pub(super) fn job(&self, job: JobId) -> String {
        format!("{}job:{job}", self.base)
    }

    pub(super) fn body(&self, job: JobId) -> String {
        format!("{}body:{job}", self.base)
    }

    pub(super) fn cache(&self, digest: &str) -> String {
        format!("{}cache:{digest}", self.base)
    }

    pub(super) fn channel(&self, channel: Channel) -> String {
        match channel {
            Channel::Work => format!("{}work", self.base),
            Channel::Cancelled => format!("{}cancelled", self.base),
            Channel::Changed(job) => format!("{}changed:{job}", self.base),
        }
    }

    /// The channel of this name, if it is one of this queue.
    pub(super) fn channel_named(&self, name: &[u8]) -> Option<Channel> {
        let name = std::str::from_utf8(name).ok()?.strip_prefix(&self.base)?;
        match name {
            "work" => Some(Channel::Work),
            "cancelled" => Some(Channel::Cancelled),
            _ => name.strip_prefix("changed:")?.parse().ok().map(Channel::Changed),
        }
    }

    /// What stands for a name in a script, if it is one: a key, what one begins with, or a figure, as Lua writes it.
    pub(super) fn in_lua(&self, name: &str) -> Option<String> {
        match name {
            "FORMAT" => Some(quoted(FORMAT)),
            "FLAT" => Some(FLAT.to_string()),
            "SEGMENT" => Some(SEGMENT.to_string()),
            "NET" => Some(NET.as_millis().to_string()),
            "RECORD" => Some(RECORD.map(quoted).join(", ")),
            name => {
                let (_, behind) = NAMES.into_iter().find(|(known, _)| *known == name)?;
                Some(quoted(&format!("{}{behind}", self.base)))
            }
        }
    }
}

/// A text as Lua writes it.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("'");
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'{' | b'}' | b'-' | b'_' | b'.') {
            quoted.push(char::from(byte));
        } else {
            let _ = write!(quoted, "\\{byte:03}");
        }
    }
    quoted.push('\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_the_hash_tag_of_its_queue() {
        let (keys, job) = (Keys::new("p:", "q").unwrap(), JobId::random());
        assert_eq!(keys.base(), "p:{q}:");
        for key in [keys.meta(), keys.job(job), keys.body(job), keys.cache("00")] {
            assert!(key.starts_with("p:{q}:"), "{key}");
        }
        for (prefix, queue, has_tag) in [
            ("", "q", true),
            ("{a}", "", true),
            ("", "", false),
            ("{}", "q", false),
            ("{", "q", true),
            ("}", "q", true),
        ] {
            assert_eq!(Keys::new(prefix, queue).is_ok(), has_tag, "{prefix}{{{queue}}}");
        }
    }

    #[test]
    fn a_channel_is_known_by_its_name() {
        let (keys, other) = (Keys::new("p:", "q").unwrap(), Keys::new("p:", "r").unwrap());
        for channel in [Channel::Work, Channel::Cancelled, Channel::Changed(JobId::random())] {
            let name = keys.channel(channel);
            assert_eq!(keys.channel_named(name.as_bytes()), Some(channel));
            assert_eq!(other.channel_named(name.as_bytes()), None);
        }
        assert_eq!(keys.channel_named(b"p:{q}:changed:x"), None);
        assert_eq!(keys.channel_named(b"\xff"), None);
    }

    #[test]
    fn names_cannot_break_out_of_lua() {
        assert_eq!(quoted("a'\\\n0é"), "'a\\039\\092\\0100\\195\\169'");
    }
}
