//! What was given: the command line, and the file behind it, as rtpengine 10.5.3 reads them.
//!
//! Input: arguments, and the text of an INI file. Output: [`Given`], option by option, the command line before the file.

use super::file::{Entry, section_of};
use super::options::{Meaning, OPTIONS, RelayOption, Takes, find};
use crate::shell::Fault;
use crate::shell::settings::KEYS;
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::collections::BTreeMap;

pub const FILE: &str = "/etc/rtpengine/rtpengine.conf";
const SECTION: &str = "rtpengine";
/// Of an unknown key, to the name that it is taken for a misspelling of.
const CLOSENESS_MIN: f64 = 0.7;

/// Values by the name of their option. A flag that is given has no value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    values: BTreeMap<&'static str, Vec<String>>,
    /// Where options of the file stand: `path:line`.
    places: BTreeMap<&'static str, String>,
    /// What is odd and does no harm.
    pub warnings: Vec<String>,
}

impl Given {
    pub fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    /// The last one wins, as with rtpengine.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last().map(String::as_str)
    }

    pub fn values(&self, name: &str) -> &[String] {
        self.values.get(name).map_or(&[], Vec::as_slice)
    }

    /// The options that were given, in the table's order.
    pub fn options(&self) -> impl Iterator<Item = &'static RelayOption> {
        OPTIONS.iter().filter(|option| self.has(option.name))
    }

    /// An option as whoever wrote it finds it again: `--tos`, or `/etc/rtpengine/rtpengine.conf:12: tos`.
    pub fn named(&self, name: &str) -> String {
        self.places.get(name).map_or_else(|| format!("--{name}"), |place| format!("{place}: {name}"))
    }
}

/// The options as flags of a command. Headings stand in the order of their first option: what works comes first.
pub fn with_options(command: Command) -> Command {
    let mut options: Vec<&'static RelayOption> = OPTIONS.iter().collect();
    options.sort_by_key(|option| match option.meaning {
        Meaning::Setting(_) | Meaning::Translated(_) => 0,
        Meaning::Refused(_) => 1,
        Meaning::WithoutEffect(_) => 2,
    });
    command
        .disable_version_flag(true)
        .after_help(
            "Options that rtpengine has and that do nothing here are accepted with a warning; --help lists them.",
        )
        .after_long_help("")
        .args(options.into_iter().enumerate().map(|(place, option)| argument(option).display_order(place)))
}

fn argument(option: &'static RelayOption) -> Arg {
    let (help, heading) = match option.meaning {
        Meaning::Setting(flag) => (help_of(flag), "Options"),
        Meaning::Translated(help) => (help.to_owned(), "Options"),
        Meaning::WithoutEffect(why) => (why.to_string(), "Accepted, without effect"),
        Meaning::Refused(why) => (format!("Refused: {why}"), "Refused"),
    };
    let hidden = matches!(option.meaning, Meaning::WithoutEffect(_));
    let arg = Arg::new(option.name).long(option.name).help(help).help_heading(heading).hide_short_help(hidden);
    let arg = option.short.map_or(arg.clone(), |short| arg.short(short));
    match option.takes {
        Takes::Nothing => arg.action(ArgAction::Count),
        Takes::Value | Takes::Values => {
            arg.action(ArgAction::Append).value_name("VALUE").allow_hyphen_values(true).num_args(1)
        }
    }
}

/// Meaning, unit and default of a setting of ours.
fn help_of(flag: &str) -> String {
    let key = KEYS.iter().find(|key| key.flag() == flag).expect("a test holds the table to our settings");
    let default = if key.default.is_empty() { "none" } else { key.default };
    format!("{} [default: {default}]", key.documentation.trim())
}

/// The command line's part.
pub fn of_matches(matches: &ArgMatches) -> Given {
    let mut given = Given::default();
    for option in OPTIONS {
        let found = || matches.get_many::<String>(option.name).map(|values| values.cloned().collect::<Vec<_>>());
        let values = match option.takes {
            Takes::Nothing => (matches.get_count(option.name) > 0).then(Vec::new),
            Takes::Value => found(),
            // As in the file: whoever copies the line from there means the same.
            Takes::Values => found().map(|values| values.iter().flat_map(|text| parts(text)).collect()),
        };
        let Some(values) = values else { continue };
        if let (Takes::Value, [first, .., last]) = (option.takes, &values[..]) {
            let name = option.name;
            given.warnings.push(format!("--{name}={first} is without effect: --{name}={last} comes later"));
        }
        given.values.insert(option.name, values);
    }
    given
}

fn parts(text: &str) -> Vec<String> {
    text.split(';').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
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
    let in_file = |why: String| Fault::Command(format!("{path}: {why}"));
    let (entries, warnings) = section_of(&text, &section).map_err(in_file)?;
    given.warnings.extend(warnings.into_iter().map(|warning| format!("{path}: {warning}")));
    for entry in entries {
        let place = format!("{path}:{}", entry.line);
        let Some(option) = find(&entry.key) else {
            given.warnings.push(format!("{place}: there is no option {}{}", entry.key, meant(&entry.key)));
            continue;
        };
        let values = values_of(option, &entry).map_err(|why| Fault::Command(format!("{place}: {why}")))?;
        // The command line comes first.
        if let (Some(values), false) = (values, given.has(option.name)) {
            given.values.insert(option.name, values);
            given.places.insert(option.name, place);
        }
    }
    Ok(given)
}

/// Nothing for a flag that is off and for a value that is empty: as if the line were not there.
fn values_of(option: &RelayOption, entry: &Entry) -> Result<Option<Vec<String>>, String> {
    let text = &entry.value;
    Ok(match option.takes {
        Takes::Nothing => match text.as_str() {
            "false" | "no" | "0" => None,
            "true" | "yes" | "1" => Some(Vec::new()),
            _ => return Err(format!("{} expects true or false, not \"{text}\"", option.name)),
        },
        Takes::Value => (!text.is_empty()).then(|| vec![text.clone()]),
        Takes::Values => Some(parts(text)).filter(|parts| !parts.is_empty()),
    })
}

fn meant(key: &str) -> String {
    let similar = OPTIONS.iter().map(|option| (strsim::normalized_damerau_levenshtein(option.name, key), option.name));
    let nearest = similar.max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(closeness, _)| *closeness >= CLOSENESS_MIN);
    nearest.map_or_else(|| "; the line is ignored".into(), |(_, name)| format!("; did you mean {name}? It is ignored"))
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
        let wrong = |_: &str| Ok("[rtpengine]\n\nsip-source = maybe\n".to_owned());
        let error = with_file(command_line(&["--config-file=/x"]), wrong).expect_err("no boolean").to_string();
        assert_eq!(error, "/x:3: sip-source expects true or false, not \"maybe\"");
    }

    #[test]
    fn unknown_keys_are_warned_of_and_a_suggestion_is_made_only_when_one_is_near() {
        let file = |_: &str| Ok("[rtpengine]\nport-mim = 1\nfoo-bar = 2\nlisten-udp =\ntos = 8\n".to_owned());
        let given = with_file(command_line(&["--config-file=/x"]), file).expect("read");
        assert_eq!(given.warnings.len(), 2, "{:?}", given.warnings);
        assert_eq!(given.warnings[0], "/x:2: there is no option port-mim; did you mean port-min? It is ignored");
        assert_eq!(given.warnings[1], "/x:3: there is no option foo-bar; the line is ignored");
        assert!(!given.has("listen-udp"), "empty is not given");
        assert_eq!((given.named("tos"), given.named("timeout")), ("/x:5: tos".into(), "--timeout".into()));
    }

    #[test]
    fn lists_on_the_command_line_are_cut_at_semicolons_too_and_what_is_given_twice_is_said() {
        let given = command_line(&["-i", "pub/192.0.2.2!203.0.113.9;lan/127.0.0.1", "-ff", "-n", "1", "-n", "2"]);
        assert_eq!(given.values("interface"), ["pub/192.0.2.2!203.0.113.9", "lan/127.0.0.1"]);
        assert_eq!(given.warnings, ["--listen-ng=1 is without effect: --listen-ng=2 comes later"]);
    }
}
