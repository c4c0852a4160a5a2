//! Figures of the ng relay. Absent while it is off.

use super::families::{Family, Kind, Sample, counter, float, gauge, labelled};
use crate::shell::ng::NgView;
use crosspoint_ng::request::Command;
use std::collections::BTreeMap;

pub fn families(view: &NgView) -> Vec<Family> {
    let statistics = &view.statistics;
    let ends = BTreeMap::from([
        ("deleted", statistics.sessions_ended),
        ("terminated", statistics.sessions_terminated),
        ("timeout", statistics.sessions_timed_out),
        ("silent_timeout", statistics.sessions_silent_timed_out),
        ("final_timeout", statistics.sessions_final_timed_out),
        ("offer_timeout", statistics.sessions_offer_timed_out),
    ]);
    let errors = statistics.by_client.values().map(|requests| requests.errors).sum();
    vec![
        gauge("crosspoint_ng_calls", view.calls, "Calls relayed for SIP proxies right now"),
        counter("crosspoint_ng_calls_started", statistics.sessions_managed, "Calls that proxies have offered"),
        counter("crosspoint_ng_calls_refused", statistics.sessions_rejected, "Calls refused by a limit"),
        labelled("crosspoint_ng_calls_ended", "reason", &ends, "Calls that ended, by what ended them"),
        counter("crosspoint_ng_packets_relayed", statistics.packets_relayed, "Packets of calls that have ended"),
        counter("crosspoint_ng_bytes_relayed", statistics.bytes_relayed, "Payload bytes of calls that have ended"),
        counter(
            "crosspoint_ng_packets_dropped",
            statistics.packets_dropped,
            "Dropped packets of calls that have ended",
        ),
        requests(view),
        counter("crosspoint_ng_errors", errors, "Requests answered with an error"),
        counter("crosspoint_ng_messages_malformed", statistics.messages_malformed, "Messages without sense"),
        counter("crosspoint_ng_replies_dropped", view.replies_dropped, "Replies that no socket took"),
        counter(
            "crosspoint_ng_orders_refused_busy",
            view.orders_refused_busy,
            "Orders that found the link's queue full",
        ),
    ]
}

fn requests(view: &NgView) -> Family {
    let asked = |command: Command| view.statistics.by_client.values().map(|one| one.counts[command as usize]).sum();
    let sample = |(command, name): &(Command, &'static str)| Sample {
        labels: vec![("command", (*name).to_owned())],
        value: float(asked(*command)),
    };
    Family {
        name: "crosspoint_ng_requests",
        help: "Requests of proxies, by command",
        kind: Kind::Counter,
        samples: Command::ALL.iter().map(sample).collect(),
    }
}
