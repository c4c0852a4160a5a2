//! The report for the terminal.

use crate::host::facts::Facts;
use crate::measure::search::Found;
use crate::measure::trial::Trial;
use crate::report::document::{Document, Ratio, Subject, median};
use std::collections::BTreeMap;
use std::fmt::Write as _;

pub fn of(document: &Document) -> String {
    let mut text = header(&document.facts);
    let _ = writeln!(text, "load      {}\n", document.load);
    if document.subjects.iter().any(|subject| !subject.trials.is_empty()) {
        text += &costs(document);
        text += &latencies(document);
    }
    for subject in &document.subjects {
        text += &of_subject(subject);
    }
    text += &measures(document);
    document.ratios.iter().for_each(|one| text += &ratio(one));
    text += &invalid(document);
    text
}

fn header(facts: &Facts) -> String {
    let mitigations = if facts.mitigations.is_empty() { "none visible".into() } else { facts.mitigations.join("; ") };
    format!(
        "machine   {}, {} cores{}, {} GiB; load average {}\nkernel    {}; null system call {:.0} ns, clock read {:.0} ns\n\
         guards    {mitigations}\nirq time  {}\n",
        facts.cpu,
        facts.cores,
        if facts.hypervisor { ", virtual" } else { "" },
        facts.memory_bytes >> 30,
        facts.load_average,
        facts.kernel,
        facts.null_system_call_ns,
        facts.clock_read_ns,
        match facts.interrupts_counted_apart {
            Some(true) => "counted apart by this kernel; the relay's figure has that of its core added",
            Some(false) => "in the time of the threads that are interrupted",
            None => "not known whether counted apart; the relay's figure may lack it",
        },
    )
}

fn costs(document: &Document) -> String {
    let mut text = format!(
        "{:<16} {:>11}{:>14}{:>9}{:>9}{:>11}{:>11}{:>11}\n",
        "", "packets/s", "CPU ns/packet", "lost", "core %", "a batch", "calls/pkt", "KiB/call"
    );
    for subject in document.subjects.iter().filter(|subject| !subject.trials.is_empty()) {
        let of = |figure: fn(&Trial) -> Option<f64>| {
            let values: Vec<f64> = subject.trials.iter().filter_map(figure).collect();
            (!values.is_empty()).then(|| median(values))
        };
        let lost: u64 = subject.trials.iter().map(|trial| trial.lost).sum();
        let memory = subject.memory.map(|memory| (memory.resident_bytes + memory.kernel_bytes.unwrap_or(0.0)) / 1024.0);
        let _ = writeln!(
            text,
            "{:<16} {:>11}{:>14}{:>9}{:>9}{:>11}{:>11}{:>11}",
            subject.name,
            number(of(|trial| Some(trial.offered_per_second)), 0),
            number(of(|trial| trial.cpu_ns_per_packet), 0),
            lost,
            number(of(|trial| trial.core_busy.map(|busy| busy * 100.0)), 1),
            number(of(|trial| trial.packets_per_batch), 1),
            number(of(|trial| trial.system_calls_per_packet), 3),
            number(memory, 1),
        );
    }
    text + "\n"
}

fn latencies(document: &Document) -> String {
    let mut text = format!(
        "{:<16} {:>9}{:>9}{:>9}{:>9}{:>9}{:>12}{:>12}{:>12}\n",
        "µs", "p50", "p90", "p99", "p99.9", "max", "left late*", "reordered", "duplicates"
    );
    for subject in document.subjects.iter().filter(|subject| !subject.trials.is_empty()) {
        let of = |figure: fn(&Trial) -> f64| median(subject.trials.iter().map(figure).collect());
        let sum = |figure: fn(&Trial) -> u64| subject.trials.iter().map(figure).sum::<u64>();
        let _ = writeln!(
            text,
            "{:<16} {:>9.0}{:>9.0}{:>9.0}{:>9.0}{:>9.0}{:>12.0}{:>12}{:>12}",
            subject.name,
            of(|trial| trial.latency_us.p50),
            of(|trial| trial.latency_us.p90),
            of(|trial| trial.latency_us.p99),
            of(|trial| trial.latency_us.p99_9),
            of(|trial| trial.latency_us.max),
            of(|trial| trial.lateness_us.p99),
            sum(|trial| trial.reordered),
            sum(|trial| trial.duplicates),
        );
    }
    text + "* p99 of how late the generator sent; it is in the latencies\n\n"
}

fn of_subject(subject: &Subject) -> String {
    let mut text = String::new();
    if let Some(share) = subject.idle_share {
        let _ = writeln!(text, "{:<16} idle with its calls silent: {:.2} % of a core", subject.name, share * 100.0);
    }
    if let Some(memory) = subject.memory.filter(|_| !subject.is_control) {
        let kernel = memory.kernel_bytes.map_or("not visible".into(), |bytes| format!("{:.1} KiB", bytes / 1024.0));
        let _ = writeln!(
            text,
            "{:<16} a call: {:.1} KiB resident, {:.1} KiB proportional, kernel's sockets {kernel}, {:.1} descriptors",
            subject.name,
            memory.resident_bytes / 1024.0,
            memory.proportional_bytes / 1024.0,
            memory.descriptors
        );
    }
    if let Some(found) = &subject.found {
        text += &search(found);
    }
    for trial in &subject.curve {
        let _ = writeln!(
            text,
            "{:<16} {:>7} flows: {:>6} ns a packet, {} lost of {}, p99 {:.0} µs",
            subject.name,
            trial.flows,
            number(trial.cpu_ns_per_packet, 0),
            trial.lost,
            trial.sent,
            trial.latency_us.p99
        );
    }
    text
}

/// A line a measure, a column a subject.
fn measures(document: &Document) -> String {
    let with: Vec<&Subject> = document.subjects.iter().filter(|subject| !subject.measures.is_empty()).collect();
    let units: BTreeMap<&String, &String> =
        with.iter().flat_map(|subject| &subject.measures).map(|(name, measure)| (name, &measure.unit)).collect();
    if units.is_empty() {
        return String::new();
    }
    let names: String = with.iter().map(|subject| format!("{:>14}", subject.name)).collect();
    let mut text = format!("{:<46}{names}\n", "");
    for (name, unit) in units {
        let values: String = with
            .iter()
            .map(|subject| format!("{:>14}", number(subject.measures.get(name).map(|measure| measure.value), 1)))
            .collect();
        let _ = writeln!(text, "{name:<46}{values}  {unit}");
    }
    text + "\n"
}

fn search(found: &Found) -> String {
    let condition = match found.goal {
        crate::measure::search::Goal::Ndr => "with no packet lost",
        crate::measure::search::Goal::Pdr => "with at most 0.5 % lost",
    };
    let bound = if found.at_least { "at least " } else { "" };
    let why = if found.at_least { "; the generator gave up first" } else { "" };
    format!(
        "{:<16} {bound}{:.0} packets/s {condition} ({} trials{why})\n",
        found.target, found.packets_per_second, found.trials
    )
}

/// More are summed up.
const PAIRS_PRINTED_MAX: usize = 9;

fn ratio(ratio: &Ratio) -> String {
    let (least, most) =
        ratio.pairs.iter().fold((f64::INFINITY, 0.0_f64), |(least, most), pair| (least.min(*pair), most.max(*pair)));
    let of_pairs = if ratio.pairs.len() <= PAIRS_PRINTED_MAX {
        ratio.pairs.iter().map(|pair| format!("{pair:.2}")).collect::<Vec<_>>().join(" ")
    } else {
        format!("{} pairs, {least:.2} to {most:.2}", ratio.pairs.len())
    };
    let name = format!("{} / {}", ratio.of, ratio.to);
    format!("{name:<30}{:<46}{:>6.2} times (median of {of_pairs})\n", ratio.figure, ratio.median)
}

/// Others' share of the relay's core from which a reader should know of it.
const OTHERS_SHARE_NOTED: f64 = 0.1;

fn invalid(document: &Document) -> String {
    let mut text = String::new();
    for subject in &document.subjects {
        let others: Vec<f64> = subject.trials.iter().filter_map(|trial| trial.core_used_by_others).collect();
        let share = median(others);
        if share > OTHERS_SHARE_NOTED {
            let _ = writeln!(
                text,
                "note: others used {:.0} % of the core of {}; its nanoseconds are higher for it, compare ratios only",
                share * 100.0,
                subject.name
            );
        }
        for trial in subject.trials.iter().chain(&subject.curve) {
            for reason in &trial.invalid {
                let _ = writeln!(text, "INVALID {}: {reason}", subject.name);
            }
        }
    }
    text
}

/// What is not known is said to be so.
fn number(value: Option<f64>, decimals: usize) -> String {
    value.map_or("not known".into(), |value| format!("{value:.decimals$}"))
}
