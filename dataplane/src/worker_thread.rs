//! The thread of one worker: pins itself, lives, and if a life ends by a panic, begins another on the same port.
//!
//! Input: a plan at start. Output: what was opened, once; a note for the link thread when a life was lost. Owns the ends
//! of the worker's rings, which outlive a lost life. Does not touch packets.

use crate::affinity;
use crate::bell::Bell;
use crate::clock;
use crate::counters::Counters;
use crate::fault::Fault;
use crate::io::{self, IoConfig, Opened};
use crate::outlets::{Outlets, Wakers};
use crate::queues::{WorkerEnds, WorkerNote};
use crate::timers::TimerSettings;
use crate::worker::{Turn, Worker, WorkerParts};
use crosspoint_contract::WorkerId;
use crosspoint_wire::Nanos;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::{error, warn};

/// Between attempts to begin a new life.
const REVIVAL_PAUSE: Duration = Duration::from_secs(1);

/// What a worker is told before it starts.
#[derive(Clone)]
pub struct Plan {
    pub worker: WorkerId,
    pub core: Option<u16>,
    pub io: IoConfig,
    /// What peers are told, when it is not where we listen.
    pub advertised: Option<IpAddr>,
    pub silence: Nanos,
    pub report_interval: Nanos,
    pub wakers: Wakers,
    pub counters: Arc<Counters>,
    pub bell: Bell,
    pub seed: u64,
}

/// What a worker tells when it is ready.
pub struct Started {
    pub worker: WorkerId,
    /// The pinned core, if that succeeded.
    pub core: Option<u16>,
    pub addr: SocketAddr,
    pub backend: String,
    pub backend_reason: String,
    pub thread_id: i32,
}

/// Starts the thread and waits until it receives packets.
pub fn spawn(plan: Plan, ends: WorkerEnds) -> Result<(Started, JoinHandle<()>), Fault> {
    let name = format!("worker-{}", plan.worker);
    let (tell, told) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || Life { plan, ends, tell: Some(tell) }.repeat())
        .map_err(|source| Fault::Thread { thread: name.clone(), source })?;
    match told.recv() {
        Ok(started) => Ok((started?, thread)),
        Err(mpsc::RecvError) => Err(Fault::ThreadLost { thread: name }),
    }
}

struct Life {
    plan: Plan,
    ends: WorkerEnds,
    /// Until the first life has begun.
    tell: Option<mpsc::SyncSender<Result<Started, Fault>>>,
}

impl Life {
    fn repeat(mut self) {
        loop {
            match catch_unwind(AssertUnwindSafe(|| self.live())) {
                Ok(Ok(())) => return self.note(|| WorkerNote::Stopped),
                Ok(Err(fault)) if self.tell.is_some() => return self.refuse(fault.into()),
                Ok(Err(fault)) => error!(worker = self.plan.worker.0, %fault, "worker lost its socket"),
                Err(_) => error!(worker = self.plan.worker.0, "worker panicked; its legs are gone"),
            }
            if self.tell.is_some() {
                return;
            }
            self.note(|| WorkerNote::Lost);
            std::thread::sleep(REVIVAL_PAUSE / 10);
        }
    }

    /// One life: until it is told to stop, fails, or panics.
    fn live(&mut self) -> Result<(), io::Fault> {
        let core = self.plan.core.filter(|&core| match affinity::pin(core) {
            Ok(()) => true,
            Err(error) => {
                warn!(worker = self.plan.worker.0, core, %error, "cannot pin the worker; see `taskset -p`");
                false
            }
        });
        let opened = self.open()?;
        let addr = opened.io.local_addr();
        self.plan.io.addr = addr;
        self.plan.bell.hang(opened.io.waker());
        self.announce(core, &opened);
        let mut worker = self.worker(opened, addr);
        while worker.turn()? == Turn::Again {}
        Ok(())
    }

    /// The first attempt tells the truth at once; a later one waits for the kernel to let go of the port.
    fn open(&self) -> Result<Opened, io::Fault> {
        loop {
            match io::open(&self.plan.io) {
                Err(fault) if self.tell.is_none() => {
                    error!(worker = self.plan.worker.0, %fault, "worker cannot begin anew yet");
                    std::thread::sleep(REVIVAL_PAUSE);
                }
                result => return result,
            }
        }
    }

    fn announce(&mut self, core: Option<u16>, opened: &Opened) {
        let Some(tell) = self.tell.take() else { return };
        let started = Started {
            worker: self.plan.worker,
            core,
            addr: opened.io.local_addr(),
            backend: opened.kind.to_string(),
            backend_reason: opened.reason.clone(),
            thread_id: affinity::thread_id(),
        };
        // Whoever started us and does not listen any more is ending.
        let _ = tell.send(Ok(started));
    }

    fn worker(&mut self, opened: Opened, addr: SocketAddr) -> Worker<'_> {
        let now = clock::monotonic();
        Worker::new(WorkerParts {
            io: opened.io,
            batch: opened.batch,
            legs_max: self.plan.io.legs_max,
            timers: TimerSettings {
                silence: self.plan.silence,
                report_interval: self.plan.report_interval,
                ntp_origin: clock::ntp_origin(now),
                local_addr: SocketAddr::new(self.plan.advertised.unwrap_or(addr.ip()), addr.port()),
            },
            outlets: Outlets::new(&mut self.ends, self.plan.wakers.clone()),
            counters: self.plan.counters.clone(),
            seed: self.plan.seed,
        })
    }

    fn refuse(&mut self, fault: Fault) {
        if let Some(tell) = self.tell.take() {
            let _ = tell.send(Err(fault));
        }
    }

    /// Waits for room: these notes must arrive, and nobody's packets wait for us any more.
    fn note(&mut self, note: impl Fn() -> WorkerNote) {
        while self.ends.to_link.push(note()).is_err() && !self.ends.to_link.is_abandoned() {
            self.plan.wakers.link.wake();
            std::thread::sleep(Duration::from_millis(1));
        }
        self.plan.wakers.link.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BackendChoice;
    use crate::io::Sleeper;
    use crate::leg::{Leg, LegHandle, LegSeed, SessionSeed};
    use crate::queues::{LinkEnds, WorkerOrder, worker_rings};
    use crosspoint_contract::LegId;
    use crosspoint_wire::ice_lite::Credentials;
    use std::time::Instant;

    fn leg() -> Box<Leg> {
        Leg::new(LegSeed {
            handle: LegHandle { slot: 0, leg: LegId(1) },
            ice: Credentials { ufrag: "leg00001".into(), pwd: "a-password-of-many-bytes".into() },
            session: SessionSeed {
                audio_ssrc: 1,
                video_ssrc: 2,
                first_sequence_number: 1,
                first_timestamp: 1,
                cname: "bridge".into(),
            },
        })
    }

    fn plan(wakers: Wakers) -> Plan {
        Plan {
            worker: WorkerId(0),
            core: None,
            io: IoConfig {
                addr: SocketAddr::from(([127, 0, 0, 1], 0)),
                backend: BackendChoice::Auto,
                legs_max: 4,
                huge_pages: false,
                ports: io::WorkerPorts::default(),
            },
            advertised: None,
            silence: Nanos::from_secs(10),
            report_interval: Nanos::from_secs(5),
            wakers,
            counters: Arc::default(),
            bell: Bell::default(),
            seed: 1,
        }
    }

    fn next_note(link: &mut LinkEnds) -> WorkerNote {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            if let Ok(note) = link.from_worker.pop() {
                return note;
            }
            assert!(Instant::now() < deadline, "the worker says nothing");
            std::thread::yield_now();
        }
    }

    fn until(done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !done() {
            assert!(Instant::now() < deadline, "the worker counts nothing");
            std::thread::yield_now();
        }
    }

    #[test]
    fn worker_that_panics_is_lost_and_its_successor_begins_empty_on_the_same_port() {
        let sleeper = Sleeper::new().expect("an eventfd");
        let plan = plan(Wakers { link: sleeper.waker(), lobby: sleeper.waker() });
        let (bell, (ends, mut link, _lobby)) = (plan.bell.clone(), worker_rings());
        let counters = plan.counters.clone();
        let (started, thread) = spawn(plan, ends).expect("starts");
        let peer = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
        for n in 1..=3 {
            peer.send_to(b"noise", started.addr).expect("sent");
            until(|| counters.packets_received.get() == n);
        }
        let mut give = |order| {
            assert!(link.to_worker.push(order).is_ok());
            bell.wake();
        };
        give(WorkerOrder::Begin);
        give(WorkerOrder::Open(leg()));
        give(WorkerOrder::Panic);
        give(WorkerOrder::Open(leg()));
        assert!(matches!(next_note(&mut link), WorkerNote::Begun));
        assert!(matches!(next_note(&mut link), WorkerNote::Answered(answered) if answered.result.is_ok()));
        assert!(matches!(next_note(&mut link), WorkerNote::Lost));

        let mut give = |order| {
            assert!(link.to_worker.push(order).is_ok());
            bell.wake();
        };
        give(WorkerOrder::Begin);
        give(WorkerOrder::Open(leg()));
        assert!(matches!(next_note(&mut link), WorkerNote::Begun));
        let answered = next_note(&mut link);
        assert!(
            matches!(answered, WorkerNote::Answered(answered) if answered.result.is_ok()),
            "the slot is free, and the order before `Begin` was not carried out"
        );
        assert!(std::net::UdpSocket::bind(started.addr).is_err(), "the successor holds the port");
        assert_eq!(counters.packets_received.get(), 3, "totals do not fall with a worker");
        assert!(link.to_worker.push(WorkerOrder::Stop).is_ok());
        bell.wake();
        assert!(matches!(next_note(&mut link), WorkerNote::Stopped));
        thread.join().expect("ends");
    }
}
