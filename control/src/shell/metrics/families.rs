//! Name, explanation and value of each figure. A name's unit is its last word; totals get `_total` from the encoder.

use super::Scrape;
use crosspoint_contract::{DropReason, LobbyCounters, WorkerCounters};
use std::collections::BTreeMap;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
}

#[derive(Debug)]
pub struct Family {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    pub labels: Vec<(&'static str, String)>,
    pub value: f64,
}

pub fn families(scrape: &Scrape) -> Vec<Family> {
    let mut families = shell_families(scrape);
    if scrape.core_answers {
        families.extend(core_families(scrape));
    }
    families.extend(scrape.relay.iter().flat_map(super::ng::families));
    if let Some((workers, lobby)) = &scrape.dataplane {
        let before = scrape.dataplane_before.as_ref().map_or(&[][..], |(workers, _)| workers);
        families.extend(worker_families(workers, before));
        families.extend(lobby_families(lobby));
    }
    families
}

/// Exact up to 2^53; a counter at 10 million a second gets there in 28 years.
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

fn single(name: &'static str, kind: Kind, value: f64, help: &'static str) -> Family {
    Family { name, help, kind, samples: vec![Sample { labels: Vec::new(), value }] }
}

pub(super) fn gauge(name: &'static str, value: usize, help: &'static str) -> Family {
    single(name, Kind::Gauge, value as f64, help)
}

pub(super) fn counter(name: &'static str, value: u64, help: &'static str) -> Family {
    single(name, Kind::Counter, float(value), help)
}

pub(super) fn labelled(
    name: &'static str,
    label: &'static str,
    values: &BTreeMap<&'static str, u64>,
    help: &'static str,
) -> Family {
    let sample =
        |(key, value): (&&str, &u64)| Sample { labels: vec![(label, (*key).to_owned())], value: float(*value) };
    Family { name, help, kind: Kind::Counter, samples: values.iter().map(sample).collect() }
}

fn shell_families(scrape: &Scrape) -> Vec<Family> {
    vec![
        gauge(
            "crosspoint_dataplane_attached",
            usize::from(scrape.link.attached.is_some()),
            "1 while a dataplane is attached; new calls are refused without one",
        ),
        counter("crosspoint_dataplane_lost", scrape.link.lost, "Dataplane processes that ended while attached"),
        gauge("crosspoint_store_pending", scrape.store_pending, "Calls whose newest state is not on disk yet"),
        counter("crosspoint_store_written", scrape.store_written, "Live states and records written to the store"),
        counter("crosspoint_store_failed", scrape.store_failed, "Store transactions that failed and were tried again"),
        counter("crosspoint_store_dropped", scrape.store_dropped, "Writes given up because too many were pending"),
        counter(
            "crosspoint_connections_refused",
            scrape.connections_refused,
            "TCP connections refused for limits.connections_per_address_max or limits.sessions_max",
        ),
        counter(
            "crosspoint_sessions_message_endless_closed",
            scrape.messages_endless,
            "Signaling sockets closed for a message in fragments without end",
        ),
        counter(
            "crosspoint_log_lines_dropped",
            scrape.log_lines_dropped,
            "Log lines given up because standard error did not take them",
        ),
    ]
}

fn core_families(scrape: &Scrape) -> Vec<Family> {
    let (gauges, counters) = (&scrape.core.gauges, &scrape.core.counters);
    vec![
        gauge("crosspoint_sessions", gauges.sessions, "Open signaling sockets"),
        gauge("crosspoint_registrations", gauges.registrations, "Client instances that may receive calls"),
        gauge("crosspoint_calls", gauges.calls, "Calls in progress, ringing ones included"),
        gauge("crosspoint_calls_connected", gauges.calls_answered, "Calls in progress that were answered"),
        gauge("crosspoint_legs", gauges.legs, "Legs of calls in progress"),
        gauge("crosspoint_handshakes", gauges.handshakes, "Legs whose ICE and DTLS are under way"),
        counter("crosspoint_frames_received", counters.frames_received, "Signaling messages received"),
        counter("crosspoint_calls_started", counters.calls_started, "Calls that passed admission"),
        counter("crosspoint_calls_answered", counters.calls_answered, "Calls that were answered"),
        labelled("crosspoint_calls_ended", "reason", &counters.calls_ended, "Calls that ended, by reason"),
        labelled(
            "crosspoint_refusals",
            "reason",
            &counters.refusals,
            "Requests of clients that were refused, by reason",
        ),
        single(
            "crosspoint_call_setup_seconds",
            Kind::Counter,
            float(counters.setup_ms_sum) / 1000.0,
            "Time from invite to answer, summed over answered calls",
        ),
        counter("crosspoint_calls_adopted", counters.calls_adopted, "Calls taken over from an earlier process"),
        counter("crosspoint_calls_resumed", counters.calls_resumed, "Calls resumed after a lost socket"),
        counter(
            "crosspoint_sessions_too_slow",
            scrape.core.sessions_too_slow,
            "Sockets closed because their client did not read",
        ),
        counter(
            "crosspoint_orders_refused_busy",
            scrape.core.orders_refused_busy,
            "Orders that found the link to the dataplane full",
        ),
    ]
}

type Reading = fn(&WorkerCounters) -> f64;

/// One sample per worker.
const WORKER_FAMILIES: &[(&str, Kind, Reading, &str)] = &[
    ("crosspoint_worker_packets_received", Kind::Counter, |w| float(w.packets_received), "Datagrams received"),
    ("crosspoint_worker_bytes_received", Kind::Counter, |w| float(w.bytes_received), "UDP payload bytes received"),
    ("crosspoint_worker_packets_sent", Kind::Counter, |w| float(w.packets_sent), "Datagrams sent"),
    ("crosspoint_worker_bytes_sent", Kind::Counter, |w| float(w.bytes_sent), "UDP payload bytes sent"),
    ("crosspoint_worker_stun_checks_answered", Kind::Counter, |w| float(w.stun_checks_answered), "ICE checks answered"),
    ("crosspoint_worker_stun_checks_sent", Kind::Counter, |w| float(w.stun_checks_sent), "ICE checks of our own sent"),
    ("crosspoint_worker_batches", Kind::Counter, |w| float(w.batches), "Batches that passed the stages"),
    ("crosspoint_worker_enters", Kind::Counter, |w| float(w.enters), "Loops that asked the kernel for something"),
    (
        "crosspoint_worker_receive_rearmed",
        Kind::Counter,
        |w| float(w.receive_rearmed),
        "Times the receive buffers ran out",
    ),
    ("crosspoint_worker_busy_seconds", Kind::Counter, |w| float(w.busy_ns) / 1e9, "Time spent working"),
    (
        "crosspoint_worker_elapsed_seconds",
        Kind::Counter,
        |w| float(w.elapsed_ns) / 1e9,
        "Time since the worker started",
    ),
    (
        "crosspoint_worker_events_dropped",
        Kind::Counter,
        |w| float(w.events_dropped),
        "Events that found the link to control full",
    ),
    (
        "crosspoint_worker_packets_early",
        Kind::Counter,
        |w| float(w.packets_early),
        "Packets that came before a promised command and waited for it",
    ),
    ("crosspoint_worker_legs", Kind::Gauge, |w| f64::from(w.legs), "Legs that the worker holds"),
    (
        "crosspoint_worker_legs_connected",
        Kind::Gauge,
        |w| f64::from(w.legs_connected),
        "Legs with a validated pair and keys",
    ),
];

fn worker_families(workers: &[WorkerCounters], before: &[WorkerCounters]) -> Vec<Family> {
    let mut families: Vec<Family> = WORKER_FAMILIES
        .iter()
        .map(|&(name, kind, read, help)| {
            let samples = workers.iter().map(|worker| Sample { labels: vec![label(worker)], value: read(worker) });
            Family { name, help, kind, samples: samples.collect() }
        })
        .collect();
    families.push(since_last_scrape(
        "crosspoint_worker_busy_ratio",
        "Share of the time since the last scrape that was spent working, 0 to 1",
        (workers, before),
        |worker| (float(worker.busy_ns), float(worker.elapsed_ns)),
    ));
    families.push(since_last_scrape(
        "crosspoint_worker_batch_packets",
        "Mean packets per batch since the last scrape",
        (workers, before),
        |worker| (float(worker.packets_received), float(worker.batches)),
    ));
    families.push(queue_depths(workers));
    families.push(drops(workers));
    families
}

fn label(worker: &WorkerCounters) -> (&'static str, String) {
    ("worker", worker.worker.map_or_else(|| "?".to_owned(), |worker| worker.to_string()))
}

/// A quotient of two totals' growth; 0 while the divisor does not grow. A worker that started anew counts from 0.
fn since_last_scrape(
    name: &'static str,
    help: &'static str,
    (workers, before): (&[WorkerCounters], &[WorkerCounters]),
    totals: fn(&WorkerCounters) -> (f64, f64),
) -> Family {
    let sample = |worker: &WorkerCounters| {
        let (amount, divisor) = totals(worker);
        let earlier = before.iter().find(|earlier| earlier.worker == worker.worker).map_or((0.0, 0.0), totals);
        let (amount_before, divisor_before) = if earlier.1 > divisor { (0.0, 0.0) } else { earlier };
        let grown = divisor - divisor_before;
        let value = if grown > 0.0 { (amount - amount_before) / grown } else { 0.0 };
        Sample { labels: vec![label(worker)], value }
    };
    Family { name, help, kind: Kind::Gauge, samples: workers.iter().map(sample).collect() }
}

fn queue_depths(workers: &[WorkerCounters]) -> Family {
    let samples = workers.iter().flat_map(|worker| {
        [("commands", worker.commands_queued), ("events", worker.events_queued)].map(|(queue, depth)| Sample {
            labels: vec![label(worker), ("queue", queue.to_owned())],
            value: f64::from(depth),
        })
    });
    Family {
        name: "crosspoint_worker_queue_depth",
        help: "Entries waiting in the links between control and the worker",
        kind: Kind::Gauge,
        samples: samples.collect(),
    }
}

fn drops(workers: &[WorkerCounters]) -> Family {
    let samples = workers.iter().flat_map(|worker| {
        DropReason::ALL.iter().map(|reason| Sample {
            labels: vec![label(worker), ("reason", reason.name().to_owned())],
            value: float(worker.dropped(*reason)),
        })
    });
    Family {
        name: "crosspoint_worker_packets_dropped",
        help: "Datagrams that were received and not forwarded, by reason",
        kind: Kind::Counter,
        samples: samples.collect(),
    }
}

fn lobby_families(lobby: &LobbyCounters) -> Vec<Family> {
    let outcomes = [
        ("started", lobby.handshakes_started),
        ("completed", lobby.handshakes_completed),
        ("failed", lobby.handshakes_failed),
        ("refused", lobby.handshakes_refused),
    ];
    vec![
        labelled("crosspoint_dtls_handshakes", "outcome", &outcomes.into(), "DTLS handshakes, by what became of them"),
        single(
            "crosspoint_dtls_handshakes_half_open",
            Kind::Gauge,
            f64::from(lobby.handshakes_half_open),
            "DTLS handshakes under way",
        ),
    ]
}
