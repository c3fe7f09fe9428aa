//! `forebay check`: is the configuration complete, and what does it say?

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{self, Problem, Settings};

/// The exit status of a configuration that cannot be used (EX_CONFIG of sysexits.h).
pub const EX_CONFIG: u8 = 78;

/// Prints the effective configuration and returns 0, or prints all its problems to standard error and returns 78.
pub fn run(vars: impl IntoIterator<Item = (OsString, OsString)>) -> ExitCode {
    ExitCode::from(check(vars, &mut io::stdout().lock(), &mut io::stderr().lock()))
}

/// Prints the problems of a configuration to standard error and returns 78.
pub fn refuse(problems: &[Problem]) -> ExitCode {
    let _ = io::stderr().lock().write_all(config::render_problems(problems).as_bytes());
    ExitCode::from(EX_CONFIG)
}

/// The same with somebody else's outputs. Returns the exit status.
fn check(vars: impl IntoIterator<Item = (OsString, OsString)>, out: &mut impl Write, errors: &mut impl Write) -> u8 {
    // Whoever has closed the output does not want it: that changes nothing about the answer.
    match Settings::from_env(vars) {
        Ok(settings) => {
            let _ = out.write_all(config::report(&settings).as_bytes());
            0
        }
        Err(problems) => {
            let _ = errors.write_all(config::render_problems(&problems).as_bytes());
            EX_CONFIG
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(vars: &[(&str, &str)]) -> (u8, String, String) {
        let (mut out, mut errors) = (Vec::new(), Vec::new());
        let status = check(vars.iter().map(|(n, v)| (n.into(), v.into())), &mut out, &mut errors);
        (status, String::from_utf8(out).unwrap(), String::from_utf8(errors).unwrap())
    }

    #[test]
    fn a_complete_configuration_is_shown_and_succeeds() {
        let (status, out, errors) = checked(&[("UPSTREAM_BASE_URL", "https://api.example/v1/")]);
        assert_eq!((status, errors.as_str()), (0, ""));
        assert!(out.contains("UPSTREAM_BASE_URL") && out.contains("https://api.example/v1"), "{out}");
    }

    #[test]
    fn problems_go_to_standard_error_all_at_once_with_status_78() {
        let (status, out, errors) = checked(&[("LISTEN_PORT", "80x"), ("RETRY", "maybe")]);
        assert_eq!((status, out.as_str()), (78, ""));
        assert!(errors.starts_with("3 problems in the environment:\n"), "{errors}");
        for name in ["UPSTREAM_BASE_URL", "LISTEN_PORT=\"80x\"", "RETRY=\"maybe\""] {
            assert!(errors.contains(name), "{errors}");
        }
    }
}
