//! What holds for every environment: secrets stay secret, keys stay at their origin, and nothing panics.

use proptest::prelude::*;

use super::super::{VARIABLES, declare, render_problems, report};
use super::tests::{URL, settings, with_files};
use super::*;

/// Everything about an environment that may be printed or logged.
fn rendered(result: &Result<Settings, Vec<Problem>>) -> String {
    match result {
        Ok(settings) => format!("{}{settings:?}", report(settings)),
        Err(problems) => format!("{}{problems:?}", render_problems(problems)),
    }
}

/// A name of a variable, of the process or of one of two routes.
fn name() -> impl Strategy<Value = String> {
    let of_routes: Vec<String> =
        ["A", "b1"].iter().flat_map(|route| declare::of_routes().map(|v| v.of_route(route))).collect();
    let global = VARIABLES.iter().map(|v| v.name.to_owned());
    proptest::sample::select(global.chain(of_routes).collect::<Vec<_>>())
}

/// Few origins, so that some are the same.
fn url() -> impl Strategy<Value = String> {
    proptest::sample::select(vec![
        "https://api.example",
        "https://API.example:443/v1",
        "http://api.example",
        "https://api.example:8443",
        "https://api.example.other",
        "https://other.example",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    /// Secrets are set where secrets belong, in names that are nearly right, and inside URLs.
    #[test]
    fn no_rendered_text_contains_a_secret(
        secret in "[!-~]{0,3}Zq7[ -~\\n\\t]{0,2}[!-~]{4}",
        places in proptest::collection::vec(0_usize..25, 1..6),
        others in proptest::collection::vec((name(), "[ -~é\\n]{0,12}"), 0..6),
        route in any::<bool>(),
    ) {
        let url = format!("http://user:{secret}@host");
        let redis = format!("redis://user:{secret}@host");
        let all = [
            ("UPSTREAM_API_KEY", secret.as_str()),
            ("UPSTREAM_API_KEY_FILE", "/run/key"),
            ("UPSTREAM_API_KYE", &secret),
            ("UPSTREAM_BASE_URL", &url),
            ("ALLOWED_ORIGINS", &url),
            ("REDIS_URL", &url),
            ("REDIS_URL", &redis),
            ("REDIS_URL_FILE", "/run/redis"),
            ("REDIS_URL_FILE", &secret),
            ("REDIS_URI", &redis),
            ("OUTBOUND_PROXY", &url),
            ("OUTBOUND_PROXY_FILE", "/run/key"),
            ("ADMIN_TOKEN", &secret),
            ("ADMIN_TOKEN_FILE", &secret),
            ("ADMIN_TOKEN_FILE", "/run/key"),
            ("ADMIN_TOKNE", &secret),
            ("ROUTE_A_UPSTREAM_API_KEY", &secret),
            ("ROUTE_A_UPSTREAM_API_KEY_FILE", "/run/key"),
            ("ROUTE_A_UPSTREAM_API_KYE", &secret),
            ("ROUTE_A_UPSTREAM_BASE_URL", &url),
            ("ROUTE_A_OUTBOUND_PROXY", &url),
            ("HTTPS_PROXY", &url),
            ("all_proxy", &url),
            ("TLS_KEY_FILE", &secret),
            ("UPSTREAM_BASE_URL", "http://api.example"),
        ];
        // What is surely a path is shown.
        prop_assume!(!secret.starts_with(['/', '.']));
        let mut vars: Vec<(&str, &str)> = places.iter().map(|place| all[*place]).collect();
        vars.extend(others.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        vars.push(URL);
        if route {
            vars.extend([("ROUTE_A_PREFIX", "/a"), ("ROUTE_A_UPSTREAM_BASE_URL", "https://api.example")]);
        }
        let text = rendered(&with_files(&vars, &[("/run/key", secret.as_bytes()), ("/run/redis", redis.as_bytes())]));
        prop_assert!(!text.contains("Zq7"), "{}", text);
    }

    #[test]
    fn a_key_and_a_proxy_with_a_password_never_reach_another_origin_by_inheritance(
        global in proptest::option::of(url()),
        routes in proptest::collection::vec((url(), any::<bool>()), 1..4),
    ) {
        let mut vars = vec![
            ("UPSTREAM_API_KEY".to_owned(), "global-key".to_owned()),
            ("OUTBOUND_PROXY".to_owned(), "socks5://global:password@proxy".to_owned()),
        ];
        vars.extend(global.clone().map(|url| ("UPSTREAM_BASE_URL".to_owned(), url)));
        for (i, (url, has_key)) in routes.iter().enumerate() {
            vars.push((format!("ROUTE_R{i}_PREFIX"), format!("/{i}")));
            vars.push((format!("ROUTE_R{i}_UPSTREAM_BASE_URL"), url.clone()));
            if *has_key {
                vars.push((format!("ROUTE_R{i}_UPSTREAM_API_KEY"), format!("key-{i}")));
            }
        }
        let vars: Vec<(&str, &str)> = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let settings = settings(&vars).unwrap();
        let origin = global.map(|url| crate::upstream::BaseUrl::parse(&url).unwrap().origin().clone());
        for route in &settings.routes {
            let sent = route.key.as_ref().map(|key| key.value.expose().to_str().unwrap().to_owned());
            let own = route.name.as_ref().map(|name| name[1..].parse::<usize>().unwrap()).filter(|i| routes[*i].1);
            let at_home = origin.as_ref() == Some(route.base.origin());
            let expected = match own {
                Some(i) => Some(format!("Bearer key-{i}")),
                None => at_home.then(|| "Bearer global-key".to_owned()),
            };
            prop_assert_eq!(sent, expected);
            prop_assert_eq!(route.transport.proxy.is_some(), at_home);
        }
    }

    /// Whatever asks, wherever it asks: it has a store, or the start is refused by its name.
    #[test]
    fn nothing_that_asks_for_a_store_starts_without_one(
        store in proptest::sample::select(vec!["", "auto", "embedded", "redis", "off"]),
        redis in any::<bool>(),
        roles in proptest::sample::select(vec!["", "front", "worker", "front,worker"]),
        global in any::<bool>(),
        asks in proptest::collection::vec((0_usize..5, any::<bool>()), 0..3),
    ) {
        let asking = [
            ("LANE", "queue"),
            ("QUEUE_PATHS", "^/q"),
            ("OVERSIZE", "queue"),
            ("OVERFLOW", "always"),
            ("CACHE", "store"),
        ];
        let mut vars: std::collections::BTreeMap<String, &str> = [
            ("STORE".to_owned(), store),
            ("ROLES".to_owned(), roles),
            ("REDIS_URL".to_owned(), if redis { "redis://cache" } else { "" }),
            ("QUEUE_MAX_BODY_BYTES".to_owned(), "64MiB"),
            ("UPSTREAM_BASE_URL".to_owned(), if global { "http://api.example" } else { "" }),
            ("ROUTE_A_PREFIX".to_owned(), "/a"),
            ("ROUTE_A_UPSTREAM_BASE_URL".to_owned(), "http://a.example"),
        ]
        .into();
        for (which, of_route) in &asks {
            let (name, value) = asking[*which];
            vars.insert(if *of_route { format!("ROUTE_A_{name}") } else { name.to_owned() }, value);
        }
        let vars: Vec<(&str, &str)> = vars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        let has_store = store != "off";
        let is_asked = !asks.is_empty() || roles == "worker" || matches!(store, "embedded" | "redis");
        let in_redis = store == "redis" || (redis && matches!(store, "" | "auto"));
        let is_alone = matches!(roles, "front" | "worker");
        match settings(&vars) {
            Ok(settings) => {
                prop_assert_eq!(settings.store.is_some(), has_store);
                prop_assert!(has_store || !is_asked);
                prop_assert!(!has_store || in_redis || !is_alone);
                prop_assert!(!in_redis || redis);
                prop_assert_eq!(settings.store.is_some_and(|store| store.is_required), has_store && is_asked);
                prop_assert_eq!(settings.store_asked_by.is_empty(), !is_asked);
            }
            Err(problems) => {
                let no_store = !has_store && is_asked;
                let nobody_there = has_store && !in_redis && is_alone;
                prop_assert!(no_store || nobody_there || (in_redis && !redis), "{}", render_problems(&problems));
                for problem in &problems {
                    prop_assert!(vars.iter().any(|(name, _)| *name == problem.name), "{}", problem);
                }
            }
        }
    }

    #[test]
    fn no_environment_makes_it_panic_and_every_refusal_has_a_reason(
        vars in proptest::collection::vec((name(), any::<String>()), 0..12),
    ) {
        let vars: Vec<(&str, &str)> = vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        match settings(&vars) {
            Ok(settings) => prop_assert!(settings.effective.len() >= VARIABLES.len()),
            Err(problems) => prop_assert!(!problems.is_empty()),
        }
    }
}
