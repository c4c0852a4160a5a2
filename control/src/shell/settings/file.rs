//! The configuration file: strict TOML. An unknown key, a value of the wrong type or a wrong value is an error that
//! names the line and, where one is near, the key that was probably meant.
//!
//! Input: the file's text. Output: accepted text per key, with its line.

use super::value::TomlKind;
use super::{KEYS, Key};
use std::collections::HashMap;
use thiserror::Error;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is wrong with a configuration file. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FileError {
    #[error("line {line}: {why}")]
    Syntax { line: usize, why: String },
    #[error("line {line}: there is no key \"{name}\"{}", suggestion.map_or(String::new(), |s| format!("; did you mean \"{s}\"?")))]
    UnknownKey { line: usize, name: String, suggestion: Option<&'static str> },
    #[error("line {line}: {name} expects {expects}, not {found}")]
    WrongType { line: usize, name: &'static str, expects: String, found: String },
    #[error("line {line}: there is no section [{name}]{}", suggestion.map_or(String::new(), |s| format!("; did you mean [{s}]?")))]
    UnknownSection { line: usize, name: String, suggestion: Option<&'static str> },
}

/// Text per key, with the line it stands in.
pub(super) type FileLayer = HashMap<&'static str, (String, usize)>;

pub(super) fn parse(text: &str) -> Result<FileLayer, FileError> {
    let document = DeTable::parse(text).map_err(|error| FileError::Syntax {
        line: line_of(text, error.span().map_or(0, |span| span.start)),
        why: error.message().to_owned(),
    })?;
    let mut layer = FileLayer::new();
    read_table(text, "", document.get_ref(), &mut layer)?;
    Ok(layer)
}

fn read_table(text: &str, section: &str, table: &DeTable<'_>, layer: &mut FileLayer) -> Result<(), FileError> {
    for (key, value) in table {
        let line = line_of(text, key.span().start);
        let name = if section.is_empty() { key.get_ref().to_string() } else { format!("{section}.{}", key.get_ref()) };
        match (KEYS.iter().find(|key| key.name == name), value.get_ref()) {
            (Some(key), _) => {
                layer.insert(key.name, (read_value(key, value, line)?, line));
            }
            (None, DeValue::Table(inner)) if section.is_empty() && is_section(&name) => {
                read_table(text, &name, inner, layer)?;
            }
            (None, DeValue::Table(_)) if section.is_empty() => {
                return Err(FileError::UnknownSection { line, suggestion: nearest_section(&name), name });
            }
            (None, _) => return Err(FileError::UnknownKey { line, suggestion: nearest(&name), name }),
        }
    }
    Ok(())
}

fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.section() == name)
}

fn read_value(key: &'static Key, value: &Spanned<DeValue<'_>>, line: usize) -> Result<String, FileError> {
    let wrong = FileError::WrongType { line, name: key.name, expects: key.expects(), found: found(value.get_ref()) };
    let text = match (key.kind, value.get_ref()) {
        (TomlKind::String, DeValue::String(text)) => Some(text.to_string()),
        (TomlKind::Boolean, DeValue::Boolean(value)) => Some(value.to_string()),
        (TomlKind::Integer, value @ DeValue::Integer(_)) => integer(value),
        _ => None,
    };
    text.filter(|text| (key.accepts)(text)).ok_or(wrong)
}

/// The value as a person would find it again.
fn found(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text \"{text}\""),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(value) => value.to_string(),
        other => format!("this {}", other.type_str()),
    }
}

/// Decimal text of a TOML integer in any of its notations.
fn integer(value: &DeValue<'_>) -> Option<String> {
    let integer = value.as_integer()?;
    i64::from_str_radix(&integer.as_str().replace('_', ""), integer.radix()).ok().map(|n| n.to_string())
}

fn nearest_section(name: &str) -> Option<&'static str> {
    let sections = KEYS.iter().map(|key| key.section()).filter(|section| !section.is_empty());
    let similar = sections.map(|section| (strsim::normalized_damerau_levenshtein(name, section), section));
    similar.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similarity, _)| *similarity >= 0.5).map(|(_, section)| section)
}

/// The key that `name` was probably meant to be.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let by_whole_name = KEYS.iter().map(|key| (strsim::normalized_damerau_levenshtein(name, key.name), key.name));
    let by_last_part = KEYS.iter().map(|key| {
        let last = key.name.rsplit('.').next().unwrap_or(key.name);
        (strsim::normalized_damerau_levenshtein(name.rsplit('.').next().unwrap_or(name), last) * 0.95, key.name)
    });
    by_whole_name
        .chain(by_last_part)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity >= 0.6)
        .map(|(_, name)| name)
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_key_is_refused_with_line_and_suggestion() {
        let error = parse("dev = true\n\n[signal]\nlissten = \"127.0.0.1:1\"\n").expect_err("unknown key");
        assert_eq!(error.to_string(), "line 4: there is no key \"signal.lissten\"; did you mean \"signal.listen\"?");
    }

    #[test]
    fn unknown_section_and_key_in_the_wrong_section_are_refused() {
        for name in ["signale", "singal"] {
            let error = parse(&format!("[{name}]\nlisten = \"127.0.0.1:1\"\n")).expect_err(name).to_string();
            assert_eq!(error, format!("line 1: there is no section [{name}]; did you mean [signal]?"));
        }
        let error = parse("[weather]\n").expect_err("nothing near").to_string();
        assert_eq!(error, "line 1: there is no section [weather]");
        let error = parse("[node]\nport_base = 5\n").expect_err("wrong section").to_string();
        assert_eq!(error, "line 2: there is no key \"node.port_base\"; did you mean \"media.port_base\"?");
    }

    #[test]
    fn value_of_the_wrong_type_or_range_is_refused() {
        for (text, part) in [
            (
                "[media]\nport_base = \"20000\"\n",
                "media.port_base expects a whole number from 0 to 65535, not the text \"20000\"",
            ),
            (
                "[media]\nport_base = 70000\n",
                "line 2: media.port_base expects a whole number from 0 to 65535, not the number 70000",
            ),
            ("[signal]\ntls = \"maybe\"\n", "signal.tls expects off, self-signed or files"),
            ("dev = 1\n", "dev expects true or false, not the number 1"),
            ("[signal\n", "line 1:"),
        ] {
            let error = parse(text).expect_err(text).to_string();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }

    #[test]
    fn every_notation_of_toml_reaches_the_same_key() {
        for text in ["media.workers = 0x10", "[media]\nworkers = 16", "media = { workers = 1_6 }"] {
            assert_eq!(parse(text).expect(text)["media.workers"].0, "16");
        }
    }
}
