//! The HTTP side over real sockets, with the core's place taken by the test.

use super::connections::{Connections, Doorkeeper, Remote};
use super::core_loop::{Arrival, Outgoing};
use super::dataplane_keeper::LinkState;
use super::http::{self, App};
use super::session::{OpenSessions, SessionLimits};
use super::store::PendingWrites;
use crate::core::input::{Input, SessionId};
use futures_util::{SinkExt, StreamExt};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const MESSAGE_BYTES_MAX: usize = 1000;

struct Bridge {
    address: SocketAddr,
    arriving: mpsc::Receiver<Arrival>,
    _link_state: watch::Sender<LinkState>,
}

fn bridge(dev: bool, connections_per_address_max: usize) -> Bridge {
    let (arrivals, arriving) = mpsc::channel(64);
    let (link, _) = mpsc::channel(1);
    let (state, link_state) = watch::channel(LinkState::default());
    let connections = Connections::new(100, connections_per_address_max);
    let app = App {
        arrivals,
        link,
        link_state,
        pending: Arc::new(PendingWrites::default()),
        sessions: Arc::default(),
        open_sessions: OpenSessions::default(),
        session_limits: SessionLimits { message_bytes_max: MESSAGE_BYTES_MAX, queue_max: 4 },
        origins: None,
        connections: connections.clone(),
        last_reading: Arc::default(),
        dev,
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.set_nonblocking(true).expect("a socket option");
    let address = listener.local_addr().expect("bound");
    let service = http::router(app).into_make_service_with_connect_info::<Remote>();
    let server = axum_server::from_tcp(listener).expect("a listener").acceptor(Doorkeeper(connections));
    tokio::spawn(server.serve(service));
    Bridge { address, arriving, _link_state: state }
}

impl Bridge {
    async fn connect(&self) -> WebSocketStream<MaybeTlsStream<TcpStream>> {
        connect_async(format!("ws://{}/signal", self.address)).await.expect("a WebSocket").0
    }

    async fn opened(&mut self) -> (SessionId, mpsc::Sender<Outgoing>) {
        match self.arriving.recv().await {
            Some(Arrival::SessionOpened { session, outgoing, .. }) => (session, outgoing),
            other => panic!("awaited a session, got {other:?}"),
        }
    }

    async fn input(&mut self) -> Input {
        match self.arriving.recv().await {
            Some(Arrival::Input(input)) => input,
            other => panic!("awaited an input, got {other:?}"),
        }
    }

    /// Status line and body of one request.
    async fn request(&self, text: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.expect("connect");
        stream.write_all(text.as_bytes()).await.expect("write");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("read");
        reply
    }
}

fn dev_token(host: &str, content_type: &str) -> String {
    let body = r#"{"identity":"alice"}"#;
    format!(
        "POST /dev/token HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn dev_token_is_minted_for_loopback_hosts_that_send_json_only() {
    let bridge = bridge(true, 100);
    let status = async |host, content_type| {
        let reply = bridge.request(&dev_token(host, content_type)).await;
        reply.split(' ').nth(1).expect("a status").to_owned()
    };
    assert_eq!(status("localhost:8088", "application/json").await, "200");
    assert_eq!(status("rebound.example", "application/json").await, "403");
    assert_eq!(status("localhost", "text/plain").await, "415");
    assert_eq!(status("localhost", "application/x-www-form-urlencoded").await, "415");
}

#[tokio::test]
async fn dev_token_does_not_exist_outside_dev_mode() {
    let reply = bridge(false, 100).request(&dev_token("localhost", "application/json")).await;
    assert!(reply.starts_with("HTTP/1.1 405") || reply.starts_with("HTTP/1.1 404"), "{reply}");
}

#[tokio::test]
async fn pages_forbid_framing_and_foreign_scripts_and_are_asked_for_each_time() {
    let bridge = bridge(true, 100);
    let page = bridge.request("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    for header in
        ["frame-ancestors 'none'", "default-src 'self'", "cache-control: no-cache", "x-content-type-options: nosniff"]
    {
        assert!(page.contains(header), "{header} is missing in {page}");
    }
    let etag = page.lines().find_map(|line| line.strip_prefix("etag: ")).expect("an etag");
    let again = format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {etag}\r\nConnection: close\r\n\r\n");
    assert!(bridge.request(&again).await.starts_with("HTTP/1.1 304"));
}

#[tokio::test]
async fn healthz_says_no_while_there_is_no_dataplane() {
    let mut bridge = bridge(true, 100);
    let mut stream = TcpStream::connect(bridge.address).await.expect("connect");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("write");
    match bridge.arriving.recv().await {
        Some(Arrival::Look(reply)) => reply.send(super::core_loop::CoreView::default()).expect("awaited"),
        other => panic!("awaited a look, got {other:?}"),
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("read");
    assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("\"status\":\"no_dataplane\""), "{reply}");
}

#[tokio::test]
async fn frames_reach_the_core_in_order_and_heartbeats_do_not() {
    let mut bridge = bridge(true, 100);
    let mut client = bridge.connect().await;
    for text in ["one", "\n", "two"] {
        client.send(Message::text(text)).await.expect("sent");
    }
    let (session, outgoing) = bridge.opened().await;
    for expected in ["one", "two"] {
        match bridge.input().await {
            Input::SessionFrame { session: from, text } => assert_eq!((from, text.as_str()), (session, expected)),
            other => panic!("awaited a frame, got {other:?}"),
        }
    }
    outgoing.send(Outgoing::Text("three".into())).await.expect("open");
    outgoing.send(Outgoing::Close { code: 4000, reason: "done" }).await.expect("open");
    assert_eq!(client.next().await.expect("open").expect("a frame"), Message::text("three"));
    assert_eq!(close_code(&mut client).await, 4000);
    assert!(matches!(bridge.input().await, Input::SessionClosed { session: closed } if closed == session));
}

async fn close_code(client: &mut WebSocketStream<MaybeTlsStream<TcpStream>>) -> u16 {
    loop {
        let message = client.next().await.expect("a close frame comes first").expect("the connection is whole");
        if let Message::Close(frame) = message {
            return frame.expect("with a code").code.into();
        }
    }
}

#[tokio::test]
async fn message_over_the_bound_closes_with_1009_however_long_it_is() {
    for bytes in [MESSAGE_BYTES_MAX + 1, MESSAGE_BYTES_MAX * 100] {
        let mut bridge = bridge(true, 100);
        let mut client = bridge.connect().await;
        let (session, _outgoing) = bridge.opened().await;
        client.send(Message::text("x".repeat(bytes))).await.expect("sent");
        assert_eq!(close_code(&mut client).await, 1009, "{bytes} bytes");
        assert!(matches!(bridge.input().await, Input::SessionClosed { session: closed } if closed == session));
    }
}

#[tokio::test]
async fn binary_frames_close_with_1003() {
    let mut bridge = bridge(true, 100);
    let mut client = bridge.connect().await;
    let _session = bridge.opened().await;
    client.send(Message::binary(vec![1, 2])).await.expect("sent");
    assert_eq!(close_code(&mut client).await, 1003);
}

#[tokio::test]
async fn client_whose_queue_the_core_gave_up_is_closed_with_1008() {
    let mut bridge = bridge(true, 100);
    let mut client = bridge.connect().await;
    let (_, outgoing) = bridge.opened().await;
    drop(outgoing);
    assert_eq!(close_code(&mut client).await, 1008);
}

#[tokio::test]
async fn connections_beyond_the_bound_of_an_address_are_not_served() {
    let mut bridge = bridge(true, 1);
    let first = bridge.connect().await;
    let _session = bridge.opened().await;
    connect_async(format!("ws://{}/signal", bridge.address)).await.expect_err("the second of one address");
    drop(first);
    // The permit comes back when the session's task notices the closed socket.
    assert!(matches!(bridge.input().await, Input::SessionClosed { .. }));
}
