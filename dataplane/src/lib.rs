//! The media plane: pinned workers that forward SRTP in batches, beside a lobby for handshakes and a link to control.
//!
//! ```text
//!   control ==contract socket== link thread ---orders---> worker 0 | worker 1 | ...   (pinned, one io each)
//!                                    |      <--events---      ^ |
//!                                    |                   keys | | DTLS
//!                                    '---expectations---> lobby thread
//! ```
//!
//! Input: a [`DataplaneConfig`]; then commands and packets. Output: packets and events. Owns the process's threads; see
//! [`queues`] for what travels between them, [`stages`] for what a packet passes, [`leg`] for what a leg is.
#![deny(unsafe_op_in_unsafe_fn)]

mod affinity;
pub mod batch;
mod bell;
pub mod board;
pub mod buffers;
pub mod check_desk;
pub mod clock;
pub mod commands;
pub mod config;
pub mod counters;
pub mod digits;
pub mod early;
pub mod fan_out;
pub mod fault;
pub mod flat_map;
pub mod io;
pub mod leg;
pub mod legs;
mod link;
mod lobby;
pub mod lobby_door;
pub mod outlets;
mod peer;
pub mod queues;
mod random;
mod registry;
pub mod reports;
pub mod round;
mod rtcp;
#[cfg(test)]
mod rtp_tests;
mod signals;
pub mod stages;
pub mod stun_door;
pub mod suites;
pub mod timers;
mod waiting;
pub mod worker;
mod worker_thread;

pub use config::{BackendChoice, CorePlan, DataplaneConfig, PortsChoice, SrtpChoice};
pub use fault::Fault;

use bell::Bell;
use board::{Board, BoardView};
use clock::nanos;
use counters::Counters;
use crosspoint_contract::{Fingerprint, Generation, WorkerHello, WorkerId};
use crosspoint_wire::Nanos;
use crosspoint_wire::dtls::Identity;
use crosspoint_wire::srtp::Engine;
use io::{IoConfig, Ports, PortsConfig, Sleeper, WorkerPorts};
use link::{Link, LinkParts};
use lobby::{Lobby, LobbyPage};
use outlets::Wakers;
use queues::{LinkEnds, LobbyEnds};
use registry::{Registry, Seat};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use tracing::info;
use worker_thread::{Plan, Started};

pub use signals::block_signals;

/// Runs the dataplane on this thread and those it starts, until control says `ShutDown` or a signal comes.
pub fn run(config: DataplaneConfig) -> Result<(), Fault> {
    config.check()?;
    let signals = signals::block(!config.child)?;
    let listener = link::listen(&config.socket)?;
    let sleeper = new_sleeper()?;
    let lobby_sleeper = new_sleeper()?;
    let identity = Identity::generate().map_err(|error| Fault::Identity(error.to_string()))?;
    let fingerprint = Fingerprint { sha256: identity.sha256() };
    let certificate_der = identity.certificate_der().to_vec();
    let wakers = Wakers { link: sleeper.waker(), lobby: lobby_sleeper.waker() };

    if config.srtp == SrtpChoice::Portable {
        Engine::Portable.choose();
    }
    info!(engine = Engine::chosen().name(), "SRTP");
    let (ports, worker_ports) = Ports::open(&PortsConfig {
        addrs: config.rtp_addrs.clone(),
        choice: config.ports,
        workers: config.workers_count(),
        ports_max: config.legs_per_worker() * legs::PORTS_PER_LEG,
    })?;
    info!(addrs = ?ports.hello().addrs, why = %ports.hello().reason, "ports of RTP legs");
    let places = (config.workers_count() * config.legs_per_worker()) as u32;
    let board = Board::create(places).map_err(|source| Fault::System { call: "memfd_create", source })?;
    let mut crew = Crew::default();
    for (index, ports) in worker_ports.into_iter().enumerate() {
        crew.hire(plan(&config, index, ports, wakers.clone(), board.clone()), &config)?;
    }
    let lobby_page = Arc::new(LobbyPage::default());
    let (to_lobby, from_link) = queues::lobby_ring();
    let lobby = Lobby::new(identity, from_link, crew.lobby_ends, lobby_page.clone(), lobby_sleeper);
    let lobby = std::thread::Builder::new()
        .name("lobby".into())
        .spawn(move || lobby.run())
        .map_err(|source| Fault::Thread { thread: "lobby".into(), source })?;

    let registry = Registry::new(crew.seats, to_lobby, wakers.lobby, lobby_page, fingerprint.clone(), ports);
    info!(socket = %config.socket.display(), "dataplane is ready");
    Link::new(LinkParts {
        registry,
        board,
        notes: crew.notes,
        listener,
        path: config.socket,
        sleeper,
        signals: signals.as_raw_fd(),
        grace: config.grace,
        generation: Generation(random::u64()),
        fingerprint,
        certificate_der,
    })
    .run();
    lobby.join().map_err(|_| Fault::ThreadLost { thread: "lobby".into() })
}

fn new_sleeper() -> Result<Sleeper, Fault> {
    Sleeper::new().map_err(|source| Fault::System { call: "eventfd", source })
}

/// The workers that have started, and our ends towards them.
#[derive(Default)]
struct Crew {
    seats: Vec<Seat>,
    notes: Vec<rtrb::Consumer<queues::WorkerNote>>,
    lobby_ends: Vec<(LobbyEnds, Bell)>,
}

impl Crew {
    fn hire(&mut self, plan: Plan, config: &DataplaneConfig) -> Result<(), Fault> {
        let (ends, LinkEnds { to_worker, from_worker }, lobby_ends) = queues::worker_rings();
        let (bell, counters) = (plan.bell.clone(), plan.counters.clone());
        let (started, _thread) = worker_thread::spawn(plan, ends)?;
        info!(
            worker = started.worker.0,
            addr = %started.addr,
            core = started.core,
            backend = %started.backend,
            why = %started.backend_reason,
            "worker is ready"
        );
        let thread_id = started.thread_id;
        let hello = hello(started, config);
        self.seats.push(Seat::new(hello, bell.clone(), counters, thread_id, to_worker, config.legs_per_worker()));
        self.notes.push(from_worker);
        self.lobby_ends.push((lobby_ends, bell));
        Ok(())
    }
}

fn plan(config: &DataplaneConfig, index: usize, ports: WorkerPorts, wakers: Wakers, board: Arc<Board>) -> Plan {
    let port = if config.port_base == 0 { 0 } else { config.port_base + index as u16 };
    Plan {
        worker: WorkerId(index as u16),
        core: affinity::core_of(&config.cores, index),
        io: IoConfig {
            addr: SocketAddr::new(config.listen, port),
            backend: config.backend,
            legs_max: config.legs_per_worker(),
            huge_pages: true,
            ports,
        },
        advertised: config.advertised,
        silence: Nanos::from_millis(config.silence_ms.into()),
        report_interval: nanos(config.report_interval),
        wakers,
        counters: Arc::new(Counters::on(BoardView::new(board, (index * config.legs_per_worker()) as u32))),
        bell: Bell::default(),
        seed: random::u64(),
    }
}

fn hello(started: Started, config: &DataplaneConfig) -> WorkerHello {
    WorkerHello {
        worker: started.worker,
        core: started.core,
        addr: SocketAddr::new(config.advertised.unwrap_or(started.addr.ip()), started.addr.port()),
        backend: started.backend,
        backend_reason: started.backend_reason,
    }
}
