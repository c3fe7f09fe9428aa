//! Configuration: environment only. One table declares every variable; the settings types live in the rooms that use
//! them, and this room only fills them. Whatever is wrong is reported at once.

mod checks;
mod declare;
mod documents;
mod memory;
mod outbound;
mod parse;
mod problem;
mod raw;
mod report;
mod resolve;
mod settings;
mod typo;

use std::io;
use std::path::Path;

pub use declare::{Section, Sight, VARIABLES, Variable};
pub use documents::{env_example, readme_table};
pub use problem::{Problem, render as render_problems};
pub use report::{policy_in_words, report, stalled};
pub use resolve::{Effective, Origin};
pub use settings::{Listen, Settings};

/// How files are read: secrets, roots, memory limits. Tests bring their own.
type ReadFile<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;
