//! The command line of the relay: one line in, text out, as `rtpengine-ctl` and monitoring scripts know it.
//!
//! ```text
//!   list totals | counters | numsessions | maxsessions | sessions all|own|CALLID | interfaces | timeout … | jsonstats
//!   get …                as list
//!   set maxsessions N | maxcpu N | maxload N | maxbw N | timeout N | silenttimeout N | finaltimeout N | offertimeout N | deletedelay N
//!   params current
//!   terminate CALLID | all | own
//! ```
//!
//! Input: a line. Output: its answer, in the words of rtpengine 10.5.3. Owns nothing. What belongs to parts that this bridge has not
//! (Redis key spaces, kernel, log levels by subsystem) is an unknown command.

use crate::call::Call;
use crate::commands::statistics::{columns, intervals, mos, totals};
use crate::core::NgCore;
use crate::dictionary::{Dict, Value};
use crate::effect::{Level, Turn};
use crate::json;
use crate::party::{Deletion, Media};
use crosspoint_contract::CallKey;
use std::fmt::Write;

const MORE: &str = "More parameters required.\n";

impl NgCore {
    pub(crate) fn cli(&mut self, line: &str, turn: &mut Turn) -> String {
        let mut words = line.split_ascii_whitespace();
        match words.next().unwrap_or_default() {
            "list" | "get" => self.cli_list(words.next(), words.next(), turn),
            "set" => self.cli_set(words.next(), words.next()),
            "terminate" => self.cli_terminate(words.next(), turn),
            "params" => self.cli_params(words.next()),
            "help" => "Available sub-commands at this level:\n\tlist\n\tterminate\n\tset\n\tget\n\tparams\n".into(),
            other => unknown(other),
        }
    }

    fn cli_list(&mut self, what: Option<&str>, which: Option<&str>, turn: &mut Turn) -> String {
        let settings = &self.settings;
        match what {
            None => MORE.into(),
            Some("numsessions") => self.cli_numbers(),
            Some("sessions") => which.map_or(MORE.into(), |which| self.cli_sessions(which, turn)),
            Some("totals") => self.cli_totals(turn),
            Some("counters") => self.cli_counters(),
            Some("jsonstats") => self.cli_json(turn),
            Some("interfaces") => self.cli_interfaces(),
            Some("maxsessions") => {
                let max = settings.sessions_max.map_or(-1, i64::from);
                format!("Maximum sessions configured on rtpengine: {max}\n")
            }
            Some("maxload") => format!("Maximum load average configured on rtpengine: {:.2}\n", settings.load_max),
            Some("maxcpu") => format!("Maximum CPU usage configured on rtpengine: {:.1}\n", settings.cpu_percent_max),
            Some("maxbw") => format!("Maximum bandwidth configured on rtpengine: {}\n", settings.bytes_per_second_max),
            Some("timeout") => format!("TIMEOUT={}\n", settings.timeout_s),
            Some("silenttimeout") => format!("SILENT_TIMEOUT={}\n", settings.silent_timeout_s),
            Some("finaltimeout") => format!("FINAL_TIMEOUT={}\n", settings.final_timeout_s),
            Some("offertimeout") => format!("OFFER_TIMEOUT={}\n", settings.offer_timeout_s),
            Some("deletedelay") => format!("DELETE_DELAY={}\n", settings.delete_delay_s),
            Some("controltos") => "0\n".into(),
            Some("transcoders") => "No stats entries\n".into(),
            Some(other) => unknown(other),
        }
    }

    fn cli_numbers(&self) -> String {
        let total = self.calls.len();
        let of = |is_ipv4: bool, is_ipv6: bool| {
            let families = |call: &&Call| {
                let has = |v6: bool| call.legs().any(|local| local.address.is_ipv6() == v6);
                has(false) == is_ipv4 && has(true) == is_ipv6
            };
            self.calls.values().filter(families).count()
        };
        format!(
            "Current sessions own: {total}\nCurrent sessions foreign: 0\nCurrent sessions total: {total}\n\
             Current transcoded media: 0\nCurrent sessions ipv4 only media: {}\nCurrent sessions ipv6 only media: {}\n\
             Current sessions ip mixed  media: {}\n",
            of(true, false),
            of(false, true),
            of(true, true)
        )
    }

    fn cli_sessions(&self, which: &str, turn: &Turn) -> String {
        if which == "all" || which == "own" {
            return self.calls.values().map(session_line).collect();
        }
        match self.call_by_id(which).and_then(|key| self.calls.get(&key)) {
            Some(call) => session_head(call, self.settings.tos) + &session_legs(call, turn.now.unix_us),
            None => format!("\nCall ID not found ({which}).\n\n"),
        }
    }

    fn cli_totals(&mut self, turn: &mut Turn) -> String {
        let current = self.current();
        let totals = totals(&self.statistics, self.load.relayed, turn.now.unix_us);
        let mut out = String::with_capacity(8192);
        out.push_str("\nStatistics over currently running sessions:\n\n");
        rows(&mut out, &CURRENT, &current);
        out.push_str("\nTotal statistics (does not include current running sessions):\n\n");
        rows(&mut out, &TOTALS, &totals);
        out.push_str("\n\nGraphite interval statistics (last reported values to graphite):\n");
        interval_rows(&mut out);
        out.push_str("\n\nMOS statistics:\n\n");
        rows(&mut out, &MOS, &mos(&self.statistics));
        out.push_str("\n\nControl statistics:\n\n");
        self.control_table(&mut out);
        out
    }

    fn control_table(&self, out: &mut String) {
        _ = write!(out, " {:>20} ", "Proxy");
        for (_, short) in columns() {
            _ = write!(out, "| {short:>10} ");
        }
        out.push('\n');
        for (client, requests) in &self.statistics.by_client {
            _ = write!(out, " {:>20} ", client.to_string());
            for (command, _) in columns() {
                _ = write!(out, "| {:>10} ", requests.counts[command as usize]);
            }
            out.push('\n');
        }
        out.push('\n');
    }

    fn cli_json(&mut self, turn: &mut Turn) -> String {
        let reply = self.tell_statistics(turn);
        let mut bytes = Vec::with_capacity(8192);
        if let Some(statistics) = reply.dict().get("statistics").and_then(Value::as_dict) {
            json::encode_dict(statistics, &mut bytes);
        }
        bytes.push(b'\n');
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn cli_interfaces(&self) -> String {
        let mut out = String::new();
        for interface in &self.settings.interfaces {
            for address in &interface.addresses {
                let family = if address.local.is_ipv6() { "IPv6" } else { "IPv4" };
                _ = writeln!(out, "Interface '{}' address '{}' ({family})", interface.name, address.local);
                let Some(usage) = self.ports.usage(address.local) else { continue };
                let total = u32::from(usage.max) - u32::from(usage.min) + 1;
                let percent = f64::from(usage.used) * 100.0 / f64::from(total);
                _ = writeln!(out, " Port range: {:>5} - {:>5}", usage.min, usage.max);
                _ = writeln!(out, " Ports used: {:>5} / {total:>5} ({percent:>5.1}%)", usage.used);
                _ = writeln!(out, " Last port used: {:>5}", usage.last);
            }
        }
        out
    }

    fn cli_counters(&self) -> String {
        let mut out = String::from("\nCurrent per-second counters:\n\n");
        rows(&mut out, &CURRENT[4..13], &self.current());
        out
    }

    /// What is set, under the names of rtpengine's options.
    fn cli_params(&self, which: Option<&str>) -> String {
        let settings = &self.settings;
        match which {
            None => MORE.into(),
            Some("current") => {
                let mut out = format!(
                    "max-sessions = {}\ntimeout = {}\nsilent-timeout = {}\nfinal-timeout = {}\noffer-timeout = {}\n\
                     delete-delay = {}\ntos = {}\nport-min = {}\nport-max = {}\nmax-cpu = {:.1}\nmax-load = {:.2}\nmax-bw = {}\n",
                    settings.sessions_max.map_or(-1, i64::from),
                    settings.timeout_s,
                    settings.silent_timeout_s,
                    settings.final_timeout_s,
                    settings.offer_timeout_s,
                    settings.delete_delay_s,
                    settings.tos,
                    settings.port_min,
                    settings.port_max,
                    settings.cpu_percent_max,
                    settings.load_max,
                    settings.bytes_per_second_max,
                );
                let interfaces = settings.interfaces.iter().flat_map(|interface| {
                    interface.addresses.iter().map(move |address| (&interface.name, address.local))
                });
                for (index, (name, address)) in interfaces.enumerate() {
                    _ = writeln!(out, "interface[{index}] = {name}\\{address} ");
                }
                out
            }
            Some(other) => unknown(other),
        }
    }

    fn cli_set(&mut self, what: Option<&str>, value: Option<&str>) -> String {
        let (Some(what), Some(text)) = (what, value) else { return MORE.into() };
        let settings = &mut self.settings;
        let seconds = match what {
            "maxsessions" => return set_sessions_max(&mut settings.sessions_max, text),
            "maxcpu" => return set_limit(&mut settings.cpu_percent_max, what, text, 1),
            "maxload" => return set_limit(&mut settings.load_max, what, text, 2),
            "maxbw" => return set_limit(&mut settings.bytes_per_second_max, what, text, 0),
            "deletedelay" => &mut settings.delete_delay_s,
            "timeout" => &mut settings.timeout_s,
            "silenttimeout" => &mut settings.silent_timeout_s,
            "finaltimeout" => &mut settings.final_timeout_s,
            "offertimeout" => &mut settings.offer_timeout_s,
            other => return unknown(other),
        };
        match text.parse() {
            Ok(value) => {
                *seconds = value;
                format!("Success setting {what} to {text}\n")
            }
            Err(_) => format!("Fail setting {what} to {text}; no digists found\n"),
        }
    }

    fn cli_terminate(&mut self, which: Option<&str>, turn: &mut Turn) -> String {
        let keys: Vec<CallKey> = match which {
            None => return MORE.into(),
            Some("all" | "own") => self.calls.keys().copied().collect(),
            Some("foreign") => Vec::new(),
            Some(id) => match self.call_by_id(id) {
                Some(key) => vec![key],
                None => return format!("\nCall Id not found ({id}).\n\n"),
            },
        };
        let one = which.filter(|_| keys.len() == 1);
        for key in &keys {
            self.statistics.sessions_terminated += 1;
            let id = self.calls.get(key).map(|call| call.id.clone());
            turn.note(Level::Info, "call_terminated", id.as_deref(), "by an operator");
            self.end(*key, turn);
        }
        match one.filter(|word| !["all", "own"].contains(word)) {
            Some(id) => format!("\nCall Id ({id}) successfully terminated by operator.\n\n"),
            None => "Succeeded terminating all sessions.\n".into(),
        }
    }
}

fn set_sessions_max(limit: &mut Option<u32>, text: &str) -> String {
    match text.parse::<i64>() {
        Err(_) => format!("Fail setting maxsessions to {text}; no digists found\n"),
        Ok(-1) => {
            *limit = None;
            "Success setting maxsessions to -1; disable feature\n".into()
        }
        Ok(value) => match u32::try_from(value) {
            Ok(value) => {
                *limit = Some(value);
                format!("Success setting maxsessions to {value}\n")
            }
            Err(_) => format!("Fail setting maxsessions to {value}; either negative or integer overflow error\n"),
        },
    }
}

/// Numbers that are told with so many digits behind the point.
fn set_limit<N: std::str::FromStr + std::fmt::Display>(limit: &mut N, what: &str, text: &str, digits: usize) -> String {
    match text.parse() {
        Ok(value) => {
            *limit = value;
            format!("Success setting {what} to {limit:.digits$}\n")
        }
        Err(_) => format!("Fail setting {what} to {text}; no digists found\n"),
    }
}

fn unknown(command: &str) -> String {
    format!("Unknown or incomplete command::{command}\n")
}

fn session_line(call: &Call) -> String {
    let is_deleted = call.parties.iter().any(|party| matches!(party.deleted, Some(Deletion::At(_))));
    format!(
        "callid: {:>60} | deletionmark:{:>4} | created:{:>12} | proxy:{} | redis_keyspace:0 | foreign:no\n",
        call.id,
        if is_deleted { "yes" } else { "no" },
        call.created_us / 1_000_000,
        call.sender
    )
}

fn session_head(call: &Call, default_tos: u8) -> String {
    let is_deleted = call.parties.iter().any(|party| matches!(party.deleted, Some(Deletion::At(_))));
    let tos = call.tos.unwrap_or(default_tos);
    format!(
        "\ncallid: {}\ndeletionmark: {}\ncreated: {}\nproxy: {}\ntos: {tos}\nlast_signal: {}\nredis_keyspace: 0\nforeign: no\n\n",
        call.id,
        if is_deleted { "yes" } else { "no" },
        call.created_us / 1_000_000,
        call.sender,
        call.last_signal_us / 1_000_000
    )
}

/// Ports and peers of each line. The counts are those that were read last, by `query` or `delete`.
fn session_legs(call: &Call, now_us: u64) -> String {
    let mut out = String::new();
    for (id, party) in call.parties.iter().enumerate() {
        let lasted = now_us.saturating_sub(party.created_us) as f64 / 1e6;
        _ = writeln!(
            out,
            "--- Tag '{}', type: {}, label '{}', branch '{}', callduration {lasted:.6}",
            party.tag,
            if party.was_offered { "TO_TAG" } else { "FROM_TAG" },
            party.label.as_deref().unwrap_or_default(),
            party.via_branch.as_deref().unwrap_or_default(),
        );
        for source in &party.sources {
            _ = writeln!(out, "---     subscribed to '{}'", call.parties[source.party].tag);
        }
        for (listener, _) in call.subscribers(id) {
            _ = writeln!(out, "---     subscription of '{}'", call.parties[listener].tag);
        }
        for (index, media) in party.media.iter().enumerate() {
            session_media(&mut out, index, media);
        }
    }
    out.push('\n');
    out
}

fn session_media(out: &mut String, index: usize, media: &Media) {
    let codec = media.heard.as_ref().and_then(|heard| heard.codecs.first());
    let using = codec.map_or_else(|| "unknown codec".into(), |codec| format!("{}/{}", codec.name, codec.clock_rate_hz));
    let (kind, protocol) = (media.kind.as_str(), media.protocol.as_str());
    _ = writeln!(out, "------ Media #{} ({kind} over {protocol}) using {using}", index + 1);
    let (Some(local), Some(heard)) = (&media.local, &media.heard) else { return };
    let report = &local.report;
    _ = writeln!(
        out,
        "-------- Port {:>21} <> {:>21}, {} p, {} b, {} e",
        local.rtp_address().to_string(),
        heard.rtp.to_string(),
        report.packets_received,
        report.bytes_received,
        report.packets_dropped
    );
    if let Some(ours) = local.rtcp_address() {
        _ = writeln!(
            out,
            "-------- Port {:>21} <> {:>21} (RTCP), {} p, {} b, 0 e",
            ours.to_string(),
            heard.rtcp.to_string(),
            report.rtcp_packets_received,
            report.rtcp_bytes_received
        );
    }
}

/// A label, a key, and what stands behind the value.
type Row = (&'static str, &'static str, &'static str);

const CURRENT: [Row; 16] = [
    ("Owned sessions", "sessionsown", ""),
    ("Foreign sessions", "sessionsforeign", ""),
    ("Total sessions", "sessionstotal", ""),
    ("Transcoded media", "transcodedmedia", ""),
    ("Packets per second (userspace)", "packetrate_user", ""),
    ("Bytes per second (userspace)", "byterate_user", ""),
    ("Errors per second (userspace)", "errorrate_user", ""),
    ("Packets per second (kernel)", "packetrate_kernel", ""),
    ("Bytes per second (kernel)", "byterate_kernel", ""),
    ("Errors per second (kernel)", "errorrate_kernel", ""),
    ("Packets per second (total)", "packetrate", ""),
    ("Bytes per second (total)", "byterate", ""),
    ("Errors per second (total)", "errorrate", ""),
    ("Userspace-only media streams", "media_userspace", ""),
    ("Kernel-only media streams", "media_kernel", ""),
    ("Mixed kernel/userspace media streams", "media_mixed", ""),
];

const TOTALS: [Row; 24] = [
    ("Uptime of rtpengine", "uptime", " seconds"),
    ("Total managed sessions", "managedsessions", ""),
    ("Total rejected sessions", "rejectedsessions", ""),
    ("Total timed-out sessions via TIMEOUT", "timeoutsessions", ""),
    ("Total timed-out sessions via SILENT_TIMEOUT", "silenttimeoutsessions", ""),
    ("Total timed-out sessions via FINAL_TIMEOUT", "finaltimeoutsessions", ""),
    ("Total timed-out sessions via OFFER_TIMEOUT", "offertimeoutsessions", ""),
    ("Total regular terminated sessions", "regularterminatedsessions", ""),
    ("Total forced terminated sessions", "forcedterminatedsessions", ""),
    ("Total relayed packets (userspace)", "relayedpackets_user", ""),
    ("Total relayed packet errors (userspace)", "relayedpacketerrors_user", ""),
    ("Total relayed bytes (userspace)", "relayedbytes_user", ""),
    ("Total relayed packets (kernel)", "relayedpackets_kernel", ""),
    ("Total relayed packet errors (kernel)", "relayedpacketerrors_kernel", ""),
    ("Total relayed bytes (kernel)", "relayedbytes_kernel", ""),
    ("Total relayed packets", "relayedpackets", ""),
    ("Total relayed packet errors", "relayedpacketerrors", ""),
    ("Total relayed bytes", "relayedbytes", ""),
    ("Total number of streams with no relayed packets", "zerowaystreams", ""),
    ("Total number of 1-way streams", "onewaystreams", ""),
    ("Average call duration", "avgcallduration", " seconds"),
    ("Total calls duration", "totalcallsduration", " seconds"),
    ("Total calls duration squared", "totalcallsduration2", " seconds squared"),
    ("Total calls duration standard deviation", "totalcallsduration_stddev", " seconds"),
];

const MOS: [Row; 5] = [
    ("Sum of all MOS values sampled", "mos_total", ""),
    ("Sum of all MOS square values sampled", "mos2_total", ""),
    ("Total number of MOS samples", "mos_samples_total", ""),
    ("Average MOS", "mos_average", ""),
    ("MOS standard deviation", "mos_stddev", ""),
];

fn rows(out: &mut String, rows: &[Row], values: &Dict) {
    for (label, key, unit) in rows {
        let value = match values.get(key) {
            Some(Value::Integer(integer)) => integer.to_string(),
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        _ = writeln!(out, " {label:<48}:{value}{unit}");
    }
}

fn interval_rows(out: &mut String) {
    let values = intervals();
    rows(out, &[("Total calls duration", "totalcallsduration", " seconds")], &values);
    out.push('\n');
    let sessions: [Row; 2] =
        [("Min managed sessions", "minmanagedsessions", ""), ("Max managed sessions", "maxmanagedsessions", "")];
    rows(out, &sessions, &values);
    for (kind, words, unit) in
        [("delay", "processing delay", " sec"), ("requestrate", "requests per second", " per sec")]
    {
        for (command, _) in columns() {
            let name = command.name();
            let bound = |bound: &str| values.text(&format!("{bound}{name}{kind}")).unwrap_or("0");
            let label = format!("Min/Max/Avg {name} {words}");
            _ = writeln!(out, " {label:<48}:{}/{}/{}{unit}", bound("min"), bound("max"), bound("avg"));
        }
    }
}
