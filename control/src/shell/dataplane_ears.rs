//! Who hears the dataplane: the core of client calls, and the ng relay where it is on; each of its own legs and orders.
//!
//! Input: what the link reads. Output: [`Arrival`]s and [`NgArrival`]s. Legs and orders of the relay are numbered with
//! bits of their own ([`RELAY_LEG`], [`RELAY_ORDER`]), so nothing has to be remembered here.

use super::core_loop::Arrival;
use super::ng::NgArrival;
use crate::core::input::Input;
use crosspoint_contract::{Answer, DataplaneHello, Event, LegId, Snapshot};
use std::os::fd::OwnedFd;
use tokio::sync::mpsc;

/// The relay's legs have this bit; those of client calls have not.
const RELAY_LEG: u64 = crosspoint_ng::LEG;
/// The same for numbers of orders. The shell's own have another.
const RELAY_ORDER: u64 = crosspoint_ng::ORDER;

#[derive(Clone, Debug)]
pub struct Ears {
    pub core: mpsc::Sender<Arrival>,
    pub relay: Option<mpsc::Sender<NgArrival>>,
}

/// Nobody listens any more.
#[derive(Debug)]
pub struct Deaf;

impl Ears {
    /// `board`: the relay's, who alone promises.
    pub async fn attached(
        &self,
        hello: DataplaneHello,
        snapshot: Snapshot,
        board: Option<OwnedFd>,
    ) -> Result<(), Deaf> {
        let (relays, clients) = split(snapshot);
        self.relay(NgArrival::DataplaneAttached { hello: hello.clone(), snapshot: relays, board }).await?;
        self.core(Input::DataplaneAttached { hello, snapshot: clients }).await
    }

    /// The link has ended; calls may go on.
    pub async fn detached(&self) {
        let _ = self.relay(NgArrival::DataplaneLost).await;
        let _ = self.core(Input::DataplaneDetached).await;
    }

    /// The dataplane has ended, and every call with it.
    pub async fn lost(&self, why: &str) {
        let _ = self.relay(NgArrival::DataplaneLost).await;
        let _ = self.core(Input::DataplaneLost { why: why.to_owned() }).await;
    }

    pub async fn answered(&self, answer: Answer) -> Result<(), Deaf> {
        match answer.id.0 & RELAY_ORDER {
            0 => self.core(Input::DataplaneAnswered(answer)).await,
            _ => self.relay(NgArrival::DataplaneAnswered(answer)).await,
        }
    }

    pub async fn said(&self, event: Event) -> Result<(), Deaf> {
        match event {
            Event::WorkerLost { worker, legs } => {
                let (relays, clients) = legs.into_iter().partition(|leg| is_relay(*leg));
                self.relay(NgArrival::DataplaneSaid(Event::WorkerLost { worker, legs: relays })).await?;
                self.core(Input::DataplaneSaid(Event::WorkerLost { worker, legs: clients })).await
            }
            event if leg_of(&event).is_some_and(is_relay) => self.relay(NgArrival::DataplaneSaid(event)).await,
            event => self.core(Input::DataplaneSaid(event)).await,
        }
    }

    async fn core(&self, input: Input) -> Result<(), Deaf> {
        self.core.send(Arrival::Input(input)).await.map_err(|_| Deaf)
    }

    async fn relay(&self, arrival: NgArrival) -> Result<(), Deaf> {
        match &self.relay {
            Some(relay) => relay.send(arrival).await.map_err(|_| Deaf),
            None => Ok(()),
        }
    }
}

fn is_relay(leg: LegId) -> bool {
    leg.0 & RELAY_LEG != 0
}

fn leg_of(event: &Event) -> Option<LegId> {
    match event {
        Event::LegConnected { leg, .. }
        | Event::LegMoved { leg, .. }
        | Event::DigitHeard { leg, .. }
        | Event::LegSilent { leg, .. }
        | Event::LegHeard { leg }
        | Event::LegReported { leg, .. }
        | Event::LegUnreachable { leg, .. }
        | Event::LegFailed { leg, .. }
        | Event::PromiseBroken { leg, .. } => Some(*leg),
        Event::WorkerLost { .. } | Event::Drained => None,
    }
}

/// The relay's part, and that of client calls. Without a relay its legs are nobody's, and the core closes what is nobody's.
fn split(snapshot: Snapshot) -> (Snapshot, Snapshot) {
    let Snapshot { legs, bridges, notes } = snapshot;
    let (relays, clients) = legs.into_iter().partition(|leg| is_relay(leg.leg));
    // Nobody but the relay leaves notes.
    (Snapshot { legs: relays, bridges: Vec::new(), notes }, Snapshot { legs: clients, bridges, notes: Vec::new() })
}
