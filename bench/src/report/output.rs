//! Where a report goes, and how the program ends because of it.
//!
//! Input: a [`Document`] and the options. Output: standard output, files, an exit status. Owns nothing.
//!
//! | status | when |
//! |---|---|
//! | 0 | measured, and every threshold holds |
//! | 1 | it could not be measured |
//! | 2 | the command line is wrong |
//! | 3 | measured, but the run says nothing about the relay: see `INVALID` |
//! | 4 | a threshold is broken |
//! | 130 | interrupted |

use crate::report::baseline;
use crate::report::document::Document;
use crate::report::threshold::Threshold;
use crate::report::{csv, html, text};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::process::ExitCode;

pub const JSON_FILE: &str = "report.json";

pub const INVALID: u8 = 3;
pub const THRESHOLD_BROKEN: u8 = 4;

#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// What is printed.
    #[arg(long, value_enum, default_value = "text", global = true)]
    pub format: Format,
    /// Write report.json, report.csv and report.txt here.
    #[arg(long, value_name = "DIR", global = true)]
    pub out: Option<PathBuf>,
    /// Write report.html too, a page that needs nothing else.
    #[arg(long, requires = "out", global = true)]
    pub html: bool,
    /// An --out directory of an earlier run; its figures are `baseline.FIGURE` in thresholds.
    #[arg(long, value_name = "DIR", global = true)]
    pub baseline: Option<PathBuf>,
    /// Exit with status 4 unless this holds, as `lost <= 0` or `cpu_ns_per_packet <= 1.15 * bare:uring.cpu_ns_per_packet`
    /// (repeatable).
    #[arg(long, value_name = "EXPR", global = true)]
    pub threshold: Vec<Threshold>,
    /// No progress on the terminal.
    #[arg(long, global = true)]
    pub quiet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
    Csv,
}

pub fn deliver(document: &Document, args: &OutputArgs) -> anyhow::Result<ExitCode> {
    let json = serde_json::to_string_pretty(document)? + "\n";
    let mut words = text::of(document);
    let mut figures = document.figures();
    if let Some(directory) = &args.baseline {
        let before = baseline::read(directory)?;
        words += &baseline::compared(&before, &figures);
        figures.extend(before.into_iter().map(|(name, value)| (format!("baseline.{name}"), value)));
    }
    match args.format {
        Format::Text => print!("{words}"),
        Format::Json => print!("{json}"),
        Format::Csv => print!("{}", csv::of(document)),
    }
    if let Some(directory) = &args.out {
        std::fs::create_dir_all(directory).with_context(|| format!("--out {}", directory.display()))?;
        let write = |name: &str, contents: &str| {
            let path = directory.join(name);
            std::fs::write(&path, contents).with_context(|| path.display().to_string())
        };
        write(JSON_FILE, &json)?;
        write("report.csv", &csv::of(document))?;
        write("report.txt", &words)?;
        if args.html {
            write("report.html", &html::of(document))?;
        }
    }
    status(document, args, &figures)
}

/// A run that does not count is not judged by thresholds.
fn status(
    document: &Document,
    args: &OutputArgs,
    figures: &std::collections::BTreeMap<String, f64>,
) -> anyhow::Result<ExitCode> {
    if !document.is_valid() {
        eprintln!("this run does not count; the reasons are marked INVALID in the report");
        return Ok(ExitCode::from(INVALID));
    }
    let mut code = ExitCode::SUCCESS;
    for threshold in &args.threshold {
        if let Some(how) = threshold.broken(figures)? {
            eprintln!("threshold broken: {how}");
            code = ExitCode::from(THRESHOLD_BROKEN);
        }
    }
    Ok(code)
}
