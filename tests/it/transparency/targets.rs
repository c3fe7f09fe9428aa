//! Methods, paths and queries byte for byte, and the base path as a fence (3.2, 3.5, 4).

use super::{forebay_for, patient};
use crate::client::{get, request};
use crate::expect::{assert_error, assert_relayed};
use crate::upstream::{FakeUpstream, answer};

#[test]
fn methods_pass_unchanged() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for method in [
        "GET",
        "PUT",
        "DELETE",
        "OPTIONS",
        "TRACE",
        "PATCH",
        "PROPFIND",
        "MKCOL",
        "M-SEARCH",
        "get",
        "a!#$%&'*+-.^_`|~",
    ] {
        upstream.forget();
        assert_relayed(&forebay.ask(&request(method, "/m")), 200, "ok");
        assert_eq!(upstream.seen()[0].method, method);
    }
}

#[test]
fn targets_pass_byte_for_byte() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    let long = format!("/{}", "x".repeat(8000));
    let targets: Vec<&[u8]> = vec![
        b"/",
        b"/a%2fb",
        b"/a%2Fb",
        b"/%2E./x",
        b"/a/./b",
        b"/a/../b",
        b"/.",
        b"/..",
        b"//",
        b"//a//b",
        b"/a;p=1;q",
        b"/%E2%82%AC",
        b"/%e2%82%ac",
        b"/a%20b",
        b"/a%252Fb",
        b"/a%3Fb",
        b"/a%5Cb",
        b"/%",
        b"/%zz",
        b"/:80",
        b"/http://other/x",
        b"/@x",
        b"/caf\xc3\xa9",
        b"/a\"b",
        b"/a|b",
        b"/a^b",
        b"/a\\b",
        b"/{a}",
        b"/q?",
        b"/q??",
        b"/q?a=1&a=2&",
        b"/q?a=b+c&d=%20",
        b"/q?%",
        b"/q?a/b:c@d",
        b"/q?{a}|b^c\\d`e",
        b"/q?{\"a\"}'\"",
        b"/\"q\"?query=up{job=\"x\"}",
        b"/q?caf\xc3\xa9",
        long.as_bytes(),
    ];
    for target in targets {
        upstream.forget();
        let response = forebay.ask(&get(target));
        assert_eq!(response.status, 200, "{}: {response:?}", target.escape_ascii());
        let seen = upstream.seen();
        assert_eq!(seen[0].target.escape_ascii().to_string(), target.escape_ascii().to_string());
    }
}

#[test]
fn an_absolute_target_that_agrees_with_its_host_is_served() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for (target, expected) in [("http://forebay.test/x%2Fy?q", "/x%2Fy?q"), ("http://forebay.test/", "/")] {
        upstream.forget();
        assert_relayed(&forebay.get(target), 200, "ok");
        let seen = upstream.seen();
        assert_eq!(seen[0].path(), expected);
        assert_eq!(seen[0].all("host"), [upstream.authority().as_bytes()]);
    }
}

#[test]
fn options_for_the_whole_server_goes_to_the_root() {
    let upstream = FakeUpstream::start();
    assert_relayed(&forebay_for(&upstream).ask(&request("OPTIONS", "*")), 200, "ok");
    let seen = upstream.seen();
    assert_eq!((seen[0].method.as_str(), seen[0].path().as_str()), ("OPTIONS", "/"));
}

#[test]
fn path_and_query_are_appended_to_the_base_path() {
    let upstream = FakeUpstream::start();
    for (base, target, expected) in [
        ("/base", "/v1/x?y=1", "/base/v1/x?y=1"),
        ("/base/", "/v1", "/base/v1"),
        ("/a%2Fb", "/c?", "/a%2Fb/c?"),
        ("/base", "/", "/base/"),
        ("/base", "/?x", "/base/?x"),
        ("/base", "//x", "/base//x"),
        ("/", "/x", "/x"),
    ] {
        upstream.forget();
        let forebay = patient(&upstream).set("UPSTREAM_BASE_URL", format!("{}{base}", upstream.url())).start();
        assert_relayed(&forebay.get(target), 200, "ok");
        assert_eq!(upstream.seen()[0].path(), expected);
    }
}

#[test]
fn a_base_path_is_a_fence_for_dot_segments() {
    let upstream = FakeUpstream::start();
    let forebay = patient(&upstream).set("UPSTREAM_BASE_URL", format!("{}/base", upstream.url())).start();
    for target in [
        "/..",
        "/../x",
        "/.",
        "/./x",
        "/a/..",
        "/a/../b",
        "/a/.",
        "/%2e%2e/x",
        "/%2E./x",
        "/.%2e",
        "/%2e",
        "/a%2f..%2fb",
        "/a%2F%2e%2e",
        "/a%5c..%5cb",
        "/a%5C..",
        "/a\\..\\b",
        "/a\\..",
        "/..?q",
    ] {
        assert_error(&forebay.get(target), 400, "bad_request");
    }
    assert!(upstream.seen().is_empty(), "{:#?}", upstream.seen());
    for target in ["/...", "/..a", "/a..", "/a..b/c", "/.well-known/x", "/a?x=/../y", "/a?.."] {
        upstream.forget();
        assert_relayed(&forebay.get(target), 200, "ok");
        assert_eq!(upstream.seen()[0].path(), format!("/base{target}"));
    }
}

#[test]
fn redirects_are_not_followed() {
    let upstream = FakeUpstream::start();
    let forebay = forebay_for(&upstream);
    for status in [301, 302, 303, 307, 308] {
        upstream.forget();
        upstream
            .script([answer(status).field("Location", format!("{}/elsewhere", upstream.url())).body("there").into()]);
        let response = forebay.get("/");
        assert_relayed(&response, status, "there");
        assert_eq!(response.get("location"), Some(format!("{}/elsewhere", upstream.url())));
        assert_eq!(upstream.seen().len(), 1);
    }
}
