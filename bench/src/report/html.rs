//! The report as one HTML page that needs nothing else: it can be mailed, archived, or opened from a disk.

use crate::measure::trial::Trial;
use crate::report::document::{Document, Subject};
use crate::report::plot::{Axis, Series, bars, escaped, lines};
use crate::report::text;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}svg{max-width:44rem;width:100%}svg text{font:11px system-ui,sans-serif;fill:currentColor}\
.grid{stroke:#8884;stroke-width:1}pre{overflow-x:auto;background:#8881;padding:1rem;font-size:12px;line-height:1.4}\
.invalid{border-left:4px solid #d55e00;padding-left:1rem}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}}";

pub fn of(document: &Document) -> String {
    let command = format!("crosspoint-bench {}", document.arguments.join(" "));
    let mut page = format!(
        "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>\
         <title>{}</title><style>{STYLE}</style><h1>{}</h1><p>{}</p>",
        escaped(&document.command),
        escaped(&command),
        escaped(&document.load)
    );
    if !document.is_valid() {
        page += "<p class='invalid'><strong>This run does not count.</strong> The reasons are in the report below.</p>";
    }
    page += &section("CPU nanoseconds of the relay for each packet", figure_bars(document, "cpu_ns_per_packet"));
    page += &section("Packets a second, highest rate found", figure_bars(document, "packets_per_second_max"));
    page += &section("Latency: receive minus intended departure", latency(document));
    page += &section("CPU nanoseconds for each packet against flows", curve(document));
    for (unit, values) in measures(document) {
        page += &section(&unit, Some(bars(&unit, &values)));
    }
    page += &format!("<h2>Report</h2><pre>{}</pre>", escaped(&text::of(document)));
    page + "</html>\n"
}

fn section(title: &str, plot: Option<String>) -> String {
    plot.map(|plot| format!("<h2>{}</h2>{plot}", escaped(title))).unwrap_or_default()
}

fn figure_bars(document: &Document, figure: &str) -> Option<String> {
    let value = |subject: &Subject| Some((subject.name.clone(), *subject.figures().get(figure)?));
    let values: Vec<(String, f64)> = document.subjects.iter().filter_map(value).collect();
    (!values.is_empty()).then(|| bars(figure, &values))
}

/// The tail is stretched: each tenth of what is left takes as much room.
fn latency(document: &Document) -> Option<String> {
    let stretched = |(quantile, us): &(f64, f64)| (1.0 / (1.0 - quantile).max(1e-5), *us);
    let of_subject = |subject: &Subject| {
        let trial: &Trial = subject.trials.last().filter(|trial| !trial.latency_curve.is_empty())?;
        Some(Series { name: subject.name.clone(), points: trial.latency_curve.iter().map(stretched).collect() })
    };
    let series: Vec<Series> = document.subjects.iter().filter_map(of_subject).collect();
    if series.is_empty() {
        return None;
    }
    let marks = [(1.0, "0"), (10.0, "90"), (100.0, "99"), (1e3, "99.9"), (1e4, "99.99"), (1e5, "99.999")];
    let marks = marks.map(|(at, words)| (at, words.to_owned())).into();
    let x = Axis { label: "percentile".into(), from: 1.0, to: 1e5, is_logarithmic: true, marks };
    let y = Axis::logarithmic("µs", series.iter().flat_map(|one| one.points.iter().map(|point| point.1)));
    Some(lines(&x, &y, &series))
}

fn curve(document: &Document) -> Option<String> {
    let point = |trial: &Trial| Some((trial.flows as f64, trial.cpu_ns_per_packet?));
    let of_subject = |subject: &Subject| {
        let points: Vec<(f64, f64)> = subject.curve.iter().filter_map(point).collect();
        (!points.is_empty()).then(|| Series { name: subject.name.clone(), points })
    };
    let series: Vec<Series> = document.subjects.iter().filter_map(of_subject).collect();
    if series.is_empty() {
        return None;
    }
    let all = || series.iter().flat_map(|one| one.points.iter().copied());
    let x = Axis::logarithmic("flows", all().map(|point| point.0));
    let y = Axis::linear("ns", all().map(|point| point.1));
    Some(lines(&x, &y, &series))
}

/// Measures by name, one bar a subject that has it.
fn measures(document: &Document) -> Vec<(String, Vec<(String, f64)>)> {
    let mut grouped: std::collections::BTreeMap<String, Vec<(String, f64)>> = Default::default();
    for subject in &document.subjects {
        for (name, measure) in &subject.measures {
            grouped.entry(format!("{name}, {}", measure.unit)).or_default().push((subject.name.clone(), measure.value));
        }
    }
    grouped.into_iter().collect()
}
