//! Connections that are no HTTP any more.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, Cut, get};
use crate::upstream::{FakeUpstream, answer, raw};
use crate::websocket_peers::{EchoServer, block_on, connect};

const SWITCH: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

fn client(upstream: &FakeUpstream) -> Client {
    Client::connect(upstream.authority().rsplit_once(':').unwrap().1.parse().unwrap())
}

#[test]
fn after_the_switch_bytes_are_only_bytes() {
    let upstream = FakeUpstream::start();
    upstream.script([raw(SWITCH).then_send("hello").then_echo_bytes().then_send("bye").then_close()]);
    let mut client = client(&upstream);
    let response = client.upgrade(&get("/"));
    assert_eq!((response.status, response.get("upgrade").as_deref()), (101, Some("websocket")));
    assert_eq!(client.take(5), b"hello");
    client.send(b"\x81\x00\r\n\r\nGET");
    assert_eq!(client.take(9), b"\x81\x00\r\n\r\nGET");
    client.end_sending();
    assert_eq!(client.take_rest(), (b"bye".to_vec(), Cut::Fin));
    let seen = upstream.wait("the FIN", |seen| seen[0].aborted.is_some());
    assert_eq!(seen[0].tunnelled, b"\x81\x00\r\n\r\nGET");
}

#[test]
fn what_came_with_the_request_is_the_tunnels_and_a_refusal_is_an_answer() {
    let upstream = FakeUpstream::start();
    upstream.script([raw(SWITCH).then_take_bytes().then_reset(), answer(403).body("no").into()]);
    let mut tunnel = client(&upstream);
    tunnel.send([get("/").bytes().as_slice(), b"early"].concat());
    upstream.wait("what was sent early", |seen| seen.first().is_some_and(|s| s.tunnelled == b"early"));
    let response = client(&upstream).upgrade(&get("/"));
    assert_eq!((response.status, response.text().as_str(), response.is_complete()), (403, "no", true));
}

#[test]
fn an_upstream_that_ended_sending_still_listens() {
    let upstream = FakeUpstream::start();
    upstream.script([raw(SWITCH).then_end_sending().then_take_bytes()]);
    let mut client = client(&upstream);
    client.upgrade(&get("/"));
    assert_eq!(client.take_rest(), (Vec::new(), Cut::Fin));
    client.send("still here");
    upstream.wait("what came after the FIN", |seen| seen[0].tunnelled == b"still here");
}

#[test]
fn the_real_pair_speaks() {
    let server = EchoServer::start();
    block_on(async {
        let (mut socket, chosen) = connect(server.port(), "/x", Some("a, b")).await;
        assert_eq!(chosen.as_deref(), Some("a"));
        for message in [Message::text("hello"), Message::binary(vec![7; 100_000])] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
        socket.send(Message::text("close 4001")).await.unwrap();
        let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("a close") };
        assert_eq!(u16::from(frame.code), 4001);
        let (mut socket, _) = connect(server.port(), "/x", None).await;
        socket.close(None).await.unwrap();
        while socket.next().await.is_some() {}
    });
    assert_eq!(server.closed_with().last(), Some(&None));
}
