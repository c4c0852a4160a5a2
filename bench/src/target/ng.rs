//! A client of the ng protocol that costs little: requests are written into one buffer, replies are read where they lie.
//!
//! Input: commands. Output: the relay's reply, or why it refused. Owns a UDP socket. Reads of a reply's bencode only what a
//! load generator needs: the result and the SDP.

use anyhow::{Context, bail};
use std::io::Write as _;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of all clients of this process: a relay may answer a cookie that it has met from its memory.
static COOKIES: AtomicU64 = AtomicU64::new(0);

/// Two plain parties, as a proxy describes them.
pub const OFFERED: &str = "v=0\r\no=- 1545997027 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 2000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-15\r\na=sendrecv\r\n";
pub const ANSWERED: &str = "v=0\r\no=- 1545997028 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
m=audio 3000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\n\
a=sendrecv\r\n";

pub struct Client {
    socket: UdpSocket,
    request: Vec<u8>,
    reply: Vec<u8>,
}

/// The body of a reply, bencoded.
pub struct Reply<'a> {
    body: &'a [u8],
}

impl Reply<'_> {
    pub fn sdp(&self) -> Option<&str> {
        self.string(b"3:sdp")
    }

    /// The string behind this key.
    fn string(&self, key: &[u8]) -> Option<&str> {
        let at = find(self.body, key)? + key.len();
        let colon = at + find(&self.body[at..], b":")?;
        let bytes: usize = std::str::from_utf8(&self.body[at..colon]).ok()?.parse().ok()?;
        std::str::from_utf8(self.body.get(colon + 1..)?.get(..bytes)?).ok()
    }
}

impl Client {
    pub fn connect(addr: SocketAddr, patience: Duration) -> anyhow::Result<Client> {
        let socket = UdpSocket::bind(if addr.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" })?;
        socket.connect(addr)?;
        socket.set_read_timeout(Some(patience))?;
        Ok(Client { socket, request: Vec::with_capacity(4096), reply: vec![0; 65_536] })
    }

    pub fn ping(&mut self) -> anyhow::Result<()> {
        self.ask("pong", &[("command", "ping")]).map(drop)
    }

    /// `protocol`: what the answerer is to speak, if not what the offerer does.
    pub fn offer(&mut self, call_id: &str, sdp: &str, options: &[(&str, &str)]) -> anyhow::Result<Reply<'_>> {
        let keys = [("call-id", call_id), ("command", "offer"), ("from-tag", "from"), ("sdp", sdp)];
        self.ask("ok", &[&keys, options].concat())
    }

    pub fn answer(&mut self, call_id: &str, sdp: &str) -> anyhow::Result<Reply<'_>> {
        let keys = [("call-id", call_id), ("command", "answer"), ("from-tag", "from"), ("sdp", sdp), ("to-tag", "to")];
        self.ask("ok", &keys)
    }

    /// At once, without the usual delay.
    pub fn delete(&mut self, call_id: &str) -> anyhow::Result<()> {
        let keys = [("call-id", call_id), ("command", "delete"), ("delete-delay", "0"), ("from-tag", "from")];
        self.ask("ok", &keys).map(drop)
    }

    fn ask(&mut self, result: &str, keys: &[(&str, &str)]) -> anyhow::Result<Reply<'_>> {
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
            let body = &self.reply[head..bytes];
            let wanted = format!("6:result{}:{result}", result.len());
            if find(body, wanted.as_bytes()).is_none() {
                let command = keys.iter().find(|(key, _)| *key == "command").map_or("", |(_, value)| value);
                let reply = Reply { body };
                let whole = String::from_utf8_lossy(body);
                bail!("the relay refuses `{command}`: {}", reply.string(b"12:error-reason").unwrap_or(&whole));
            }
            return Ok(Reply { body: &self.reply[head..bytes] });
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdp_of_a_reply_is_read_by_its_length() {
        let body = b"d3:sdp9:v=0\r\ns=-\r6:result2:oke";
        assert_eq!(Reply { body }.sdp(), Some("v=0\r\ns=-\r"));
        let refused = b"d6:result5:error12:error-reason4:busye";
        assert_eq!(Reply { body: refused }.string(b"12:error-reason"), Some("busy"));
        assert_eq!(Reply { body: b"d3:sdp900:v=0e" }.sdp(), None, "shorter than it says");
    }
}
