//! How much memory this process may use: what its control groups say.

use std::path::Path;

use super::ReadFile;

const ROOT: &str = "/sys/fs/cgroup";

/// The smallest memory limit of this process's control groups in bytes (version 2 `memory.max`, version 1
/// `memory.limit_in_bytes`); none where there is no limit, or no control groups.
pub(super) fn limit(read: ReadFile) -> Option<u64> {
    let groups = text(read, "/proc/self/cgroup").unwrap_or_default();
    // Without a cgroup namespace the limit is in the group's own folder or above it; with one it is in the root.
    let own = groups.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        match controllers {
            "" => Some((Version::Two, path)),
            list if list.split(',').any(|c| c == "memory") => Some((Version::One, path)),
            _ => None,
        }
    });
    own.chain([(Version::Two, "/"), (Version::One, "/")])
        .flat_map(|(version, path)| Path::new(path).ancestors().map(move |folder| (version, folder)))
        .filter_map(|(version, folder)| text(read, &version.file(folder)))
        .filter_map(|limit| limit.trim().parse().ok())
        .min()
}

#[derive(Clone, Copy)]
enum Version {
    One,
    Two,
}

impl Version {
    fn file(self, folder: &Path) -> String {
        let folder = folder.display().to_string();
        let folder = folder.trim_end_matches('/');
        match self {
            Self::One => format!("{ROOT}/memory{folder}/memory.limit_in_bytes"),
            Self::Two => format!("{ROOT}{folder}/memory.max"),
        }
    }
}

fn text(read: ReadFile, path: &str) -> Option<String> {
    String::from_utf8(read(Path::new(path)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit_of(files: &[(&str, &str)]) -> Option<u64> {
        limit(&|path: &Path| {
            let found = files.iter().find(|(name, _)| Path::new(name) == path);
            found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| std::io::ErrorKind::NotFound.into())
        })
    }

    #[test]
    fn version_two_limits_are_found_in_a_namespace_and_above_the_own_group() {
        assert_eq!(limit_of(&[("/sys/fs/cgroup/memory.max", "1048576\n")]), Some(1 << 20));
        let own = ("/proc/self/cgroup", "0::/system.slice/forebay.service\n");
        assert_eq!(limit_of(&[own, ("/sys/fs/cgroup/system.slice/forebay.service/memory.max", "77\n")]), Some(77));
        let above = ("/sys/fs/cgroup/system.slice/memory.max", "50\n");
        assert_eq!(limit_of(&[own, above]), Some(50));
        assert_eq!(limit_of(&[own, above, ("/sys/fs/cgroup/memory.max", "max\n")]), Some(50));
    }

    #[test]
    fn version_one_limits_are_found() {
        let own = ("/proc/self/cgroup", "5:cpu,memory:/docker/ab\n0::/\n");
        assert_eq!(limit_of(&[own, ("/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes", "99\n")]), Some(99));
        assert_eq!(limit_of(&[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "42\n")]), Some(42));
    }

    #[test]
    fn no_limit_is_none() {
        assert_eq!(limit_of(&[]), None);
        assert_eq!(limit_of(&[("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "max\n")]), None);
        assert_eq!(limit_of(&[("/proc/self/cgroup", "nonsense")]), None);
    }
}
