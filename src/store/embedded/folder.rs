//! The folder of a store: one process has it at a time, and nobody else may look into it.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

const DATABASE: &str = "store.db";
const LOCK: &str = "lock";

/// Why an embedded store cannot be used, in words that say what to change.
#[derive(Debug)]
pub enum OpenError {
    /// The folder, or a file in it, cannot be made or written.
    Unusable {
        /// Which one.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Another process has it.
    Locked {
        /// The folder.
        folder: PathBuf,
    },
    /// It was written by a later version of this program.
    Newer {
        /// The database.
        path: PathBuf,
        /// The version of its format.
        found: i64,
        /// The latest that this program knows.
        known: usize,
    },
    /// It is a database of another program.
    Foreign {
        /// The database.
        path: PathBuf,
    },
    /// It is no database, or a broken one.
    Damaged {
        /// The database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// SQLite cannot use it.
    Sqlite {
        /// The folder or the database.
        path: PathBuf,
        /// What SQLite says.
        source: rusqlite::Error,
    },
    /// A thread cannot be started.
    Thread(io::Error),
}

impl OpenError {
    /// What SQLite says of this path.
    pub(super) fn sqlite(path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, source },
            _ => Self::Sqlite { path, source },
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unusable { path, source } => {
                write!(f, "{} cannot be used: {source}; set DATA_DIR to a folder that can be written", path.display())
            }
            Self::Locked { folder } => write!(
                f,
                "{} is in use by another process, and only one can have it: set DATA_DIR to another folder, \
                 or REDIS_URL to share one store",
                folder.display()
            ),
            Self::Newer { path, found, known } => write!(
                f,
                "{} has format {found}, written by a later version; this one knows formats up to {known}: \
                 run that version, or set DATA_DIR to another folder",
                path.display()
            ),
            Self::Foreign { path } => {
                write!(f, "{} belongs to another program: set DATA_DIR to another folder", path.display())
            }
            Self::Damaged { path, source } => write!(
                f,
                "{} is damaged: {source}; restore it from a backup, or move it away to begin with an empty store",
                path.display()
            ),
            Self::Sqlite { path, source } => {
                write!(f, "{} cannot be used: {source}; see to its disk, or set DATA_DIR", path.display())
            }
            Self::Thread(source) => write!(f, "a thread for the store cannot be started: {source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unusable { source, .. } | Self::Thread(source) => Some(source),
            Self::Damaged { source, .. } | Self::Sqlite { source, .. } => Some(source),
            Self::Locked { .. } | Self::Newer { .. } | Self::Foreign { .. } => None,
        }
    }
}

/// Makes the folder and its files where they are missing. The answer is where the database is, and the lock: it is free
/// again when this file is closed, however the process ends.
pub(super) fn take(folder: &Path) -> Result<(PathBuf, File), OpenError> {
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Unusable { path, source }
    };
    DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(unusable(folder))?;
    let (lock_path, database) = (folder.join(LOCK), folder.join(DATABASE));
    let lock = private(&lock_path).map_err(unusable(&lock_path))?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => return Err(unusable(&lock_path)(source)),
    }
    // SQLite makes its other files with the rights of this one.
    private(&database).map_err(unusable(&database))?;
    Ok((database, lock))
}

/// A file that its owner alone may read. It may be there already.
fn private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}
