//! Any bytes of a client: what the upstream would see of them is unambiguous, and what the client gets is HTTP.
//!
//! Each input is read twice. `reading` gives it to hyper alone, byte by byte, and checks that our own scanners find the
//! same boundaries; `onward` checks what would be sent on for each request that hyper found. `answers` gives the same
//! bytes to a real client connection of the edge, whose upstream has no room and so answers nothing, and checks that
//! every request gets the answer that was to be expected, in order, and nothing else is written.
//!
//! The first byte of an input says how it is cut into pieces, and whether the client leaves when it has said all.

#![no_main]

mod answers;
mod onward;
mod reading;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::LazyLock;

use forebay::config::{Settings, render_problems};
use forebay::headers::Arrival;
use libfuzzer_sys::fuzz_target;

const ARRIVAL: Arrival = Arrival { peer: IpAddr::V4(Ipv4Addr::LOCALHOST), is_tls: false };

/// The settings of everything: a key of forebay's own, so that the client's must not pass.
static SETTINGS: LazyLock<Settings> = LazyLock::new(|| {
    let environment = [
        ("UPSTREAM_BASE_URL", "http://upstream.test/base"),
        ("UPSTREAM_API_KEY", "sk-ours"),
        ("UPSTREAM_MAX_ATTEMPTS", "1"),
        ("POOL_TIMEOUT_SECONDS", "0.01"),
    ];
    let environment = environment.map(|(name, value)| (name.into(), value.into()));
    let mut settings =
        Settings::from_env(environment).unwrap_or_else(|problems| panic!("{}", render_problems(&problems)));
    // Who may use the key is another story, and every host may send what is read here.
    settings.routes[0].web = None;
    settings
});

fuzz_target!(|data: &[u8]| {
    let Some((&manner, bytes)) = data.split_first() else { return };
    // That would be HTTP/2, which has a target of its own.
    if bytes.starts_with(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") {
        return;
    }
    // hyper alone refuses a `"` in a query, the edge does not; what it does instead has a property test of its own.
    let bytes: Vec<u8> = bytes.iter().map(|byte| if *byte == b'"' { b'\'' } else { *byte }).collect();
    let reading = reading::read(&bytes);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without I/O").block_on(async {
        let mut expected = Vec::new();
        for request in &reading.requests {
            let fate = onward::fate(request).await;
            let is_last = fate.is_last();
            expected.push(fate);
            if is_last {
                break;
            }
        }
        answers::check(&bytes, manner, &reading, &expected).await;
    });
});
