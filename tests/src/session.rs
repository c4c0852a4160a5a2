//! A client's signaling: one WebSocket, frames in the client protocol's envelope.
//!
//! Input: frames of the server, in order, heartbeats answered and left out. Output: frames of ours. A scenario says which frame
//! must come next; any other frame, or none within [`PATIENCE`], fails it with what came instead.

use crate::PATIENCE;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// Seconds for which these clients ask the server to keep the calls of a lost socket.
pub const RECONNECT_SECONDS: u64 = 2;

pub struct Session {
    to_server: mpsc::UnboundedSender<Message>,
    from_server: mpsc::UnboundedReceiver<Incoming>,
    pump: JoinHandle<()>,
    name: String,
}

/// What the server may do to us.
#[derive(Debug)]
pub enum Incoming {
    Frame(Frame),
    /// It closed the socket, with this code if it gave one.
    Closed(Option<u16>),
}

#[derive(Clone, Debug)]
pub struct Frame {
    pub kind: String,
    pub payload: Value,
}

impl Session {
    /// Opens the socket and says nothing. `url` is `ws://HOST:PORT/signal`.
    pub async fn open(url: &str, name: &str) -> Session {
        let (socket, _) = timeout(PATIENCE, connect_async(url))
            .await
            .unwrap_or_else(|_| panic!("{name}: no connection to {url}"))
            .unwrap_or_else(|e| panic!("{name}: {url}: {e}"));
        let (to_server, outgoing) = mpsc::unbounded_channel();
        let (incoming, from_server) = mpsc::unbounded_channel();
        let pump = tokio::spawn(pump(socket, outgoing, incoming));
        Session { to_server, from_server, pump, name: name.to_owned() }
    }

    /// Opens, presents the token and returns the `connected` payload's owner: a session that may place calls.
    pub async fn connect(url: &str, name: &str, token: &str) -> Session {
        let mut session = Session::open(url, name).await;
        session.listen(token);
        session.expect("connected").await;
        session
    }

    pub fn listen(&self, token: &str) {
        let payload = json!({ "token": token, "browserinfo": {}, "reconnectTimeout": RECONNECT_SECONDS });
        self.send("listen", payload);
    }

    /// Announces that this client takes calls, and waits until the server knows.
    pub async fn register(&mut self) {
        self.send("register", json!({ "media": { "audio": true } }));
        self.expect("ready").await;
    }

    pub fn send(&self, kind: &str, payload: Value) {
        self.send_text(json!({ "type": kind, "payload": payload, "version": "1.6" }).to_string());
    }

    pub fn send_text(&self, text: String) {
        // A closed socket shows when the next frame is awaited.
        let _ = self.to_server.send(Message::text(text));
    }

    /// The next frame's payload; panics if the frame is not of this kind.
    pub async fn expect(&mut self, kind: &str) -> Value {
        match self.next(kind).await {
            Incoming::Frame(frame) if frame.kind == kind => frame.payload,
            other => panic!("{}: awaited `{kind}`, got {other:?}", self.name),
        }
    }

    /// Asserts that the server refuses what was said last, by `error` with this code, and whether or not it then closes.
    pub async fn expect_error(&mut self, code: u64) -> Value {
        let payload = self.expect("error").await;
        assert_eq!(payload["error"]["code"], code, "{}: {payload}", self.name);
        payload
    }

    /// Asserts that the server closes the socket, and gives its code.
    pub async fn expect_close(&mut self) -> Option<u16> {
        loop {
            match self.next("the end of the socket").await {
                Incoming::Closed(code) => return code,
                Incoming::Frame(frame) if frame.kind == "close" || frame.kind == "error" => {}
                other => panic!("{}: awaited the end of the socket, got {other:?}", self.name),
            }
        }
    }

    pub async fn next(&mut self, awaited: &str) -> Incoming {
        timeout(PATIENCE, self.from_server.recv())
            .await
            .unwrap_or_else(|_| panic!("{}: awaited `{awaited}`, nothing came in {PATIENCE:?}", self.name))
            .unwrap_or(Incoming::Closed(None))
    }

    /// Frames that have arrived and were not awaited.
    pub fn unread(&mut self) -> Vec<Frame> {
        let mut frames = Vec::new();
        while let Ok(Incoming::Frame(frame)) = self.from_server.try_recv() {
            frames.push(frame);
        }
        frames
    }

    /// Asserts that nothing but what was awaited has come so far. A frame of ours that the server answers is the barrier:
    /// what it sent before that answer has been seen.
    pub async fn expect_quiet(&mut self) {
        self.register().await;
    }

    /// Cuts the connection without a closing handshake, as a network does.
    pub fn cut(&self) {
        self.pump.abort();
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.pump.abort();
    }
}

async fn pump(
    mut socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    mut outgoing: mpsc::UnboundedReceiver<Message>,
    incoming: mpsc::UnboundedSender<Incoming>,
) {
    loop {
        tokio::select! {
            message = outgoing.recv() => match message {
                Some(message) => if socket.send(message).await.is_err() { return },
                None => return,
            },
            message = socket.next() => match message {
                Some(Ok(Message::Text(text))) if text.trim().is_empty() => {
                    let _ = socket.send(Message::text("\n")).await;
                }
                Some(Ok(Message::Text(text))) => {
                    let _ = incoming.send(Incoming::Frame(parsed(&text)));
                }
                Some(Ok(Message::Close(frame))) => {
                    let _ = incoming.send(Incoming::Closed(frame.map(|f| f.code.into())));
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    let _ = incoming.send(Incoming::Closed(None));
                    return;
                }
            },
        }
    }
}

fn parsed(text: &str) -> Frame {
    let value: Value = serde_json::from_str(text).unwrap_or_else(|e| panic!("the server sent no JSON: {e}: {text}"));
    let kind = value["type"].as_str().unwrap_or_else(|| panic!("a frame without a type: {text}")).to_owned();
    Frame { kind, payload: value["payload"].clone() }
}
