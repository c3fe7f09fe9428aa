//! What holds for every environment: secrets stay secret, and nothing panics.

use proptest::prelude::*;

use super::super::{VARIABLES, render_problems, report};
use super::tests::{URL, settings, with_files};
use super::*;

/// Everything about an environment that may be printed or logged.
fn rendered(result: &Result<Settings, Vec<Problem>>) -> String {
    match result {
        Ok(settings) => format!("{}{settings:?}", report(settings)),
        Err(problems) => format!("{}{problems:?}", render_problems(problems)),
    }
}

proptest! {
    /// Secrets are set where secrets belong, in names that are nearly right, and inside URLs.
    #[test]
    fn no_rendered_text_contains_a_secret(
        secret in "[!-~]{0,3}Zq7[ -~\\n\\t]{0,2}[!-~]{4}",
        places in proptest::collection::vec(0_usize..12, 1..6),
        others in proptest::collection::vec((0..VARIABLES.len(), "[ -~é\\n]{0,12}"), 0..6),
    ) {
        let url = format!("http://user:{secret}@host");
        let all = [
            ("UPSTREAM_API_KEY", secret.as_str()),
            ("UPSTREAM_API_KEY_FILE", "/run/key"),
            ("UPSTREAM_API_KYE", &secret),
            ("UPSTREAM_BASE_URL", &url),
            ("ALLOWED_ORIGINS", &url),
            ("REDIS_URL", &url),
            ("OUTBOUND_PROXY", &url),
            ("ADMIN_TOKEN", &secret),
            ("ADMIN_TOKEN_FILE", &secret),
            ("ROUTE_A_UPSTREAM_API_KEY", &secret),
            ("HTTPS_PROXY", &url),
            ("UPSTREAM_BASE_URL", "http://api.example"),
        ];
        let mut vars: Vec<(&str, &str)> = places.iter().map(|place| all[*place]).collect();
        vars.extend(others.iter().map(|(i, value)| (VARIABLES[*i].name, value.as_str())));
        vars.push(URL);
        let text = rendered(&with_files(&vars, &[("/run/key", secret.as_bytes())]));
        prop_assert!(!text.contains("Zq7"), "{}", text);
    }

    #[test]
    fn no_environment_makes_it_panic_and_every_refusal_has_a_reason(
        vars in proptest::collection::vec((0..VARIABLES.len(), any::<String>()), 0..12),
    ) {
        let vars: Vec<(&str, &str)> = vars.iter().map(|(i, v)| (VARIABLES[*i].name, v.as_str())).collect();
        match settings(&vars) {
            Ok(settings) => prop_assert_eq!(settings.effective.len(), VARIABLES.len()),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
