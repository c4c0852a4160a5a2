//! The types a setting may have, and how each is read from text.
//!
//! All layers (file, environment, flags) give text; the file's layer checks beforehand that the TOML type fits.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// What a TOML value must be to become a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TomlKind {
    String,
    Integer,
    Boolean,
}

/// A type of setting.
pub trait Setting: Sized {
    const KIND: TomlKind = TomlKind::String;
    /// Completes the sentence "expects …"; of a number, its span follows.
    const EXPECTS: &'static str;

    fn read(text: &str) -> Option<Self>;

    /// Whether a number is one of these; what is no number has no span.
    fn is_within(&self, _span: Span) -> bool {
        true
    }
}

/// The least and the greatest number that a setting may be.
pub type Span = (u64, u64);

impl Setting for String {
    const EXPECTS: &'static str = "text";
    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

impl Setting for bool {
    const KIND: TomlKind = TomlKind::Boolean;
    const EXPECTS: &'static str = "true or false";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

macro_rules! integers {
    ($($type:ty),+) => { $(
        impl Setting for $type {
            const KIND: TomlKind = TomlKind::Integer;
            const EXPECTS: &'static str = "a whole number";
            fn read(text: &str) -> Option<Self> {
                text.parse().ok()
            }
            fn is_within(&self, (min, max): Span) -> bool {
                u64::try_from(*self).is_ok_and(|number| (min..=max).contains(&number))
            }
        }
    )+ };
}

integers! { u16, u32, u64, usize }

impl Setting for Option<f64> {
    const EXPECTS: &'static str = "nothing, or a number";
    fn read(text: &str) -> Option<Self> {
        if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
    }
    /// What is written as a number and is none is within no span.
    fn is_within(&self, (min, max): Span) -> bool {
        self.is_none_or(|number| (min as f64..=max as f64).contains(&number))
    }
}

impl Setting for PathBuf {
    const EXPECTS: &'static str = "a path";
    fn read(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| PathBuf::from(text))
    }
}

impl Setting for IpAddr {
    const EXPECTS: &'static str = "an IP address such as 127.0.0.1 or ::1";
    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Empty text is "none".
macro_rules! optional {
    ($($type:ty: $expects:literal),+) => { $(
        impl Setting for Option<$type> {
            const EXPECTS: &'static str = $expects;
            fn read(text: &str) -> Option<Self> {
                if text.is_empty() { Some(None) } else { text.parse().ok().map(Some) }
            }
        }
    )+ };
}

optional! {
    SocketAddr: "an address and port such as 127.0.0.1:8088, or nothing",
    IpAddr: "an IP address such as 203.0.113.5, or nothing",
    PathBuf: "a path, or nothing"
}

/// An address for media of ng calls, under a name that messages choose it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MediaInterface {
    pub name: String,
    pub addr: IpAddr,
    /// What SDP says instead, behind a 1:1 NAT.
    pub advertised: Option<IpAddr>,
}

/// Media addresses; the first name is the default. Several addresses may share a name: IPv4 and IPv6, or more room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MediaInterfaces(pub Vec<MediaInterface>);

impl Setting for MediaInterfaces {
    const EXPECTS: &'static str = "[NAME/]ADDRESS[!ADVERTISED] separated by spaces, or nothing";
    fn read(text: &str) -> Option<Self> {
        text.split_whitespace().map(media_interface).collect::<Option<_>>().map(MediaInterfaces)
    }
}

/// As it is read.
impl fmt::Display for MediaInterfaces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, MediaInterface { name, addr, advertised }) in self.0.iter().enumerate() {
            let gap = if place == 0 { "" } else { " " };
            write!(f, "{gap}{name}/{addr}")?;
            if let Some(advertised) = advertised {
                write!(f, "!{advertised}")?;
            }
        }
        Ok(())
    }
}

fn media_interface(text: &str) -> Option<MediaInterface> {
    let (name, addresses) = text.rsplit_once('/').unwrap_or(("default", text));
    let address = |text: &str| text.trim_matches(['[', ']']).parse().ok();
    let (addr, advertised) = match addresses.split_once('!') {
        Some((addr, advertised)) => (address(addr)?, Some(address(advertised)?)),
        None => (address(addresses)?, None),
    };
    (!name.is_empty()).then(|| MediaInterface { name: name.to_owned(), addr, advertised })
}

/// Which cores the workers are pinned to: the dataplane's own notation, checked here so that a mistake is found early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorePlan(pub String);

impl Setting for CorePlan {
    const EXPECTS: &'static str = "none, auto, or cores such as 2-5,8";
    fn read(text: &str) -> Option<Self> {
        let number = |part: &str| part.trim().parse::<u16>().ok();
        let is_range = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            number(first).zip(number(last)).is_some_and(|(first, last)| first <= last)
        };
        let accepted = matches!(text, "none" | "auto") || text.split(',').all(is_range);
        accepted.then(|| CorePlan(text.to_owned()))
    }
}

/// What is logged, as `tracing_subscriber` reads it. That takes a mistyped level for the name of a module and then logs
/// nothing else, so a word alone must be a level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(pub String);

impl Setting for LogFilter {
    const EXPECTS: &'static str =
        "a level (error, warn, info, debug, trace, off) or directives such as info,crosspoint_control=debug";
    fn read(text: &str) -> Option<Self> {
        let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok();
        let words = text.split(',').filter(|directive| !directive.contains(['=', '[', ']']));
        let accepted = !text.is_empty() && words.into_iter().all(is_level) && EnvFilter::try_new(text).is_ok();
        accepted.then(|| LogFilter(text.to_owned()))
    }
}

/// Where to listen with TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsListen {
    /// In dev mode beside `signal.listen`, one port up, if that is free; otherwise nowhere.
    Auto,
    Off,
    At(SocketAddr),
}

impl Setting for TlsListen {
    const EXPECTS: &'static str = "auto, off, or an address and port such as 0.0.0.0:443";
    fn read(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(TlsListen::Auto),
            "off" => Some(TlsListen::Off),
            _ => text.parse().ok().map(TlsListen::At),
        }
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident, $expects:literal, $($variant:ident = $text:literal),+) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($variant),+ }

        impl $name {
            pub fn name(self) -> &'static str {
                match self { $($name::$variant => $text),+ }
            }
        }

        impl Setting for $name {
            const EXPECTS: &'static str = $expects;
            fn read(text: &str) -> Option<Self> {
                match text { $($text => Some($name::$variant),)+ _ => None }
            }
        }
    };
}

choice!(
    /// Where the certificate of the TLS listener comes from.
    TlsCertificate, "off, self-signed or files", Off = "off", SelfSigned = "self-signed", Files = "files"
);
choice!(
    /// How UDP ports of ng calls are received on.
    MediaPorts, "auto, steered or sockets", Auto = "auto", Steered = "steered", Sockets = "sockets"
);
choice!(
    /// What computes SRTP.
    SrtpEngine, "auto or portable", Auto = "auto", Portable = "portable"
);
choice!(
    /// How the address of a plain media peer is learnt.
    EndpointLearning, "delayed, immediate, heuristic or off",
    Delayed = "delayed", Immediate = "immediate", Heuristic = "heuristic", Off = "off"
);
choice!(
    /// How log lines are written.
    LogFormat, "text or json", Text = "text", Json = "json"
);
choice!(
    /// How the workers speak to the kernel.
    IoBackend, "auto, uring or mmsg", Auto = "auto", Uring = "uring", Mmsg = "mmsg"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_level_is_no_log_filter() {
        for good in ["info", "WARN", "info,crosspoint_control=debug", "off", "crosspoint_control[call]=trace"] {
            assert!(LogFilter::read(good).is_some(), "{good}");
        }
        for bad in ["verbose", "", "info,loud", "info,a=loud"] {
            assert!(LogFilter::read(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn core_plan_is_read_as_the_dataplane_reads_it() {
        for (text, accepted) in [("auto", true), ("2-4,8", true), ("4-2", false), ("", false), ("1,,2", false)] {
            assert_eq!(CorePlan::read(text).is_some(), accepted, "{text}");
        }
    }
}
