//! The one task that owns the core: takes what arrives, lets the core decide, carries the effects out in order.
//!
//! Input: [`Arrival`]s from sessions, the dataplane link, the key watch and the HTTP side, over one bounded queue, so
//! that whoever floods waits. Output: frames to session queues, orders to the link, writes to the store's writer.
//! It never waits for any of them: a slow session is closed, a full link answers `Busy`, a slow disk is coalesced.

use super::dataplane_link::{LinkRequest, TaggedOrder};
use super::log;
use super::store::{PendingWrites, Write};
use crate::core::Core;
use crate::core::effect::Effect;
use crate::core::input::{Input, Now, SessionId};
use crate::core::metrics::{Counters, Gauges};
use crosspoint_contract::{Answer, Refused, WorkerId};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// Facts that may wait for the core. At 1 µs to 100 µs each, a full queue is under a second of work.
pub const ARRIVALS_MAX: usize = 8192;

/// What may reach the loop.
#[derive(Debug)]
pub enum Arrival {
    Input(Input),
    /// A WebSocket is open; what the core sends to it goes to `outgoing`.
    SessionOpened {
        session: SessionId,
        remote: SocketAddr,
        outgoing: mpsc::Sender<Outgoing>,
    },
    /// Somebody wants to see figures.
    Look(oneshot::Sender<CoreView>),
}

/// What a session task is to do next. A closed queue means: the client reads too slowly.
#[derive(Debug)]
pub enum Outgoing {
    Text(String),
    Close { code: u16, reason: &'static str },
}

/// The core's figures at one moment.
#[derive(Clone, Debug, Default)]
pub struct CoreView {
    pub gauges: Gauges,
    pub counters: Counters,
    /// Sessions closed because they did not drain their queue.
    pub sessions_too_slow: u64,
    /// Orders that found the link's queue full.
    pub orders_refused_busy: u64,
}

pub struct CoreLoop {
    core: Core,
    arrivals: mpsc::Receiver<Arrival>,
    /// The loop's own way back in, for answers it makes itself.
    refused: Vec<Input>,
    sessions: HashMap<SessionId, mpsc::Sender<Outgoing>>,
    link: mpsc::Sender<LinkRequest>,
    /// Counts attachments; an order is for the attachment in which the core gave it.
    attachment: u64,
    pending: Arc<PendingWrites>,
    started: Instant,
    sessions_too_slow: u64,
    orders_refused_busy: u64,
}

impl CoreLoop {
    pub fn new(
        core: Core,
        arrivals: mpsc::Receiver<Arrival>,
        link: mpsc::Sender<LinkRequest>,
        pending: Arc<PendingWrites>,
    ) -> CoreLoop {
        CoreLoop {
            core,
            arrivals,
            refused: Vec::new(),
            sessions: HashMap::new(),
            link,
            attachment: 0,
            pending,
            started: Instant::now(),
            sessions_too_slow: 0,
            orders_refused_busy: 0,
        }
    }

    /// Runs until every sender of arrivals is gone.
    pub async fn run(mut self) {
        loop {
            let deadline = self.core.next_deadline();
            let arrival = tokio::select! {
                biased;
                () = until(self.started, deadline) => Arrival::Input(Input::DeadlineReached),
                arrival = self.arrivals.recv() => match arrival {
                    Some(arrival) => arrival,
                    None => return,
                },
            };
            self.take(arrival);
        }
    }

    fn take(&mut self, arrival: Arrival) {
        match arrival {
            Arrival::Input(input) => self.turn(input),
            Arrival::SessionOpened { session, remote, outgoing } => {
                self.sessions.insert(session, outgoing);
                self.turn(Input::SessionOpened { session, remote });
            }
            Arrival::Look(reply) => drop(reply.send(self.view())),
        }
        while let Some(input) = self.refused.pop() {
            self.turn(input);
        }
    }

    fn turn(&mut self, input: Input) {
        match &input {
            Input::SessionClosed { session } => drop(self.sessions.remove(session)),
            Input::DataplaneAttached { .. } => self.attachment += 1,
            _ => {}
        }
        let mut effects = Vec::new();
        self.core.handle(self.now(), input, &mut effects);
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Send { session, text } => self.send(session, Outgoing::Text(text)),
            Effect::Close { session, code, reason } => {
                self.send(session, Outgoing::Close { code, reason });
                self.sessions.remove(&session);
            }
            Effect::Order(order) => {
                let id = order.id;
                let order = Box::new(TaggedOrder { attachment: self.attachment, order });
                let request = LinkRequest::Order(order);
                if self.link.try_send(request).is_err() {
                    self.orders_refused_busy += 1;
                    let answer = Answer { id, result: Err(Refused::Busy(WorkerId(0))) };
                    self.refused.push(Input::DataplaneAnswered(answer));
                }
            }
            Effect::DataplaneMute => {
                tracing::error!(kind = "dataplane_hangs", "new calls are refused; its process id is in /healthz")
            }
            Effect::SaveCall(call) => self.pending.put(Write::Live(call)),
            Effect::WriteRecord(record) => self.pending.put(Write::Record(record)),
            Effect::Note(note) => log::note(&note),
        }
    }

    /// A session that does not drain its queue loses it; its task then closes the socket and says so.
    fn send(&mut self, session: SessionId, outgoing: Outgoing) {
        let Some(queue) = self.sessions.get(&session) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = queue.try_send(outgoing) {
            self.sessions_too_slow += 1;
            self.sessions.remove(&session);
            tracing::info!(kind = "session_too_slow", session = session.0, "closing a client that does not read");
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: millis(self.started.elapsed()), unix_ms: unix_ms() }
    }

    fn view(&self) -> CoreView {
        CoreView {
            gauges: self.core.gauges(),
            counters: self.core.counters().clone(),
            sessions_too_slow: self.sessions_too_slow,
            orders_refused_busy: self.orders_refused_busy,
        }
    }
}

async fn until(started: Instant, deadline_ms: Option<u64>) {
    match deadline_ms {
        Some(ms) => tokio::time::sleep_until(started + Duration::from_millis(ms)).await,
        None => std::future::pending().await,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub fn unix_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}
