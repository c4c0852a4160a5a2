//! A client's media: one `str0m` peer with one audio line on a UDP socket of its own.
//!
//! Input: the server's SDP and datagrams. Output: our SDP, and a voice: every 20 ms one packet whose payload is this client's own
//! byte repeated, so that who hears it can tell whose voice it is. No codec runs; the bridge forwards without looking inside.
//! Owns: the socket and a task that drives the peer until the [`Media`] is dropped.

use crate::PATIENCE;
use crate::tamper::Tamper;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use str0m::change::{SdpAnswer, SdpOffer, SdpPendingOffer};
use str0m::format::Codec;
use str0m::media::{Direction, Frequency, MediaData, MediaKind, MediaTime, Mid};
use str0m::net::{Protocol, Receive};
use str0m::{Candidate, Event, IceConnectionState, Input, Output, Rtc};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep_until, timeout};

const FRAME: Duration = Duration::from_millis(20);
const FRAME_SAMPLES: u64 = 960;
/// First byte of an Opus packet: one 20 ms CELT frame, mono (RFC 6716 §3.1). The rest is the voice.
const OPUS_TOC: u8 = 0xf8;
const VOICE_BYTES: usize = 80;

/// What came from the other side so far.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub connected: bool,
    /// Voice packets of the last speaker heard, and who it is.
    pub packets: u64,
    pub voice: u8,
    /// Sequence numbers that never came.
    pub lost: u64,
    /// Set when ICE gives up or DTLS closes.
    pub ended: bool,
}

pub struct Media {
    socket: Arc<UdpSocket>,
    /// The bridge's address, from its SDP.
    pub bridge: SocketAddr,
    heard: watch::Receiver<Heard>,
    task: JoinHandle<()>,
}

/// An offer that waits for its answer.
pub struct Offered {
    rtc: Rtc,
    socket: UdpSocket,
    pending: SdpPendingOffer,
    mid: Mid,
    pub sdp: String,
}

impl Offered {
    pub async fn new() -> Offered {
        let (mut rtc, socket) = peer().await;
        let mut change = rtc.sdp_api();
        let mid = change.add_media(MediaKind::Audio, Direction::SendRecv, None, None, None);
        let (offer, pending) = change.apply().expect("adding a line is a change");
        Offered { rtc, socket, pending, mid, sdp: offer.to_sdp_string() }
    }

    pub fn answered(mut self, sdp: &str, voice: u8, tamper: Option<Tamper>) -> Media {
        let answer = SdpAnswer::from_sdp_string(sdp).unwrap_or_else(|e| panic!("no SDP answer: {e}\n{sdp}"));
        self.rtc
            .sdp_api()
            .accept_answer(self.pending, answer)
            .unwrap_or_else(|e| panic!("the answer does not fit: {e}\n{sdp}"));
        Media::driven(self.rtc, self.socket, sdp, self.mid, voice, tamper)
    }
}

impl Media {
    /// Answers the bridge's offer.
    pub async fn answering(sdp: &str, voice: u8, tamper: Option<Tamper>) -> (Media, String) {
        let (mut rtc, socket) = peer().await;
        let offer = SdpOffer::from_sdp_string(sdp).unwrap_or_else(|e| panic!("no SDP offer: {e}\n{sdp}"));
        let answer =
            rtc.sdp_api().accept_offer(offer).unwrap_or_else(|e| panic!("the offer cannot be answered: {e}\n{sdp}"));
        let mid = sdp_attribute(sdp, "mid").into();
        (Media::driven(rtc, socket, sdp, mid, voice, tamper), answer.to_sdp_string())
    }

    fn driven(rtc: Rtc, socket: UdpSocket, sdp: &str, mid: Mid, voice: u8, tamper: Option<Tamper>) -> Media {
        let socket = Arc::new(socket);
        let (say, heard) = watch::channel(Heard::default());
        let tamper = tamper.unwrap_or_else(|| Box::new(|datagram| vec![datagram.to_vec()]));
        let driver = Driver { rtc, socket: socket.clone(), mid, voice, tamper, say, frames: 0, last_sequence: None };
        Media { socket, bridge: candidate(sdp), heard, task: tokio::spawn(driver.run()) }
    }

    pub fn heard(&self) -> Heard {
        self.heard.borrow().clone()
    }

    /// Waits until what was heard satisfies `enough`.
    pub async fn until(&mut self, what: &str, enough: impl FnMut(&Heard) -> bool) -> Heard {
        let last = self.heard.clone();
        match timeout(PATIENCE, self.heard.wait_for(enough)).await {
            Ok(Ok(heard)) => heard.clone(),
            _ => panic!("awaited {what}; heard only {:?}", last.borrow()),
        }
    }

    /// Waits for `packets` further packets of this voice.
    pub async fn hears(&mut self, voice: u8, packets: u64) -> Heard {
        let enough = self.heard().packets + packets;
        self.until(&format!("voice {voice}"), |heard| heard.voice == voice && heard.packets >= enough).await
    }

    /// Sends a datagram from this client's own, validated address.
    pub async fn send_raw(&self, datagram: &[u8]) {
        self.socket.send_to(datagram, self.bridge).await.expect("loopback takes a datagram");
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn peer() -> (Rtc, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let config =
        Rtc::builder().clear_codecs().enable_opus(true, false).enable_pcmu(true, false).enable_pcma(true, false);
    let mut rtc = config.build(Instant::now());
    let address = socket.local_addr().expect("the socket is bound");
    rtc.add_local_candidate(Candidate::host(address, "udp").expect("loopback is an address"));
    (rtc, socket)
}

/// The first candidate's address (RFC 8839 §5.1): `a=candidate:F 1 udp PRIORITY ADDRESS PORT typ host`.
fn candidate(sdp: &str) -> SocketAddr {
    let fields: Vec<&str> = sdp_attribute(sdp, "candidate").split(' ').collect();
    let address = format!("{}:{}", fields[4], fields[5]);
    address.parse().unwrap_or_else(|e| panic!("no address in the candidate: {e}: {address}"))
}

fn sdp_attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let prefix = format!("a={name}:");
    let line = sdp.lines().find_map(|line| line.strip_prefix(&prefix));
    line.unwrap_or_else(|| panic!("no a={name} in\n{sdp}")).trim()
}

struct Driver {
    rtc: Rtc,
    socket: Arc<UdpSocket>,
    mid: Mid,
    voice: u8,
    tamper: Tamper,
    say: watch::Sender<Heard>,
    frames: u64,
    last_sequence: Option<u64>,
}

impl Driver {
    async fn run(mut self) {
        let mut frame = interval(FRAME);
        frame.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut datagram = vec![0; 2000];
        loop {
            let Some(deadline) = self.drained().await else { break };
            tokio::select! {
                received = self.socket.recv_from(&mut datagram) => if let Ok((len, source)) = received {
                    self.receive(source, &datagram[..len]);
                },
                _ = frame.tick() => self.speak(),
                () = sleep_until(deadline.into()) => {
                    let _ = self.rtc.handle_input(Input::Timeout(Instant::now()));
                }
            }
        }
        self.say.send_modify(|heard| heard.ended = true);
    }

    /// Carries out all that the peer wants; gives its next deadline, or nothing when it has ended.
    async fn drained(&mut self) -> Option<Instant> {
        loop {
            match self.rtc.poll_output() {
                Ok(Output::Timeout(deadline)) => return self.rtc.is_alive().then_some(deadline),
                Ok(Output::Transmit(transmit)) => {
                    for datagram in (self.tamper)(&transmit.contents) {
                        let _ = self.socket.send_to(&datagram, transmit.destination).await;
                    }
                }
                Ok(Output::Event(event)) => self.note(event),
                Err(_) => return None,
            }
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Connected => self.say.send_modify(|heard| heard.connected = true),
            Event::IceConnectionStateChange(IceConnectionState::Disconnected) => self.rtc.disconnect(),
            Event::MediaData(data) => self.hear(&data),
            _ => {}
        }
    }

    fn hear(&mut self, data: &MediaData) {
        let first: u64 = **data.seq_range.start();
        let missing = self.last_sequence.map_or(0, |last| first.saturating_sub(last + 1));
        self.last_sequence = Some(**data.seq_range.end());
        let voice = data.data.last().copied().unwrap_or(0);
        self.say.send_modify(|heard| {
            heard.packets = if voice == heard.voice { heard.packets + 1 } else { 1 };
            heard.voice = voice;
            heard.lost += missing;
        });
    }

    fn receive(&mut self, source: SocketAddr, datagram: &[u8]) {
        let Ok(contents) = datagram.try_into() else { return };
        let destination = self.socket.local_addr().expect("the socket is bound");
        let receive = Receive { proto: Protocol::Udp, source, destination, contents };
        let _ = self.rtc.handle_input(Input::Receive(Instant::now(), receive));
    }

    fn speak(&mut self) {
        if !self.say.borrow().connected {
            return;
        }
        let Some(writer) = self.rtc.writer(self.mid) else { return };
        let Some(pt) = writer.payload_params().find(|p| p.spec().codec == Codec::Opus).map(|p| p.pt()) else { return };
        let mut payload = vec![self.voice; VOICE_BYTES];
        payload[0] = OPUS_TOC;
        let time = MediaTime::new(self.frames * FRAME_SAMPLES, Frequency::FORTY_EIGHT_KHZ);
        let _ = writer.write(pt, Instant::now(), time, payload);
        self.frames += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tamper::split_reordered_and_lost_once;

    #[tokio::test]
    async fn two_clients_hear_each_other_without_a_bridge() {
        let offered = Offered::new().await;
        let (mut b, answer) = Media::answering(&offered.sdp, 2, None).await;
        let mut a = offered.answered(&answer, 1, None);
        a.hears(2, 5).await;
        b.hears(1, 5).await;
    }

    #[tokio::test]
    async fn a_tampered_client_hello_is_still_one_to_a_correct_server() {
        let offered = Offered::new().await;
        let (mut b, answer) = Media::answering(&offered.sdp, 2, None).await;
        // `str0m` answers as DTLS server, so the offerer sends the ClientHello.
        let mut a = offered.answered(&answer, 1, Some(split_reordered_and_lost_once()));
        a.hears(2, 5).await;
        b.hears(1, 5).await;
    }
}
