//! `crosspoint rtpengine`: started as rtpengine is, with its options and its file.
//!
//! ```text
//!   arguments --> given --+--> translate --> settings::resolve --> server (no signaling, ng only)
//!   rtpengine.conf --------+         '--> warnings, pid file, background
//!   crosspoint.toml, CROSSPOINT_… --------> settings::resolve: what rtpengine has no option for
//! ```
//!
//! Input: the command line of rtpengine 10.5.3. Output: our settings, and the process set up as asked. Owns nothing at run
//! time. Does not speak ng: that is `crosspoint-ng` behind `shell::ng`.

mod background;
mod file;
mod given;
mod interfaces;
mod options;
mod surroundings;
mod translate;

pub use translate::Translation;

use super::Fault;
use super::fault::advice_on_listening;
use super::settings::{Effective, KEYS, Origin, SettingsError, resolve};
use clap::{Arg, ArgAction, ArgMatches, Command};
use std::io::Write;

/// The codecs that are told apart; all others pass under their names too.
const CODECS: &str = "PCMU PCMA G722 opus telephone-event CN red VP8 VP9 H264 AV1 rtx ulpfec";

/// Level of compatibility: what clients that look at the version expect.
pub const COMPATIBLE_WITH: &str = "10.5.3.5";

/// What the command line comes to.
#[derive(Debug)]
pub enum Request {
    Serve(Box<Relay>),
    /// Print this and exit.
    Print(String),
}

/// A relay to be run.
#[derive(Debug)]
pub struct Relay {
    pub effective: Effective,
    translation: Translation,
    /// Whether this is the second process of two, started by the first.
    in_background: bool,
}

/// rtpengine's options, and the one by which we start ourselves again.
pub fn with_options(command: Command) -> Command {
    let second = Arg::new(background::IN_BACKGROUND).long(background::IN_BACKGROUND).hide(true);
    given::with_options(command).arg(second.action(ArgAction::SetTrue))
}

impl Relay {
    /// Leaves the terminal where that was asked for. The one who returns `true` is to serve.
    pub fn enter_background(&self) -> Result<bool, Fault> {
        match (self.translation.foreground, self.in_background) {
            (true, _) => Ok(true),
            (false, true) => background::leave_terminal(self.translation.log_stderr).map(|()| true),
            (false, false) => {
                self.warn();
                background::respawn().map(|()| false)
            }
        }
    }

    /// Says what is odd, on standard error: before the log is there.
    pub fn warn(&self) {
        self.translation.warnings.iter().for_each(|warning| say(warning));
    }

    /// Writes the pid file; it goes with the guard.
    pub fn write_pid(&self) -> Result<Option<background::PidFile>, Fault> {
        self.translation.pidfile.as_deref().map(background::PidFile::write).transpose()
    }

    /// The same fault, by the names of the options that were written; the first process of two is told.
    pub fn ended(&self, fault: Fault) -> Fault {
        let fault = self.in_their_words(fault);
        if self.in_background {
            background::tell(&fault);
        }
        fault
    }

    fn in_their_words(&self, fault: Fault) -> Fault {
        let option = |flag: &str| self.translation.option_of(flag);
        match fault {
            Fault::Settings(error) => in_their_words(error, &self.translation),
            Fault::Listen { name, address, source } => {
                let Some(option) = option(&name.replace(['.', '_'], "-")) else {
                    return Fault::Listen { name, address, source };
                };
                let advice = advice_on_listening(name == "ng.listen", option, &source, &address);
                Fault::Command(format!("cannot listen on {address} ({option}): {source}{advice}"))
            }
            Fault::DataplaneNotStarted { why, .. } => {
                let names = ["ng-interfaces", "ng-port-min", "ng-port-max", "media-workers"];
                let given = names.into_iter().filter_map(|flag| {
                    option(flag).map(|option| format!("{option}={}", self.translation.flag(flag).unwrap_or_default()))
                });
                let given = given.collect::<Vec<_>>().join(", ");
                Fault::Command(format!("the media process did not start: {why}\n  It was given {given}"))
            }
            other => other,
        }
    }
}

/// One line on standard error, in one piece: that may be a socket of syslog's.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("crosspoint rtpengine: {line}\n").as_bytes());
}

/// `data_dir` as given, or one for each address that is listened on. `file`: path and text of a configuration file of ours,
/// for what rtpengine has no option for; its options come before it.
pub fn read(matches: &ArgMatches, data_dir: Option<String>, file: Option<(&str, &str)>) -> Result<Request, Fault> {
    let given = given::of_matches(matches);
    if given.has("version") {
        let version = env!("CARGO_PKG_VERSION");
        return Ok(Request::Print(format!("Version: {COMPATIBLE_WITH} (compatible; crosspoint {version})\n")));
    }
    if given.has("codecs") {
        return Ok(Request::Print(CODECS.split(' ').map(|codec| format!("{codec:>20}: forwarded\n")).collect()));
    }
    let given = given::with_file(given, |path| std::fs::read_to_string(path))?;
    let mut translation = translate::translate(&given)?;
    let effective = settle(&translation, data_dir, file).map_err(|error| in_their_words(error, &translation))?;
    translation.warnings.extend(surroundings::warnings(&effective.settings()));
    let in_background = matches.get_flag(background::IN_BACKGROUND);
    Ok(Request::Serve(Box::new(Relay { effective, translation, in_background })))
}

/// The settings, and for those that nobody has set what suits a relay.
fn settle(
    translation: &Translation,
    data_dir: Option<String>,
    file: Option<(&str, &str)>,
) -> Result<Effective, SettingsError> {
    let environment = |name: &str| std::env::var(name).ok();
    let flag = |name: &str| match name {
        "data-dir" => data_dir.clone(),
        _ => translation.flag(name).map(str::to_owned),
    };
    let set = resolve(file, environment, flag)?;
    let listen = ["ng-listen", "ng-tcp-listen", "ng-http-listen", "ng-cli-listen"];
    let address = listen.iter().find_map(|flag| translation.flag(flag)).unwrap_or_default();
    let mut suiting = surroundings::defaults(&set.settings()).to_vec();
    if *set.find("data.dir").1 == Origin::Default {
        suiting.push(("data.dir", surroundings::data_dir(address, &set.settings().data_dir, environment)));
    }
    suiting.retain(|(name, _)| *set.find(name).1 == Origin::Default);
    let suiting_flag = |wanted: &str| {
        let found = suiting.iter().find(|(name, _)| name.replace(['.', '_'], "-") == wanted);
        found.map(|(_, text)| text.clone())
    };
    let effective = resolve(file, environment, |name| flag(name).or_else(|| suiting_flag(name)))?;
    effective.check()?;
    Ok(effective)
}

/// A mistake is named by the option that the operator wrote.
fn in_their_words(error: SettingsError, translation: &Translation) -> Fault {
    let option_of =
        |name: &str| translation.option_of(KEYS.iter().find(|key| key.name == name).map_or("", |key| key.flag()));
    match &error {
        SettingsError::BadValue { name, expects, text, .. } => match option_of(name) {
            Some(option) => Fault::Command(format!("{option} expects {expects}, not \"{text}\"")),
            None => error.into(),
        },
        SettingsError::Refused { name, text, why, next, .. } => match option_of(name) {
            Some(option) => Fault::Command(format!("{option} is \"{text}\", {why}; {next}")),
            None => error.into(),
        },
        _ => error.into(),
    }
}
