//! Configuration: environment only. One table declares every variable; the settings types live in the rooms that use
//! them, and this room only fills them. Whatever is wrong is reported at once.

mod declare;
mod memory;
mod not_yet;
mod parse;
mod problem;
mod raw;
mod typo;

use std::io;
use std::path::Path;

pub use declare::{Section, VARIABLES, Variable};
pub use problem::Problem;

/// How files are read: secrets, roots, memory limits. Tests bring their own.
type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;
