//! What every store promises, of this one.

use super::fixture::Folder;

crate::store::suite::conformance!(Folder);
