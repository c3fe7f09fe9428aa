//! What a server says about itself, and what an operator should know of it.

/// What `INFO` says, as far as it says it: managed services leave out what they like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    version: Option<(u32, u32)>,
    is_replica: bool,
    has_append_only_file: Option<bool>,
    eviction: Option<String>,
}

/// The first version with all commands that are used.
const OLDEST: (u32, u32) = (6, 2);

impl Server {
    /// Reads the answer to `INFO`.
    pub(super) fn read(info: &str) -> Self {
        let mut server = Self::default();
        for line in info.lines() {
            match line.split_once(':') {
                Some(("redis_version", version)) => server.version = parse(version),
                Some(("role", role)) => server.is_replica = role == "slave",
                Some(("aof_enabled", flag)) => server.has_append_only_file = Some(flag == "1"),
                Some(("maxmemory_policy", policy)) => server.eviction = Some(policy.to_owned()),
                _ => {}
            }
        }
        server
    }

    /// Whether it follows another and takes no writes.
    pub(super) fn is_replica(&self) -> bool {
        self.is_replica
    }

    /// What speaks against it as a store (contract 6.1), a sentence each.
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some((major, minor)) = self.version.filter(|version| *version < OLDEST) {
            warnings.push(format!("Redis {major}.{minor} is older than 6.2, the oldest that forebay is made for"));
        }
        if self.has_append_only_file == Some(false) {
            warnings.push(
                "Redis has no append-only file: a crash loses jobs that were accepted; set appendonly yes (and appendfsync \
                 always if not even the last second may be lost)"
                    .into(),
            );
        }
        if let Some(policy) = self.eviction.as_deref().filter(|policy| *policy != "noeviction") {
            warnings.push(format!(
                "Redis evicts keys when its memory is full (maxmemory-policy {policy}), jobs too; set maxmemory-policy \
                 noeviction"
            ));
        }
        warnings
    }
}

fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_warned_of_for_what_it_says_alone() {
        for (info, about) in [
            ("redis_version:7.0.15\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\n", &[][..]),
            ("# Server\r\n", &[]),
            ("redis_version:6.0.16\r\n", &["6.0 is older"]),
            ("redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\n", &[]),
            ("redis_version:10.0.0\r\n", &[]),
            ("redis_version:unstable\r\n", &[]),
            ("aof_enabled:0\r\nmaxmemory_policy:allkeys-lru\r\n", &["appendonly yes", "allkeys-lru"]),
        ] {
            let warnings = Server::read(info).warnings();
            assert_eq!(warnings.len(), about.len(), "{info}: {warnings:?}");
            for (warning, about) in warnings.iter().zip(about) {
                assert!(warning.contains(about), "{warning}");
            }
        }
    }

    #[test]
    fn a_replica_is_known() {
        assert!(Server::read("role:slave\r\n").is_replica());
        assert!(!Server::read("role:master\r\n").is_replica());
    }
}
