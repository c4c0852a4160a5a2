//! One client's WebSocket: text frames in, text frames out, a heartbeat, and bounds on all of it.
//!
//! ```text
//!   client --text--> session task --Arrival--> core loop
//!   client <--text-- session task <--bounded queue-- core loop
//! ```
//!
//! The heartbeat is the bare text `\n`, which a client echoes; it reconnects when it hears nothing for 15 s, and we
//! close when we hear nothing for 30 s. Nothing here looks into a message.

use super::core_loop::{Arrival, Outgoing};
use crate::core::input::{Input, SessionId};
use axum::extract::ws::{CloseFrame, Message, WebSocket};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout, timeout_at};

/// Two heartbeats fit into the 15 s after which a client gives up.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(7);
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// A frame that the peer's TCP window does not take in this time ends the session.
const SEND_MAX: Duration = Duration::from_secs(10);
/// How long a closing handshake may take (RFC 6455 §7.1.1).
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// RFC 6455 §7.4.1.
mod close_code {
    pub const PROTOCOL_ERROR: u16 = 1002;
    pub const UNSUPPORTED: u16 = 1003;
    pub const POLICY: u16 = 1008;
    pub const TOO_BIG: u16 = 1009;
    pub const INTERNAL: u16 = 1011;
}

/// Why a session ended on our side; the peer's close or a dead connection needs no frame.
enum End {
    Gone,
    Close(u16, &'static str),
}

/// Bounds of one session.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    pub message_bytes_max: usize,
    pub queue_max: usize,
}

/// Counts sessions until their closing handshake is over, so that an orderly end can wait for them.
#[derive(Clone, Debug, Default)]
pub struct OpenSessions(Arc<AtomicUsize>);

/// One open session; dropped at its end.
#[derive(Debug)]
pub struct OpenSession(Arc<AtomicUsize>);

impl OpenSessions {
    pub fn enter(&self) -> OpenSession {
        self.0.fetch_add(1, Ordering::AcqRel);
        OpenSession(self.0.clone())
    }

    pub fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

impl Drop for OpenSession {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves one socket until either side ends it, and tells the core of both.
pub async fn serve(
    mut socket: WebSocket,
    session: SessionId,
    remote: SocketAddr,
    limits: SessionLimits,
    arrivals: mpsc::Sender<Arrival>,
) {
    let (outgoing, mut queue) = mpsc::channel(limits.queue_max);
    if arrivals.send(Arrival::SessionOpened { session, remote, outgoing }).await.is_err() {
        return;
    }
    let end = exchange(&mut socket, session, limits, &mut queue, &arrivals).await;
    // The core hears of it before the closing handshake, which the peer may delay.
    let _ = arrivals.send(Arrival::Input(Input::SessionClosed { session })).await;
    if let End::Close(code, reason) = end {
        close(&mut socket, code, reason).await;
    }
}

async fn exchange(
    socket: &mut WebSocket,
    session: SessionId,
    limits: SessionLimits,
    queue: &mut mpsc::Receiver<Outgoing>,
    arrivals: &mpsc::Sender<Arrival>,
) -> End {
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        let sent = tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(Outgoing::Text(text)) => send(socket, text).await,
                Some(Outgoing::Close { code, reason }) => Err(End::Close(code, reason)),
                None if arrivals.is_closed() => Err(End::Close(close_code::INTERNAL, "the server failed")),
                None => Err(End::Close(close_code::POLICY, "reads too slowly")),
            },
            received = socket.recv() => {
                heard = Instant::now();
                receive(received, session, limits, arrivals).await
            }
            _ = heartbeat.tick() => {
                if heard.elapsed() > SILENCE_MAX { Err(End::Gone) } else { send(socket, "\n".into()).await }
            }
        };
        if let Err(end) = sent {
            return end;
        }
    }
}

async fn send(socket: &mut WebSocket, text: String) -> Result<(), End> {
    match timeout(SEND_MAX, socket.send(Message::Text(text.into()))).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(End::Gone),
    }
}

async fn receive(
    received: Option<Result<Message, axum::Error>>,
    session: SessionId,
    limits: SessionLimits,
    arrivals: &mpsc::Sender<Arrival>,
) -> Result<(), End> {
    match received {
        Some(Ok(Message::Text(text))) if text.len() > limits.message_bytes_max => {
            Err(End::Close(close_code::TOO_BIG, "message too long"))
        }
        Some(Ok(Message::Text(text))) if text.trim_ascii().is_empty() => Ok(()),
        Some(Ok(Message::Text(text))) => {
            let input = Input::SessionFrame { session, text: text.as_str().to_owned() };
            arrivals.send(Arrival::Input(input)).await.map_err(|_| End::Gone)
        }
        Some(Ok(Message::Binary(_))) => Err(End::Close(close_code::UNSUPPORTED, "text frames only")),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(()),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(error)) => Err(end_of(&error)),
    }
}

/// The library's error type is hidden; only its text tells a message over the bound from a broken connection.
fn end_of(error: &axum::Error) -> End {
    let text = error.to_string();
    if text.contains("too long") || text.contains("too big") {
        End::Close(close_code::TOO_BIG, "message too long")
    } else if text.contains("rotocol") || text.contains("UTF-8") {
        End::Close(close_code::PROTOCOL_ERROR, "protocol error")
    } else {
        End::Gone
    }
}

/// Sends the close frame and reads what is still under way: closing a TCP connection over unread bytes would reset it
/// and may take our frame with it.
async fn close(socket: &mut WebSocket, code: u16, reason: &'static str) {
    let until = Instant::now() + CLOSE_MAX;
    let frame = Message::Close(Some(CloseFrame { code, reason: reason.into() }));
    if let Ok(Ok(())) = timeout_at(until, socket.send(frame)).await {
        while let Ok(Some(Ok(_))) = timeout_at(until, socket.recv()).await {}
    }
}
