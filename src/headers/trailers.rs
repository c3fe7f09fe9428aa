//! Trailers: who takes them, who announces them, and what may not stand in them (RFC 9110 §6.5, §6.6.2).

use http::HeaderValue;
use http::header::{
    AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, EXPECT, HOST,
    HeaderMap, MAX_FORWARDS, SET_COOKIE, TE, TRAILER,
};

use super::Notable;
use super::hop::{CACHE_STATUS, strip_hop_by_hop, strip_malformed, strip_prefixed};

/// Whether a request says that its sender takes trailers (RFC 9110 §10.1.4).
pub fn are_accepted(headers: &HeaderMap) -> bool {
    let is_trailers = |item: &[u8]| item.trim_ascii().eq_ignore_ascii_case(b"trailers");
    headers.get_all(TE).iter().any(|line| line.as_bytes().split(|byte| *byte == b',').any(is_trailers))
}

/// What a message announces in `Trailer`, line by line.
pub fn announced(headers: &HeaderMap) -> Vec<HeaderValue> {
    headers.get_all(TRAILER).iter().cloned().collect()
}

/// Announces the trailers of a request whose body goes out in chunks because of them (RFC 9110 §6.6.2). What is not sent
/// with them is not announced: there are servers that refuse a request over the name of a framing field.
pub fn announce(headers: &mut HeaderMap, trailers: &HeaderMap) {
    headers.remove(CONTENT_LENGTH);
    let mut sent = trailers.clone();
    strip(&mut sent);
    for name in sent.keys() {
        headers.append(TRAILER, HeaderValue::from(name.clone()));
    }
}

/// Announces what the client announced, for a body that goes out in chunks as it comes.
pub fn announce_again(headers: &mut HeaderMap, announced: Vec<HeaderValue>) {
    for names in announced {
        headers.append(TRAILER, names);
    }
}

/// Removes from trailers what may not stand there (RFC 9110 §6.5.1): what ends at this hop, what frames, routes, controls
/// or authenticates a message, what only forebay may say, and names that HTTP/1.1 cannot write. These were decided upon
/// when the head came.
pub fn strip(trailers: &mut HeaderMap) {
    let notable = Notable::of(trailers);
    strip_hop_by_hop(trailers, notable);
    for name in [
        AUTHORIZATION,
        CACHE_CONTROL,
        CONTENT_ENCODING,
        CONTENT_LENGTH,
        CONTENT_RANGE,
        CONTENT_TYPE,
        EXPECT,
        HOST,
        MAX_FORWARDS,
        SET_COOKIE,
    ] {
        trailers.remove(name);
    }
    trailers.remove(CACHE_STATUS);
    strip_prefixed(trailers, notable);
    strip_malformed(trailers);
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields.iter().map(|(k, v)| (k.parse::<HeaderName>().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn trailers_frame_route_and_authenticate_nothing() {
        let mut trailers = map(&[
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
            ("connection", "x-named"),
            ("x-named", "1"),
            ("host", "a"),
            ("authorization", "Bearer x"),
            ("set-cookie", "a=b"),
            ("x-forebay-attempts", "7"),
            ("grpc-status", "0"),
            ("x-checksum", "1"),
        ]);
        trailers.insert(HeaderName::from_lowercase(b"x\"y").unwrap(), HeaderValue::from_static("1"));
        let mut head = HeaderMap::new();
        announce(&mut head, &trailers);
        let mut announced: Vec<_> = head.get_all(TRAILER).iter().map(|name| name.to_str().unwrap()).collect();
        announced.sort_unstable();
        assert_eq!(announced, ["grpc-status", "x-checksum"]);
        strip(&mut trailers);
        let mut left: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["grpc-status", "x-checksum"]);
    }
}
