//! A client of the ng protocol that costs little: requests are written into one buffer, of a reply only its result and the
//! time it took are looked at.

use anyhow::{Context, bail};
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of all clients of this process: a relay may answer a cookie that it has met from its memory.
static COOKIES: AtomicU64 = AtomicU64::new(0);

pub struct Client {
    socket: UdpSocket,
    request: Vec<u8>,
    reply: Vec<u8>,
}

/// A call of two agents with plain RTP, as a proxy asks for it.
pub struct Call<'a> {
    pub id: &'a str,
}

const OFFERED: &str = "v=0\r\no=- 1545997027 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 2000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-15\r\na=sendrecv\r\n";
const ANSWERED: &str = "v=0\r\no=- 1545997028 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 3000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
a=sendrecv\r\n";

impl Client {
    pub fn connect(addr: SocketAddr, patience: Duration) -> anyhow::Result<Client> {
        let socket = UdpSocket::bind(if addr.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" })?;
        socket.connect(addr)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Client { socket, request: Vec::with_capacity(4096), reply: vec![0; 65_536] })
    }

    pub fn ping(&mut self) -> anyhow::Result<()> {
        self.ask("pong", &[("command", "ping")])
    }

    pub fn offer(&mut self, call: &Call) -> anyhow::Result<()> {
        let keys = [("call-id", call.id), ("command", "offer"), ("from-tag", "from"), ("sdp", OFFERED)];
        self.ask("ok", &keys)
    }

    pub fn answer(&mut self, call: &Call) -> anyhow::Result<()> {
        let keys =
            [("call-id", call.id), ("command", "answer"), ("from-tag", "from"), ("sdp", ANSWERED), ("to-tag", "to")];
        self.ask("ok", &keys)
    }

    /// At once, without the usual delay.
    pub fn delete(&mut self, call: &Call) -> anyhow::Result<()> {
        let keys = [("call-id", call.id), ("command", "delete"), ("delete-delay", "0"), ("from-tag", "from")];
        self.ask("ok", &keys)
    }

    fn ask(&mut self, result: &str, keys: &[(&str, &str)]) -> anyhow::Result<()> {
        let cookie = COOKIES.fetch_add(1, Ordering::Relaxed);
        self.request.clear();
        write!(self.request, "{}_{} d", std::process::id(), cookie)?;
        let head = self.request.len() - 1;
        for (key, value) in keys {
            write!(self.request, "{}:{key}{}:{value}", key.len(), value.len())?;
        }
        self.request.push(b'e');
        self.socket.send(&self.request)?;
        loop {
            let bytes = self.socket.recv(&mut self.reply).context("no reply in time")?;
            // A late reply to an earlier question.
            if !self.reply[..bytes].starts_with(&self.request[..head]) {
                continue;
            }
            let wanted = format!("6:result{}:{result}", result.len());
            if find(&self.reply[..bytes], wanted.as_bytes()) {
                return Ok(());
            }
            bail!("{}: {}", keys[0].1, String::from_utf8_lossy(&self.reply[head..bytes]));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}
