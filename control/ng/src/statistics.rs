//! What all calls came to: for `statistics`, the command line and `/metrics`.
//!
//! Input: the core counts here. Output: a dictionary under rtpengine's keys. Owns the counters.

use crate::call::Call;
use crate::effect::Now;
use crate::party::Media;
use crate::request::Command;
use crosspoint_contract::LegReport;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Commands have one place each.
const COMMANDS: usize = Command::ALL.len();

#[derive(Clone, Debug, Default)]
pub struct Statistics {
    pub started_us: u64,
    pub sessions_managed: u64,
    pub sessions_rejected: u64,
    pub sessions_timed_out: u64,
    pub sessions_silent_timed_out: u64,
    pub sessions_final_timed_out: u64,
    pub sessions_offer_timed_out: u64,
    /// By `delete`.
    pub sessions_ended: u64,
    /// By an operator.
    pub sessions_terminated: u64,
    pub sessions_most: u64,
    pub calls_duration_us: u128,
    /// In seconds squared.
    pub calls_duration_squared: f64,
    pub calls_counted: u64,
    pub packets_relayed: u64,
    pub bytes_relayed: u64,
    pub packets_dropped: u64,
    /// Lines on neither side of which anything was heard, and on one side only.
    pub streams_unheard: u64,
    pub streams_one_way: u64,
    /// Mean opinion scores of ended calls, from 1 to 5, summed up.
    pub mos_sum: f64,
    pub mos_squares: f64,
    pub mos_samples: u64,
    pub messages_malformed: u64,
    pub by_client: BTreeMap<IpAddr, Requests>,
}

/// What one client asked.
#[derive(Clone, Debug, Default)]
pub struct Requests {
    pub counts: [u64; COMMANDS],
    pub took_us: [u64; COMMANDS],
    pub errors: u64,
}

/// Clients whose requests are counted one by one; those beyond share a place.
const CLIENTS_MAX: usize = 256;

impl Statistics {
    pub fn new(now: Now) -> Statistics {
        Statistics { started_us: now.unix_us, ..Statistics::default() }
    }

    pub(crate) fn count_malformed(&mut self) {
        self.messages_malformed += 1;
    }

    pub(crate) fn count_request(&mut self, command: Option<Command>, client: IpAddr, took_us: u64, is_error: bool) {
        let is_full = self.by_client.len() >= CLIENTS_MAX && !self.by_client.contains_key(&client);
        let client = if is_full { IpAddr::from([0, 0, 0, 0]) } else { client };
        let requests = self.by_client.entry(client).or_default();
        if is_error {
            requests.errors += 1;
        }
        if let Some(command) = command {
            requests.counts[command as usize] += 1;
            requests.took_us[command as usize] += took_us;
        }
    }

    pub(crate) fn sessions_managed(&mut self, calls: usize) {
        self.sessions_managed += 1;
        self.sessions_most = self.sessions_most.max(calls as u64);
    }

    pub(crate) fn leg_closed(&mut self, report: &LegReport) {
        self.packets_relayed += report.packets_received;
        self.bytes_relayed += report.bytes_received;
        self.packets_dropped += report.packets_dropped;
    }

    /// What the last figures of a call say.
    pub(crate) fn count_figures(&mut self, call: &Call) {
        let sides = (0..call.parties.len()).flat_map(|a| (0..a).map(move |b| (a, b)));
        for (a, b) in sides.filter(|(a, b)| call.are_in_dialogue(*a, *b)) {
            for (one, other) in call.parties[a].media.iter().zip(&call.parties[b].media) {
                let is_heard = |media: &Media| media.legs().any(|local| local.report.packets_received > 0);
                let has_legs = one.legs().next().is_some() && other.legs().next().is_some();
                let (one, other) = (is_heard(one), is_heard(other));
                self.streams_unheard += u64::from(has_legs && !one && !other);
                self.streams_one_way += u64::from(has_legs && one != other);
            }
        }
        for stream in call.legs().flat_map(|local| &local.streams).filter(|stream| stream.quality.samples > 0) {
            let samples = stream.quality.samples;
            let mean = stream.quality.mos_x10.sum as f64 / 10.0 / f64::from(samples);
            self.mos_samples += u64::from(samples);
            self.mos_sum += mean * f64::from(samples);
            self.mos_squares += mean * mean * f64::from(samples);
        }
    }

    pub(crate) fn call_ended(&mut self, call: &Call, now: Now) {
        let duration_us = now.unix_us.saturating_sub(call.created_us);
        let seconds = duration_us as f64 / 1e6;
        self.calls_counted += 1;
        self.calls_duration_us += u128::from(duration_us);
        self.calls_duration_squared += seconds * seconds;
    }

    /// In seconds.
    pub(crate) fn duration_average_and_deviation(&self) -> (f64, f64) {
        if self.calls_counted == 0 {
            return (0.0, 0.0);
        }
        let calls = self.calls_counted as f64;
        let average = self.calls_duration_us as f64 / 1e6 / calls;
        (average, (self.calls_duration_squared / calls - average * average).max(0.0).sqrt())
    }
}
