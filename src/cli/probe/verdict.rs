//! What an answer says about the configuration: its status, and how long its head took.

use std::time::Duration;

use http::StatusCode;

use super::ask::Answer;
use super::variables::Variables;
use crate::routes::RouteSettings;
use crate::time::Human;

/// What is to be changed because of a status, if anything. Most statuses only say that the upstream answers.
pub(super) fn of_status(answer: &Answer, route: &RouteSettings, names: &Variables<'_>) -> Option<String> {
    let (status, url) = (answer.status, names.of("UPSTREAM_BASE_URL"));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => route.key.as_ref().map(|key| {
            format!(
                "it does not take the key of {} ({status}): look at the key itself, at {} ({}), and at {}.",
                names.of("UPSTREAM_API_KEY"),
                names.of("UPSTREAM_API_KEY_HEADER"),
                key.header,
                names.of("UPSTREAM_API_KEY_PREFIX"),
            )
        }),
        _ if answer.is_for_https => Some(format!("its port is for TLS: write https:// in {url}.")),
        _ if status.is_redirection() => answer
            .leads_to
            .as_ref()
            .filter(|to| **to != route.base.origin().to_string())
            .map(|to| format!("it sends clients on to {to}, and forebay follows no redirect: name that in {url}.")),
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Some(format!(
            "it is not well, or what is behind it ({status}). Such an answer passes to clients as it is; with \
             RETRY_STATUSES={} it would be asked for again.",
            status.as_u16()
        )),
        _ => None,
    }
}

/// What a status means, where it may look like a problem and is none.
pub(super) fn remark(status: StatusCode, route: &RouteSettings) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN if route.key.is_none() => {
            "; it wants credentials, which clients bring"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => "; nothing is there to GET, and it answers",
        StatusCode::TOO_MANY_REQUESTS => "; it limits the rate of requests, and it answers",
        _ => "",
    }
}

/// How much of the header deadline was used, and what to change if that was much.
pub(super) fn of_time(slowest: Duration, route: &RouteSettings, names: &Variables<'_>) -> (String, Option<String>) {
    let deadline = route.policy.header_deadline;
    let share = slowest.as_secs_f64() / deadline.as_secs_f64() * 100.0;
    let used = if share < 0.1 { "less than 0.1 %".to_owned() } else { format!("{share:.1} %") };
    let line = format!("{} for headers; the slowest of these took {used} of it", Human(deadline));
    let change = (share > 50.0).then(|| {
        format!(
            "headers of a simple GET took {} of the {} that {} allows, and what clients ask for takes longer: raise it to \
             several times that.",
            shown(slowest),
            Human(deadline),
            names.of("RESPONSE_HEADER_TIMEOUT_SECONDS")
        )
    });
    (line, change)
}

/// A measured time, with as many digits as mean something.
pub(super) fn shown(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    match seconds {
        ..0.01 => format!("{:.1} ms", seconds * 1000.0),
        ..1.0 => format!("{:.0} ms", seconds * 1000.0),
        _ => format!("{seconds:.1} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_is_nearly_used_up_is_to_be_raised() {
        let route = RouteSettings::for_tests(1, 1);
        let names = Variables::new(&[], &route);
        let (line, change) = of_time(Duration::from_millis(300), &route, &names);
        assert_eq!((line.as_str(), change), ("30s for headers; the slowest of these took 1.0 % of it", None));
        assert!(of_time(Duration::from_micros(10), &route, &names).0.contains("less than 0.1 %"));
        let (_, change) = of_time(Duration::from_secs(16), &route, &names);
        let change = change.unwrap();
        assert!(change.contains("took 16.0 s of the 30s that RESPONSE_HEADER_TIMEOUT_SECONDS allows"), "{change}");
    }

    #[test]
    fn times_have_as_many_digits_as_mean_something() {
        for (micros, text) in [(340, "0.3 ms"), (9_000, "9.0 ms"), (12_300, "12 ms"), (1_250_000, "1.2 s")] {
            assert_eq!(shown(Duration::from_micros(micros)), text);
        }
    }
}
