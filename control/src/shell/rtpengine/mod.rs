//! `crosspoint rtpengine`: started as rtpengine is, with its options and its file.
//!
//! ```text
//!   arguments --> given --+--> translate --> settings::resolve --> server (no signaling, ng only)
//!   rtpengine.conf -------+         '--> warnings, pid file, background
//! ```
//!
//! Input: the command line of rtpengine 10.5.3. Output: our settings, and the process set up as asked. Owns nothing at run
//! time. Does not speak ng: that is `crosspoint-ng` behind `shell::ng`.

mod background;
mod given;
mod options;
mod translate;

pub use given::with_options;
pub use translate::Translation;

use super::Fault;
use super::settings::{Effective, KEYS, SettingsError, resolve};
use clap::ArgMatches;

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
    pub translation: Translation,
}

impl Relay {
    /// Leaves the terminal where that was asked for. The one who returns `true` is to serve.
    pub fn enter_background(&self) -> Result<bool, Fault> {
        if self.translation.foreground { Ok(true) } else { background::respawn().map(|()| false) }
    }

    /// Writes the pid file; it goes with the guard.
    pub fn write_pid(&self) -> Result<Option<background::PidFile>, Fault> {
        self.translation.pidfile.as_deref().map(background::PidFile::write).transpose()
    }
}

/// `data_dir` as given, or one for each address that is listened on.
pub fn read(matches: &ArgMatches, data_dir: Option<String>) -> Result<Request, Fault> {
    let given = given::of_matches(matches);
    if given.has("version") {
        let version = env!("CARGO_PKG_VERSION");
        return Ok(Request::Print(format!("Version: {COMPATIBLE_WITH} (compatible; crosspoint {version})\n")));
    }
    if given.has("codecs") {
        return Ok(Request::Print(CODECS.split(' ').map(|codec| format!("{codec:>20}: forwarded\n")).collect()));
    }
    let given = given::with_file(given, |path| std::fs::read_to_string(path))?;
    let translation = translate::translate(&given)?;
    let environment = |name: &str| std::env::var(name).ok();
    let listen = ["ng-listen", "ng-tcp-listen", "ng-http-listen", "ng-cli-listen"];
    let flag = |name: &str| match name {
        "data-dir" => Some(data_dir.clone().unwrap_or_else(|| {
            let address = listen.iter().find_map(|flag| translation.flag(flag)).unwrap_or_default();
            format!("{}/rtpengine-{address}", default_data_dir(environment))
        })),
        _ => translation.flag(name).map(str::to_owned),
    };
    let effective = resolve(None, |_| None, flag).map_err(|error| in_their_words(error, &translation))?;
    Ok(Request::Serve(Box::new(Relay { effective, translation })))
}

/// Two relays on one machine must not share a data directory, and neither one with the bridge.
fn default_data_dir(environment: impl Fn(&str) -> Option<String>) -> String {
    let effective = resolve(None, environment, |_| None);
    effective.map_or_else(|_| ".".to_owned(), |effective| effective.settings().data_dir.display().to_string())
}

/// A mistake is named by the option that the operator wrote.
fn in_their_words(error: SettingsError, translation: &Translation) -> Fault {
    let SettingsError::BadValue { name, expects, text, .. } = &error else { return error.into() };
    let flag = KEYS.iter().find(|key| key.name == *name).map_or("", |key| key.flag());
    match translation.option_of(flag) {
        Some(option) => Fault::Command(format!("--{option} expects {expects}, not \"{text}\"")),
        None => error.into(),
    }
}
