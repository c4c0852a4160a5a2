//! Settings that are each well-formed and cannot work: without what they need, or not together.
//!
//! Input: the effective settings. Output: the first that is refused, with its value, where that came from, and what to do.
//! `crosspoint config` and the server ask here, so that neither accepts what the other refuses. What only the machine can
//! tell (a taken port, an address of another host) is not known here.

use super::resolve::{Effective, SettingsError};
use super::{Settings, TlsCertificate, TlsListen};
use crosspoint_contract::limits::LEGS_PER_WORKER_MAX;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;

/// `sun_path` of `sockaddr_un` has 108 bytes and ends with a zero (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl Effective {
    /// Refuses what the server cannot work with.
    pub fn check(&self) -> Result<(), SettingsError> {
        let settings = self.settings();
        self.check_listeners(&settings)?;
        self.check_certificate(&settings)?;
        self.check_placeholders(&settings)?;
        self.check_media(&settings)?;
        self.check_relay(&settings)?;
        self.check_socket(&settings)
    }

    fn refuse(&self, name: &'static str, why: String, next: &'static str) -> Result<(), SettingsError> {
        let (text, origin) = self.find(name);
        Err(SettingsError::Refused { name, text: text.to_owned(), origin: origin.clone(), why, next })
    }

    fn check_listeners(&self, settings: &Settings) -> Result<(), SettingsError> {
        let is_asked = settings.relay_is_on() || matches!(settings.signal_tls_listen, TlsListen::At(_));
        if settings.signal_listen.is_none() && !is_asked {
            let why = "and signal.tls_listen names no address either, so nobody could connect".into();
            return self.refuse("signal.listen", why, "name one, such as --signal-tls-listen 0.0.0.0:443");
        }
        Ok(())
    }

    fn check_certificate(&self, settings: &Settings) -> Result<(), SettingsError> {
        let is_wanted = matches!(settings.signal_tls_listen, TlsListen::At(_));
        match settings.signal_tls {
            TlsCertificate::Off if is_wanted => {
                let why = "and signal.tls is off, so there is no certificate for it".into();
                self.refuse("signal.tls_listen", why, "set signal.tls to files or self-signed")
            }
            TlsCertificate::Files => {
                let names = ["signal.tls_certificate", "signal.tls_key"];
                match names.into_iter().find(|name| self.find(name).0.is_empty()) {
                    Some(name) => self.refuse(
                        "signal.tls",
                        format!("and {name} names no file"),
                        "name both files with signal.tls_certificate and signal.tls_key",
                    ),
                    None => Ok(()),
                }
            }
            TlsCertificate::Off | TlsCertificate::SelfSigned => Ok(()),
        }
    }

    fn check_placeholders(&self, settings: &Settings) -> Result<(), SettingsError> {
        if !settings.dev {
            return Ok(());
        }
        let tls = match settings.signal_tls_listen {
            TlsListen::At(address) => Some(address.ip()),
            TlsListen::Auto | TlsListen::Off => None,
        };
        let addresses = [
            ("metrics.listen", settings.metrics_listen.map(|address| address.ip())),
            ("signal.listen", settings.signal_listen.map(|address| address.ip())),
            ("signal.tls_listen", tls),
            ("media.listen", Some(settings.media_listen)),
            ("media.advertise", settings.media_advertise),
        ];
        let is_exposed = |ip: &IpAddr| !ip.is_loopback();
        match addresses.into_iter().find(|(_, ip)| ip.as_ref().is_some_and(is_exposed)) {
            Some((name, _)) => {
                let (text, origin) = self.find(name);
                Err(SettingsError::PlaceholderKeysOffLoopback { name, text: text.to_owned(), origin: origin.clone() })
            }
            None => Ok(()),
        }
    }

    fn check_media(&self, settings: &Settings) -> Result<(), SettingsError> {
        if settings.media_attach.is_some() {
            return Ok(());
        }
        // A client cannot send to 0.0.0.0, so somebody must say which address it is.
        const ADVERTISE: &str = "give --media-advertise ADDRESS, the one that clients reach";
        if settings.media_advertise.is_some_and(|ip| ip.is_unspecified()) {
            return self.refuse("media.advertise", "and no client can send there".into(), ADVERTISE);
        }
        if settings.media_listen.is_unspecified() && settings.media_advertise.is_none() {
            return self.refuse("media.listen", "and no address is advertised to clients".into(), ADVERTISE);
        }
        let workers = settings.workers_count();
        if usize::from(settings.media_port_base) + workers > 1 << 16 {
            let why = format!("and leaves no ports for {workers} workers");
            return self.refuse("media.port_base", why, "choose a lower one with --media-port-base");
        }
        if (settings.media_legs_max as usize).div_ceil(workers) > LEGS_PER_WORKER_MAX {
            let why = format!("and gives one of {workers} workers more than {LEGS_PER_WORKER_MAX}");
            return self.refuse("media.legs_max", why, "lower it, or have more workers with --media-workers");
        }
        Ok(())
    }

    fn check_relay(&self, settings: &Settings) -> Result<(), SettingsError> {
        if settings.ng_port_min > settings.ng_port_max {
            let why = format!("and ng.port_max is {}, so there is no port between them", settings.ng_port_max);
            return self.refuse("ng.port_min", why, "choose a lower one with --ng-port-min, or a higher --ng-port-max");
        }
        // RFC 3550 §11: RTP on an even port, RTCP on the odd one above it.
        let (min, max) = (u32::from(settings.ng_port_min), u32::from(settings.ng_port_max));
        if settings.relay_is_on() && min.next_multiple_of(2) + 1 > max {
            let why = format!("and from {min} on leaves no even port with the odd one above it");
            return self.refuse("ng.port_max", why, "a call takes two such pairs");
        }
        Ok(())
    }

    fn check_socket(&self, settings: &Settings) -> Result<(), SettingsError> {
        let (path, name) = (settings.dataplane_socket(), self.socket_key(settings));
        let bytes = path.as_os_str().as_bytes().len();
        if bytes <= SOCKET_PATH_BYTES_MAX {
            return Ok(());
        }
        let why = format!(
            "which makes the dataplane's socket a path of {bytes} bytes, and the kernel takes {SOCKET_PATH_BYTES_MAX}"
        );
        self.refuse(name, why, "choose a shorter one")
    }

    fn socket_key(&self, settings: &Settings) -> &'static str {
        if settings.media_attach.is_some() { "media.attach" } else { "data.dir" }
    }
}

#[cfg(test)]
mod tests {
    use super::super::resolve;

    fn refused(flags: &[(&str, &str)]) -> Option<String> {
        let flag = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, text)| (*text).to_owned());
        resolve(None, |_| None, flag).expect("well-formed").check().err().map(|error| error.to_string())
    }

    #[test]
    fn defaults_and_what_zero_means_something_for_are_accepted() {
        assert_eq!(refused(&[]), None);
        assert_eq!(refused(&[("media-port-base", "0"), ("call-reconnect-seconds-max", "0")]), None);
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_value_and_origin() {
        let long = "/".to_owned() + &"d".repeat(120);
        for (flags, parts) in [
            (&[("signal-tls", "files")][..], ["signal.tls is \"files\" (flag --signal-tls)", "signal.tls_certificate"]),
            (
                &[("signal-tls", "off"), ("signal-tls-listen", "127.0.0.1:1")],
                ["signal.tls_listen", "signal.tls is off"],
            ),
            (&[("signal-listen", ""), ("signal-tls-listen", "off")], ["signal.listen is \"\"", "--signal-tls-listen"]),
            (&[("media-port-base", "65535"), ("media-workers", "2")], ["media.port_base is \"65535\"", "2 workers"]),
            (&[("ng-port-min", "40001")], ["ng.port_min is \"40001\"", "ng.port_max is 40000"]),
            (&[("media-legs-max", "2560000"), ("media-workers", "1")], ["media.legs_max", "--media-workers"]),
            (&[("media-listen", "0.0.0.0"), ("dev", "false")], ["media.listen is \"0.0.0.0\"", "--media-advertise"]),
            (&[("data-dir", long.as_str())], ["data.dir is \"/ddd", "the kernel takes 107"]),
            (&[("media-attach", long.as_str())], ["media.attach is \"/ddd", "shorter"]),
        ] {
            let text = refused(flags).unwrap_or_else(|| panic!("{flags:?} was accepted"));
            assert!(parts.iter().all(|part| text.contains(part)), "{flags:?}: {text}");
        }
    }

    #[test]
    fn placeholder_keys_are_refused_off_loopback_on_every_listener() {
        for (flag, value) in [
            ("signal-listen", "0.0.0.0:1"),
            ("metrics-listen", "0.0.0.0:1"),
            ("signal-tls-listen", "192.0.2.1:1"),
            ("media-listen", "0.0.0.0"),
            ("media-advertise", "203.0.113.5"),
        ] {
            let refused = refused(&[(flag, value)]).unwrap_or_else(|| panic!("{flag} {value} was accepted"));
            assert!(refused.contains("crosspoint keys create") && refused.contains(value), "{refused}");
        }
        assert_eq!(refused(&[("signal-listen", "0.0.0.0:1"), ("dev", "false")]), None);
    }
}
