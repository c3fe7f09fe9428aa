//! Under which key an answer is kept: a digest of all that was asked. (p)
//!
//! Two requests have the same key only if their upstream cannot tell them apart, but by what was excluded on purpose. The
//! encoding is injective: every text stands behind its length, and every list behind the number of its items.

use std::borrow::Cow;
use std::fmt;

use http::header::{CACHE_CONTROL, PRAGMA};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::digest::{Context, SHA256};

use super::rules::Permission;
use crate::body::Snapshot;
use crate::headers::forwarded;
use crate::job::Owner;
use crate::upstream::{BaseUrl, Outbound};

/// The key of an answer. Neither the request nor a credential can be told from it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey([u8; 32]);

impl CacheKey {
    /// For a store.
    pub const fn get(self) -> [u8; 32] {
        self.0
    }

    /// For tests of those who only hand keys on.
    #[cfg(test)]
    pub(crate) const fn for_tests(byte: u8) -> Self {
        Self([byte; 32])
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As much as tells two of them apart in a log.
        write!(f, "CacheKey({:02x}{:02x}{:02x}{:02x}…)", self.0[0], self.0[1], self.0[2], self.0[3])
    }
}

/// A request as the cache sees it: what the upstream is sent, and what it is sent without.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The route's label: routes share no entry.
    pub route: &'a str,
    /// The route's upstream.
    pub base: &'a BaseUrl,
    /// The request. Nothing that ended at this hop is in it.
    pub outbound: &'a Outbound,
    /// `UPSTREAM_API_KEY_HEADER`.
    pub key_header: &'a HeaderName,
    /// `UPSTREAM_API_KEY` is set: what `outbound` has in that field is forebay's, and not the client's.
    pub key_is_ours: bool,
    /// The client's credentials, as [`Owner::of`] found them before any was replaced.
    pub owner: Option<Owner>,
    /// Forebay has set `X-Forwarded-*` and `X-Real-IP` or removed them, or the peer that sent them is trusted. Otherwise
    /// they are what a client says, and the answer may depend on it.
    pub forwarded_is_known: bool,
}

/// Which request fields belong to a key.
#[derive(Clone, Debug)]
pub(super) struct Scope<'a> {
    excluded: Cow<'a, [HeaderName]>,
    forwarded_is_known: bool,
    /// The request wants the entry renewed for all who ask without saying so.
    is_refresh: bool,
}

impl<'a> Scope<'a> {
    pub(super) fn new(excluded: &'a [HeaderName], asked: &Asked<'_>, permission: Permission) -> Self {
        let is_refresh = permission == Permission::Refresh;
        Self { excluded: excluded.into(), forwarded_is_known: asked.forwarded_is_known, is_refresh }
    }

    /// For as long as it takes.
    pub(super) fn into_owned(self) -> Scope<'static> {
        Scope { excluded: self.excluded.into_owned().into(), ..self }
    }

    /// Whether requests that differ in this field have different keys.
    pub(super) fn has(&self, name: &HeaderName) -> bool {
        if self.is_refresh && (*name == CACHE_CONTROL || *name == PRAGMA) {
            return false;
        }
        !self.excluded.contains(name) || (forwarded::says_whence(name) && !self.forwarded_is_known)
    }
}

/// A key in the making: everything but the bytes of the body, which are fed as they lie.
pub(super) struct KeyMaker(Context);

impl KeyMaker {
    pub(super) fn new(asked: &Asked<'_>, scope: &Scope<'_>, body: &Snapshot) -> Self {
        let Asked { outbound, key_header, .. } = *asked;
        let mut maker = Self(Context::new(&SHA256));
        maker.text(asked.route.as_bytes());
        maker.text(asked.base.to_string().as_bytes());
        maker.text(outbound.method.as_str().as_bytes());
        maker.text(&target_as_sent(outbound));
        let is_ours = |name: &HeaderName| asked.key_is_ours && name == key_header;
        // The key that forebay adds is the same for all; whose request it was is said by the one that it replaced.
        let owner = asked.owner.filter(|_| is_ours(key_header) && scope.has(key_header)).map(Owner::get);
        maker.text(owner.as_ref().map_or(&[], |owner| owner));
        maker.fields(&outbound.headers, |name| scope.has(name) && !is_ours(name));
        match body.trailers() {
            Some(trailers) => maker.fields(trailers, |_| true),
            None => maker.number(0),
        }
        maker.number(body.len());
        maker
    }

    /// The next bytes of the body.
    pub(super) fn feed(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    pub(super) fn finish(self) -> CacheKey {
        let mut bytes = [0; 32];
        // SHA-256 has 32 bytes.
        bytes.iter_mut().zip(self.0.finish().as_ref()).for_each(|(to, from)| *to = *from);
        CacheKey(bytes)
    }

    /// The order of fields of one name belongs to the key, that of different names does not (RFC 9110 §5.3).
    fn fields(&mut self, fields: &HeaderMap, belongs: impl Fn(&HeaderName) -> bool) {
        let mut names: Vec<&HeaderName> = fields.keys().filter(|name| belongs(name)).collect();
        names.sort_unstable_by_key(|name| name.as_str());
        self.number(names.len() as u64);
        for name in names {
            let values = fields.get_all(name);
            self.text(name.as_str().as_bytes());
            self.number(values.iter().count() as u64);
            values.iter().map(HeaderValue::as_bytes).for_each(|value| self.text(value));
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.0.update(text);
    }

    fn number(&mut self, number: u64) {
        self.0.update(&number.to_le_bytes());
    }
}

/// Path and query, each `"` back in its place.
fn target_as_sent(outbound: &Outbound) -> Vec<u8> {
    let mut target = outbound.target.path_and_query().map_or("", |target| target.as_str()).as_bytes().to_vec();
    for offset in &outbound.quotes {
        if let Some(byte) = target.get_mut(*offset) {
            *byte = b'"';
        }
    }
    target
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Poll, Waker};
    use std::time::Duration;

    use bytes::Bytes;
    use http::{Method, Uri};
    use http_body_util::{BodyExt, Full};
    use proptest::prelude::*;

    use super::*;
    use crate::body::{Collected, Limits, Payload, Quota};
    use crate::time::LazyDeadline;

    /// What can be varied of a request.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    struct Model {
        route: &'static str,
        base: usize,
        method: &'static str,
        target: &'static str,
        quotes: Vec<usize>,
        fields: Vec<(&'static str, &'static str)>,
        trailers: Vec<(&'static str, &'static str)>,
        owner: Option<u8>,
        key_is_ours: bool,
        forwarded_is_known: bool,
        body: Vec<&'static [u8]>,
    }

    const BASES: [&str; 3] = ["http://a", "http://a/b", "https://a"];
    const EXCLUDED: [HeaderName; 3] = [
        HeaderName::from_static("x-request-id"),
        HeaderName::from_static("x-forwarded-for"),
        HeaderName::from_static("x-real-ip"),
    ];
    const KEY_HEADER: HeaderName = HeaderName::from_static("x-api-key");

    fn map(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (HeaderName::from_static(k), HeaderValue::from_static(v))).collect()
    }

    fn snapshot(bytes: &[u8], trailers: HeaderMap) -> Snapshot {
        let trailers = Box::pin(async { Some(trailers).filter(|trailers| !trailers.is_empty()).map(Ok) });
        let mut body = Full::new(Bytes::copy_from_slice(bytes)).with_trailers(trailers);
        let (quota, mut clock) = (Quota::new(100), LazyDeadline::default());
        let limits = Limits { max: 100, progress: Duration::from_secs(1) };
        let mut collecting = pin!(Snapshot::collect(&mut body, limits, &quota, &mut clock));
        match collecting.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Ready(Ok(Collected::Whole(snapshot))) => snapshot,
            other => panic!("{other:?}"),
        }
    }

    impl Model {
        fn plain() -> Self {
            Self { route: "default", method: "GET", target: "/x?y='1'", ..Self::default() }
        }

        fn with(fields: &[(&'static str, &'static str)]) -> Self {
            Self { fields: fields.to_vec(), ..Self::plain() }
        }

        fn key_under(&self, permission: Permission) -> CacheKey {
            let body = snapshot(&self.body.concat(), map(&self.trailers));
            let outbound = Outbound {
                method: Method::from_bytes(self.method.as_bytes()).unwrap(),
                target: Uri::from_static(self.target),
                quotes: self.quotes.clone(),
                headers: map(&self.fields),
                body: Payload::Kept(body.clone()),
                is_upgrade: false,
            };
            let asked = Asked {
                route: self.route,
                base: &BaseUrl::parse(BASES[self.base]).unwrap(),
                outbound: &outbound,
                key_header: &KEY_HEADER,
                key_is_ours: self.key_is_ours,
                owner: self.owner.map(|byte| Owner::new([byte; 32])),
                forwarded_is_known: self.forwarded_is_known,
            };
            let mut maker = KeyMaker::new(&asked, &Scope::new(&EXCLUDED, &asked, permission), &body);
            body.pieces().iter().for_each(|piece| maker.feed(piece));
            maker.finish()
        }

        fn key(&self) -> CacheKey {
            self.key_under(Permission::Full)
        }

        /// What the key has to be injective over.
        fn essence(&self) -> impl PartialEq + use<> {
            let grouped = |fields: &[(&'static str, &'static str)], all: bool| {
                let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
                for (name, value) in fields {
                    let is_forwarded = ["x-forwarded-for", "x-real-ip"].contains(name);
                    let is_left_out = *name == "x-request-id"
                        || (is_forwarded && self.forwarded_is_known)
                        || (*name == "x-api-key" && self.key_is_ours);
                    if all || !is_left_out {
                        groups.entry(name).or_default().push(value);
                    }
                }
                groups
            };
            let byte = |(i, byte)| if self.quotes.contains(&i) { b'"' } else { byte };
            let target: Vec<u8> = self.target.bytes().enumerate().map(byte).collect();
            let owner = self.owner.filter(|_| self.key_is_ours);
            let fields = (grouped(&self.fields, false), grouped(&self.trailers, true));
            (self.route, self.base, self.method, target, owner, fields, self.body.concat())
        }
    }

    fn fields() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
        let name =
            prop::sample::select(vec!["x-a", "x-ab", "x-request-id", "x-forwarded-for", "x-real-ip", "x-api-key"]);
        let value = prop::sample::select(vec!["", "1", "b", "x-ab", "1, 1", "b: 1"]);
        prop::collection::vec((name, value), 0..4)
    }

    prop_compose! {
        fn model()(
            route in prop::sample::select(vec!["a", "ab"]),
            base in 0..BASES.len(),
            method in prop::sample::select(vec!["GET", "GE", "POST"]),
            target in prop::sample::select(vec!["/", "/b", "/b?'", "/b?'&'", "/?"]),
            quoted in any::<[bool; 2]>(),
            fields in fields(),
            trailers in prop::collection::vec(prop::sample::select(vec![("x-a", "1"), ("x-ab", "b")]), 0..2),
            owner in prop::option::of(0u8..2),
            key_is_ours in any::<bool>(),
            forwarded_is_known in any::<bool>(),
            body in prop::collection::vec(prop::sample::select(vec![&b"1"[..], b"11", b"x-ab"]), 0..3),
        ) -> Model {
            let apostrophes = target.bytes().enumerate().filter(|(_, byte)| *byte == b'\'').map(|(i, _)| i);
            let quotes = apostrophes.zip(quoted).filter(|(_, quoted)| *quoted).map(|(i, _)| i).collect();
            Model {
                route, base, method, target, quotes, fields, trailers, owner, key_is_ours, forwarded_is_known, body,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// One thing of a request is another's: what is different has another key, and what is not has the same.
        #[test]
        fn two_requests_have_one_key_if_and_only_if_they_ask_the_same(one in model(), other in model(), which in 0..10) {
            let mut two = one.clone();
            match which {
                0 => two.route = other.route,
                1 => two.base = other.base,
                2 => two.method = other.method,
                3 => (two.target, two.quotes) = (other.target, other.quotes),
                4 => two.fields = other.fields,
                5 => two.trailers = other.trailers,
                6 => two.owner = other.owner,
                7 => two.body = other.body,
                8 => two.fields.reverse(),
                _ => two = other,
            }
            prop_assert_eq!(one.essence() == two.essence(), one.key() == two.key());
        }
    }

    #[test]
    fn no_field_can_stand_for_another() {
        let keys = [
            &[("x-a", "1"), ("x-a", "x-b"), ("x-a", "2")][..],
            &[("x-a", "1"), ("x-b", "2")],
            &[("x-a", "1 x-b"), ("x-c", "2")],
            &[("x-a", "1"), ("x-b", "x-c 2")],
            &[("x-a", "1, 2")],
            &[("x-a", "1"), ("x-a", "2")],
            &[("x-a", "2"), ("x-a", "1")],
            &[("x-ab", "c")],
            &[("x-a", "bc")],
            &[("x-a", "")],
            &[],
            &[("range", "bytes=0-1")],
            &[("if-none-match", "\"1\"")],
        ]
        .map(|fields| Model::with(fields).key());
        for (i, key) in keys.iter().enumerate() {
            assert!(!keys[i + 1..].contains(key), "number {i}");
        }
    }

    #[test]
    fn forwarded_fields_that_anybody_could_have_written_belong_to_the_key() {
        for name in ["x-forwarded-for", "x-real-ip"] {
            let (one, two) = (Model::with(&[(name, "1.1.1.1")]), Model::with(&[(name, "2.2.2.2")]));
            assert_ne!(one.key(), two.key(), "{name}");
            let known = |model| Model { forwarded_is_known: true, ..model };
            assert_eq!(known(one).key(), known(two).key(), "{name}");
        }
        // It is known, and nobody has excluded it.
        let host = |host| Model { forwarded_is_known: true, ..Model::with(&[("x-forwarded-host", host)]) };
        assert_ne!(host("a").key(), host("b").key());
    }

    #[test]
    fn whoever_is_replaced_by_the_upstreams_key_is_still_told_apart() {
        let of = |owner| Model { key_is_ours: true, owner, ..Model::with(&[("x-api-key", "forebay's")]) };
        assert_ne!(of(Some(1)).key(), of(Some(2)).key());
        assert_ne!(of(Some(1)).key(), of(None).key());
        let rotated = Model { fields: vec![("x-api-key", "another")], ..of(None) };
        assert_eq!(of(None).key(), rotated.key(), "the key of the upstream itself is of no account");
        assert_ne!(Model::with(&[("x-api-key", "a")]).key(), Model::with(&[("x-api-key", "b")]).key());
    }

    #[test]
    fn a_refresh_renews_the_entry_of_those_who_do_not_ask_for_one() {
        let plain = Model::plain().key();
        let refresh = Model::with(&[("cache-control", "no-cache"), ("pragma", "no-cache")]);
        assert_eq!(refresh.key_under(Permission::Refresh), plain);
        assert_ne!(Model::with(&[("cache-control", "max-age=0")]).key(), plain, "what else is asked for is asked for");
    }

    #[test]
    fn a_key_does_not_tell_what_it_is_made_of() {
        assert_eq!(format!("{:?}", CacheKey([0xab; 32])), "CacheKey(abababab…)");
    }
}
