//! One request on an HTTP/2 connection: what goes out, what comes back, and what went wrong. In paused time.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;
use h2::server::Builder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::sharing_tests::{answer, fetch, get, next, outbound, passing, pool, send, serve_one, while_serving};
use super::{Breach, Failure, Http2, Phase, Progress, Timeouts, attempt};
use crate::body::ClientFault;

#[tokio::test(start_paused = true)]
async fn what_the_upstream_did_not_process_reached_nobody_and_is_to_be_replaced() {
    for goes_away in [false, true] {
        let (pool, mut upstream) = pool(Http2::PriorKnowledge, 10, 1000);
        let script = async {
            let mut stream = upstream.recv().await.unwrap();
            if goes_away {
                // SETTINGS, and GOAWAY with 0 as the last id.
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
                stream.read_exact(&mut [0; 100]).await.unwrap();
                stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).await.unwrap();
                sleep(Duration::from_secs(1)).await;
            } else {
                let mut server = Builder::new().handshake::<_, Bytes>(stream).await.unwrap();
                next(&mut server).await.1.send_reset(Reason::REFUSED_STREAM);
                while_serving(&mut server, sleep(Duration::from_secs(1))).await;
            }
        };
        let outbound = get("/");
        let (end, ()) = tokio::join!(send(&pool, &outbound), script);
        let failure = end.unwrap_err();
        assert!(matches!(failure, Failure::Broken(Breach::Unprocessed, ..)), "{failure:?}");
        assert!(failure.is_stale() && !failure.may_have_reached(), "{failure:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_reset_otherwise_is_an_answer_and_harms_no_other() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 10, 1000);
    let script = async {
        let mut server = serve_one(&mut upstream, 100).await;
        answer(&mut next(&mut server).await.1, "warm");
        let (_, mut one) = next(&mut server).await;
        let (_, mut other) = next(&mut server).await;
        one.send_reset(Reason::INTERNAL_ERROR);
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
        answer(&mut other, "fine");
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
    };
    let client = async {
        assert_eq!(fetch(&pool, "/").await.unwrap(), "warm");
        let (one, other) = tokio::join!(fetch(&pool, "/"), fetch(&pool, "/"));
        let failure = one.unwrap_err();
        assert!(matches!(failure, Failure::Broken(Breach::Reset, ..)), "{failure:?}");
        assert!(!failure.is_stale() && failure.may_have_reached());
        assert_eq!(other.unwrap(), "fine");
    };
    tokio::join!(script, client);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_served_and_then_closed_without_a_word_was_stale_and_a_new_one_was_not() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 10, 1000);
    let script = async {
        let mut server = serve_one(&mut upstream, 100).await;
        answer(&mut next(&mut server).await.1, "warm");
        drop(next(&mut server).await);
        drop(server);
        let mut server = serve_one(&mut upstream, 100).await;
        drop(next(&mut server).await);
        drop(server);
    };
    let client = async {
        assert_eq!(fetch(&pool, "/").await.unwrap(), "warm");
        for was_stale in [true, false] {
            let failure = fetch(&pool, "/").await.unwrap_err();
            assert!(matches!(failure, Failure::Broken(Breach::Closed, ..)), "{failure:?}");
            assert!(failure.is_stale() == was_stale && failure.may_have_reached(), "{failure:?}");
        }
    };
    tokio::join!(script, client);
}

#[tokio::test(start_paused = true)]
async fn a_request_goes_out_as_http2_wants_it_with_its_trailers_and_so_does_the_answer_come_back() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let trailers = HeaderMap::from_iter([(HeaderName::from_static("x-sum"), HeaderValue::from_static("1"))]);
    let (mut sender, body) = passing();
    sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
    sender.send_trailers(trailers.clone()).await.unwrap();
    let mut outbound = outbound(Method::PUT, "/a%2Fb?q='x'", body);
    outbound.quotes = vec![9, 11];
    for (name, value) in [("te", "trailers"), ("transfer-encoding", "chunked"), ("trailer", "x-sum"), ("x", "y")] {
        outbound.headers.insert(name, HeaderValue::from_static(value));
    }
    let script = async {
        let mut server = serve_one(&mut upstream, 100).await;
        let (request, mut respond) = next(&mut server).await;
        assert_eq!(request.uri(), "https://u.example:8443/a%2Fb?q=%22x%22");
        assert_eq!(request.method(), Method::PUT);
        let mut names: Vec<_> = request.headers().keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["te", "trailer", "x"]);
        let mut body = request.into_body();
        let received = while_serving(&mut server, async { (body.data().await, body.trailers().await) }).await;
        assert_eq!(received.0.unwrap().unwrap(), "abc");
        assert_eq!(received.1.unwrap(), Some(trailers.clone()));
        let mut stream = respond.send_response(Response::new(()), false).unwrap();
        stream.send_data(Bytes::from_static(b"ok"), false).unwrap();
        let mut sent = trailers.clone();
        sent.insert("content-type", HeaderValue::from_static("text/plain"));
        stream.send_trailers(sent).unwrap();
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
    };
    let client = async {
        let body = send(&pool, &outbound).await.unwrap().body.collect().await.unwrap();
        assert_eq!(body.trailers(), Some(&trailers));
        assert_eq!(body.to_bytes(), "ok");
    };
    tokio::join!(script, client);
}

#[tokio::test(start_paused = true)]
async fn a_head_that_comes_during_the_upload_ends_it_and_the_end_of_the_answer_resets_the_stream() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let (mut sender, body) = passing();
    let outbound = outbound(Method::POST, "/", body);
    let script = async {
        let mut server = serve_one(&mut upstream, 1).await;
        let (request, mut respond) = next(&mut server).await;
        let mut stream = respond.send_response(Response::builder().status(413).body(()).unwrap(), false).unwrap();
        while_serving(&mut server, sleep(Duration::from_secs(5))).await;
        stream.send_data(Bytes::from_static(b"too large"), true).unwrap();
        let mut body = request.into_body();
        let error = while_serving(&mut server, body.data()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL));
        answer(&mut next(&mut server).await.1, "next");
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
    };
    let client = async {
        let head = send(&pool, &outbound).await.unwrap();
        assert_eq!(head.parts.status, 413);
        assert_eq!(head.body.collect().await.unwrap().to_bytes(), "too large");
        sleep(Duration::from_secs(1)).await;
        // The upstream allows one stream: it is free again.
        assert_eq!(fetch(&pool, "/").await.unwrap(), "next");
        drop(sender.send_data(Bytes::new()).await);
    };
    tokio::join!(script, client);
}

#[tokio::test(start_paused = true)]
async fn an_upload_that_an_answer_ended_keeps_no_window_from_its_neighbours() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let script = async {
        // The window of the connection is 64 KiB, that of a stream is no limit.
        let stream = upstream.recv().await.unwrap();
        let mut server = Builder::new().initial_window_size(1 << 20).handshake::<_, Bytes>(stream).await.unwrap();
        let mut held = Vec::new();
        for _ in 0..4 {
            let (request, mut respond) = next(&mut server).await;
            while_serving(&mut server, sleep(Duration::from_secs(1))).await;
            held.push((request.into_body(), respond.send_response(Response::new(()), false).unwrap()));
        }
        let body = &mut held[0].0;
        let give_window = async {
            let mut taken = 0;
            while taken < 65_535 {
                let length = body.data().await.unwrap().unwrap().len();
                body.flow_control().release_capacity(length).unwrap();
                taken += length;
            }
        };
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
        while_serving(&mut server, give_window).await;
        let (request, mut respond) = next(&mut server).await;
        let mut body = request.into_body();
        assert_eq!(while_serving(&mut server, body.data()).await.unwrap().unwrap(), "fifth");
        answer(&mut respond, "taken");
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
    };
    let client = async {
        let mut held = Vec::new();
        for _ in 0..4 {
            let (mut sender, body) = passing();
            sender.send_data(Bytes::from(vec![7; 100_000])).await.unwrap();
            held.push((send(&pool, &outbound(Method::POST, "/", body)).await.unwrap(), sender));
        }
        let (mut sender, body) = passing();
        sender.send_data(Bytes::from_static(b"fifth")).await.unwrap();
        drop(sender);
        sleep(Duration::from_secs(1)).await;
        let outbound = outbound(Method::POST, "/", body);
        let fifth = timeout(Duration::from_secs(60), send(&pool, &outbound)).await.unwrap().unwrap();
        assert_eq!(fifth.body.collect().await.unwrap().to_bytes(), "taken");
    };
    tokio::join!(script, client);
}

#[tokio::test(start_paused = true)]
async fn a_clients_pauses_cost_the_upstream_nothing_and_its_faults_are_its_own() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let (mut sender, body) = passing();
    let outbound = outbound(Method::POST, "/", body);
    let progress = Arc::<Progress>::default();
    let script = async {
        let mut server = serve_one(&mut upstream, 100).await;
        let (request, _respond) = next(&mut server).await;
        let mut body = request.into_body();
        for _ in 0..3 {
            while_serving(&mut server, sleep(Duration::from_secs(29))).await;
            let Phase::Writing { progress } = progress.phase() else { panic!("{:?}", progress.phase()) };
            assert!(progress.elapsed().is_zero());
            sender.send_data(Bytes::from_static(b"abc")).await.unwrap();
            assert_eq!(while_serving(&mut server, body.data()).await.unwrap().unwrap(), "abc");
        }
        sender.abort(());
        let error = while_serving(&mut server, body.data()).await.unwrap().unwrap_err();
        assert_eq!(error.reason(), Some(Reason::CANCEL), "the upstream must not take it for complete");
    };
    let attempt = attempt(&pool, &outbound, false, Timeouts::for_tests(), Arc::clone(&progress));
    let (end, ()) = tokio::join!(attempt, script);
    assert!(matches!(end, Err(Failure::Client(ClientFault::Broken))), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_written_when_the_upstream_has_taken_its_last_byte() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let (mut sender, body) = passing();
    sender.send_data(Bytes::from(vec![7; 200_000])).await.unwrap();
    drop(sender);
    let outbound = outbound(Method::POST, "/", body);
    let progress = Arc::<Progress>::default();
    let script = async {
        let mut server = serve_one(&mut upstream, 100).await;
        let (request, mut respond) = next(&mut server).await;
        let mut body = request.into_body();
        let mut last = Instant::now();
        for _ in 0..3 {
            while_serving(&mut server, sleep(Duration::from_secs(9))).await;
            let Phase::Writing { progress } = progress.phase() else { panic!("{:?}", progress.phase()) };
            assert!(progress >= last, "each window that it gives is progress");
            // It takes what the window holds, and gives a new one.
            let mut taken = 0;
            last = Instant::now();
            while taken < 60_000 {
                let data = while_serving(&mut server, body.data()).await.unwrap().unwrap();
                taken += data.len();
                body.flow_control().release_capacity(data.len()).unwrap();
            }
        }
        while_serving(&mut server, sleep(Duration::from_secs(9))).await;
        assert_eq!(progress.phase(), Phase::Written { at: last });
        answer(&mut respond, "ok");
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
    };
    let attempt = attempt(&pool, &outbound, false, Timeouts::for_tests(), Arc::clone(&progress));
    let (end, ()) = tokio::join!(attempt, script);
    assert_eq!(end.unwrap().parts.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_answer_in_http2_is_malformed() {
    // A 101; fields of more than 256 KiB; no HTTP/2 at all; and a name that HTTP/1.1 cannot write.
    for case in 0..4 {
        let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
        let script = async {
            if case == 2 {
                let mut stream = upstream.recv().await.unwrap();
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await.unwrap();
                sleep(Duration::from_secs(1)).await;
                return;
            }
            let mut server = serve_one(&mut upstream, 1).await;
            let (_, mut respond) = next(&mut server).await;
            let mut response = Response::new(());
            if case == 0 {
                *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                respond.send_informational(response).unwrap();
            } else if case == 3 {
                response.headers_mut().insert(HeaderName::from_static("x\"y"), HeaderValue::from_static("z"));
                respond.send_response(response, true).unwrap();
            } else {
                for number in 0..5 {
                    let value = HeaderValue::try_from("x".repeat(60_000)).unwrap();
                    response.headers_mut().insert(HeaderName::try_from(format!("x-{number}")).unwrap(), value);
                }
                respond.send_response(response, true).unwrap();
            }
            while_serving(&mut server, sleep(Duration::from_secs(1))).await;
        };
        let outbound = get("/");
        let (end, ()) = tokio::join!(send(&pool, &outbound), script);
        let failure = end.unwrap_err();
        assert!(matches!(failure, Failure::Broken(Breach::Malformed, ..)), "{failure:?}");
        assert!(failure.may_have_reached() && !failure.is_stale());
    }
}

#[tokio::test(start_paused = true)]
async fn interim_answers_are_dropped() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    let script = async {
        let mut server = serve_one(&mut upstream, 1).await;
        let (_, mut respond) = next(&mut server).await;
        for status in [100, 102, 103] {
            respond.send_informational(Response::builder().status(status).body(()).unwrap()).unwrap();
            while_serving(&mut server, sleep(Duration::from_secs(1))).await;
        }
        answer(&mut respond, "final");
        while_serving(&mut server, sleep(Duration::from_secs(1))).await;
    };
    let (end, ()) = tokio::join!(fetch(&pool, "/"), script);
    assert_eq!(end.unwrap(), "final");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_cut_does_not_look_complete() {
    let (pool, mut upstream) = pool(Http2::PriorKnowledge, 1, 1000);
    for reason in [Reason::NO_ERROR, Reason::CANCEL, Reason::INTERNAL_ERROR] {
        let script = async {
            let mut server = serve_one(&mut upstream, 1).await;
            let (_, mut respond) = next(&mut server).await;
            let mut stream = respond.send_response(Response::new(()), false).unwrap();
            stream.send_data(Bytes::from_static(b"half"), false).unwrap();
            while_serving(&mut server, sleep(Duration::from_secs(1))).await;
            stream.send_reset(reason);
            while_serving(&mut server, sleep(Duration::from_secs(1))).await;
        };
        let client = async {
            let head = send(&pool, &get("/")).await.unwrap();
            assert!(head.body.collect().await.is_err(), "{reason:?}");
        };
        tokio::join!(script, client);
        sleep(Duration::from_secs(1)).await;
    }
}
