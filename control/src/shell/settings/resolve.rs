//! Layers: flag over environment over file over default; for each key, where its value came from.

use super::file::{self, FileError, FileLayer};
use super::{KEYS, Key, Settings};
use std::fmt;
use thiserror::Error;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// Path as given, line from 1.
    File(String, usize),
    /// Name of the variable.
    Environment(String),
    /// The flag as typed.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(path, line) => write!(f, "{path}:{line}"),
            Origin::Environment(variable) => write!(f, "environment {variable}"),
            Origin::Flag(flag) => write!(f, "flag --{flag}"),
        }
    }
}

/// Why a configuration is refused; the operator must act.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SettingsError {
    #[error("{path}: {error}\n  All keys with their documentation: crosspoint config --explain")]
    File { path: String, error: FileError },
    #[error("{origin}: {name} expects {expects}, not \"{text}\"")]
    BadValue { origin: Origin, name: &'static str, expects: String, text: String },
    #[error("{name} is \"{text}\" ({origin}), {why}; {next}")]
    Refused { name: &'static str, text: String, origin: Origin, why: String, next: &'static str },
    #[error("{name} is \"{text}\" ({origin}), and dev mode works with placeholder keys that everybody knows, so it stays on loopback.
  To be reachable: write a configuration file (crosspoint config > crosspoint.toml; dev = false), make an account and a key
  (crosspoint accounts create, crosspoint keys create), and start with --config crosspoint.toml")]
    PlaceholderKeysOffLoopback { name: &'static str, text: String, origin: Origin },
}

/// Every key with its text and origin, in the table's order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    values: Vec<(String, Origin)>,
    file: Option<String>,
}

impl Effective {
    pub fn iter(&self) -> impl Iterator<Item = (&'static Key, &str, &Origin)> {
        KEYS.iter().zip(&self.values).map(|(key, (text, origin))| (key, text.as_str(), origin))
    }

    pub fn settings(&self) -> Settings {
        Settings::build(|name| self.find(name).0)
    }

    /// Text and origin of the key called `name`.
    pub fn find(&self, name: &str) -> (&str, &Origin) {
        let index = KEYS.iter().position(|key| key.name == name).expect("keys are named by the table");
        (&self.values[index].0, &self.values[index].1)
    }

    /// Path of the configuration file, as given.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }
}

/// `file` is path and text; `environment` and `flag` look up a variable's and a flag's name.
pub fn resolve(
    file: Option<(&str, &str)>,
    environment: impl Fn(&str) -> Option<String>,
    flag: impl Fn(&str) -> Option<String>,
) -> Result<Effective, SettingsError> {
    let (path, layer) = match file {
        Some((path, text)) => {
            let error_in = |error| SettingsError::File { path: path.to_owned(), error };
            (path, Some(file::parse(text).map_err(error_in)?))
        }
        None => ("", None),
    };
    let pick = |key| pick(key, path, layer.as_ref(), &environment, &flag);
    let values = KEYS.iter().map(pick).collect::<Result<_, _>>()?;
    Ok(Effective { values, file: file.map(|(path, _)| path.to_owned()) })
}

fn pick(
    key: &'static Key,
    path: &str,
    layer: Option<&FileLayer>,
    environment: impl Fn(&str) -> Option<String>,
    flag: impl Fn(&str) -> Option<String>,
) -> Result<(String, Origin), SettingsError> {
    let (text, origin) = if let Some(text) = flag(key.flag()) {
        (text, Origin::Flag(key.flag().into()))
    } else if let Some(text) = environment(&key.variable()) {
        (text, Origin::Environment(key.variable()))
    } else if let Some((text, line)) = layer.and_then(|layer| layer.get(key.name)) {
        (text.clone(), Origin::File(path.to_owned(), *line))
    } else {
        (default_of(key, layer.is_some(), &environment), Origin::Default)
    };
    if (key.accepts)(&text) {
        Ok((text, origin))
    } else {
        Err(SettingsError::BadValue { origin, name: key.name, expects: key.expects(), text })
    }
}

/// Two defaults depend on the surroundings: a configuration file ends dev mode, and the data directory follows
/// the XDG base directories.
fn default_of(key: &Key, has_file: bool, environment: impl Fn(&str) -> Option<String>) -> String {
    const STATE_HOME: &str = "${XDG_STATE_HOME:-~/.local/state}";
    match key.default.strip_prefix(STATE_HOME) {
        Some(rest) => {
            let home = || environment("HOME").unwrap_or_else(|| "/var/lib".into()) + "/.local/state";
            let state_home = environment("XDG_STATE_HOME").filter(|dir| dir.starts_with('/')).unwrap_or_else(home);
            state_home + rest
        }
        None if key.name == "dev" && has_file => "false".into(),
        None => key.default.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const FILE: Option<(&str, &str)> = Some(("c.toml", "[node]\nname = \"from-file\"\n"));

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let variable = |name: &str| (name == "CROSSPOINT_NODE_NAME").then(|| "from-env".to_owned());
        let flag = |name: &str| (name == "node-name").then(|| "from-flag".to_owned());
        let name = |effective: Result<Effective, SettingsError>| {
            let effective = effective.expect("accepted");
            (effective.settings().node_name, effective.find("node.name").1.to_string())
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(name(resolve(FILE, variable, flag)), pair("from-flag", "flag --node-name"));
        assert_eq!(name(resolve(FILE, variable, |_| None)), pair("from-env", "environment CROSSPOINT_NODE_NAME"));
        assert_eq!(name(resolve(FILE, |_| None, |_| None)), pair("from-file", "c.toml:2"));
        assert_eq!(name(resolve(None, |_| None, |_| None)), pair("node1", "default"));
    }

    #[test]
    fn a_configuration_file_ends_dev_mode_unless_it_says_otherwise() {
        let dev = |text| resolve(Some(("c.toml", text)), |_| None, |_| None).expect("accepted").settings().dev;
        assert!(!dev(""));
        assert!(dev("dev = true"));
        assert!(resolve(None, |_| None, |_| None).expect("accepted").settings().dev);
    }

    #[test]
    fn bad_value_names_its_origin_and_what_is_expected() {
        let variable = |name: &str| (name == "CROSSPOINT_MEDIA_LISTEN").then(|| "localhost".to_owned());
        let error = resolve(None, variable, |_| None).expect_err("not an address").to_string();
        assert!(
            error.starts_with("environment CROSSPOINT_MEDIA_LISTEN: media.listen expects an IP address"),
            "{error}"
        );
    }

    #[test]
    fn data_directory_follows_the_xdg_base_directories() {
        let dir = |variable: &'static str, value: &'static str| {
            let environment = move |name: &str| (name == variable).then(|| value.to_owned());
            resolve(None, environment, |_| None).expect("accepted").settings().data_dir
        };
        assert_eq!(dir("XDG_STATE_HOME", "/s"), Path::new("/s/crosspoint"));
        assert_eq!(dir("HOME", "/h"), Path::new("/h/.local/state/crosspoint"));
    }
}
