//! What may be kept, and for whom it is looked up (contract 7). (p)

use http::header::{
    AUTHORIZATION, CACHE_CONTROL, COOKIE, HeaderMap, HeaderName, PRAGMA, PROXY_AUTHORIZATION, SET_COOKIE,
    TRANSFER_ENCODING, VARY,
};
use http::{Response, Version};
use http_body::Body;

use super::key::{Asked, Scope};

/// Fields that say who asks. Beside them stands `UPSTREAM_API_KEY_HEADER`.
const CREDENTIALS: [HeaderName; 8] = [
    AUTHORIZATION,
    COOKIE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("openai-organization"),
    HeaderName::from_static("openai-project"),
    HeaderName::from_static("chatgpt-account-id"),
];

/// Whether a field says who asks: without it in the key, one user would be given another's answer. `key_header` is
/// `UPSTREAM_API_KEY_HEADER`.
pub fn is_credential(name: &HeaderName, key_header: &HeaderName) -> bool {
    CREDENTIALS.contains(name) || name == key_header
}

/// What a request lets the cache do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Permission {
    /// Nothing (`Cache-Control: no-store`).
    Nothing,
    /// Keep the answer, but give none that is there already (`no-cache`).
    Refresh,
    /// Both.
    Full,
}

impl Permission {
    /// Of a request with these fields. `Pragma` counts where there is no `Cache-Control` (RFC 9111 §5.4).
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let (control, pragma) = (&CACHE_CONTROL, &PRAGMA);
        if says(headers, control, "no-store") {
            Self::Nothing
        } else if says(headers, control, "no-cache")
            || (!headers.contains_key(control) && says(headers, pragma, "no-cache"))
        {
            Self::Refresh
        } else {
            Self::Full
        }
    }
}

/// What an answer must be like to be kept for one who asks the same again.
#[derive(Clone, Debug)]
pub(super) struct Conditions {
    scope: Scope<'static>,
    has_credential: bool,
    /// `CACHE_MAX_ENTRY_BYTES`.
    pub(super) max_length: u64,
}

impl Conditions {
    /// For an answer of at most so many bytes to this request.
    pub(super) fn new(scope: Scope<'_>, asked: &Asked<'_>, max_length: u64) -> Self {
        // Only what is in the key keeps one user's answer from another.
        let carries = |name: &HeaderName| {
            let is_replaced = asked.key_is_ours && name == asked.key_header;
            let is_there = if is_replaced { asked.owner.is_some() } else { asked.outbound.headers.contains_key(name) };
            is_there && scope.has(name)
        };
        let has_credential = CREDENTIALS.iter().chain([asked.key_header]).any(carries);
        Self { scope: scope.into_owned(), has_credential, max_length }
    }

    /// Whether an answer with this head may be kept, if it comes to a good end. What has cookies is for the one who asked,
    /// and without a credential nobody knows who that was.
    pub(super) fn allow<B: Body>(&self, response: &Response<B>) -> bool {
        let headers = response.headers();
        response.status().is_success()
            && !says(headers, &CACHE_CONTROL, "no-store")
            && !says(headers, &CACHE_CONTROL, "private")
            && (self.has_credential || !headers.contains_key(SET_COOKIE))
            && self.covers_variants(headers)
            && response.body().size_hint().lower() <= self.max_length
            && has_visible_end(response)
    }

    /// Whether whatever the answer varies on is in the key.
    fn covers_variants(&self, headers: &HeaderMap) -> bool {
        let is_covered = |name: &[u8]| {
            let name = name.trim_ascii();
            // "*" is a token as well, and so would be a name.
            name.is_empty() || (name != b"*" && HeaderName::from_bytes(name).is_ok_and(|name| self.scope.has(&name)))
        };
        headers.get_all(VARY).iter().all(|line| line.as_bytes().split(|byte| *byte == b',').all(is_covered))
    }
}

/// Whether an end can be told from a cut: by a length, by chunks, or by the frames of HTTP/2. A body that ends with its
/// connection looks the same when its upstream died.
fn has_visible_end<B: Body>(response: &Response<B>) -> bool {
    response.version() == Version::HTTP_2
        || response.body().is_end_stream()
        || response.body().size_hint().exact().is_some()
        || response.headers().contains_key(TRANSFER_ENCODING)
}

/// Whether a field lists a directive, with or without an argument. What is hidden in a quoted argument counts too: if in
/// doubt, nothing is kept.
fn says(headers: &HeaderMap, name: &HeaderName, directive: &str) -> bool {
    let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
    let is_it = |word: &[u8]| word.eq_ignore_ascii_case(directive.as_bytes());
    headers.get_all(name).iter().any(|line| line.as_bytes().split(|byte| !is_of_word(byte)).any(is_it))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, Method, StatusCode, Uri};
    use http_body_util::{Empty, Full, channel::Channel};

    use super::*;
    use crate::body::Payload;
    use crate::job::Owner;
    use crate::upstream::{BaseUrl, Outbound};

    const KEY_HEADER: HeaderName = HeaderName::from_static("x-key");

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    fn conditions(fields: &[(&'static str, &'static str)], excluded: &[HeaderName], ours: bool) -> Conditions {
        let outbound = Outbound {
            method: Method::GET,
            target: Uri::from_static("/"),
            quotes: Vec::new(),
            headers: map(fields),
            body: Payload::default(),
            is_upgrade: false,
        };
        let base = BaseUrl::parse("http://upstream.test").unwrap();
        let owner = Owner::of(&outbound.headers, &KEY_HEADER);
        let asked = Asked {
            route: "default",
            base: &base,
            outbound: &outbound,
            key_header: &KEY_HEADER,
            key_is_ours: ours,
            owner,
            forwarded_is_known: true,
        };
        Conditions::new(Scope::new(excluded, &asked, Permission::Full), &asked, 10)
    }

    fn answer<B>(fields: &[(&'static str, &'static str)], body: B) -> Response<B> {
        let mut response = Response::new(body);
        *response.headers_mut() = map(fields);
        response
    }

    fn empty(fields: &[(&'static str, &'static str)]) -> Response<Empty<Bytes>> {
        answer(fields, Empty::new())
    }

    /// Whether an answer of five bytes with these fields is kept, if the request had no credential.
    fn is_kept(fields: &[(&'static str, &'static str)]) -> bool {
        let conditions = conditions(&[], &[HeaderName::from_static("x-request-id")], false);
        conditions.allow(&answer(fields, Full::new(Bytes::from_static(b"12345"))))
    }

    #[test]
    fn a_request_says_what_the_cache_may_do() {
        for (fields, permission) in [
            (&[][..], Permission::Full),
            (&[("cache-control", "max-age=0")], Permission::Full),
            (&[("cache-control", "No-Cache")], Permission::Refresh),
            (&[("cache-control", "max-age=0"), ("cache-control", "a=b,no-cache")], Permission::Refresh),
            (&[("cache-control", "no-cache, no-store")], Permission::Nothing),
            (&[("cache-control", "NO-STORE")], Permission::Nothing),
            (&[("cache-control", "x-no-store")], Permission::Full),
            (&[("pragma", "no-cache")], Permission::Refresh),
            (&[("pragma", "no-cache"), ("cache-control", "max-age=5")], Permission::Full),
            (&[("pragma", "no-store")], Permission::Full),
        ] {
            assert_eq!(Permission::of(&map(fields)), permission, "{fields:?}");
        }
    }

    #[test]
    fn an_answer_is_kept_unless_it_forbids_it_or_is_for_one_alone() {
        for (fields, kept) in [
            (&[][..], true),
            (&[("cache-control", "no-cache")], true),
            (&[("cache-control", "public, max-age=0")], true),
            (&[("cache-control", "no-store")], false),
            (&[("cache-control", "max-age=5"), ("cache-control", "Private")], false),
            (&[("cache-control", "private=\"x-a\"")], false),
            (&[("cache-control", "max-age=5;no-store")], false),
            (&[("cache-control", "a=\"b, no-store\"")], false),
            (&[("cache-control", "not-private")], true),
            (&[("set-cookie", "a=1")], false),
            (&[("vary", "Accept-Encoding, Origin")], true),
            (&[("vary", "")], true),
            (&[("vary", "accept, *")], false),
            (&[("vary", "accept"), ("vary", "X-Request-Id")], false),
            (&[("vary", "a b")], false),
        ] {
            assert_eq!(is_kept(fields), kept, "{fields:?}");
        }
    }

    #[test]
    fn only_good_news_is_kept() {
        for status in 200..=599 {
            let mut response = empty(&[]);
            *response.status_mut() = StatusCode::from_u16(status).unwrap();
            assert_eq!(conditions(&[], &[], false).allow(&response), status < 300, "{status}");
        }
    }

    #[test]
    fn an_answer_with_cookies_is_kept_for_one_who_is_known_by_his_key() {
        let response = empty(&[("set-cookie", "a=1")]);
        for name in CREDENTIALS.iter().chain([&KEY_HEADER]) {
            let field = [(HeaderName::as_str(name), "1")].map(|(name, value)| (&*name.to_owned().leak(), value));
            assert!(conditions(&field, &[], false).allow(&response), "{name}");
            assert!(
                !conditions(&field, std::slice::from_ref(name), false).allow(&response),
                "{name} tells nobody apart"
            );
            assert!(is_credential(name, &KEY_HEADER));
        }
        assert!(!conditions(&[("x-other", "1")], &[], false).allow(&response));
        assert!(!is_credential(&HeaderName::from_static("x-other"), &KEY_HEADER));
        // What stands there is forebay's own key; whether the client had one is said by the owner.
        assert!(conditions(&[("x-key", "1")], &[], true).allow(&response));
        let mut anonymous = conditions(&[], &[], true);
        assert!(!anonymous.allow(&response));
        anonymous.has_credential = true;
        assert!(anonymous.allow(&response));
    }

    #[test]
    fn what_is_too_long_or_ends_with_its_connection_is_not_kept() {
        let conditions = conditions(&[], &[], false);
        let full = |length| answer(&[], Full::new(Bytes::from(vec![0; length])));
        assert!(conditions.allow(&full(10)) && !conditions.allow(&full(11)));
        let open = |fields| answer(fields, Channel::<Bytes>::new(1).1);
        assert!(!conditions.allow(&open(&[])));
        assert!(conditions.allow(&open(&[("transfer-encoding", "chunked")])));
        let mut response = open(&[]);
        *response.version_mut() = Version::HTTP_2;
        assert!(conditions.allow(&response));
    }
}
