//! Addresses, files and limits of the machine in settings: what agrees with what.

use std::ffi::OsString;
use std::io;

use super::tests::{URL, one, settings, with_files};
use super::*;

#[test]
fn an_upstream_that_is_forebay_itself_is_a_problem() {
    for (listen, port, url) in [
        ("127.0.0.1", "8788", "http://127.0.0.1:8788/v1"),
        ("127.0.0.1", "8788", "http://localhost:8788"),
        ("localhost", "8788", "http://[::1]:8788"),
        ("0.0.0.0", "8788", "http://127.0.0.9:8788"),
        ("0.0.0.0", "8788", "http://0.0.0.0:8788"),
        ("::", "80", "http://127.0.0.1"),
        ("gate.example", "443", "https://Gate.Example"),
    ] {
        let vars = [("LISTEN_HOST", listen), ("LISTEN_PORT", port), ("UPSTREAM_BASE_URL", url)];
        let problem = one(settings(&vars));
        assert!(problem.contains("is the address that forebay itself listens on"), "{problem}");
    }
    for (listen, port, url) in [
        ("127.0.0.1", "8788", "http://127.0.0.1:8787"),
        ("127.0.0.1", "8788", "http://127.0.0.2:8788"),
        ("0.0.0.0", "8788", "http://10.0.0.1:8788"),
        ("0.0.0.0", "8788", "http://[::1]:8788"),
        ("127.0.0.1", "0", "http://127.0.0.1:8788"),
    ] {
        let vars = [("LISTEN_HOST", listen), ("LISTEN_PORT", port), ("UPSTREAM_BASE_URL", url)];
        assert!(settings(&vars).is_ok(), "{vars:?}");
    }
}

#[test]
fn two_listeners_on_one_socket_are_a_problem() {
    let problem = one(settings(&[URL, ("LISTEN_PORT", "8789")]));
    assert!(problem.starts_with("LISTEN_PORT=\"8789\": is the port of both"), "{problem}");
    assert!(settings(&[URL, ("ADMIN_PORT", "8788"), ("ADMIN_HOST", "0.0.0.0")]).is_err());
    assert!(settings(&[URL, ("ADMIN_PORT", "8788"), ("ADMIN_HOST", "127.0.0.2")]).is_ok());
    assert!(settings(&[URL, ("ADMIN_PORT", "0"), ("LISTEN_PORT", "0")]).is_ok());
}

#[test]
fn the_buffer_for_bodies_follows_the_memory_limit() {
    let max = |vars: &[(&str, &str)], limit: &str| {
        let files = [("/sys/fs/cgroup/memory.max", limit.as_bytes())];
        with_files(&[&[URL], vars].concat(), &files).unwrap().max_buffered.get()
    };
    assert_eq!(max(&[], "536870912\n"), 134_217_728);
    assert_eq!(max(&[], "8589934592\n"), 1 << 30);
    assert_eq!(max(&[], "max\n"), 1 << 30);
    assert_eq!(max(&[("MAX_BUFFERED_BYTES", "2GiB")], "536870912\n"), 2 << 30);
}

#[test]
fn further_roots_come_from_a_pem_file_with_certificates() {
    let certificate = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem();
    let vars = [URL, ("UPSTREAM_CA_FILE", "/ca.pem")];
    let read = |bytes: &[u8]| with_files(&vars, &[("/ca.pem", bytes)]);
    let two = read(format!("# ours\n{certificate}{certificate}").as_bytes()).unwrap();
    assert_eq!(two.routes[0].transport.extra_roots.len(), 2);

    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (bytes, reason) in [
        (&b""[..], "contains no certificate in PEM form"),
        (b"\x30\x82\x01\x00", "contains no certificate in PEM form"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n", "is not a PEM file that can be read to its end"),
        (no_certificate.as_bytes(), "contains a certificate that cannot be a root (number 1)"),
    ] {
        let problem = one(read(bytes));
        assert!(problem.starts_with("UPSTREAM_CA_FILE=\"/ca.pem\": ") && problem.contains(reason), "{problem}");
    }
    let missing = one(settings(&vars));
    assert!(missing.starts_with("UPSTREAM_CA_FILE=\"/ca.pem\": cannot be read: "), "{missing}");
}

#[test]
fn a_url_with_a_password_is_refused_without_showing_it() {
    for url in
        ["https://user:hidden@api.example", "https://hidden@api.example", "ftp://u:hidden@x", "https://x/?k=hidden"]
    {
        let problem = one(settings(&[("UPSTREAM_BASE_URL", url)]));
        assert!(problem.starts_with("UPSTREAM_BASE_URL: ") && !problem.contains("hidden"), "{problem}");
    }
    let problem = one(settings(&[("UPSTREAM_BASE_URL", "api.example")]));
    assert!(problem.starts_with("UPSTREAM_BASE_URL=\"api.example\": must start with http://"), "{problem}");
}

#[test]
fn a_value_that_is_no_text_is_one_problem_even_where_it_is_required() {
    use std::os::unix::ffi::OsStringExt;
    let bad = OsString::from_vec(b"http://x\xff".to_vec());
    let problem = one(Settings::resolve([("UPSTREAM_BASE_URL".into(), bad)], &|_| Err(io::ErrorKind::NotFound.into())));
    assert!(problem.starts_with("UPSTREAM_BASE_URL: is not UTF-8"), "{problem}");
}
