//! What a run found out, in the form in which it is kept: everything that is printed, plotted, compared or bounded is in here.
//!
//! Input: the commands. Output: JSON of a schema with a version, read again as a baseline. Owns nothing.

use crate::host::facts::Facts;
use crate::measure::rig::CallMemory;
use crate::measure::search::Found;
use crate::measure::trial::Trial;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Raised when a field changes its meaning or goes; new fields do not raise it.
pub const SCHEMA_VERSION: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Document {
    pub schema_version: u32,
    pub command: String,
    pub arguments: Vec<String>,
    /// Seconds since 1970.
    pub began: u64,
    pub facts: Facts,
    /// The load in words.
    pub load: String,
    pub subjects: Vec<Subject>,
    pub ratios: Vec<Ratio>,
}

/// A relay, or a control beside it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Subject {
    pub name: String,
    pub is_control: bool,
    /// One a round.
    pub trials: Vec<Trial>,
    /// Share of a core with all calls silent.
    pub idle_share: Option<f64>,
    pub memory: Option<CallMemory>,
    pub found: Option<Found>,
    /// Trials at growing numbers of flows.
    pub curve: Vec<Trial>,
    /// Figures of commands that have no trials.
    pub measures: BTreeMap<String, Measure>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measure {
    pub value: f64,
    pub unit: String,
}

/// One subject's figure over another's, round by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ratio {
    pub figure: String,
    pub of: String,
    pub to: String,
    pub pairs: Vec<f64>,
    pub median: f64,
}

impl Document {
    pub fn new(command: &str, load: String) -> Document {
        let since_1970 = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Document {
            schema_version: SCHEMA_VERSION,
            command: command.into(),
            arguments: std::env::args().skip(1).collect(),
            began: since_1970.map_or(0, |since| since.as_secs()),
            facts: crate::host::facts::read(),
            load,
            subjects: Vec::new(),
            ratios: Vec::new(),
        }
    }

    pub fn is_valid(&self) -> bool {
        self.subjects.iter().flat_map(|subject| subject.trials.iter().chain(&subject.curve)).all(Trial::is_valid)
    }

    /// Every figure by its name: `SUBJECT.FIGURE`, and `FIGURE` for the first subject.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        for (place, subject) in self.subjects.iter().enumerate() {
            for (name, value) in subject.figures() {
                if place == 0 {
                    figures.insert(name.clone(), value);
                }
                figures.insert(format!("{}.{name}", subject.name), value);
            }
        }
        for ratio in &self.ratios {
            figures.insert(format!("ratio.{}.{}/{}", ratio.figure, ratio.of, ratio.to), ratio.median);
        }
        figures
    }
}

impl Subject {
    /// Medians over the rounds.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        let mut put = |name: &str, values: Vec<f64>| {
            if !values.is_empty() {
                figures.insert(name.to_owned(), median(values));
            }
        };
        let all = |of: &dyn Fn(&Trial) -> Option<f64>| self.trials.iter().filter_map(of).collect::<Vec<f64>>();
        put("cpu_ns_per_packet", all(&|t| t.cpu_ns_per_packet));
        put("offered_per_second", all(&|t| Some(t.offered_per_second)));
        put("lost", all(&|t| Some(t.lost as f64)));
        put("loss_ratio", all(&|t| Some(t.loss_ratio)));
        put("reordered", all(&|t| Some(t.reordered as f64)));
        put("duplicates", all(&|t| Some(t.duplicates as f64)));
        put("latency_p50_us", all(&|t| Some(t.latency_us.p50)));
        put("latency_p90_us", all(&|t| Some(t.latency_us.p90)));
        put("latency_p99_us", all(&|t| Some(t.latency_us.p99)));
        put("latency_p99_9_us", all(&|t| Some(t.latency_us.p99_9)));
        put("latency_max_us", all(&|t| Some(t.latency_us.max)));
        put("packets_per_batch", all(&|t| t.packets_per_batch));
        put("system_calls_per_packet", all(&|t| t.system_calls_per_packet));
        put("core_busy", all(&|t| t.core_busy));
        put("idle_share", self.idle_share.into_iter().collect());
        put("packets_per_second_max", self.found.iter().map(|found| found.packets_per_second).collect());
        let memory = |of: fn(&CallMemory) -> f64| self.memory.iter().map(of).collect();
        put("resident_bytes_per_call", memory(|m| m.resident_bytes));
        put("memory_bytes_per_call", memory(|m| m.resident_bytes + m.kernel_bytes.unwrap_or(0.0)));
        put("descriptors_per_call", memory(|m| m.descriptors));
        for (name, measure) in &self.measures {
            put(name, vec![measure.value]);
        }
        figures
    }
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[odd / 2],
        even => (values[even / 2 - 1] + values[even / 2]) / 2.0,
    }
}
