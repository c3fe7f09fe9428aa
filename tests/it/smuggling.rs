//! Messages with two readings where at least one side speaks HTTP/2 (4; RFC 9113 §8.1.1, §8.2, §8.3, §10.3). Asserted is what
//! the *upstream* received. HTTP/1.1 on both sides is `guard/corpus.rs`.

mod from_http2;
mod to_http2;
