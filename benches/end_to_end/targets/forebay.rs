//! forebay.

use std::process::Command;

use super::{IMPATIENT, Place, other_prefixes};
use crate::cases::Setting;

pub(super) fn prepare(command: &mut Command, place: &Place) {
    bed::forebay::environment(command, place.port, place.upstream, place.protocols.1);
    // Room for 10,000 connections, and for the one that asked whether it listens.
    command.env("MAX_CLIENT_CONNECTIONS", "12000");
    match place.setting {
        Setting::Plain => {}
        Setting::Routes => {
            for (number, prefix) in other_prefixes().enumerate() {
                command.env(format!("ROUTE_R{number}_PREFIX"), prefix);
                command.env(format!("ROUTE_R{number}_UPSTREAM_BASE_URL"), format!("http://{}", place.upstream));
            }
        }
        Setting::Impatient => {
            command.env("RESPONSE_HEADER_TIMEOUT_SECONDS", format!("{}ms", IMPATIENT.as_millis()));
            command.env("RETRY_BACKOFF_SECONDS", "0");
        }
        // Alone it holds for both deadlines.
        Setting::NoLook => {
            command.env("RESPONSE_HEADER_TIMEOUT_SECONDS", "30");
        }
    }
}
