//! One client's WebSocket: text frames in, text frames out, a heartbeat, and bounds on all of it.
//!
//! ```text
//!   client --text--> session task --Arrival--> core loop
//!   client <--text-- session task <--bounded queue-- core loop
//! ```
//!
//! The heartbeat is the bare text `\n`, which a client echoes; it reconnects when it hears nothing for 15 s, and we
//! close when we hear nothing for 30 s. Nothing here decides by what is in a message. The core bounds the rate of messages;
//! frames that it does not see (heartbeats, pings) are held to the same rate here.

use super::connections::{MESSAGE_ENDLESS, Meter};
use super::core_loop::{Arrival, Outgoing};
use super::fresh_keys::FreshKeys;
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
/// Beyond a message of the greatest length, a client may send so much that no message accounts for: what is read ahead, and
/// headers of fragments and of TLS records.
const UNACCOUNTED_BYTES_SLACK: u64 = 64 << 10;
/// What a frame costs at most besides its content: its header, and that of a TLS record of its own.
const FRAME_BYTES: u64 = 64;
/// Forgiven at each heartbeat, so that the headers of honest fragments do not add up over days.
const FORGIVEN_BYTES: u64 = 7 << 10;
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
    /// Of frames that carry no message, on average and at once.
    pub frames_per_second_max: u32,
    pub frames_burst_max: u32,
}

/// The way to the core.
#[derive(Clone, Debug)]
pub struct Inlet {
    pub arrivals: mpsc::Sender<Arrival>,
    pub fresh_keys: FreshKeys,
    /// Of the session's connection.
    pub meter: Arc<Meter>,
}

/// How many frames without a message may still come: a bucket that fills with time.
struct Pace {
    left: f64,
    filled: Instant,
}

impl Pace {
    fn new(limits: SessionLimits, now: Instant) -> Pace {
        Pace { left: limits.frames_burst_max.into(), filled: now }
    }

    fn frame(&mut self, limits: SessionLimits, now: Instant) -> Result<(), End> {
        let gained = (now - self.filled).as_secs_f64() * f64::from(limits.frames_per_second_max);
        self.filled = now;
        self.left = (self.left + gained).min(limits.frames_burst_max.into()) - 1.0;
        if self.left < 0.0 { Err(End::Close(close_code::POLICY, "too many frames")) } else { Ok(()) }
    }
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
pub async fn serve(mut socket: WebSocket, session: SessionId, remote: SocketAddr, limits: SessionLimits, inlet: Inlet) {
    let (outgoing, mut queue) = mpsc::channel(limits.queue_max);
    if inlet.arrivals.send(Arrival::SessionOpened { session, remote, outgoing }).await.is_err() {
        return;
    }
    inlet.meter.bound((limits.message_bytes_max as u64).saturating_mul(2) + UNACCOUNTED_BYTES_SLACK);
    let end = exchange(&mut socket, session, limits, &mut queue, &inlet).await;
    // The core hears of it before the closing handshake, which the peer may delay.
    let _ = inlet.arrivals.send(Arrival::Input(Input::SessionClosed { session })).await;
    if let End::Close(code, reason) = end {
        close(&mut socket, code, reason).await;
    }
}

async fn exchange(
    socket: &mut WebSocket,
    session: SessionId,
    limits: SessionLimits,
    queue: &mut mpsc::Receiver<Outgoing>,
    inlet: &Inlet,
) -> End {
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT_INTERVAL, HEARTBEAT_INTERVAL);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    let mut pace = Pace::new(limits, heard);
    loop {
        let sent = tokio::select! {
            outgoing = queue.recv() => match outgoing {
                Some(Outgoing::Text(text)) => send(socket, text).await,
                Some(Outgoing::Close { code, reason }) => Err(End::Close(code, reason)),
                None if inlet.arrivals.is_closed() => Err(End::Close(close_code::INTERNAL, "the server failed")),
                None => Err(End::Close(close_code::POLICY, "reads too slowly")),
            },
            received = socket.recv() => {
                heard = Instant::now();
                inlet.meter.account(received.as_ref().map_or(0, worth));
                match receive(received, session, limits, inlet).await {
                    Ok(Received::Message) => Ok(()),
                    Ok(Received::Nothing) => pace.frame(limits, heard),
                    Err(end) => Err(end),
                }
            }
            _ = heartbeat.tick() => {
                inlet.meter.account(FORGIVEN_BYTES);
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

/// What a frame may have cost on the wire, with the headers of fragments and records of a decent size.
fn worth(received: &Result<Message, axum::Error>) -> u64 {
    let bytes = match received {
        Ok(Message::Text(text)) => text.len(),
        Ok(Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes)) => bytes.len(),
        Ok(Message::Close(_)) | Err(_) => 0,
    } as u64;
    bytes + bytes / 64 + FRAME_BYTES
}

enum Received {
    /// The core has it.
    Message,
    /// A frame that says nothing but that its sender lives.
    Nothing,
}

async fn receive(
    received: Option<Result<Message, axum::Error>>,
    session: SessionId,
    limits: SessionLimits,
    inlet: &Inlet,
) -> Result<Received, End> {
    match received {
        Some(Ok(Message::Text(text))) if text.len() > limits.message_bytes_max => {
            Err(End::Close(close_code::TOO_BIG, "message too long"))
        }
        Some(Ok(Message::Text(text))) if text.trim_ascii().is_empty() => Ok(Received::Nothing),
        Some(Ok(Message::Text(text))) => {
            inlet.fresh_keys.learn(text.as_str()).await;
            let input = Input::SessionFrame { session, text: text.as_str().to_owned() };
            inlet.arrivals.send(Arrival::Input(input)).await.map(|()| Received::Message).map_err(|_| End::Gone)
        }
        Some(Ok(Message::Binary(_))) => Err(End::Close(close_code::UNSUPPORTED, "text frames only")),
        Some(Ok(Message::Ping(_) | Message::Pong(_))) => Ok(Received::Nothing),
        Some(Ok(Message::Close(_))) | None => Err(End::Gone),
        Some(Err(error)) => Err(end_of(&error)),
    }
}

/// The library's error type is hidden; only its text tells a message over the bound from a broken connection.
fn end_of(error: &axum::Error) -> End {
    let text = error.to_string();
    if text.contains("too long") || text.contains("too big") {
        End::Close(close_code::TOO_BIG, "message too long")
    } else if text.contains(MESSAGE_ENDLESS) {
        End::Close(close_code::POLICY, "message without end")
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
