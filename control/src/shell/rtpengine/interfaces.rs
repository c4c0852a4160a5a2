//! `--interface` in all its forms, as the addresses that they stand for on this machine.
//!
//! ```text
//!   [NAME/]WHAT[!ADVERTISED]      WHAT: an address, a host name, a network device, or `any`
//! ```
//!
//! Input: what the operator wrote, and the machine's devices. Output: [`MediaInterface`]s. Opens nothing for longer than it
//! takes to see that an address is this machine's.

use crate::shell::settings::MediaInterface;
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

/// An address of a network device that is up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceAddress {
    pub device: String,
    pub ip: IpAddr,
}

/// Addresses that media can use: of devices that are up, without the link-local ones, which mean nothing beyond their link.
pub fn device_addresses() -> io::Result<Vec<DeviceAddress>> {
    let up = getifaddrs()?.filter(|entry| entry.flags.contains(InterfaceFlags::IFF_UP));
    let addresses = up.filter_map(|entry| {
        let storage = entry.address?;
        let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        v4.or(v6).map(|ip| DeviceAddress { device: entry.interface_name, ip })
    });
    Ok(addresses.filter(|address| !is_link_local(address.ip)).collect())
}

/// RFC 3927, RFC 4291 §2.5.6.
fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// What `text` stands for, in order; the error is a sentence's end.
pub fn expand(
    text: &str,
    devices: impl FnOnce() -> io::Result<Vec<DeviceAddress>>,
) -> Result<Vec<MediaInterface>, String> {
    let (name, rest) = text.split_once('/').unwrap_or(("default", text));
    let (what, advertised) = match rest.split_once('!') {
        Some((what, advertised)) => (what, Some(literal(advertised).ok_or(format!("{advertised} is no IP address"))?)),
        None => (rest, None),
    };
    if name.is_empty() || name.contains(char::is_whitespace) {
        return Err("the name before the slash is empty or has a space".into());
    }
    let addresses = addresses(what, devices)?;
    let interface = |addr: IpAddr| {
        // The other family is reached at its own address.
        let advertised = advertised.filter(|ip| ip.is_ipv4() == addr.is_ipv4() || addresses.len() == 1);
        MediaInterface { name: name.to_owned(), addr, advertised }
    };
    Ok(addresses.iter().copied().map(interface).collect())
}

fn addresses(what: &str, devices: impl FnOnce() -> io::Result<Vec<DeviceAddress>>) -> Result<Vec<IpAddr>, String> {
    if let Some(ip) = literal(what) {
        return bindable(ip).map(|()| vec![ip]);
    }
    let devices =
        devices().map_err(|error| format!("the network devices cannot be listed: {error}; name an address"))?;
    let of = |wanted: &dyn Fn(&DeviceAddress) -> bool| -> Vec<IpAddr> {
        devices.iter().filter(|address| wanted(address)).map(|address| address.ip).collect()
    };
    let found = match what {
        // As rtpengine: all that others can reach.
        "any" => of(&|address| !address.ip.is_loopback()),
        device => of(&|address| address.device == device),
    };
    if !found.is_empty() {
        return Ok(found);
    }
    let resolved: Vec<IpAddr> = (what, 0).to_socket_addrs().into_iter().flatten().map(|address| address.ip()).collect();
    match resolved.iter().find(|ip| ip.is_ipv4()).or(resolved.first()) {
        Some(ip) => bindable(*ip).map(|()| vec![*ip]),
        None if what == "any" => Err("no network device but loopback is up; see `ip address`".into()),
        None => {
            Err(format!("{what} is no IP address, no network device that is up and no host name; see `ip address`"))
        }
    }
}

fn literal(text: &str) -> Option<IpAddr> {
    text.trim_matches(['[', ']']).parse().ok()
}

/// Peers send to an address, so it must be one, and of this machine.
fn bindable(ip: IpAddr) -> Result<(), String> {
    if ip.is_unspecified() {
        return Err("no peer can send there; name an address, or `any` for all that this machine has".into());
    }
    match UdpSocket::bind(SocketAddr::new(ip, 0)) {
        Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
            Err(format!("this machine does not have {ip}; see `ip address`"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices() -> io::Result<Vec<DeviceAddress>> {
        let all = [("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "192.0.2.2"), ("eth0", "2001:db8::2")];
        let address =
            |(device, ip): (&str, &str)| DeviceAddress { device: device.into(), ip: ip.parse().expect("an address") };
        Ok(all.map(address).to_vec())
    }

    fn expanded(text: &str) -> Result<Vec<String>, String> {
        let text_of = |MediaInterface { name, addr, advertised }: &MediaInterface| {
            format!("{name}/{addr}{}", advertised.map_or(String::new(), |ip| format!("!{ip}")))
        };
        expand(text, devices).map(|interfaces| interfaces.iter().map(text_of).collect())
    }

    #[test]
    fn every_form_that_rtpengine_takes_becomes_addresses() {
        for (text, expected) in [
            ("127.0.0.1", &["default/127.0.0.1"][..]),
            ("pub/127.0.0.1!203.0.113.9", &["pub/127.0.0.1!203.0.113.9"]),
            ("any", &["default/192.0.2.2", "default/2001:db8::2"]),
            ("eth0", &["default/192.0.2.2", "default/2001:db8::2"]),
            ("pub/eth0!203.0.113.9", &["pub/192.0.2.2!203.0.113.9", "pub/2001:db8::2"]),
            ("lo", &["default/127.0.0.1", "default/::1"]),
            ("localhost", &["default/127.0.0.1"]),
        ] {
            assert_eq!(expanded(text).expect(text), expected, "{text}");
        }
    }

    #[test]
    fn what_stands_for_no_address_of_this_machine_is_refused_with_the_reason() {
        for (text, expected) in [
            ("0.0.0.0", "no peer can send there"),
            ("198.51.100.77", "this machine does not have 198.51.100.77"),
            ("wlan7.invalid", "no network device that is up"),
            ("127.0.0.1!somewhere", "somewhere is no IP address"),
            ("/127.0.0.1", "is empty"),
        ] {
            let error = expanded(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn devices_of_this_machine_are_listed_with_loopback_and_without_link_local() {
        let addresses = device_addresses().expect("listed");
        assert!(addresses.iter().any(|address| address.ip.is_loopback()), "{addresses:?}");
        assert!(!addresses.iter().any(|address| is_link_local(address.ip)), "{addresses:?}");
    }
}
