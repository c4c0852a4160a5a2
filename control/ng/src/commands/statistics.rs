//! `statistics`: what all calls came to, under rtpengine's keys.
//!
//! Input: the counters. Output: one dictionary, which the command line prints as well. Owns nothing. Seconds are texts with six
//! digits after the point, as in rtpengine's replies. What rtpengine counts for its kernel module is counted as `user`.

use crate::core::NgCore;
use crate::dictionary::{Dict, Value};
use crate::effect::{Load, Traffic, Turn};
use crate::reply::Reply;
use crate::request::Command;
use crate::statistics::{Requests, Statistics};

/// Names of commands in `controlstatistics`, in the order of [`Command::ALL`].
const SHORT: [(Command, &str); 24] = [
    (Command::Ping, "ping"),
    (Command::Offer, "offer"),
    (Command::Answer, "answer"),
    (Command::Delete, "delete"),
    (Command::Query, "query"),
    (Command::List, "list"),
    (Command::StartRecording, "startrec"),
    (Command::StopRecording, "stoprec"),
    (Command::StartForwarding, "startfwd"),
    (Command::StopForwarding, "stopfwd"),
    (Command::BlockDtmf, "blkdtmf"),
    (Command::UnblockDtmf, "unblkdtmf"),
    (Command::BlockMedia, "blkmedia"),
    (Command::UnblockMedia, "unblkmedia"),
    (Command::PlayMedia, "playmedia"),
    (Command::StopMedia, "stopmedia"),
    (Command::PlayDtmf, "playdtmf"),
    (Command::Statistics, "stats"),
    (Command::SilenceMedia, "slnmedia"),
    (Command::UnsilenceMedia, "unslnmedia"),
    (Command::Publish, "pub"),
    (Command::SubscribeRequest, "subreq"),
    (Command::SubscribeAnswer, "subans"),
    (Command::Unsubscribe, "unsub"),
];

impl NgCore {
    pub(crate) fn tell_statistics(&mut self, turn: &mut Turn) -> Reply {
        let statistics = Dict::with_capacity(6)
            .with("currentstatistics", self.current())
            .with("totalstatistics", totals(&self.statistics, self.load.relayed, turn.now.unix_us))
            .with("intervalstatistics", intervals())
            .with("mos", mos(&self.statistics))
            .with("controlstatistics", control(&self.statistics))
            .with("interfaces", self.interfaces())
            .with("transcoders", Value::List(Vec::new()));
        Reply::ok(Dict::new().with("statistics", statistics))
    }

    pub(crate) fn current(&self) -> Dict {
        let calls = self.calls.len() as u64;
        let media = self.calls.values().map(|call| call.legs().count() as u64).sum::<u64>() / 2;
        let mut dict = Dict::with_capacity(16)
            .with("sessionsown", calls)
            .with("sessionsforeign", 0)
            .with("sessionstotal", calls)
            .with("transcodedmedia", 0);
        let Load { packets_per_second: packets, bytes_per_second: bytes, errors_per_second: errors, .. } = self.load;
        for (place, rates) in [("_user", [packets, bytes, errors]), ("_kernel", [0; 3]), ("", [packets, bytes, errors])]
        {
            for (rate, value) in ["packetrate", "byterate", "errorrate"].into_iter().zip(rates) {
                dict.push(format!("{rate}{place}"), value);
            }
        }
        dict.with("media_userspace", media).with("media_kernel", 0).with("media_mixed", 0)
    }

    pub(crate) fn interfaces(&self) -> Value {
        let all = self.settings.interfaces.iter().flat_map(|interface| {
            interface.addresses.iter().filter_map(|address| {
                let usage = self.ports.usage(address.local)?;
                let total = u64::from(usage.max) - u64::from(usage.min) + 1;
                let used = u64::from(usage.used);
                let ports = Dict::with_capacity(7)
                    .with("min", u64::from(usage.min))
                    .with("max", u64::from(usage.max))
                    .with("used", used)
                    .with("used_pct", format!("{:.2}", used as f64 * 100.0 / total as f64))
                    .with("free", total.saturating_sub(used))
                    .with("totals", total)
                    .with("last", u64::from(usage.last));
                let named = Dict::with_capacity(3).with("name", interface.name.as_str());
                Some(Value::Dict(named.with("address", address.local.to_string()).with("ports", ports)))
            })
        });
        Value::List(all.collect())
    }
}

pub(crate) fn seconds(us: u128) -> String {
    format!("{:.6}", us as f64 / 1e6)
}

/// What is relayed counts at once, as far as it was looked at; what ended calls came to is exact.
pub(crate) fn totals(statistics: &Statistics, relayed: Traffic, now_us: u64) -> Dict {
    let uptime_s = now_us.saturating_sub(statistics.started_us) / 1_000_000;
    let (average, deviation) = statistics.duration_average_and_deviation();
    let mut dict = Dict::with_capacity(24)
        .with("uptime", uptime_s.to_string())
        .with("managedsessions", statistics.sessions_managed)
        .with("rejectedsessions", statistics.sessions_rejected)
        .with("timeoutsessions", statistics.sessions_timed_out)
        .with("silenttimeoutsessions", statistics.sessions_silent_timed_out)
        .with("finaltimeoutsessions", statistics.sessions_final_timed_out)
        .with("offertimeoutsessions", statistics.sessions_offer_timed_out)
        .with("regularterminatedsessions", statistics.sessions_ended)
        .with("forcedterminatedsessions", statistics.sessions_terminated);
    let relayed = (
        statistics.packets_relayed.max(relayed.packets),
        statistics.packets_dropped.max(relayed.errors),
        statistics.bytes_relayed.max(relayed.bytes),
    );
    for (place, (packets, errors, bytes)) in [("_user", relayed), ("_kernel", (0, 0, 0)), ("", relayed)] {
        dict.push(format!("relayedpackets{place}"), packets);
        dict.push(format!("relayedpacketerrors{place}"), errors);
        dict.push(format!("relayedbytes{place}"), bytes);
    }
    dict.with("zerowaystreams", statistics.streams_unheard)
        .with("onewaystreams", statistics.streams_one_way)
        .with("avgcallduration", format!("{average:.6}"))
        .with("totalcallsduration", seconds(statistics.calls_duration_us))
        .with("totalcallsduration2", format!("{:.6}", statistics.calls_duration_squared))
        .with("totalcallsduration_stddev", format!("{deviation:.6}"))
}

/// Intervals are those between two reports to Graphite, which this bridge does not send: zero, as rtpengine has it then.
pub(crate) fn intervals() -> Dict {
    let mut dict = Dict::with_capacity(3 + 6 * Command::ALL.len());
    dict.push("totalcallsduration", "0.000000");
    dict.push("minmanagedsessions", 0);
    dict.push("maxmanagedsessions", 0);
    for (kind, zero) in [("delay", "0.000000"), ("requestrate", "0")] {
        for (command, _) in SHORT {
            for bound in ["min", "max", "avg"] {
                dict.push(format!("{bound}{}{kind}", command.name()), zero);
            }
        }
    }
    dict
}

pub(crate) fn mos(statistics: &Statistics) -> Dict {
    let samples = statistics.mos_samples;
    let average = if samples > 0 { statistics.mos_sum / samples as f64 } else { 0.0 };
    let square = if samples > 0 { statistics.mos_squares / samples as f64 } else { 0.0 };
    Dict::with_capacity(5)
        .with("mos_total", format!("{:.6}", statistics.mos_sum))
        .with("mos2_total", format!("{:.6}", statistics.mos_squares))
        .with("mos_samples_total", samples)
        .with("mos_average", format!("{average:.6}"))
        .with("mos_stddev", format!("{:.6}", (square - average * average).max(0.0).sqrt()))
}

fn control(statistics: &Statistics) -> Dict {
    let proxies = statistics.by_client.iter().map(|(client, requests)| {
        Value::Dict(proxy(Dict::with_capacity(50).with("proxy", client.to_string()), requests))
    });
    let mut dict = Dict::with_capacity(25).with("proxies", Value::List(proxies.collect()));
    for (command, short) in SHORT {
        let total: u64 = statistics.by_client.values().map(|requests| requests.counts[command as usize]).sum();
        dict.push(format!("total{short}count"), total);
    }
    dict
}

fn proxy(mut dict: Dict, requests: &Requests) -> Dict {
    for (command, short) in SHORT {
        dict.push(format!("{short}count"), requests.counts[command as usize]);
        dict.push(format!("{short}duration"), seconds(requests.took_us[command as usize].into()));
    }
    dict.with("errorcount", requests.errors)
}

/// A row for each client, a column for each command.
pub(crate) fn columns() -> impl Iterator<Item = (Command, &'static str)> {
    SHORT.into_iter()
}
