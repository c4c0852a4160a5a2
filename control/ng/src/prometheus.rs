//! Figures in Prometheus' text format, under the names that rtpengine 10.5.3 serves at `/metrics` of `--listen-http`.
//!
//! Input: the counters, as `statistics` tells them. Output: text. Owns nothing. Dashboards made for rtpengine read it; our own
//! names are at `/metrics` of the bridge. What is relayed is `userspace`: there is no kernel module.

use crate::commands::statistics::{columns, mos, seconds, totals};
use crate::core::NgCore;
use crate::dictionary::{Dict, Value};
use crate::effect::Turn;
use std::fmt::Write;

/// Name, type, help, and for each sample its labels and its key in the dictionary.
type Family = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

const CURRENT: [Family; 3] = [
    (
        "sessions",
        "gauge",
        "Owned sessions",
        &[("{type=\"own\"}", "sessionsown"), ("{type=\"foreign\"}", "sessionsforeign")],
    ),
    ("transcoded_media", "gauge", "Transcoded media", &[("", "transcodedmedia")]),
    (
        "mediastreams",
        "gauge",
        "Userspace-only media streams",
        &[
            ("{type=\"userspace\"}", "media_userspace"),
            ("{type=\"kernel\"}", "media_kernel"),
            ("{type=\"mixed\"}", "media_mixed"),
        ],
    ),
];

const TOTALS: [Family; 11] = [
    ("uptime_seconds", "gauge", "Uptime of rtpengine", &[("", "uptime")]),
    ("sessions_total", "counter", "Total managed sessions", &[("", "managedsessions")]),
    (
        "closed_sessions_total",
        "counter",
        "Total rejected sessions",
        &[
            ("{reason=\"rejected\"}", "rejectedsessions"),
            ("{reason=\"timeout\"}", "timeoutsessions"),
            ("{reason=\"silent_timeout\"}", "silenttimeoutsessions"),
            ("{reason=\"final_timeout\"}", "finaltimeoutsessions"),
            ("{reason=\"offer_timeout\"}", "offertimeoutsessions"),
            ("{reason=\"terminated\"}", "regularterminatedsessions"),
            ("{reason=\"force_terminated\"}", "forcedterminatedsessions"),
        ],
    ),
    (
        "packets_total",
        "counter",
        "Total relayed packets (userspace)",
        &[("{type=\"userspace\"}", "relayedpackets_user"), ("{type=\"kernel\"}", "relayedpackets_kernel")],
    ),
    (
        "packet_errors_total",
        "counter",
        "Total relayed packet errors (userspace)",
        &[("{type=\"userspace\"}", "relayedpacketerrors_user"), ("{type=\"kernel\"}", "relayedpacketerrors_kernel")],
    ),
    (
        "bytes_total",
        "counter",
        "Total relayed bytes (userspace)",
        &[("{type=\"userspace\"}", "relayedbytes_user"), ("{type=\"kernel\"}", "relayedbytes_kernel")],
    ),
    (
        "zero_packet_streams_total",
        "counter",
        "Total number of streams with no relayed packets",
        &[("", "zerowaystreams")],
    ),
    ("one_way_sessions_total", "counter", "Total number of 1-way streams", &[("", "onewaystreams")]),
    ("call_duration_avg", "gauge", "Average call duration", &[("", "avgcallduration")]),
    ("call_duration_total", "counter", "Total calls duration", &[("", "totalcallsduration")]),
    ("call_duration2_total", "counter", "Total calls duration squared", &[("", "totalcallsduration2")]),
];

const MOS: [Family; 3] = [
    ("mos_total", "counter", "Sum of all MOS values sampled", &[("", "mos_total")]),
    ("mos2_total", "counter", "Sum of all MOS square values sampled", &[("", "mos2_total")]),
    ("mos_samples_total", "counter", "Total number of MOS samples", &[("", "mos_samples_total")]),
];

impl NgCore {
    pub(crate) fn prometheus(&self, turn: &Turn) -> String {
        let mut out = String::with_capacity(16 << 10);
        write_families(&mut out, &CURRENT, &self.current());
        write_families(&mut out, &TOTALS, &totals(&self.statistics, self.load.relayed, turn.now.unix_us));
        write_families(&mut out, &MOS, &mos(&self.statistics));
        self.write_requests(&mut out);
        self.write_ports(&mut out);
        out
    }

    fn write_requests(&self, out: &mut String) {
        let all = || self.statistics.by_client.iter();
        out.push_str("# TYPE rtpengine_requests_total counter\n");
        for ((proxy, requests), (command, _)) in all().flat_map(|client| columns().map(move |column| (client, column)))
        {
            let (request, count) = (command.name(), requests.counts[command as usize]);
            _ = writeln!(out, "rtpengine_requests_total{{proxy=\"{proxy}\",request=\"{request}\"}} {count}");
        }
        out.push_str("# TYPE rtpengine_request_seconds_total counter\n");
        for ((proxy, requests), (command, _)) in all().flat_map(|client| columns().map(move |column| (client, column)))
        {
            let (request, took) = (command.name(), seconds(requests.took_us[command as usize].into()));
            _ = writeln!(out, "rtpengine_request_seconds_total{{proxy=\"{proxy}\",request=\"{request}\"}} {took}");
        }
        out.push_str("# TYPE rtpengine_errors_total counter\n");
        for (proxy, requests) in all() {
            _ = writeln!(out, "rtpengine_errors_total{{proxy=\"{proxy}\"}} {}", requests.errors);
        }
    }

    fn write_ports(&self, out: &mut String) {
        let Value::List(interfaces) = self.interfaces() else { return };
        for (name, key) in [("ports_used", "used"), ("ports_free", "free"), ("ports", "totals")] {
            _ = writeln!(out, "# TYPE rtpengine_{name} gauge");
            for interface in interfaces.iter().filter_map(Value::as_dict) {
                let said = |key: &str| interface.text(key).unwrap_or_default();
                let value = interface.get("ports").and_then(Value::as_dict).map(|ports| shown(ports, key));
                let (interface, address, value) = (said("name"), said("address"), value.unwrap_or_default());
                _ = writeln!(out, "rtpengine_{name}{{name=\"{interface}\",address=\"{address}\"}} {value}");
            }
        }
    }
}

fn write_families(out: &mut String, families: &[Family], values: &Dict) {
    for (name, kind, help, samples) in families {
        _ = writeln!(out, "# HELP rtpengine_{name} {help}\n# TYPE rtpengine_{name} {kind}");
        for (labels, key) in *samples {
            _ = writeln!(out, "rtpengine_{name}{labels} {}", shown(values, key));
        }
    }
}

fn shown(values: &Dict, key: &str) -> String {
    match values.get(key) {
        Some(Value::Integer(integer)) => integer.to_string(),
        Some(Value::Text(text)) => text.clone(),
        _ => String::new(),
    }
}
