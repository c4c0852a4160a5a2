//! Connections that cannot be held for ever: bounded in number, and ended when their client is gone or does not read.
//!
//! Input: a bound listener. Output: connections for axum, each with the place it takes until it is dropped. Owns the places.
//! The kernel keeps the time, so that no task that writes needs a clock.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use socket2::{SockRef, TcpKeepalive};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of one listener at once; further ones wait to be accepted.
pub const CONNECTIONS_MAX: usize = 1024;

/// A client that takes nothing of what waits for it for so long is gone, or as good as gone.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An idle client is asked this often whether it is there.
const ASKED_EVERY: Duration = Duration::from_secs(60);

/// Has the kernel end the connection when its client is gone (RFC 1122 §4.2.3.6) or takes nothing (RFC 5482).
pub fn end_with_its_client(stream: &TcpStream, patience: Duration) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(ASKED_EVERY).with_interval(ASKED_EVERY))?;
    socket.set_tcp_user_timeout(Some(patience))
}

/// A listener of [`CONNECTIONS_MAX`] places.
pub struct Places {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Places {
    pub fn new(listener: TcpListener) -> Places {
        Places { listener, free: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }
}

impl Listener for Places {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        let place = self.free.clone().acquire_owned().await.expect("the places are never closed");
        loop {
            // axum's own: it waits after a failure.
            let (stream, address) = Listener::accept(&mut self.listener).await;
            if end_with_its_client(&stream, PATIENCE).is_ok() {
                return (Placed { stream, _place: place }, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker(pub SocketAddr);

impl Connected<IncomingStream<'_, Places>> for Asker {
    fn connect_info(stream: IncomingStream<'_, Places>) -> Asker {
        Asker(*stream.remote_addr())
    }
}

/// A connection in its place.
pub struct Placed {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl AsyncRead for Placed {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context, into: &mut ReadBuf) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl AsyncWrite for Placed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context,
        parts: &[io::IoSlice],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;
    use tokio::time::timeout;

    const SOON: Duration = Duration::from_secs(20);

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        (listener, address)
    }

    #[tokio::test]
    async fn connection_of_a_client_that_does_not_read_ends() {
        let (listener, address) = listener().await;
        let _client = TcpStream::connect(address).await.expect("connects");
        let (mut stream, _) = listener.accept().await.expect("accepts");
        end_with_its_client(&stream, Duration::from_millis(300)).expect("a TCP socket");
        let written = timeout(SOON, async { while stream.write_all(&[0; 1 << 16]).await.is_ok() {} }).await;
        assert!(written.is_ok(), "it is still open");
    }

    #[tokio::test]
    async fn further_connection_waits_until_a_place_is_free() {
        let (listener, address) = listener().await;
        let mut places = Places { listener, free: Arc::new(Semaphore::new(1)) };
        let clients = (TcpStream::connect(address).await, TcpStream::connect(address).await);
        assert!(clients.0.is_ok() && clients.1.is_ok(), "the kernel has them");
        let (first, _) = Listener::accept(&mut places).await;
        assert_eq!(places.free.available_permits(), 0);
        drop(first);
        let (_second, _) = timeout(SOON, Listener::accept(&mut places)).await.expect("accepted");
        assert_eq!(places.free.available_permits(), 0);
    }
}
