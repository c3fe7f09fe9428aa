//! The doorknob.

fn main() {}
