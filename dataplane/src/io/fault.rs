//! What can go wrong between a worker and its kernel. Each message names the likely cause and what to do next.

use std::io;
use std::net::SocketAddr;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Fault {
    #[error(
        "media address {addr} is in use; `ss -ulpn 'sport = :{port}'` shows by whom: stop that, or choose other ports",
        port = addr.port()
    )]
    PortInUse { addr: SocketAddr },

    #[error("this host has no address {}; `ip -brief address` shows which it has", addr.ip())]
    AddressNotHere { addr: SocketAddr },

    #[error("not allowed to bind media address {addr}; choose ports above 1023, or grant CAP_NET_BIND_SERVICE")]
    PortForbidden { addr: SocketAddr },

    #[error("cannot bind media address {addr}: {source}; `ip -brief address` shows which addresses this host has")]
    Bind { addr: SocketAddr, source: io::Error },

    #[error("backend `uring` was asked for, but {reason}; allow it, or choose backend `auto` or `mmsg`")]
    UringUnavailable { reason: String },

    #[error("ports `steered` was asked for, but {reason}; grant what is missing, or choose ports `auto` or `sockets`")]
    SteeringUnavailable { reason: String },

    #[error(
        "cannot map {bytes} bytes of packet memory: {source}; lower the number of legs, or see `ulimit -v` and `free -m`"
    )]
    Memory { bytes: usize, source: io::Error },

    #[error("the system call {call} failed: {source}; not expected on Linux 6.1 or newer: see `uname -r` and `dmesg`")]
    System { call: &'static str, source: io::Error },
}

impl Fault {
    pub(crate) fn binding(addr: SocketAddr, source: io::Error) -> Fault {
        match source.kind() {
            io::ErrorKind::AddrInUse => Fault::PortInUse { addr },
            io::ErrorKind::AddrNotAvailable => Fault::AddressNotHere { addr },
            io::ErrorKind::PermissionDenied => Fault::PortForbidden { addr },
            _ => Fault::Bind { addr, source },
        }
    }
}
