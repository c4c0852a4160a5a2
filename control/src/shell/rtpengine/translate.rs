//! rtpengine's options in the words of our settings.
//!
//! Input: [`Given`]. Output: [`Translation`]: flags for `settings::resolve`, and what is to be said to the operator. One
//! difference is deliberate: a port without an address is opened on loopback, because the protocol has no password.

use super::given::Given;
use super::interfaces::{device_addresses, expand};
use super::options::{Meaning, Why};
use crate::shell::Fault;
use crate::shell::settings::MediaInterfaces;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

/// Sessions without a limit, as `ng.sessions_max` writes it.
const NO_LIMIT: &str = "4294967295";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// Our flags and their values, and the option that each came from, as its writer finds it again.
    pub flags: Vec<(&'static str, String, String)>,
    pub warnings: Vec<String>,
    pub foreground: bool,
    /// The log stays on standard error, in the background too.
    pub log_stderr: bool,
    pub pidfile: Option<PathBuf>,
}

impl Translation {
    pub fn flag(&self, name: &str) -> Option<&str> {
        self.flags.iter().find(|(flag, ..)| *flag == name).map(|(_, text, _)| text.as_str())
    }

    /// The option behind one of our flags, for messages.
    pub fn option_of(&self, flag: &str) -> Option<&str> {
        let named = self.flags.iter().find(|(name, ..)| *name == flag).map(|(.., option)| option.as_str());
        named.filter(|name| !name.is_empty())
    }

    fn set(&mut self, flag: &'static str, text: impl Into<String>, option: String) {
        self.flags.push((flag, text.into(), option));
    }
}

pub fn translate(given: &Given) -> Result<Translation, Fault> {
    let mut translation = Translation {
        foreground: given.has("foreground"),
        log_stderr: given.has("log-stderr"),
        warnings: given.warnings.clone(),
        pidfile: given.value("pidfile").map(PathBuf::from),
        ..Translation::default()
    };
    // A relay alone: no clients, no signaling.
    for (flag, text) in [("dev", "false"), ("signal-listen", ""), ("signal-tls-listen", "off")] {
        translation.set(flag, text, String::new());
    }
    let mut without_effect: BTreeMap<Why, Vec<&str>> = BTreeMap::new();
    for option in given.options() {
        match option.meaning {
            Meaning::Setting(flag) => {
                translation.set(flag, given.value(option.name).unwrap_or("true"), given.named(option.name));
            }
            Meaning::Translated(_) => {}
            Meaning::WithoutEffect(why) => without_effect.entry(why).or_default().push(option.name),
            Meaning::Refused(why) => return Err(Fault::Command(format!("{}: {why}", given.named(option.name)))),
        }
    }
    translation.warnings.extend(without_effect.iter().map(|(why, names)| without(names, *why)));
    listeners(given, &mut translation)?;
    interfaces(given, &mut translation)?;
    if let Some(text) = given.value("max-sessions") {
        let limit = if text.starts_with('-') { NO_LIMIT } else { text };
        translation.set("ng-sessions-max", limit, given.named("max-sessions"));
    }
    if let Some(level) = given.value("log-level") {
        let named = given.named("log-level");
        translation.set("log-level", log_level(&named, level)?, named);
    }
    Ok(translation)
}

fn without(names: &[&str], why: Why) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("--{name}")).collect();
    format!("{} without effect: {why}", names.join(", "))
}

fn listeners(given: &Given, translation: &mut Translation) -> Result<(), Fault> {
    let listeners = [
        ("listen-ng", "ng-listen"),
        ("listen-tcp-ng", "ng-tcp-listen"),
        ("listen-http", "ng-http-listen"),
        ("listen-cli", "ng-cli-listen"),
    ];
    for (option, flag) in listeners {
        let Some(text) = given.value(option) else { continue };
        let (address, was_bare) = address(&given.named(option), text)?;
        if was_bare {
            translation.warnings.push(format!(
                "--{option}={text} names no address and listens on loopback; to be reached from elsewhere: --{option}=0.0.0.0:{text}"
            ));
        }
        translation.set(flag, address.to_string(), given.named(option));
    }
    if !listeners.iter().any(|(option, _)| given.has(option)) {
        return Err(Fault::Command("nothing to listen on; give --listen-ng=127.0.0.1:2223".into()));
    }
    Ok(())
}

/// `PORT`, `ADDRESS:PORT` or `HOST:PORT`, and whether the address was missing.
fn address(option: &str, text: &str) -> Result<(SocketAddr, bool), Fault> {
    if let Ok(port) = text.parse::<u16>() {
        return Ok((SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), true));
    }
    if let Ok(address) = text.parse() {
        return Ok((address, false));
    }
    let refused = |why: String| Fault::Command(format!("{option}={text}: {why}; it expects [ADDRESS:]PORT"));
    let mut found = text.to_socket_addrs().map_err(|error| refused(error.to_string()))?;
    // The first family in use, as other programs resolve `localhost`; IPv4 where both are there.
    let found: Vec<SocketAddr> = found.by_ref().collect();
    let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
    first.copied().map(|address| (address, false)).ok_or_else(|| refused("it has no address".into()))
}

/// Media goes through the first interface unless a message says otherwise; workers bind its address.
fn interfaces(given: &Given, translation: &mut Translation) -> Result<(), Fault> {
    let named = given.named("interface");
    let mut interfaces = MediaInterfaces::default();
    for text in given.values("interface") {
        let found = expand(text, device_addresses);
        let found = found.map_err(|why| Fault::Command(format!("{named}={text}: {why}")))?;
        let new = found.into_iter().filter(|interface| !interfaces.0.contains(interface)).collect::<Vec<_>>();
        interfaces.0.extend(new);
    }
    let Some(first) = interfaces.0.first() else {
        translation.warnings.push("no --interface: media is relayed on 127.0.0.1 only".into());
        return Ok(());
    };
    translation.set("media-listen", first.addr.to_string(), named.clone());
    translation.set("ng-interfaces", interfaces.to_string(), named);
    Ok(())
}

/// syslog(3)'s numbers.
fn log_level(named: &str, text: &str) -> Result<&'static str, Fault> {
    match text.parse::<i32>() {
        Ok(..=3) => Ok("error"),
        Ok(4) => Ok("warn"),
        Ok(5 | 6) => Ok("info"),
        Ok(7) => Ok("debug"),
        Ok(_) => Ok("trace"),
        Err(_) => Err(Fault::Command(format!("{named}={text}: it expects a number from 0 to 7"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::given::{of_matches, with_options};
    use super::*;
    use crate::shell::settings::KEYS;
    use clap::Command;

    fn translated(arguments: &[&str]) -> Result<Translation, String> {
        let all = std::iter::once("rtpengine").chain(arguments.iter().copied());
        let matches = with_options(Command::new("rtpengine")).try_get_matches_from(all).expect("accepted");
        translate(&of_matches(&matches)).map_err(|fault| fault.to_string())
    }

    #[test]
    fn usual_start_of_an_administrator_becomes_our_settings_with_one_warning_a_reason() {
        let usual = ["-i", "pub/127.0.0.1!203.0.113.9;lan/127.0.0.2", "-n", "127.0.0.1:2223", "--table=0"];
        let usual =
            [&usual[..], &["-m", "30000", "-M", "30099", "--no-fallback", "-L", "6", "--max-sessions=-1"]].concat();
        let translation = translated(&usual).expect("translated");
        assert_eq!(translation.flag("ng-listen"), Some("127.0.0.1:2223"));
        assert_eq!(translation.flag("ng-interfaces"), Some("pub/127.0.0.1!203.0.113.9 lan/127.0.0.2"));
        assert_eq!(translation.flag("media-listen"), Some("127.0.0.1"));
        assert_eq!(translation.flag("ng-port-max"), Some("30099"));
        assert_eq!(translation.flag("ng-sessions-max"), Some(NO_LIMIT));
        assert_eq!(translation.option_of("ng-port-max"), Some("--port-max"));
        assert_eq!(translation.warnings.len(), 1, "{:?}", translation.warnings);
        assert!(translation.warnings[0].starts_with("--table, --no-fallback without effect"));
    }

    #[test]
    fn port_alone_is_on_loopback_and_said() {
        let translation = translated(&["-n", "2223", "-i", "127.0.0.1"]).expect("translated");
        assert_eq!(translation.flag("ng-listen"), Some("127.0.0.1:2223"));
        assert!(translation.warnings[0].contains("--listen-ng=0.0.0.0:2223"), "{:?}", translation.warnings);
    }

    #[test]
    fn what_would_be_missed_is_refused_with_what_to_do_instead() {
        for (arguments, expected) in [
            (&["-u", "22222"][..], "--listen-ng"),
            (&["-n", "2223", "--log-srtp-keys"], "keys are never logged"),
            (&["-i", "127.0.0.1"], "nothing to listen on"),
            (&["-n", "2223", "-i", "wlan7.invalid"], "--interface=wlan7.invalid: wlan7.invalid is no IP address"),
            (&["-n", "2223", "-L", "loud"], "0 to 7"),
        ] {
            let error = translated(arguments).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn every_flag_that_the_table_names_is_one_of_ours() {
        for option in super::super::options::OPTIONS {
            if let Meaning::Setting(flag) = option.meaning {
                assert!(KEYS.iter().any(|key| key.flag() == flag), "--{}: no setting {flag}", option.name);
            }
        }
    }
}
