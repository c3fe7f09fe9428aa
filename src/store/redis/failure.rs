//! What can go wrong with a command, and what follows.

use redis::RedisError;

use crate::store::StoreError;

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The connection is over, or leads to a server that is not the right one (any more). The command may have been carried
    /// out or not.
    Gone(String),
    /// No answer came in time.
    Silent,
    /// The server has no memory left.
    Full,
    /// The server does not know the script of this name.
    NoScript,
    /// What is stored is in a newer format, this one.
    Newer(String),
    /// The server refuses.
    Refused(String),
    /// The server answers what this program does not understand.
    Odd,
    /// The store was closed.
    Closed,
}

impl Failure {
    /// What an error of the client means.
    pub(super) fn of(error: &RedisError) -> Self {
        let (code, detail) = (error.code().unwrap_or_default(), error.detail().unwrap_or_default());
        // Until version 7, a command that fails within a script is an ERR whose text has the code, behind a hyphen.
        let within = |code: &str| detail.contains(&format!("-{code} "));
        match code {
            "" => Self::Gone(words_of(error)),
            "NOSCRIPT" => Self::NoScript,
            "OOM" => Self::Full,
            "ERR" if within("OOM") => Self::Full,
            "FORMAT" => Self::Newer(detail.split_whitespace().next().unwrap_or_default().to_owned()),
            // A replica, another's slot, a server that is not ready, one that wants another password: look for it again.
            "READONLY" | "MASTERDOWN" | "MOVED" | "ASK" | "CLUSTERDOWN" | "LOADING" | "NOAUTH" => {
                Self::Gone(words_of(error))
            }
            "ERR" if within("READONLY") => Self::Gone(words_of(error)),
            _ => Self::Refused(words_of(error)),
        }
    }

    /// Whether the connection is to be given up for another.
    pub(super) fn ends_connection(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Silent | Self::Odd => true,
            Self::Full | Self::NoScript | Self::Newer(_) | Self::Refused(_) | Self::Closed => false,
        }
    }

    /// For the log.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Gone(words) => words.clone(),
            Self::Silent => "no answer in time".into(),
            Self::Full => "the server has no memory left (maxmemory)".into(),
            Self::NoScript => "the server forgets scripts at once".into(),
            Self::Newer(format) => format!(
                "what is stored is in format {format}, and this version of forebay knows only up to {}: run the newer \
                 version, or use another QUEUE_NAME or CACHE_KEY_PREFIX",
                super::keys::FORMAT
            ),
            Self::Refused(words) => format!("the server refuses: {words}"),
            Self::Odd => "an answer that is not understood".into(),
            Self::Closed => "it was closed".into(),
        }
    }
}

/// The text of an error on one line.
fn words_of(error: &RedisError) -> String {
    error.to_string().replace(['\r', '\n'], " ")
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Full => Self::Full,
            other => Self::Unavailable(format!("Redis: {}", other.words())),
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::Value;

    use super::*;

    /// What comes of a line that a server answers.
    fn of(line: &str) -> Failure {
        let value = redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
        let Value::ServerError(error) = value else { panic!("{value:?}") };
        Failure::of(&error.into())
    }

    #[test]
    fn a_server_without_memory_is_full_whatever_its_version() {
        for line in [
            "OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:10.",
            "ERR Error running script (call to f_1f): @user_script:10: @user_script: 10: -OOM command not allowed when used \
             memory > 'maxmemory'. ",
        ] {
            assert_eq!(of(line), Failure::Full, "{line}");
        }
    }

    #[test]
    fn a_server_that_is_not_the_right_one_is_left() {
        for line in [
            "READONLY You can't write against a read only replica. script: 1f, on @user_script:10.",
            "ERR Error running script (call to f_1f): @user_script:10: @user_script: 10: -READONLY You can't write against a \
             read only replica. ",
            "MOVED 3999 127.0.0.1:6381",
            "CLUSTERDOWN Hash slot not served",
            "LOADING Redis is loading the dataset in memory",
            "NOAUTH Authentication required.",
        ] {
            assert!(matches!(of(line), Failure::Gone(_)) && of(line).ends_connection(), "{line}");
        }
        let closed = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert!(matches!(Failure::of(&closed), Failure::Gone(_)));
    }

    #[test]
    fn other_errors_say_nothing_about_the_connection() {
        assert_eq!(of("NOSCRIPT No matching script. Please use EVAL."), Failure::NoScript);
        assert_eq!(of("FORMAT 12"), Failure::Newer("12".into()));
        for line in ["BUSY Redis is busy running a script.", "NOPERM no permissions", "ERR unknown command 'X'"] {
            assert!(matches!(of(line), Failure::Refused(_)) && !of(line).ends_connection(), "{line}");
        }
    }
}
