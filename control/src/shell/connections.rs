//! Bounds on TCP connections before a byte of them is read: in total and per address; and on what a connection may send
//! without saying anything.
//!
//! Used as the acceptor of every listener. The permit travels in the stream and is given back when it is dropped. The
//! bound of one address does not hold for loopback, where a proxy brings everybody's connections from one address.
//! Requests find the [`Meter`] of their connection among their extensions.

use axum::Extension;
use axum::extract::connect_info::Connected;
use axum::middleware::AddExtension;
use axum_server::accept::Accept;
use std::collections::HashMap;
use std::future::{self, Ready};
use std::io::{self, IoSlice};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tower_layer::Layer;

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Remote(pub SocketAddr);

impl Connected<SocketAddr> for Remote {
    fn connect_info(remote: SocketAddr) -> Self {
        // An IPv4 client of a dual-stack listener counts as the IPv4 address it is.
        Remote(SocketAddr::new(remote.ip().to_canonical(), remote.port()))
    }
}

/// Open connections, shared by all listeners.
#[derive(Debug)]
pub struct Connections {
    total_max: usize,
    per_address_max: usize,
    open: Mutex<Open>,
    refused: AtomicU64,
    messages_endless: AtomicU64,
}

#[derive(Debug, Default)]
struct Open {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

impl Connections {
    pub fn new(total_max: usize, per_address_max: usize) -> Arc<Connections> {
        Arc::new(Connections {
            total_max,
            per_address_max,
            open: Mutex::default(),
            refused: AtomicU64::new(0),
            messages_endless: AtomicU64::new(0),
        })
    }

    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Connections that ended for [`Meter`]'s bound.
    pub fn messages_endless(&self) -> u64 {
        self.messages_endless.load(Ordering::Relaxed)
    }

    fn admit(self: &Arc<Self>, address: IpAddr) -> io::Result<Permit> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let of_address = open.by_address.get(&address).copied().unwrap_or(0);
        let bound = if open.total >= self.total_max {
            Some("limits.sessions_max")
        } else if of_address >= self.per_address_max && !address.is_loopback() {
            Some("limits.connections_per_address_max")
        } else {
            None
        };
        if let Some(bound) = bound {
            return Err(self.refuse(address, bound));
        }
        open.total += 1;
        open.by_address.insert(address, of_address + 1);
        Ok(Permit { connections: self.clone(), address })
    }

    /// The first is logged, all are counted: a flood must not fill the log.
    fn refuse(&self, address: IpAddr, bound: &'static str) -> io::Error {
        if self.refused.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(
                kind = "connection_refused", %address, bound,
                "further ones are only counted: crosspoint_connections_refused_total"
            );
        }
        io::Error::other("too many connections")
    }
}

#[derive(Debug)]
struct Permit {
    connections: Arc<Connections>,
    address: IpAddr,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.total -= 1;
        match open.by_address.get_mut(&self.address) {
            Some(of_address) if *of_address > 1 => *of_address -= 1,
            _ => drop(open.by_address.remove(&self.address)),
        }
    }
}

/// What a connection has sent beyond what it has said. A WebSocket message may come in fragments without end, each empty
/// (RFC 6455 §5.4): the library bounds the bytes of a message, not its fragments, and hands over nothing until the last.
#[derive(Debug)]
pub struct Meter {
    connections: Arc<Connections>,
    unaccounted_bytes: AtomicU64,
    /// No bound before a session sets one: requests of HTTP have theirs.
    unaccounted_bytes_max: AtomicU64,
}

/// How the error of a connection beyond its bound begins, for whoever sees only its text.
pub const MESSAGE_ENDLESS: &str = "message without end";

impl Meter {
    fn new(connections: Arc<Connections>) -> Arc<Meter> {
        let (unaccounted_bytes, unaccounted_bytes_max) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Arc::new(Meter { connections, unaccounted_bytes, unaccounted_bytes_max })
    }

    /// From now on.
    pub fn bound(&self, unaccounted_bytes_max: u64) {
        self.unaccounted_bytes.store(0, Ordering::Relaxed);
        self.unaccounted_bytes_max.store(unaccounted_bytes_max, Ordering::Relaxed);
    }

    /// So many bytes were worth it.
    pub fn account(&self, bytes: u64) {
        let less = |unaccounted: u64| Some(unaccounted.saturating_sub(bytes));
        // A closure that always gives a value cannot fail.
        let _ = self.unaccounted_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn read(&self, bytes: usize) -> io::Result<()> {
        let (bytes, max) = (bytes as u64, self.unaccounted_bytes_max.load(Ordering::Relaxed));
        if self.unaccounted_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= max {
            return Ok(());
        }
        // Once for each connection, which reads no more after it.
        self.connections.messages_endless.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other(MESSAGE_ENDLESS))
    }
}

/// Admits or refuses accepted connections.
#[derive(Clone, Debug)]
pub struct Doorkeeper(pub Arc<Connections>);

impl<S> Accept<TcpStream, S> for Doorkeeper {
    type Stream = Admitted;
    type Service = AddExtension<S, Arc<Meter>>;
    type Future = Ready<io::Result<(Admitted, Self::Service)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        let admit = || {
            let address = stream.peer_addr()?.ip().to_canonical();
            stream.set_nodelay(true)?;
            self.0.admit(address)
        };
        future::ready(admit().map(|permit| {
            let meter = Meter::new(self.0.clone());
            let service = Extension(meter.clone()).layer(service);
            (Admitted { stream, meter, _permit: permit }, service)
        }))
    }
}

/// A connection with its permit.
#[derive(Debug)]
pub struct Admitted {
    stream: TcpStream,
    meter: Arc<Meter>,
    _permit: Permit,
}

impl AsyncRead for Admitted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.stream).poll_read(cx, buffer));
        Poll::Ready(read.and_then(|()| self.meter.read(buffer.filled().len() - before)))
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_beyond_the_bound_of_an_address_are_refused_until_one_closes() {
        let connections = Connections::new(3, 2);
        let (a, b) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let first = connections.admit(a).expect("first");
        let _second = connections.admit(a).expect("second");
        connections.admit(a).expect_err("third of one address");
        let _other = connections.admit(b).expect("another address");
        connections.admit(b).expect_err("the total is reached");
        drop(first);
        connections.admit(a).expect("room again");
        assert_eq!(connections.refused(), 2);
    }

    #[test]
    fn proxy_on_loopback_is_bound_by_the_total_only() {
        let connections = Connections::new(3, 1);
        let proxy = IpAddr::from([127, 0, 0, 1]);
        let _permits: Vec<Permit> = (0..3).map(|_| connections.admit(proxy).expect("within the total")).collect();
        connections.admit(proxy).expect_err("the total is reached");
    }
}
