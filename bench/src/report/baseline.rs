//! An earlier run to compare with: the directory that `--out` wrote.

use crate::report::document::{Document, SCHEMA_VERSION};
use crate::report::output::JSON_FILE;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

/// Figures of the earlier run, by name.
pub fn read(directory: &Path) -> anyhow::Result<BTreeMap<String, f64>> {
    let path = directory.join(JSON_FILE);
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("{}: no baseline there; `--out DIR` of an earlier run makes one", path.display()))?;
    let version = serde_json::from_str::<serde_json::Value>(&text)?["schema_version"].as_u64();
    if version != Some(SCHEMA_VERSION.into()) {
        bail!(
            "{}: written in schema {version:?}, this program reads {SCHEMA_VERSION}; make the baseline anew",
            path.display()
        );
    }
    let document: Document = serde_json::from_str(&text).with_context(|| path.display().to_string())?;
    Ok(document.figures())
}

/// Figures that both runs have, before and after.
pub fn compared(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> String {
    let mut text = format!("\n{:<44}{:>14}{:>14}{:>9}\n", "against the baseline", "before", "now", "times");
    for (name, now) in after {
        // Figures of the first subject have a second name with it; one line is enough.
        let has_subject = name.contains('.');
        if let Some(then) = before.get(name).filter(|_| has_subject) {
            let times = if *then == 0.0 { String::from("-") } else { format!("{:.2}", now / then) };
            let _ = writeln!(text, "{name:<44}{then:>14.3}{now:>14.3}{times:>9}");
        }
    }
    text
}
