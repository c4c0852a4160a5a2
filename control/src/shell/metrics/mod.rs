//! `GET /metrics`: everything that is counted, in the OpenMetrics text that Prometheus scrapes.
//!
//! Input: the core's view, the link's state and, with a short timeout, the dataplane's counters. [`families`] names
//! and explains each figure; names are stable.

mod families;
mod ng;

use super::core_loop::CoreView;
use super::dataplane_keeper::LinkState;
use super::dataplane_link::{CounterReading, LinkRequest};
use super::http::App;
use super::ng::NgView;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use families::{Family, Kind, families};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// A dataplane that does not answer in this time leaves its families out of the scrape.
const READ_COUNTERS_MAX: Duration = Duration::from_millis(500);

/// What one scrape saw.
#[derive(Clone, Debug, Default)]
pub struct Scrape {
    pub core: CoreView,
    /// False: the core did not answer, and its figures are missing.
    pub core_answers: bool,
    pub link: LinkState,
    /// Nothing while the ng relay is off, or stuck.
    pub relay: Option<NgView>,
    pub dataplane: Option<CounterReading>,
    /// The reading of the scrape before, for shares of the time between.
    pub dataplane_before: Option<CounterReading>,
    pub store_pending: usize,
    pub store_written: u64,
    pub store_failed: u64,
    pub store_dropped: u64,
    pub connections_refused: u64,
    pub messages_endless: u64,
    pub log_lines_dropped: u64,
}

/// The reading of the last scrape.
#[derive(Debug, Default)]
pub struct LastReading(Mutex<Option<CounterReading>>);

impl LastReading {
    fn replace(&self, reading: Option<CounterReading>) -> Option<CounterReading> {
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), reading)
    }
}

pub async fn metrics(State(app): State<App>) -> Response {
    let scrape = scrape(&app).await;
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
            .into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn scrape(app: &App) -> Scrape {
    use std::sync::atomic::Ordering::Relaxed;
    let (view, dataplane, relay) = tokio::join!(app.look(), read_counters(app), app.look_at_relay());
    let writer = &app.pending.counters;
    Scrape {
        core_answers: view.is_some(),
        core: view.unwrap_or_default(),
        link: app.link_state.borrow().clone(),
        relay,
        dataplane_before: app.last_reading.replace(dataplane.clone()),
        dataplane,
        store_pending: app.pending.len(),
        store_written: writer.written.load(Relaxed),
        store_failed: writer.failed.load(Relaxed),
        store_dropped: writer.dropped.load(Relaxed),
        connections_refused: app.connections.refused(),
        messages_endless: app.connections.messages_endless(),
        log_lines_dropped: super::log::lines_dropped(),
    }
}

async fn read_counters(app: &App) -> Option<CounterReading> {
    app.link_state.borrow().attached.as_ref()?;
    let (reply, reading) = oneshot::channel();
    app.link.try_send(LinkRequest::ReadCounters(reply)).ok()?;
    timeout(READ_COUNTERS_MAX, reading).await.ok()?.ok()
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        families(self).iter().try_for_each(|family| encode(&mut encoder, family))
    }
}

fn encode(encoder: &mut DescriptorEncoder, family: &Family) -> fmt::Result {
    let metric_type = match family.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = encoder.encode_descriptor(family.name, family.help, None, metric_type)?;
    for sample in &family.samples {
        if sample.labels.is_empty() {
            encode_value(&mut metric, family.kind, sample.value)?;
        } else {
            encode_value(&mut metric.encode_family(&sample.labels)?, family.kind, sample.value)?;
        }
    }
    Ok(())
}

fn encode_value(metric: &mut MetricEncoder<'_>, kind: Kind, value: f64) -> fmt::Result {
    let whole = (value.fract() == 0.0 && value.abs() < 2_f64.powi(53)).then_some(value as i64);
    match (kind, whole) {
        (Kind::Counter, Some(whole)) => metric.encode_counter::<NoLabelSet, u64, f64>(&whole.unsigned_abs(), None),
        (Kind::Counter, None) => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        (Kind::Gauge, Some(whole)) => metric.encode_gauge(&whole),
        (Kind::Gauge, None) => metric.encode_gauge(&value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosspoint_contract::{DropReason, LobbyCounters, WorkerCounters, WorkerId};

    fn exposition(scrape: Scrape) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(scrape));
        let mut body = String::new();
        text::encode(&mut body, &registry).expect("writing to a string");
        body
    }

    fn reading(packets: u64, busy_ns: u64, elapsed_ns: u64) -> CounterReading {
        let mut packets_dropped = vec![0; DropReason::COUNT];
        packets_dropped[DropReason::SrtpReplayed as usize] = 7;
        let worker = WorkerCounters {
            worker: Some(WorkerId(1)),
            packets_received: packets,
            batches: packets / 10,
            packets_dropped,
            busy_ns,
            elapsed_ns,
            ..WorkerCounters::default()
        };
        (vec![worker], LobbyCounters { handshakes_completed: 3, ..LobbyCounters::default() })
    }

    #[test]
    fn documented_names_carry_the_dataplanes_figures() {
        let text = exposition(Scrape {
            core_answers: true,
            dataplane: Some(reading(200, 500, 2000)),
            dataplane_before: Some(reading(100, 250, 1000)),
            ..Scrape::default()
        });
        for line in [
            "crosspoint_worker_packets_received_total{worker=\"1\"} 200",
            "crosspoint_worker_packets_dropped_total{worker=\"1\",reason=\"srtp_replayed\"} 7",
            "crosspoint_worker_busy_ratio{worker=\"1\"} 0.25",
            "crosspoint_worker_batch_packets{worker=\"1\"} 10",
            "crosspoint_worker_queue_depth{worker=\"1\",queue=\"commands\"} 0",
            "crosspoint_dtls_handshakes_total{outcome=\"completed\"} 3",
            "crosspoint_calls 0",
            "crosspoint_legs 0",
            "crosspoint_registrations 0",
        ] {
            assert!(text.lines().any(|l| l.starts_with(line)), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_family_is_explained_and_named_once() {
        let scrape = Scrape { core_answers: true, dataplane: Some(reading(1, 1, 1)), ..Scrape::default() };
        let mut names: Vec<&str> = families(&scrape)
            .iter()
            .map(|family| {
                assert!(family.name.starts_with("crosspoint_") && family.help.len() > 10, "{}", family.name);
                family.name
            })
            .collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn figures_that_could_not_be_read_are_left_out_rather_than_zero() {
        let text = exposition(Scrape::default());
        assert!(!text.contains("crosspoint_calls ") && !text.contains("crosspoint_worker_"), "{text}");
        assert!(text.contains("crosspoint_dataplane_attached 0"));
    }
}
