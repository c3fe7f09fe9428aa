//! What a client does with an answer depends on the client. (p)

mod settings;

pub use settings::Settings;
