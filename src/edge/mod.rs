//! The edge: where clients arrive.

mod settings;

pub use settings::EdgeSettings;
