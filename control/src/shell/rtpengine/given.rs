//! What was given: the command line, and the file behind it, as rtpengine 10.5.3 reads them.
//!
//! Input: arguments, and the text of an INI file. Output: [`Given`], option by option, the command line before the file.

use super::options::{Meaning, OPTIONS, RelayOption, Takes, find};
use crate::shell::Fault;
use clap::{Arg, ArgAction, ArgMatches, Command};
use ini::{Ini, ParseOption};
use std::collections::BTreeMap;

pub const FILE: &str = "/etc/rtpengine/rtpengine.conf";
const SECTION: &str = "rtpengine";

/// Values by the name of their option. A flag that is given has no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given(BTreeMap<&'static str, Vec<String>>);

impl Given {
    pub fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The last one wins, as with rtpengine.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    pub fn values(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// The options that were given, in the table's order.
    pub fn options(&self) -> impl Iterator<Item = &'static RelayOption> {
        OPTIONS.iter().filter(|option| self.has(option.name))
    }
}

/// The options as flags of a command.
pub fn with_options(command: Command) -> Command {
    command.disable_version_flag(true).args(OPTIONS.iter().map(argument))
}

fn argument(option: &'static RelayOption) -> Arg {
    let (help, heading) = match option.meaning {
        Meaning::Setting(_) => ("", "Options"),
        Meaning::Translated(help) => (help, "Options"),
        Meaning::WithoutEffect(_) => ("", "Accepted, without effect"),
        Meaning::Refused(_) => ("", "Refused"),
    };
    let mut help = help.to_owned();
    match option.meaning {
        Meaning::Setting(flag) => help = format!("As --{flag} of crosspoint."),
        Meaning::WithoutEffect(why) => help = why.to_string(),
        Meaning::Refused(why) => help = format!("Refused: {why}"),
        Meaning::Translated(_) => {}
    }
    let arg = Arg::new(option.name).long(option.name).help(help).help_heading(heading);
    let arg = option.short.map_or(arg.clone(), |short| arg.short(short));
    match option.takes {
        Takes::Nothing => arg.action(ArgAction::SetTrue),
        Takes::Value | Takes::Values => {
            arg.action(ArgAction::Append).value_name("VALUE").allow_hyphen_values(true).num_args(1)
        }
    }
}

/// The command line's part.
pub fn of_matches(matches: &ArgMatches) -> Given {
    let mut given = Given::default();
    for option in OPTIONS {
        let values = match option.takes {
            Takes::Nothing => matches.get_flag(option.name).then(Vec::new),
            Takes::Value | Takes::Values => {
                matches.get_many::<String>(option.name).map(|values| values.cloned().collect())
            }
        };
        if let Some(values) = values {
            given.0.insert(option.name, values);
        }
    }
    given
}

/// Adds what the file says of options that the command line does not give. Without `--config-file` a missing file is
/// no mistake.
pub fn with_file(mut given: Given, read: impl Fn(&str) -> std::io::Result<String>) -> Result<Given, Fault> {
    let named = given.value("config-file").map(str::to_owned);
    let path = named.clone().unwrap_or_else(|| FILE.to_owned());
    if path == "none" {
        return Ok(given);
    }
    let text = match read(&path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => return Ok(given),
        Err(error) => {
            return Err(Fault::Command(format!("cannot read {path}: {error}; --config-file=none does without a file")));
        }
    };
    let section = given.value("config-section").unwrap_or(SECTION).to_owned();
    for (name, values) in section_of(&text, &section).map_err(|why| Fault::Command(format!("{path}: {why}")))? {
        given.0.entry(name).or_insert(values);
    }
    Ok(given)
}

/// Unknown keys are a mistake, as on the command line.
fn section_of(text: &str, section: &str) -> Result<Vec<(&'static str, Vec<String>)>, String> {
    let plain = ParseOption { enabled_quote: false, enabled_escape: false, ..ParseOption::default() };
    let file = Ini::load_from_str_opt(text, plain).map_err(|error| error.to_string())?;
    let Some(properties) = file.section(Some(section)) else {
        return Err(format!("it has no section [{section}]; name another with --config-section"));
    };
    let mut found = Vec::new();
    for (key, value) in properties.iter() {
        let Some(option) = find(key) else {
            let nearest = OPTIONS.iter().max_by(|a, b| closeness(a.name, key).total_cmp(&closeness(b.name, key)));
            let hint = nearest.map_or(String::new(), |option| format!("; did you mean {}?", option.name));
            return Err(format!("[{section}] has no option {key}{hint}"));
        };
        let values: Vec<String> = match option.takes {
            Takes::Nothing if matches!(value.trim(), "false" | "no" | "0") => continue,
            Takes::Nothing => Vec::new(),
            Takes::Value => vec![value.trim().to_owned()],
            Takes::Values => {
                value.split(';').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
            }
        };
        found.push((option.name, values));
    }
    Ok(found)
}

fn closeness(a: &str, b: &str) -> f64 {
    strsim::jaro_winkler(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command_line(arguments: &[&str]) -> Given {
        let all = std::iter::once("rtpengine").chain(arguments.iter().copied());
        of_matches(&with_options(Command::new("rtpengine")).try_get_matches_from(all).expect("accepted"))
    }

    #[test]
    fn options_are_read_as_administrators_write_them() {
        let given =
            command_line(&["-fE", "-L7", "--table=-1", "-i", "a/10.0.0.1!203.0.113.1", "-i", "b/::1", "-n", "2223"]);
        assert!(given.has("foreground") && given.has("log-stderr"));
        assert_eq!(given.value("log-level"), Some("7"));
        assert_eq!(given.value("table"), Some("-1"));
        assert_eq!(given.values("interface"), ["a/10.0.0.1!203.0.113.1", "b/::1"]);
        assert_eq!(given.value("listen-ng"), Some("2223"));
    }

    #[test]
    fn command_line_beats_the_file_and_lists_are_cut_at_semicolons() {
        let file = "# the usual\n[rtpengine]\ntable = 0\nno-fallback = false\ninterface = a/10.0.0.1;b/10.0.0.2!192.0.2.1\nport-min=1\n[other]\nport-min = 2\n";
        let read =
            |path: &str| if path == FILE { Ok(file.to_owned()) } else { Err(std::io::ErrorKind::NotFound.into()) };
        let given = with_file(command_line(&["-m", "30000"]), read).expect("read");
        assert_eq!(given.value("port-min"), Some("30000"));
        assert_eq!(given.values("interface"), ["a/10.0.0.1", "b/10.0.0.2!192.0.2.1"]);
        assert!(!given.has("no-fallback"), "false means not given");
        let other = with_file(command_line(&["--config-section", "other"]), read).expect("read");
        assert_eq!(other.value("port-min"), Some("2"));
    }

    #[test]
    fn file_is_missed_only_when_it_was_named_and_its_mistakes_are_named() {
        let missing = |_: &str| Err(std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(with_file(command_line(&[]), missing).expect("none"), Given::default());
        assert!(with_file(command_line(&["--config-file=/x"]), missing).is_err());
        assert!(with_file(command_line(&["--config-file=none"]), |_: &str| panic!("not read")).is_ok());
        let misspelt = |_: &str| Ok("[rtpengine]\nport-mim = 1\n".to_owned());
        let error = with_file(command_line(&[]), misspelt).expect_err("unknown key").to_string();
        assert!(error.contains("port-mim") && error.contains("did you mean port-min"), "{error}");
    }
}
