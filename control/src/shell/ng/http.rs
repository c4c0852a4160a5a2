//! ng over HTTP and WebSocket.
//!
//! | request | what |
//! |---|---|
//! | `POST /ng` of `application/x-rtpengine-ng` | a message with cookie |
//! | `POST /ng-plain` of `application/json` | without |
//! | `GET /cli/list+totals` | a line for operators |
//! | `GET /metrics` | figures for Prometheus, under rtpengine's names |
//! | `GET /ping` | `pong` |
//! | WebSocket with `ng.rtpengine.com`, `ng-plain.rtpengine.com` or `cli.rtpengine.com` | the same, message by message |

use super::connections::{Channels, REPLIES_WAITING_MAX};
use super::places::{Asker, Places};
use super::relay::{NgArrival, Outgoing};
use axum::Router;
use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use crosspoint_ng::effect::Peer;
use crosspoint_ng::message::{CONTENT_TYPE, CONTENT_TYPE_PLAIN, Carriage, MESSAGE_BYTES_MAX, split};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const CLI_SUBPROTOCOL: &str = "cli.rtpengine.com";
const SUBPROTOCOLS: [&str; 3] = ["ng.rtpengine.com", "ng-plain.rtpengine.com", CLI_SUBPROTOCOL];
/// Far longer than any answer takes; ends requests whose answer never comes.
const ANSWER_MAX: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
struct Door {
    arrivals: mpsc::Sender<NgArrival>,
    channels: Channels,
}

pub async fn serve(listener: TcpListener, arrivals: mpsc::Sender<NgArrival>, channels: Channels) {
    let router = Router::new()
        .route("/ng", post(message).get(upgrade))
        .route("/ng-plain", post(message).get(upgrade))
        .route("/cli/{line}", get(cli))
        .route("/metrics", get(metrics))
        .route("/ping", get(async || "pong\n"))
        .fallback(any(upgrade))
        .layer(DefaultBodyLimit::max(MESSAGE_BYTES_MAX))
        .with_state(Door { arrivals, channels });
    let service = router.into_make_service_with_connect_info::<Asker>();
    if let Err(error) = axum::serve(Places::new(listener), service).await {
        tracing::error!(kind = "listener_failed", %error);
    }
}

/// 404 for another type than the path's, as rtpengine answers.
async fn message(
    State(door): State<Door>,
    ConnectInfo(Asker(address)): ConnectInfo<Asker>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(carriage) = Carriage::of_http(uri.path(), content_type) else {
        return (StatusCode::NOT_FOUND, "no such path, or another content type than it takes\n").into_response();
    };
    if matches!(carriage, Carriage::Cookie) && split(&body).is_none() {
        return (StatusCode::BAD_REQUEST, "no cookie in front of the message\n").into_response();
    }
    let answered = door.ask(address, |from| arrival_of(carriage, from, body.to_vec())).await;
    let answer_type = match carriage {
        Carriage::Cookie => CONTENT_TYPE,
        Carriage::Plain => CONTENT_TYPE_PLAIN,
    };
    match answered {
        Some(Outgoing::Reply(bytes)) => {
            ([(header::CONTENT_TYPE, answer_type)], Bytes::from_owner(bytes)).into_response()
        }
        Some(Outgoing::Last(text)) => text.into_response(),
        None => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn cli(
    State(door): State<Door>,
    ConnectInfo(Asker(address)): ConnectInfo<Asker>,
    Path(line): Path<String>,
) -> Response {
    let line = line.replace('+', " ");
    match door.ask(address, |from| NgArrival::CliLine { from, line }).await {
        Some(Outgoing::Last(text)) => text.into_response(),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

async fn metrics(State(door): State<Door>, ConnectInfo(Asker(address)): ConnectInfo<Asker>) -> Response {
    match door.ask(address, |from| NgArrival::Scrape { from }).await {
        Some(Outgoing::Last(text)) => ([(header::CONTENT_TYPE, "text/plain")], text).into_response(),
        _ => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn upgrade(
    State(door): State<Door>,
    ConnectInfo(Asker(address)): ConnectInfo<Asker>,
    socket: Result<WebSocketUpgrade, axum::extract::ws::rejection::WebSocketUpgradeRejection>,
) -> Response {
    let Ok(socket) = socket else { return StatusCode::NOT_FOUND.into_response() };
    let socket = socket.max_message_size(MESSAGE_BYTES_MAX).protocols(SUBPROTOCOLS);
    let Some(chosen) = socket.selected_protocol().and_then(|name| name.to_str().ok().map(str::to_owned)) else {
        return (StatusCode::BAD_REQUEST, format!("name a subprotocol: {}\n", SUBPROTOCOLS.join(", "))).into_response();
    };
    socket.on_upgrade(move |socket| door.attend(socket, address, chosen))
}

fn arrival_of(carriage: Carriage, from: Peer, bytes: Vec<u8>) -> NgArrival {
    match carriage {
        Carriage::Cookie => NgArrival::Message { from, bytes },
        Carriage::Plain => NgArrival::Plain { from, bytes },
    }
}

impl Door {
    /// One question of an HTTP request. Nothing when there is no answer: no cookie, or no sense.
    async fn ask(&self, address: SocketAddr, question: impl FnOnce(Peer) -> NgArrival) -> Option<Outgoing> {
        let channel = self.channels.request();
        let (outgoing, mut replies) = mpsc::channel(1);
        self.arrivals.send(NgArrival::Opened { channel, outgoing }).await.ok()?;
        self.arrivals.send(question(Peer { channel, address })).await.ok()?;
        let answered = timeout(ANSWER_MAX, replies.recv()).await.ok().flatten();
        let _ = self.arrivals.send(NgArrival::Closed { channel }).await;
        answered
    }

    async fn attend(self, mut socket: WebSocket, address: SocketAddr, chosen: String) {
        let from = Peer { channel: self.channels.connection(), address };
        let (outgoing, mut replies) = mpsc::channel(REPLIES_WAITING_MAX);
        let mut open =
            self.arrivals.send(NgArrival::Opened { channel: from.channel, outgoing: outgoing.clone() }).await.is_ok();
        while open {
            open = tokio::select! {
                heard = socket.recv() => match heard {
                    Some(Ok(message)) => self.hear(message, from, &chosen, &outgoing).await,
                    Some(Err(_)) | None => false,
                },
                reply = replies.recv() => match reply {
                    Some(reply) => socket.send(framed(reply)).await.is_ok(),
                    None => false,
                },
            };
        }
        let _ = self.arrivals.send(NgArrival::Closed { channel: from.channel }).await;
    }

    /// `false` ends the connection.
    async fn hear(&self, message: Message, from: Peer, chosen: &str, outgoing: &mpsc::Sender<Outgoing>) -> bool {
        let bytes = match message {
            Message::Text(text) => Vec::from(text.as_bytes()),
            Message::Binary(bytes) => bytes.into(),
            Message::Ping(_) | Message::Pong(_) => return true,
            Message::Close(_) => return false,
        };
        let arrival = match Carriage::of_subprotocol(chosen) {
            Some(carriage) => arrival_of(carriage, from, bytes),
            // The core closes a channel with its answer to a line; this connection takes further ones.
            None => {
                let reopened = NgArrival::Opened { channel: from.channel, outgoing: outgoing.clone() };
                if self.arrivals.send(reopened).await.is_err() {
                    return false;
                }
                NgArrival::CliLine { from, line: String::from_utf8_lossy(&bytes).trim_end().to_owned() }
            }
        };
        self.arrivals.send(arrival).await.is_ok()
    }
}

/// rtpengine answers ng in binary frames, whatever the question came in.
fn framed(reply: Outgoing) -> Message {
    match reply {
        Outgoing::Last(text) => Message::Text(text.into()),
        Outgoing::Reply(bytes) => Message::Binary(Bytes::from_owner(bytes)),
    }
}
