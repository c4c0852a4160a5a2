//! `crosspoint config`: the effective configuration as TOML that can be saved and given back with `--config`, each
//! value with where it came from. Settings that the server would refuse are refused after they were printed.

use super::print;
use crate::shell::Fault;
use crate::shell::settings::{Effective, Key, TomlKind};
use std::fmt::Write;

pub(super) fn run(effective: &Effective, explain: bool) -> Result<(), Fault> {
    print(&text(effective, explain))?;
    Ok(effective.check()?)
}

fn text(effective: &Effective, explain: bool) -> String {
    let mut out = String::new();
    let mut section = "";
    for (key, value, origin) in effective.iter() {
        if key.section() != section {
            section = key.section();
            let _ = writeln!(out, "\n[{section}]");
        }
        if explain {
            let _ = writeln!(out, "#{}", key.documentation);
            let _ = writeln!(out, "# Expects {}; flag --{}, variable {}.", key.expects(), key.flag(), key.variable());
        }
        let name = key.name.rsplit('.').next().unwrap_or(key.name);
        let assignment = format!("{name} = {}", toml_value(key, value));
        let _ = writeln!(out, "{assignment:<44} # {origin}");
        if explain {
            out.push('\n');
        }
    }
    out
}

fn toml_value(key: &Key, value: &str) -> String {
    match key.kind {
        TomlKind::String => toml::Value::String(value.to_owned()).to_string(),
        TomlKind::Integer | TomlKind::Boolean => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::settings::resolve;

    #[test]
    fn printed_configuration_reads_back_as_the_same_settings() {
        let flag = |name: &str| (name == "media-cores").then(|| "2-3".to_owned());
        let effective = resolve(None, |_| None, flag).expect("accepted");
        for explain in [false, true] {
            let text = text(&effective, explain);
            assert!(text.contains("# flag --media-cores"), "{text}");
            let again = resolve(Some(("printed.toml", &text)), |_| None, |_| None).expect("printed TOML is accepted");
            assert_eq!(again.settings(), effective.settings());
        }
    }
}
