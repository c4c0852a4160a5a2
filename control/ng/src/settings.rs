//! What an operator sets: rtpengine's options of the same names, as the core reads them.
//!
//! Input: the shell's command line and configuration file. Output: every part of the core. Owns nothing. Defaults are
//! those of rtpengine 10.5.3, except that learning is bounded in time as on every leg of this bridge.

use crate::effect::Level;
use crate::options::Learning;
use std::net::IpAddr;

#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// `--interface`, in order; the first is the one used when a request names none.
    pub interfaces: Vec<Interface>,
    /// `--port-min`, `--port-max`, both included.
    pub port_min: u16,
    pub port_max: u16,
    /// `--timeout`: a call ends when none of its streams was heard for so long. 0: never.
    pub timeout_s: u32,
    /// `--silent-timeout`: the same for a call on hold.
    pub silent_timeout_s: u32,
    /// `--final-timeout`: the longest a call may last. 0: as long as it likes.
    pub final_timeout_s: u32,
    /// `--offer-timeout`: how long an offer may go unanswered.
    pub offer_timeout_s: u32,
    /// `--delete-delay`: how long a deleted call still relays, unless the request says otherwise.
    pub delete_delay_s: u32,
    /// `--tos`.
    pub tos: u8,
    /// `--max-sessions`; `None`: no limit.
    pub sessions_max: Option<u32>,
    /// `--max-cpu` in percent, `--max-load`, `--max-bandwidth` in bytes a second. 0: no limit.
    pub cpu_percent_max: f32,
    pub load_max: f32,
    pub bytes_per_second_max: u64,
    /// `--endpoint-learning`.
    pub learning: Learning,
    /// `--dtls-passive`.
    pub dtls_passive: bool,
    /// How long a released port rests before it is given out again, where the range allows.
    pub port_rest_ms: u64,
    /// What `s=` of descriptions made here names and what clients look for.
    pub software: String,
    /// Lines below this level are not made: nobody reads them.
    pub log: Level,
}

/// A named interface: one address of each family, or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub addresses: Vec<InterfaceAddress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceAddress {
    /// Where the dataplane receives.
    pub local: IpAddr,
    /// What descriptions say (`LOCAL!ADVERTISED`).
    pub advertised: IpAddr,
}

impl Settings {
    /// rtpengine's defaults on one interface called `default`.
    pub fn on(address: IpAddr) -> Settings {
        let addresses = vec![InterfaceAddress { local: address, advertised: address }];
        Settings {
            interfaces: vec![Interface { name: "default".into(), addresses }],
            port_min: 30_000,
            port_max: 40_000,
            timeout_s: 60,
            silent_timeout_s: 3600,
            final_timeout_s: 0,
            offer_timeout_s: 3600,
            delete_delay_s: 30,
            tos: 0,
            sessions_max: None,
            cpu_percent_max: 0.0,
            load_max: 0.0,
            bytes_per_second_max: 0,
            learning: Learning::Delayed,
            dtls_passive: false,
            port_rest_ms: 5_000,
            software: "rtpengine-10-5-3-5-crosspoint".into(),
            log: Level::Debug,
        }
    }

    pub fn addresses(&self) -> impl Iterator<Item = &InterfaceAddress> {
        self.interfaces.iter().flat_map(|interface| &interface.addresses)
    }

    /// Where an address of ours is on this machine; `None` for somebody else's.
    pub fn home_of(&self, ip: IpAddr) -> Option<IpAddr> {
        let ip = ip.to_canonical();
        self.addresses().find(|our| our.local == ip || our.advertised == ip).map(|our| our.local)
    }

    pub fn first_address(&self) -> Option<InterfaceAddress> {
        self.interfaces.first()?.addresses.first().copied()
    }

    /// The interface of that name; an unknown name is the first one, as rtpengine has it.
    pub fn interface(&self, name: Option<&str>) -> Option<&Interface> {
        let named = name.and_then(|name| self.interfaces.iter().find(|i| i.name == name));
        named.or_else(|| self.interfaces.first())
    }
}

impl Interface {
    /// The first address of that family, or any other if it has none.
    pub fn address(&self, is_ipv6: bool) -> Option<InterfaceAddress> {
        let of_family = self.addresses.iter().find(|a| a.local.is_ipv6() == is_ipv6);
        of_family.or_else(|| self.addresses.first()).copied()
    }

    /// The first address of the family that `beside` is not of.
    pub fn other_family(&self, beside: InterfaceAddress) -> Option<InterfaceAddress> {
        self.addresses.iter().find(|a| a.local.is_ipv6() != beside.local.is_ipv6()).copied()
    }
}
