//! The relay's settings in the words of its core.

use crate::shell::settings::{EndpointLearning, MediaInterface, Settings};
use crosspoint_ng::effect::Level;
use crosspoint_ng::options::Learning;
use crosspoint_ng::settings::{self as ng, Interface, InterfaceAddress};

/// `ng.sessions_max` without a limit.
const NO_LIMIT: u32 = u32::MAX;

/// Addresses of one name become one interface, in the order in which the names are met.
pub fn core_settings(settings: &Settings) -> ng::Settings {
    let mut interfaces: Vec<Interface> = Vec::new();
    for MediaInterface { name, addr, advertised } in settings.relay_interfaces().0 {
        let address = InterfaceAddress { local: addr, advertised: advertised.unwrap_or(addr) };
        match interfaces.iter_mut().find(|interface| interface.name == name) {
            Some(interface) => interface.addresses.push(address),
            None => interfaces.push(Interface { name, addresses: vec![address] }),
        }
    }
    ng::Settings {
        interfaces,
        port_min: settings.ng_port_min,
        port_max: settings.ng_port_max,
        timeout_s: settings.ng_timeout_seconds,
        silent_timeout_s: settings.ng_silent_timeout_seconds,
        final_timeout_s: settings.ng_final_timeout_seconds,
        offer_timeout_s: settings.ng_offer_timeout_seconds,
        delete_delay_s: settings.ng_delete_delay_seconds,
        tos: u8::try_from(settings.ng_tos).unwrap_or(u8::MAX),
        sessions_max: Some(settings.ng_sessions_max).filter(|max| *max != NO_LIMIT),
        cpu_percent_max: settings.ng_cpu_percent_max.unwrap_or(0.0) as f32,
        load_max: settings.ng_load_max.unwrap_or(0.0) as f32,
        bytes_per_second_max: settings.ng_bandwidth_max.unwrap_or(0.0) as u64,
        learning: match settings.ng_endpoint_learning {
            EndpointLearning::Delayed => Learning::Delayed,
            EndpointLearning::Immediate => Learning::Immediate,
            EndpointLearning::Heuristic => Learning::Heuristic,
            EndpointLearning::Off => Learning::Off,
        },
        dtls_passive: settings.ng_dtls_passive,
        software: settings.ng_software.clone(),
        log: least_level(),
        ..ng::Settings::on(settings.media_listen)
    }
}

/// What somebody reads.
fn least_level() -> Level {
    match () {
        () if tracing::enabled!(tracing::Level::DEBUG) => Level::Debug,
        () if tracing::enabled!(tracing::Level::INFO) => Level::Info,
        () => Level::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::settings::resolve;

    fn interfaces(flags: &[(&str, &str)]) -> Vec<Interface> {
        let flag = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, text)| (*text).to_owned());
        core_settings(&resolve(None, |_| None, flag).expect("accepted").settings()).interfaces
    }

    #[test]
    fn addresses_of_one_name_are_one_interface_and_the_advertised_one_is_kept_apart() {
        let set = interfaces(&[("ng-interfaces", "pub/192.0.2.1!203.0.113.1 lan/10.0.0.1 pub/2001:db8::1")]);
        assert_eq!(set.iter().map(|interface| interface.name.as_str()).collect::<Vec<_>>(), ["pub", "lan"]);
        assert_eq!(set[0].addresses.len(), 2);
        assert_eq!(set[0].addresses[0].advertised.to_string(), "203.0.113.1");
        assert_eq!(set[0].addresses[1].advertised.to_string(), "2001:db8::1");
    }

    #[test]
    fn without_interfaces_media_goes_where_all_media_goes() {
        let set = interfaces(&[
            ("ng-listen", "127.0.0.1:1"),
            ("media-listen", "192.0.2.7"),
            ("media-advertise", "203.0.113.7"),
        ]);
        assert_eq!((set.len(), set[0].name.as_str()), (1, "default"));
        assert_eq!(set[0].addresses[0].local.to_string(), "192.0.2.7");
        assert_eq!(set[0].addresses[0].advertised.to_string(), "203.0.113.7");
    }
}
