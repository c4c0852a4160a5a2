//! Connections of ng clients over TCP, and of operators to the line-based interface.
//!
//! Input: accepted connections. Output: [`NgArrival`]s; replies back. A connection costs one task and its buffers; one that
//! sends no sense is closed, and so is one that does not read: when its queue is full, or the kernel's patience ends. Framing is `crosspoint_ng::framing`'s.

use super::places::{CONNECTIONS_MAX, PATIENCE, end_with_its_client};
use super::relay::{NgArrival, Outgoing};
use crosspoint_ng::effect::{Channel, Peer};
use crosspoint_ng::framing::StreamReader;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// Replies that may wait for a client that reads slowly.
pub const REPLIES_WAITING_MAX: usize = 256;
/// An operator's line, and the answer's wait.
const CLI_LINE_BYTES_MAX: u64 = 4096;
const CLI_MAX: Duration = Duration::from_secs(10);
/// After a failed accept, mostly for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Numbers of connections and HTTP requests, never given twice.
#[derive(Clone, Debug, Default)]
pub struct Channels(Arc<AtomicU64>);

impl Channels {
    pub fn connection(&self) -> Channel {
        Channel::Connection(self.number())
    }

    pub fn request(&self) -> Channel {
        Channel::Request(self.number())
    }

    fn number(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

pub async fn serve_ng(listener: TcpListener, arrivals: mpsc::Sender<NgArrival>, channels: Channels) {
    accept(listener, move |stream, address| {
        let (arrivals, channel) = (arrivals.clone(), channels.connection());
        async move {
            let from = Peer { channel, address };
            if let Err(error) = attend(stream, from, &arrivals).await {
                tracing::debug!(kind = "ng_connection_ended", %address, %error);
            }
            let _ = arrivals.send(NgArrival::Closed { channel }).await;
        }
    })
    .await;
}

pub async fn serve_cli(listener: TcpListener, arrivals: mpsc::Sender<NgArrival>, channels: Channels) {
    accept(listener, move |stream, address| {
        let (arrivals, channel) = (arrivals.clone(), channels.connection());
        async move {
            let from = Peer { channel, address };
            let _ = timeout(CLI_MAX, answer_line(stream, from, &arrivals)).await;
            let _ = arrivals.send(NgArrival::Closed { channel }).await;
        }
    })
    .await;
}

async fn accept<F>(listener: TcpListener, attend: impl Fn(TcpStream, SocketAddr) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, address)) => {
                if end_with_its_client(&stream, PATIENCE).is_err() {
                    continue;
                }
                let attended = attend(stream, address);
                tokio::spawn(async move {
                    attended.await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(kind = "ng_accept_failed", %error, "see `ulimit -n`");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Reads messages and writes replies until either side ends. Replies may come in another order than the questions.
async fn attend(stream: TcpStream, from: Peer, arrivals: &mpsc::Sender<NgArrival>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = stream.into_split();
    let (outgoing, mut replies) = mpsc::channel(REPLIES_WAITING_MAX);
    tell(arrivals, NgArrival::Opened { channel: from.channel, outgoing }).await?;
    let mut reader = StreamReader::default();
    let mut buffer = vec![0; 16 << 10];
    loop {
        tokio::select! {
            read = input.read(&mut buffer) => {
                let bytes = read?;
                if bytes == 0 {
                    return Ok(());
                }
                reader.push(&buffer[..bytes]);
                while let Some(message) = reader.next_message().map_err(io::Error::other)? {
                    tell(arrivals, NgArrival::Message { from, bytes: message.to_vec() }).await?;
                }
            }
            reply = replies.recv() => match reply {
                Some(Outgoing::Reply(bytes)) => output.write_all(&bytes).await?,
                Some(Outgoing::Last(text)) => return output.write_all(text.as_bytes()).await,
                None => return Err(io::Error::other("it does not read its replies")),
            },
        }
    }
}

/// One line, one answer, and the connection closes, as rtpengine does.
async fn answer_line(stream: TcpStream, from: Peer, arrivals: &mpsc::Sender<NgArrival>) -> io::Result<()> {
    let (input, mut output) = stream.into_split();
    let mut line = String::new();
    BufReader::new(input.take(CLI_LINE_BYTES_MAX)).read_line(&mut line).await?;
    let (outgoing, mut replies) = mpsc::channel(REPLIES_WAITING_MAX);
    tell(arrivals, NgArrival::Opened { channel: from.channel, outgoing }).await?;
    tell(arrivals, NgArrival::CliLine { from, line: line.trim_end().to_owned() }).await?;
    while let Some(reply) = replies.recv().await {
        match reply {
            Outgoing::Reply(bytes) => output.write_all(&bytes).await?,
            Outgoing::Last(text) => {
                output.write_all(text.as_bytes()).await?;
                return output.shutdown().await;
            }
        }
    }
    Ok(())
}

async fn tell(arrivals: &mpsc::Sender<NgArrival>, arrival: NgArrival) -> io::Result<()> {
    arrivals.send(arrival).await.map_err(|_| io::Error::other("the relay has ended"))
}
