//! The HTTP side over real sockets, with the core's place taken by the test.

use super::access::Origins;
use super::connections::Connections;
use super::core_loop::{Arrival, CoreView, Outgoing};
use super::data_dir::DataDir;
use super::dataplane_keeper::LinkState;
use super::fresh_keys::FreshKeys;
use super::http::App;
use super::listeners::{Closer, Listeners};
use super::session::{OpenSessions, SessionLimits};
use super::settings::resolve;
use super::store::PendingWrites;
use super::tasks::Tasks;
use crate::core::input::{Input, SessionId};
use futures_util::{SinkExt, StreamExt};
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const MESSAGE_BYTES_MAX: usize = 1000;

struct Bridge {
    address: SocketAddr,
    /// The listener for figures alone.
    metrics: SocketAddr,
    closer: Closer,
    arriving: mpsc::Receiver<Arrival>,
    _link_state: watch::Sender<LinkState>,
    _tasks: Tasks,
}

async fn bridge(dev: bool, connections_max: usize) -> Bridge {
    bridge_with(dev, connections_max, None).await
}

async fn bridge_with(dev: bool, connections_max: usize, silent_max: Option<Duration>) -> Bridge {
    let (arrivals, arriving) = mpsc::channel(64);
    let (link, _) = mpsc::channel(1);
    let (state, link_state) = watch::channel(LinkState::default());
    let connections = Connections::new(connections_max, connections_max);
    let app = App {
        relay: None,
        arrivals,
        link,
        link_state,
        pending: Arc::new(PendingWrites::default()),
        sessions: Arc::default(),
        open_sessions: OpenSessions::default(),
        session_limits: SessionLimits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            queue_max: 4,
            frames_per_second_max: 1,
            frames_burst_max: 10,
        },
        fresh_keys: FreshKeys { known: watch::channel(HashSet::new()).1, looks: mpsc::channel(1).0 },
        origins: Origins::read("*", dev),
        connections,
        last_reading: Arc::default(),
        dev,
    };
    let flags = [("signal-listen", "127.0.0.1:0"), ("metrics-listen", "127.0.0.1:0"), ("signal-tls-listen", "off")];
    let flag = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, text)| (*text).to_owned());
    let settings = resolve(None, |_| None, flag).expect("accepted").settings();
    let dir = tempfile::tempdir().expect("temporary directory");
    let dir = DataDir::open(dir.path()).expect("ours");
    let mut tasks = Tasks::default();
    let mut listeners = Listeners::open(&settings, &dir).await.expect("free ports");
    listeners.silent_max = silent_max.unwrap_or(listeners.silent_max);
    let (reachable, closer) = listeners.serve(&app, &mut tasks).expect("served");
    let address = reachable.plain.expect("a port");
    let metrics = reachable.metrics.expect("a port");
    Bridge { address, metrics, closer, arriving, _link_state: state, _tasks: tasks }
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

    async fn request(&self, text: &str) -> String {
        request_at(self.address, text.to_owned()).await
    }
}

/// The whole reply to one request.
async fn request_at(address: SocketAddr, text: String) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connect");
    stream.write_all(text.as_bytes()).await.expect("write");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("read");
    reply
}

fn dev_token(host: &str, content_type: &str) -> String {
    dev_token_for("alice", host, content_type)
}

fn dev_token_for(identity: &str, host: &str, content_type: &str) -> String {
    let body = format!(r#"{{"identity":"{identity}"}}"#);
    format!(
        "POST /dev/token HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn dev_token_is_minted_for_loopback_hosts_that_send_json_only() {
    let bridge = bridge(true, 100).await;
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
async fn name_that_no_token_may_carry_is_refused_with_the_rule() {
    let bridge = bridge(true, 100).await;
    for (name, status) in [("n".repeat(121), "200"), ("n".repeat(122), "422"), (" alice".into(), "422")] {
        let reply = bridge.request(&dev_token_for(&name, "localhost", "application/json")).await;
        assert_eq!(reply.split(' ').nth(1), Some(status), "{name}: {reply}");
        assert_eq!(reply.contains("1 to 121 characters"), status == "422", "{reply}");
    }
}

#[tokio::test]
async fn dev_token_does_not_exist_outside_dev_mode() {
    let reply = bridge(false, 100).await.request(&dev_token("localhost", "application/json")).await;
    assert!(reply.starts_with("HTTP/1.1 405") || reply.starts_with("HTTP/1.1 404"), "{reply}");
}

#[tokio::test]
async fn pages_forbid_framing_and_foreign_scripts_and_are_asked_for_each_time() {
    let bridge = bridge(true, 100).await;
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

fn get(path: &str, header: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{header}\r\n")
}

async fn connect_from(bridge: &Bridge, origin: &'static str) -> Result<(), u16> {
    let mut request = format!("ws://{}/signal", bridge.address).into_client_request().expect("a request");
    request.headers_mut().insert("origin", origin.parse().expect("a header"));
    match connect_async(request).await {
        Ok(_) => Ok(()),
        Err(Error::Http(refused)) => Err(refused.status().as_u16()),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn pages_of_other_machines_cannot_signal_in_dev_mode() {
    let dev = bridge(true, 100).await;
    assert_eq!(connect_from(&dev, "https://evil.example").await, Err(403));
    assert_eq!(connect_from(&dev, "http://localhost:3000").await, Ok(()));
    let rebound = "GET /metrics HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n";
    assert!(dev.request(rebound).await.starts_with("HTTP/1.1 403"));
    assert_eq!(connect_from(&bridge(false, 100).await, "https://app.example").await, Ok(()));
}

#[tokio::test]
async fn figures_are_for_this_machine_and_for_the_listener_of_figures() {
    let mut bridge = bridge(false, 100).await;
    let passed_on = "X-Forwarded-For: 203.0.113.9\r\n";
    assert!(bridge.request(&get("/metrics", passed_on)).await.starts_with("HTTP/1.1 403"));
    let mut arriving = std::mem::replace(&mut bridge.arriving, mpsc::channel(1).1);
    let core = tokio::spawn(async move {
        while let Some(Arrival::Look(reply)) = arriving.recv().await {
            let _ = reply.send(CoreView::default());
        }
    });
    assert!(request_at(bridge.address, get("/metrics", "")).await.contains("crosspoint_calls 0"));
    assert!(request_at(bridge.metrics, get("/metrics", passed_on)).await.contains("crosspoint_calls 0"));
    let brief = request_at(bridge.address, get("/healthz", passed_on)).await;
    assert!(brief.ends_with("{\"status\":\"no_dataplane\"}"), "{brief}");
    assert!(request_at(bridge.address, get("/healthz", "")).await.contains("\"store_pending\":0"));
    core.abort();
}

#[tokio::test]
async fn connection_that_asks_for_nothing_is_closed() {
    let bridge = bridge_with(true, 100, Some(Duration::from_millis(20))).await;
    for sent in ["", "GET / HTTP/1.1\r\nHost: local", "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut stream = TcpStream::connect(bridge.address).await.expect("connect");
        stream.write_all(sent.as_bytes()).await.expect("write");
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.expect("closed");
    }
}

#[tokio::test]
async fn closed_listener_admits_nobody_and_leaves_open_sessions_alone() {
    let mut bridge = bridge(true, 100).await;
    let mut client = bridge.connect().await;
    let (_, outgoing) = bridge.opened().await;
    bridge.closer.close();
    while TcpStream::connect(bridge.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    outgoing.send(Outgoing::Text("goodbye".into())).await.expect("open");
    assert_eq!(client.next().await.expect("open").expect("a frame"), Message::text("goodbye"));
}

#[tokio::test]
async fn healthz_says_no_while_there_is_no_dataplane() {
    let mut bridge = bridge(true, 100).await;
    let mut stream = TcpStream::connect(bridge.address).await.expect("connect");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("write");
    match bridge.arriving.recv().await {
        Some(Arrival::Look(reply)) => reply.send(CoreView::default()).expect("awaited"),
        other => panic!("awaited a look, got {other:?}"),
    }
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.expect("read");
    assert!(reply.starts_with("HTTP/1.1 503") && reply.contains("\"status\":\"no_dataplane\""), "{reply}");
}

#[tokio::test]
async fn frames_reach_the_core_in_order_and_heartbeats_do_not() {
    let mut bridge = bridge(true, 100).await;
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
        let mut bridge = bridge(true, 100).await;
        let mut client = bridge.connect().await;
        let (session, _outgoing) = bridge.opened().await;
        client.send(Message::text("x".repeat(bytes))).await.expect("sent");
        assert_eq!(close_code(&mut client).await, 1009, "{bytes} bytes");
        assert!(matches!(bridge.input().await, Input::SessionClosed { session: closed } if closed == session));
    }
}

#[tokio::test]
async fn flood_of_frames_that_say_nothing_closes_with_1008_and_heartbeats_do_not() {
    for nothing in [Message::text("\n"), Message::Ping(vec![].into())] {
        let mut bridge = bridge(true, 100).await;
        let mut client = bridge.connect().await;
        let _opened = bridge.opened().await;
        for _ in 0..10 {
            client.send(nothing.clone()).await.expect("sent");
        }
        client.send(Message::text("still here")).await.expect("sent");
        assert!(matches!(bridge.input().await, Input::SessionFrame { text, .. } if text == "still here"));
        for _ in 0..5 {
            client.send(nothing.clone()).await.expect("sent");
        }
        assert_eq!(close_code(&mut client).await, 1008);
    }
}

#[tokio::test]
async fn binary_frames_close_with_1003() {
    let mut bridge = bridge(true, 100).await;
    let mut client = bridge.connect().await;
    let _session = bridge.opened().await;
    client.send(Message::binary(vec![1, 2])).await.expect("sent");
    assert_eq!(close_code(&mut client).await, 1003);
}

#[tokio::test]
async fn client_whose_queue_the_core_gave_up_is_closed_with_1008() {
    let mut bridge = bridge(true, 100).await;
    let mut client = bridge.connect().await;
    let (_, outgoing) = bridge.opened().await;
    drop(outgoing);
    assert_eq!(close_code(&mut client).await, 1008);
}

#[tokio::test]
async fn connections_beyond_the_bound_are_not_served() {
    let mut bridge = bridge(true, 1).await;
    let first = bridge.connect().await;
    let _session = bridge.opened().await;
    connect_async(format!("ws://{}/signal", bridge.address)).await.expect_err("the second");
    drop(first);
    // The permit comes back when the session's task notices the closed socket.
    assert!(matches!(bridge.input().await, Input::SessionClosed { .. }));
}

/// RFC 6455 §5.2: a text frame that is not the last of its message, then empty continuations; client frames are masked.
#[tokio::test]
async fn message_of_empty_fragments_without_end_closes_the_socket_and_is_counted() {
    const FIRST: [u8; 6] = [0x01, 0x80, 0, 0, 0, 0];
    const MORE: [u8; 6] = [0x00, 0x80, 0, 0, 0, 0];
    const LAST: [u8; 6] = [0x80, 0x80, 0, 0, 0, 0];
    let mut bridge = bridge(true, 8).await;
    let mut socket = bridge.connect().await;
    let (_session, _outgoing) = bridge.opened().await;
    let MaybeTlsStream::Plain(stream) = socket.get_mut() else { panic!("a plain socket") };
    // Some are no reason.
    stream.write_all(&[&FIRST[..], &MORE.repeat(1000), &LAST].concat()).await.expect("written");
    let flood = async {
        stream.write_all(&FIRST).await.expect("written");
        let many = MORE.repeat(10_000);
        for _ in 0..1000 {
            if stream.write_all(&many).await.is_err() {
                return;
            }
        }
        panic!("it takes fragments without end");
    };
    tokio::time::timeout(Duration::from_secs(20), flood).await.expect("it ends");
    assert!(matches!(bridge.input().await, Input::SessionClosed { .. }));
    let mut arriving = bridge.arriving;
    tokio::spawn(async move {
        while let Some(Arrival::Look(reply)) = arriving.recv().await {
            let _ = reply.send(CoreView::default());
        }
    });
    let figures = request_at(bridge.metrics, "GET /metrics HTTP/1.0\r\n\r\n".into()).await;
    assert!(figures.contains("crosspoint_sessions_message_endless_closed_total 1\n"), "{figures}");
}
