//! Settings as flags: built from the table, collected over the levels of subcommands, and handed on to a child.
//!
//! `--config` and `--data-dir` are taken anywhere. The other settings are flags of the server and of `config`; the
//! dataplane takes the keys that concern it, under shorter names (`media.listen` is `--listen` there).

use crate::shell::settings::{Effective, KEYS, Key, Settings, TomlKind, resolve};
use crate::shell::{Fault, rtpengine};
use clap::{Arg, ArgMatches, Command};
use std::path::{Path, PathBuf};

/// A dataplane to run in this process.
#[derive(Debug)]
pub struct DataplaneRequest {
    pub socket: PathBuf,
    pub child: bool,
    pub settings: Settings,
}

const CONFIG: &str = "config";
const DATA_DIR: &str = "data-dir";
const CONFIG_VARIABLE: &str = "CROSSPOINT_CONFIG";

/// Adds the settings' flags to the command and those of its subcommands that take them.
pub(super) fn with_settings(command: Command) -> Command {
    let settings = || KEYS.iter().filter(|key| key.flag() != DATA_DIR).map(|key| argument(key, key.flag()));
    command
        .arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .global(true)
                .help("Configuration file (TOML) [env: CROSSPOINT_CONFIG]"),
        )
        .arg(argument(data_dir_key(), DATA_DIR).global(true))
        .args(settings())
        .mut_subcommand("serve", |serve| serve.args(settings()))
        .mut_subcommand("config", |config| config.args(settings()))
        .mut_subcommand("rtpengine", rtpengine::with_options)
        .mut_subcommand("dataplane", |dataplane| {
            dataplane.args(dataplane_keys().map(|(key, flag)| argument(key, flag)))
        })
}

fn data_dir_key() -> &'static Key {
    KEYS.iter().find(|key| key.flag() == DATA_DIR).expect("the table has data.dir")
}

fn argument(key: &'static Key, flag: &'static str) -> Arg {
    let default = if key.default.is_empty() { "none" } else { key.default };
    Arg::new(flag)
        .long(flag)
        .value_name(value_name(key))
        .allow_hyphen_values(true)
        .help(key.documentation.trim())
        .long_help(format!("{} [default: {default}] [env: {}]", key.documentation.trim(), key.variable()))
        .help_heading(heading(key))
}

fn value_name(key: &Key) -> &'static str {
    match key.kind {
        TomlKind::Integer => "NUMBER",
        TomlKind::Boolean => "BOOL",
        TomlKind::String => "TEXT",
    }
}

fn heading(key: &Key) -> &'static str {
    match key.section() {
        "" => "Mode",
        "signal" => "Signaling",
        "metrics" => "Metrics",
        "node" => "Node",
        "data" => "Data",
        "media" => "Media",
        "dataplane" => "Dataplane",
        "ng" => "Relay for SIP proxies (ng)",
        "call" => "Calls",
        "limits" => "Limits",
        "log" => "Log",
        other => other,
    }
}

/// The keys that a dataplane needs, with their flags there.
fn dataplane_keys() -> impl Iterator<Item = (&'static Key, &'static str)> {
    KEYS.iter().filter_map(|key| {
        let flag = match key.section() {
            "media" | "dataplane" => key.flag().split_once('-').map(|(_, rest)| rest),
            "log" => Some(key.flag()),
            _ if key.name == "ng.interfaces" => Some(key.flag()),
            _ => None,
        };
        flag.filter(|flag| *flag != "attach").map(|flag| (key, flag))
    })
}

/// Effective settings of the server and of the short commands.
pub(super) fn settings(matches: &ArgMatches) -> Result<Effective, Fault> {
    layered(matches, |flag| given(matches, flag))
}

/// The data directory that was given on the command line.
pub(super) fn data_dir(matches: &ArgMatches) -> Option<String> {
    given(matches, DATA_DIR)
}

/// Effective settings of `crosspoint dataplane`.
pub(super) fn dataplane_settings(matches: &ArgMatches) -> Result<Effective, Fault> {
    layered(matches, |flag| {
        let short = dataplane_keys().find(|(key, _)| key.flag() == flag).map(|(_, short)| short);
        short.and_then(|short| given(matches, short)).or_else(|| given(matches, flag))
    })
}

/// What to say of variables that look like ours and set nothing.
pub(super) fn warnings_of_environment() -> Vec<String> {
    std::env::vars_os().filter_map(|(name, _)| warning_of(&name.to_string_lossy())).collect()
}

fn warning_of(name: &str) -> Option<String> {
    if !name.starts_with("CROSSPOINT_") || name == CONFIG_VARIABLE {
        return None;
    }
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    if known.iter().any(|known| known == name) {
        return None;
    }
    let similar = known.iter().map(|known| (strsim::normalized_damerau_levenshtein(name, known), known));
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(similarity, _)| *similarity >= 0.7);
    let suggestion = nearest.map_or(String::new(), |(_, known)| format!("; did you mean {known}?"));
    Some(format!("the environment variable {name} sets nothing{suggestion}"))
}

fn layered(matches: &ArgMatches, flag: impl Fn(&str) -> Option<String>) -> Result<Effective, Fault> {
    let file = file(matches)?;
    let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    Ok(resolve(file, |name| std::env::var(name).ok(), flag)?)
}

/// Path and text of the configuration file that the command line or the environment names.
pub(super) fn file(matches: &ArgMatches) -> Result<Option<(String, String)>, Fault> {
    let path = given(matches, CONFIG).or_else(|| std::env::var(CONFIG_VARIABLE).ok()).filter(|path| !path.is_empty());
    let Some(path) = path else { return Ok(None) };
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(source) => Err(Fault::ConfigurationFile { path: Path::new(&path).to_owned(), source }),
    }
}

/// The value of a flag, at whichever level of subcommands it stands; the innermost wins.
fn given(matches: &ArgMatches, flag: &str) -> Option<String> {
    let inner = matches.subcommand().and_then(|(_, inner)| given(inner, flag));
    inner.or_else(|| matches.try_get_one::<String>(flag).ok().flatten().cloned())
}

/// The command line of a child dataplane: every value that concerns it, so that it needs no file.
pub(super) fn child_arguments(effective: &Effective) -> Vec<String> {
    let settings = effective.settings();
    let socket = settings.dataplane_socket();
    // The child does not know whether the relay is on, so it is told where.
    let interfaces = settings.relay_interfaces().to_string();
    let text = |key: &Key| {
        if key.name == "ng.interfaces" { interfaces.clone() } else { effective.find(key.name).0.to_owned() }
    };
    let head = ["dataplane".to_owned(), "--child".to_owned(), format!("--socket={}", socket.display())];
    let values = dataplane_keys().map(|(key, flag)| format!("--{flag}={}", text(key)));
    head.into_iter().chain(values).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::cli::Cli;
    use clap::CommandFactory;

    fn matches(line: &[&str]) -> ArgMatches {
        with_settings(Cli::command()).try_get_matches_from(line).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn child_is_given_every_media_value_and_reads_it_back() {
        let flags = ["crosspoint", "--media-port-base", "21000", "--media-workers=2", "--data-dir", "/d d"];
        let parent = settings(&matches(&flags)).expect("accepted");
        let mut line = vec!["crosspoint".to_owned()];
        line.extend(child_arguments(&parent));
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let child = matches(&line);
        assert_eq!(given(&child, "socket"), None, "a path, not text");
        let child = dataplane_settings(&child).expect("accepted").settings();
        assert_eq!((child.media_port_base, child.media_workers), (21000, 2));
        assert_eq!(child.media_cores, parent.settings().media_cores);
    }

    #[test]
    fn mistyped_variable_is_warned_of_with_the_one_that_was_meant() {
        let warning = warning_of("CROSSPOINT_SIGNAL_LISTN").expect("no such variable");
        assert!(warning.ends_with("did you mean CROSSPOINT_SIGNAL_LISTEN?"), "{warning}");
        assert!(warning_of("CROSSPOINT_WEATHER").expect("no such variable").ends_with("sets nothing"));
        for fine in ["CROSSPOINT_SIGNAL_LISTEN", "CROSSPOINT_CONFIG", "HOME"] {
            assert_eq!(warning_of(fine), None);
        }
    }

    #[test]
    fn data_directory_is_taken_before_and_after_the_subcommand() {
        for line in [["crosspoint", "--data-dir=/a", "calls"], ["crosspoint", "calls", "--data-dir=/a"]] {
            let dir = settings(&matches(&line)).expect("accepted").settings().data_dir;
            assert_eq!(dir, Path::new("/a"), "{line:?}");
        }
    }
}
