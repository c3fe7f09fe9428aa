//! Who may see and change jobs (contract 3.1). (p)
//!
//! With an `ADMIN_TOKEN` whoever has it. Without one, whoever is on this machine and is no web page: a page cannot forge
//! `Host` or `Origin`, and neither can the name that it was loaded from (DNS rebinding).

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use ring::digest::{SHA256, digest};

use crate::answer::{Answer, Code};
use crate::headers::WebPageRule;
use crate::secret::Secret;

/// Whether a client with this address may send this request; or what to answer.
pub(super) fn admit(token: Option<&Secret<String>>, peer: IpAddr, headers: &HeaderMap) -> Result<(), Answer> {
    match token {
        Some(token) if bears(headers, token) => Ok(()),
        Some(_) => {
            let message = "Jobs are for those who send the ADMIN_TOKEN of this process: Authorization: Bearer <token>.";
            Err(Answer::new(Code::Unauthorized, message))
        }
        None => admit_local(peer, headers),
    }
}

fn admit_local(peer: IpAddr, headers: &HeaderMap) -> Result<(), Answer> {
    let is_one_host = headers.get_all(HOST).iter().count() == 1;
    let refused = if !peer.to_canonical().is_loopback() {
        "this request came from another address"
    } else if !(is_one_host && WebPageRule::default().allows(headers)) {
        "this request names another Host, or comes from a web page"
    } else {
        return Ok(());
    };
    let message = format!(
        "Without an ADMIN_TOKEN jobs are for clients on this machine that ask localhost, and {refused}. Set ADMIN_TOKEN, and \
         send it: Authorization: Bearer <token>."
    );
    Err(Answer::new(Code::HostNotAllowed, message))
}

/// Whether the one `Authorization` of a request is this token (RFC 6750 §2.1).
fn bears(headers: &HeaderMap, token: &Secret<String>) -> bool {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let value = value.as_bytes();
    let Some(blank) = value.iter().position(|byte| *byte == b' ') else { return false };
    let (scheme, presented) = value.split_at(blank);
    scheme.eq_ignore_ascii_case(b"bearer") && is_same(presented.trim_ascii_start(), token.expose().as_bytes())
}

/// Compares secrets by their digests, all of them in any case: the time that it takes tells nothing of either.
fn is_same(presented: &[u8], secret: &[u8]) -> bool {
    let [presented, secret] = [presented, secret].map(|bytes| digest(&SHA256, bytes));
    presented.as_ref().iter().zip(secret.as_ref()).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const HERE: &str = "127.0.0.1";

    fn asked(token: Option<&str>, peer: &str, fields: &[(&'static str, &str)]) -> Result<(), Code> {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let mut headers = HeaderMap::new();
        fields.iter().map(field).for_each(|(name, value)| {
            headers.append(name, value);
        });
        let token = token.map(|token| Secret::new(token.to_owned()));
        admit(token.as_ref(), peer.parse().unwrap(), &headers).map_err(|answer| {
            assert!(answer.message.contains("ADMIN_TOKEN"), "it says what to change: {}", answer.message);
            answer.code
        })
    }

    #[test]
    fn with_a_token_whoever_sends_it_may() {
        for value in ["Bearer s3cret", "bearer s3cret", "BEARER   s3cret"] {
            let far = [("host", "forebay.example"), ("origin", "https://a.example"), ("authorization", value)];
            assert_eq!(asked(Some("s3cret"), "203.0.113.7", &far), Ok(()), "{value}");
        }
    }

    #[test]
    fn with_a_token_nobody_else_may() {
        for value in
            ["", "s3cret", "Bearer", "Bearer ", "Bearer s3cre", "Bearer s3cret2", "Bearer S3cret", "Basic s3cret"]
        {
            let fields = [("host", "localhost"), ("authorization", value)];
            assert_eq!(asked(Some("s3cret"), HERE, &fields), Err(Code::Unauthorized), "{value:?}");
        }
        assert_eq!(asked(Some("s3cret"), HERE, &[("host", "localhost")]), Err(Code::Unauthorized));
        let twice = [("authorization", "Bearer s3cret"), ("authorization", "Bearer s3cret")];
        assert_eq!(asked(Some("s3cret"), HERE, &twice), Err(Code::Unauthorized), "one, not one of several");
    }

    #[test]
    fn without_a_token_this_machine_may_under_its_own_name() {
        for peer in [HERE, "127.8.8.8", "::1", "::ffff:127.0.0.1"] {
            for host in ["localhost", "localhost:8789", "127.0.0.1:8789", "[::1]:8789", "a.localhost"] {
                assert_eq!(asked(None, peer, &[("host", host)]), Ok(()), "{peer} {host}");
            }
        }
        let with_a_token = [("host", "localhost"), ("authorization", "Bearer anything")];
        assert_eq!(asked(None, HERE, &with_a_token), Ok(()), "a token that nobody asked for is nothing");
    }

    #[test]
    fn without_a_token_other_machines_and_web_pages_may_not() {
        let refused = Err(Code::HostNotAllowed);
        for peer in ["203.0.113.7", "10.0.0.1", "::ffff:10.0.0.1", "fe80::1", "0.0.0.0"] {
            assert_eq!(asked(None, peer, &[("host", "localhost")]), refused, "{peer}");
        }
        for host in ["rebound.example", "localhost.example", "192.168.0.1", ""] {
            assert_eq!(asked(None, HERE, &[("host", host)]), refused, "{host:?}");
        }
        assert_eq!(asked(None, HERE, &[]), refused);
        assert_eq!(asked(None, HERE, &[("host", "localhost"), ("host", "localhost")]), refused);
        for origin in ["https://a.example", "http://localhost:8789", "null", ""] {
            assert_eq!(asked(None, HERE, &[("host", "localhost"), ("origin", origin)]), refused, "{origin:?}");
        }
        assert_eq!(asked(None, HERE, &[("host", "localhost"), ("sec-fetch-site", "cross-site")]), refused);
    }
}
