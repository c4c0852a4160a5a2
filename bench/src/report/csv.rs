//! One line a trial, for spreadsheets and scripts. What is not known is empty.

use crate::measure::trial::Trial;
use crate::report::document::Document;
use std::fmt::Write as _;

const HEADER: &str = "subject,kind,calls,flows,offered_per_second,sent,received,lost,reordered,duplicates,cpu_ns_per_packet,\
core_busy,packets_per_batch,system_calls_per_packet,latency_p50_us,latency_p90_us,latency_p99_us,latency_p99_9_us,\
latency_max_us,lateness_p99_us,generator_busy,valid\n";

pub fn of(document: &Document) -> String {
    let mut text = String::from(HEADER);
    for subject in &document.subjects {
        let searched = subject.found.iter().filter_map(|found| found.trial.as_ref());
        let kinds = [("trial", subject.trials.iter().collect::<Vec<_>>()), ("curve", subject.curve.iter().collect())];
        for (kind, trials) in kinds.into_iter().chain([("search", searched.collect())]) {
            trials.into_iter().for_each(|trial| line(&mut text, kind, trial));
        }
        for (name, measure) in &subject.measures {
            let _ = writeln!(text, "{},{name},{},{}", quoted(&subject.name), measure.value, quoted(&measure.unit));
        }
    }
    text
}

fn line(text: &mut String, kind: &str, trial: &Trial) {
    let known = |value: Option<f64>| value.map(|value| value.to_string()).unwrap_or_default();
    let latency = &trial.latency_us;
    let numbers = [
        trial.offered_per_second.to_string(),
        trial.sent.to_string(),
        trial.received.to_string(),
        trial.lost.to_string(),
        trial.reordered.to_string(),
        trial.duplicates.to_string(),
        known(trial.cpu_ns_per_packet),
        known(trial.core_busy),
        known(trial.packets_per_batch),
        known(trial.system_calls_per_packet),
        latency.p50.to_string(),
        latency.p90.to_string(),
        latency.p99.to_string(),
        latency.p99_9.to_string(),
        latency.max.to_string(),
        trial.lateness_us.p99.to_string(),
        trial.generator_busy.to_string(),
        trial.is_valid().to_string(),
    ];
    let _ = writeln!(text, "{},{kind},{},{},{}", quoted(&trial.target), trial.calls, trial.flows, numbers.join(","));
}

/// RFC 4180 §2: a field with a comma or a quote is quoted, quotes are doubled.
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field.into() }
}
