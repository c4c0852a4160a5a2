//! What a relay needs of its machine that no option of rtpengine's names: a directory, a port, room for legs.
//!
//! Input: the environment, the ports in use. Output: values for settings that nobody has set. A later start in the same
//! place comes to the same values, so that it finds the dataplane of one that was killed.

use crate::shell::settings::Settings;
use crosspoint_contract::limits::LEGS_PER_WORKER_MAX;
use std::fs::DirBuilder;
use std::net::UdpSocket;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Where the relay that listens on `address` keeps its socket and store: systemd's directory for it, the user's, or, for a
/// user without a home, one of temporary files. Two relays on one machine must not share it, and neither one with the bridge.
pub fn data_dir(address: &str, users: &Path, environment: impl Fn(&str) -> Option<String>) -> String {
    let first = |name: &str| environment(name).and_then(|list| list.split(':').next().map(str::to_owned));
    if let Some(systemd) = first("STATE_DIRECTORY").or_else(|| first("RUNTIME_DIRECTORY")) {
        return format!("{systemd}/{address}");
    }
    let own = users.join(format!("rtpengine-{address}"));
    if DirBuilder::new().recursive(true).mode(0o700).create(&own).is_ok() {
        return own.display().to_string();
    }
    let user = rustix::process::getuid().as_raw();
    std::env::temp_dir().join(format!("crosspoint-{user}-rtpengine-{address}")).display().to_string()
}

/// For the settings that nobody has set: a relay has no clients of its own whose port must be known.
pub fn defaults(settings: &Settings) -> [(&'static str, String); 3] {
    let workers = settings.media_workers.max(1);
    let legs = LEGS_PER_WORKER_MAX * usize::from(workers);
    [
        ("media.workers", workers.to_string()),
        ("media.legs_max", legs.to_string()),
        ("media.port_base", port_base(settings, workers).unwrap_or(0).to_string()),
    ]
}

/// The workers' own ports, beside the range of the relay: a port that the kernel chose might lie in it. `None` where they
/// are taken, by a dataplane that is still there among others.
fn port_base(settings: &Settings, workers: u16) -> Option<u16> {
    let below = settings.ng_port_min.checked_sub(workers).filter(|base| *base >= 1024);
    let above = settings.ng_port_max.checked_add(1).filter(|base| base.checked_add(workers).is_some());
    let base = below.or(above)?;
    let is_free = |port| UdpSocket::bind((settings.media_listen, port)).is_ok();
    (base..base + workers).all(is_free).then_some(base)
}

/// What the range cannot carry, said before a call finds out.
pub fn warnings(settings: &Settings) -> Vec<String> {
    let addresses = settings.relay_interfaces().0.len();
    let ports = u32::from(settings.ng_port_max).saturating_sub(settings.ng_port_min.into()) + 1;
    let pairs = u32::from(settings.ng_port_max / 2 + settings.ng_port_max % 2)
        .saturating_sub(u32::from(settings.ng_port_min.div_ceil(2)));
    let mut warnings = Vec::new();
    if pairs < 2 && addresses < 2 {
        warnings.push(format!(
            "ports {} to {} hold one side of a call and not the other; widen them with --port-min and --port-max",
            settings.ng_port_min, settings.ng_port_max
        ));
    }
    let legs = settings.media_legs_max as usize;
    if pairs as usize * addresses > legs {
        warnings.push(format!(
            "{ports} ports on {addresses} addresses are more than {legs} legs can use; --num-threads raises that, by {LEGS_PER_WORKER_MAX} a thread"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::settings::resolve;

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let flag = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, text)| (*text).to_owned());
        resolve(None, |_| None, flag).expect("accepted").settings()
    }

    #[test]
    fn own_port_of_a_worker_lies_beside_the_range_and_is_the_kernels_choice_where_that_is_taken() {
        let holder = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let taken = holder.local_addr().expect("bound").port();
        let range = |min: u16| settings(&[("ng-port-min", &min.to_string()), ("ng-port-max", "65535")]);
        assert_eq!(port_base(&range(taken + 1), 1), None);
        drop(holder);
        assert_eq!(port_base(&range(taken + 1), 1), Some(taken));
        assert_eq!(port_base(&settings(&[("ng-port-min", "1"), ("ng-port-max", "65535")]), 1), None, "no room beside");
    }

    #[test]
    fn range_for_one_side_of_a_call_or_for_more_legs_than_there_are_is_warned_of() {
        let said = |min: &str, max: &str, legs: &str| {
            let flags =
                [("ng-listen", "127.0.0.1:1"), ("ng-port-min", min), ("ng-port-max", max), ("media-legs-max", legs)];
            warnings(&settings(&flags)).len()
        };
        assert_eq!(said("50000", "50003", "20000"), 0);
        assert_eq!(said("50000", "50002", "20000"), 1, "one pair");
        assert_eq!(said("10000", "60000", "20000"), 1, "more pairs than legs");
    }

    #[test]
    fn directory_is_systemds_or_the_users_or_one_of_temporary_files() {
        let systemd = |name: &str| (name == "STATE_DIRECTORY").then(|| "/var/lib/a:/var/lib/b".to_owned());
        assert_eq!(data_dir("x", Path::new("/nowhere"), systemd), "/var/lib/a/x");
        let home = tempfile::tempdir().expect("temporary directory");
        assert_eq!(data_dir("x", home.path(), |_| None), format!("{}/rtpengine-x", home.path().display()));
        assert!(data_dir("x", Path::new("/proc/nowhere"), |_| None).ends_with("-rtpengine-x"));
    }
}
