//! The relay's listeners: bound before anything else starts, so that a taken port is the first thing said.

use super::connections::{self, Channels};
use super::http;
use super::relay::NgArrival;
use crate::shell::Fault;
use crate::shell::settings::Settings;
use crate::shell::tasks::Tasks;
use socket2::{Domain, Protocol, Socket, Type};
use std::net::{SocketAddr, UdpSocket};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Questions that may wait in the kernel while a long one is answered: a proxy's restart asks for thousands at once.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// Bound, not served yet.
#[derive(Debug)]
pub struct NgListeners {
    pub udp: Option<UdpSocket>,
    tcp: Option<TcpListener>,
    http: Option<TcpListener>,
    cli: Option<TcpListener>,
}

/// Where the relay can be asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct NgReachable {
    pub udp: Option<SocketAddr>,
    pub tcp: Option<SocketAddr>,
    pub http: Option<SocketAddr>,
    pub cli: Option<SocketAddr>,
}

impl NgListeners {
    /// Nothing when no address is set: the relay is off.
    pub async fn open(settings: &Settings) -> Result<Option<NgListeners>, Fault> {
        let listeners = NgListeners {
            udp: settings.ng_listen.map(|address| bind_udp("ng.listen", address)).transpose()?,
            tcp: bind_tcp("ng.tcp_listen", settings.ng_tcp_listen).await?,
            http: bind_tcp("ng.http_listen", settings.ng_http_listen).await?,
            cli: bind_tcp("ng.cli_listen", settings.ng_cli_listen).await?,
        };
        let any =
            listeners.udp.is_some() || [&listeners.tcp, &listeners.http, &listeners.cli].iter().any(|l| l.is_some());
        Ok(any.then_some(listeners))
    }

    pub fn reachable(&self) -> NgReachable {
        let tcp = |listener: &Option<TcpListener>| listener.as_ref().and_then(|l| l.local_addr().ok());
        NgReachable {
            udp: self.udp.as_ref().and_then(|socket| socket.local_addr().ok()),
            tcp: tcp(&self.tcp),
            http: tcp(&self.http),
            cli: tcp(&self.cli),
        }
    }

    /// Serves all but UDP, which the relay's loop reads itself: the socket is returned.
    pub fn serve(self, arrivals: &mpsc::Sender<NgArrival>, tasks: &mut Tasks) -> Option<UdpSocket> {
        let channels = Channels::default();
        if let Some(listener) = self.tcp {
            tasks.spawn("ng TCP listener", connections::serve_ng(listener, arrivals.clone(), channels.clone()));
        }
        if let Some(listener) = self.cli {
            tasks.spawn("ng CLI listener", connections::serve_cli(listener, arrivals.clone(), channels.clone()));
        }
        if let Some(listener) = self.http {
            tasks.spawn("ng HTTP listener", http::serve(listener, arrivals.clone(), channels));
        }
        self.udp
    }
}

fn bind_udp(name: &'static str, address: SocketAddr) -> Result<UdpSocket, Fault> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel may grant less; then a burst is answered at its repetition.
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        Ok(UdpSocket::from(socket))
    };
    bound().map_err(|source| Fault::Listen { name, address, source })
}

async fn bind_tcp(name: &'static str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, Fault> {
    let Some(address) = address else { return Ok(None) };
    let bound = TcpListener::bind(address).await.map_err(|source| Fault::Listen { name, address, source })?;
    Ok(Some(bound))
}
