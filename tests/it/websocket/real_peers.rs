//! A real WebSocket client and server that see nothing of what is between them.

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};

use crate::forebay::{Forebay, Settings};
use crate::upstream::PATIENCE;
use crate::websocket_peers::{EchoServer, block_on, connect};

fn in_front_of(server: &EchoServer) -> Forebay {
    Settings::new().set("UPSTREAM_BASE_URL", server.url()).set("RESPONSE_HEADER_TIMEOUT_SECONDS", 10).start()
}

/// Runs a conversation, which must not take for ever.
fn converse(conversation: impl Future<Output = ()>) {
    block_on(async { tokio::time::timeout(PATIENCE, conversation).await.expect("the conversation stands still") });
}

#[test]
fn messages_of_every_kind_and_size_come_back() {
    let server = EchoServer::start();
    let forebay = in_front_of(&server);
    converse(async {
        let (mut socket, chosen) = connect(forebay.port, "/chat?x", Some("first, second")).await;
        assert_eq!(chosen.as_deref(), Some("first"));
        for message in [
            Message::text(""),
            Message::text("h\u{e9}llo"),
            Message::binary(vec![0; 125]),
            Message::binary(vec![1; 126]),
            Message::binary(vec![2; 65_536]),
            Message::binary(
                (0..1_048_576_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect::<Vec<u8>>(),
            ),
        ] {
            socket.send(message.clone()).await.unwrap();
            assert_eq!(socket.next().await.unwrap().unwrap(), message);
        }
    });
}

#[test]
fn many_messages_at_once_keep_their_order() {
    let server = EchoServer::start();
    let forebay = in_front_of(&server);
    converse(async {
        let (socket, _) = connect(forebay.port, "/", None).await;
        let (mut sender, mut receiver) = socket.split();
        let send = async {
            for number in 0..2000 {
                sender.send(Message::text(format!("{number}"))).await.unwrap();
            }
        };
        let receive = async {
            for number in 0..2000 {
                assert_eq!(receiver.next().await.unwrap().unwrap(), Message::text(format!("{number}")));
            }
        };
        tokio::join!(send, receive);
    });
}

#[test]
fn fragments_and_pings_between_them_pass() {
    let server = EchoServer::start();
    let forebay = in_front_of(&server);
    converse(async {
        let (mut socket, _) = connect(forebay.port, "/", None).await;
        let part = |text: &'static str, opcode, last| Message::Frame(Frame::message(text, OpCode::Data(opcode), last));
        socket.send(part("one ", Data::Text, false)).await.unwrap();
        socket.send(part("two ", Data::Continue, false)).await.unwrap();
        socket.send(Message::Ping("are you there?".into())).await.unwrap();
        socket.send(part("three", Data::Continue, true)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Pong("are you there?".into()));
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("one two three"));
    });
}

#[test]
fn close_codes_pass_in_both_directions() {
    let server = EchoServer::start();
    let forebay = in_front_of(&server);
    converse(async {
        let (mut socket, _) = connect(forebay.port, "/", None).await;
        socket.send(Message::text("close 4001")).await.unwrap();
        let Message::Close(Some(frame)) = socket.next().await.unwrap().unwrap() else { panic!("a close frame") };
        assert_eq!((u16::from(frame.code), frame.reason.as_str()), (4001, "as asked"));
        while let Some(Ok(_)) = socket.next().await {}

        let (mut socket, _) = connect(forebay.port, "/", None).await;
        socket.close(Some(CloseFrame { code: CloseCode::Away, reason: "bye".into() })).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        while !server.closed_with().contains(&Some(1001)) {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    });
}
