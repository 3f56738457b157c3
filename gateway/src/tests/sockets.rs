use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::chain::{Lie, World};
use super::world::{BOTH, CLOSED, Door, FRAME, Stand, token};

/// Headers of an opening request.
type Pairs<'a> = &'a [(&'static str, &'a str)];

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn open(door: &Door, path: &str, headers: Pairs<'_>) -> Result<(Socket, Response), (u16, String)> {
    let mut request = format!("{}{path}", door.url.replace("http", "ws")).into_client_request().expect("a URL");
    for (name, value) in headers {
        request.headers_mut().append(*name, value.parse().expect("a value"));
    }
    match connect_async(request).await {
        Ok(opened) => Ok(opened),
        Err(Error::Http(answer)) => {
            let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            Err((answer.status().as_u16(), body))
        }
        Err(error) => panic!("{error}"),
    }
}

async fn hear(socket: &mut Socket) -> Message {
    loop {
        let heard = timeout(Duration::from_secs(20), socket.next()).await.expect("in time").expect("a message").expect("no error");
        if !heard.is_ping() && !heard.is_pong() {
            return heard;
        }
    }
}

async fn ask(socket: &mut Socket, text: &str) -> Message {
    socket.send(Message::text(text)).await.expect("sent");
    hear(socket).await
}

#[tokio::test]
async fn messages_pass_both_ways() {
    for stand in BOTH {
        let door = Door::new(stand).await;
        let offers = [("sec-websocket-protocol", "other, zynk.v1+json")];
        let good = format!("Bearer {}", token(1, 60));
        for path in ["/api/v1/ws", "/rpc/websocket"] {
            let (mut socket, answer) = open(&door, path, &offers).await.expect("opened");
            assert_eq!(answer.headers()["sec-websocket-protocol"], "zynk.v1+json", "{stand:?} {path}");
            assert!(answer.headers().contains_key("x-request-id"));
            assert_eq!(ask(&mut socket, "hello").await, Message::text("hello"));
            assert_eq!(ask(&mut socket, "who").await, Message::text("127.0.0.1"), "{stand:?}: the upstream knows the client");
            let full = Message::binary(vec![7; FRAME]);
            socket.send(full.clone()).await.expect("sent");
            assert_eq!(hear(&mut socket).await, full, "{stand:?}: the largest message");
            socket.send(Message::Ping("p".into())).await.expect("sent");
            let pong = timeout(Duration::from_secs(20), socket.next()).await.expect("in time").expect("a pong").expect("no error");
            assert_eq!(pong, Message::Pong("p".into()), "{stand:?}");
        }
        let (_socket, _) = open(&door, "/api/v1/ws", &[offers[0], ("authorization", &good)]).await.expect("opened with a token");
    }
}

#[tokio::test]
async fn a_socket_is_refused_where_it_should_be() {
    for stand in BOTH {
        let door = Door::with(stand, World::new(Lie::None), |settings| settings.origins = vec!["https://app.example".to_owned()]).await;
        let forged = format!("Bearer {}", token(2, 60));
        let refusal = format!("Bearer {}", token(1, 60));
        let stories: [(&str, &str, Pairs<'_>, u16, &str); 4] = [
            ("a page of another origin", "/api/v1/ws", &[("origin", "https://evil.example")], 403, "7533"),
            ("a forged token", "/api/v1/ws", &[("authorization", &forged)], 401, "7531"),
            ("two tokens", "/api/v1/ws", &[("authorization", &refusal), ("authorization", &refusal)], 400, "7517"),
            ("no socket there", "/api/v1/relay", &[], 200, ""),
        ];
        for (story, path, headers, status, code) in stories {
            let (found, body) = open(&door, path, headers).await.expect_err(story);
            assert!(found == status && body.contains(code), "{stand:?}: {story}: {found} {body}");
        }
        open(&door, "/api/v1/ws", &[("origin", "https://app.example")]).await.expect("an allowed page");
        let plain = door.get("/api/v1/ws").send().await.expect("answered");
        assert_eq!(plain.status().as_u16(), 426, "{stand:?}: no WebSocket");
    }
}

#[tokio::test]
async fn close_codes_pass() {
    for stand in BOTH {
        let door = Door::new(stand).await;
        let (mut socket, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
        let Message::Close(Some(CloseFrame { code, reason })) = ask(&mut socket, "replace").await else { panic!("no close") };
        assert_eq!((u16::from(code), reason.as_str()), (4409, "replaced"), "{stand:?}: from the upstream");
        assert!(socket.next().await.is_none_or(|end| end.is_err()), "{stand:?}: and then the end");

        let (mut socket, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
        assert_eq!(ask(&mut socket, "hello").await, Message::text("hello"));
        let mut closed = CLOSED.subscribe();
        let own = if stand == Stand::InProcess { 4001 } else { 4002 };
        socket.close(Some(CloseFrame { code: CloseCode::from(own), reason: "bye".into() })).await.expect("sent");
        timeout(Duration::from_secs(20), closed.wait_for(|code| *code == own)).await.expect("in time").expect("to the upstream");
    }
}

#[tokio::test]
async fn what_is_too_long_ends_the_socket() {
    for stand in BOTH {
        let door = Door::new(stand).await;
        let (mut socket, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
        socket.send(Message::binary(vec![7; FRAME + 1])).await.expect("sent");
        let end = timeout(Duration::from_secs(20), socket.next()).await.expect("in time");
        match stand {
            // The gateway says why; a relay in its process does as it likes.
            Stand::Remote => assert!(matches!(end, Some(Ok(Message::Close(Some(CloseFrame { code: CloseCode::Size, .. }))))), "{end:?}"),
            Stand::InProcess => assert!(!matches!(end, Some(Ok(Message::Binary(_)))), "{end:?}"),
        }
    }
    let door = Door::new(Stand::Remote).await;
    let (mut socket, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
    let end = ask(&mut socket, "large").await;
    assert!(matches!(&end, Message::Close(Some(CloseFrame { code: CloseCode::Error, .. }))), "an upstream that breaks the rules: {end:?}");
    let (mut socket, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
    let end = ask(&mut socket, "vanish").await;
    assert!(matches!(&end, Message::Close(Some(CloseFrame { code: CloseCode::Restart, .. }))), "an upstream that goes away: {end:?}");
}

#[tokio::test]
async fn only_so_many_sockets_are_open() {
    for stand in BOTH {
        let door = Door::with(stand, World::new(Lie::None), |settings| settings.limits.sockets_per_address = 2).await;
        let (first, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
        let (mut second, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
        assert_eq!(ask(&mut second, "hello").await, Message::text("hello"));
        assert!(door.metrics().await.contains("zynk_gateway_websockets 2"), "{stand:?}");
        let (status, body) = open(&door, "/api/v1/ws", &[]).await.expect_err("a third");
        assert!(status == 503 && body.contains("7523"), "{stand:?}: {status} {body}");
        // Without a goodbye, as a client that lost its network.
        drop(first);
        let mut third = None;
        for _ in 0..300 {
            third = open(&door, "/api/v1/ws", &[]).await.ok();
            if third.is_some() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let (mut third, _) = third.expect("a socket that ended frees its place");
        assert_eq!(ask(&mut third, "hello").await, Message::text("hello"), "{stand:?}");
    }
}

#[tokio::test]
async fn a_silent_client_is_gone() {
    let door = Door::with(Stand::Remote, World::new(Lie::None), |settings| settings.limits.ping_ms = 50).await;
    let (socket, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
    let (mut alive, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
    // One reads, and so answers pings; the other does not.
    let reading = tokio::spawn(async move { timeout(Duration::from_secs(3), alive.next()).await.map(|heard| heard.is_some()) });
    let mut open = 2;
    for _ in 0..500 {
        let text = door.metrics().await;
        open = if text.contains("websockets 2") { 2 } else { 1 };
        if open == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(open, 1, "the silent one is gone");
    drop((socket, reading));
}

#[tokio::test]
async fn a_gateway_that_stops_says_so() {
    let door = Door::new(Stand::Remote).await;
    let (mut socket, _) = open(&door, "/api/v1/ws", &[]).await.expect("opened");
    assert_eq!(ask(&mut socket, "hello").await, Message::text("hello"));
    door.stop.send_replace(true);
    let end = hear(&mut socket).await;
    assert!(matches!(&end, Message::Close(Some(CloseFrame { code: CloseCode::Away, .. }))), "{end:?}");
    let late = door.get("/health").timeout(Duration::from_secs(5)).send().await;
    assert!(late.is_err(), "it takes no more");
}
