//! A client: signaling and, during a call, media.
//!
//! Input: a [`Server`] and a name. Output: calls, step by step or as a whole. [`talk`] is the call that most scenarios begin with.

use crate::media::{Media, Offered};
use crate::session::Session;
use crate::tamper::Tamper;
use crate::{Server, token};
use serde_json::{Value, json};

pub struct Phone {
    pub name: String,
    pub session: Session,
    /// What this client says; see [`Media`].
    pub voice: u8,
}

/// One side of a call.
pub struct Side {
    /// Id by which this side knows the call.
    pub call: String,
    pub media: Media,
    /// Token to resume the call with after a lost socket.
    pub reconnect: String,
    /// Our own description, offer or answer.
    pub sdp: String,
}

/// A call that the caller has placed and nobody has answered.
pub struct Placed {
    /// The id in the last frame about it: `TJS…` until the server gives its own.
    pub call: String,
    offered: Offered,
}

/// A call that rings here.
pub struct Ringing {
    pub call: String,
    pub offer: String,
    pub parameters: Value,
    pub reconnect: String,
}

impl Phone {
    /// Connected and able to place calls.
    pub async fn connect(server: &Server, name: &str) -> Phone {
        Phone::with_token(server, name, &token::good(name)).await
    }

    pub async fn with_token(server: &Server, name: &str, token: &str) -> Phone {
        let session = Session::connect(&server.signal_url(), name, token).await;
        let voice = name.bytes().fold(1, |voice: u8, byte| voice.wrapping_mul(31).wrapping_add(byte)) | 1;
        Phone { name: name.to_owned(), session, voice }
    }

    /// Connected and able to receive calls too.
    pub async fn register(server: &Server, name: &str) -> Phone {
        let mut phone = Phone::connect(server, name).await;
        phone.session.register().await;
        phone
    }

    /// Sends the invite and returns at once.
    pub async fn place(&mut self, to: &str) -> Placed {
        let offered = Offered::new().await;
        let call = temporary_call_sid();
        let params = format!("To={}", to.replace(':', "%3A"));
        self.session.send("invite", json!({ "callsid": call, "sdp": offered.sdp, "twilio": { "params": params } }));
        Placed { call, offered }
    }

    /// Sends the invite and waits until it rings at the other end.
    pub async fn ring(&mut self, to: &str) -> Placed {
        let mut placed = self.place(to).await;
        placed.call = text(&self.session.expect("ringing").await, "callsid");
        placed
    }

    /// Waits for the answer to a call of ours.
    pub async fn answered(&mut self, placed: Placed, tamper: Option<Tamper>) -> Side {
        let answer = self.session.expect("answer").await;
        let sdp = placed.offered.sdp.clone();
        let media = placed.offered.answered(&text(&answer, "sdp"), self.voice, tamper);
        Side { call: text(&answer, "callsid"), media, reconnect: text(&answer, "reconnect"), sdp }
    }

    /// Waits for a call to us.
    pub async fn rung(&mut self) -> Ringing {
        let invite = self.session.expect("invite").await;
        Ringing {
            call: text(&invite, "callsid"),
            offer: text(&invite, "sdp"),
            parameters: invite["parameters"].clone(),
            reconnect: text(&invite, "reconnect"),
        }
    }

    pub async fn answer(&mut self, ringing: &Ringing, tamper: Option<Tamper>) -> Side {
        let (media, sdp) = Media::answering(&ringing.offer, self.voice, tamper).await;
        self.session.send("answer", json!({ "callsid": ringing.call, "sdp": &sdp }));
        Side { call: ringing.call.clone(), media, reconnect: ringing.reconnect.clone(), sdp }
    }

    /// After a lost socket: presents the reconnect token on this one and waits until the call is ours again.
    pub async fn resume(&mut self, side: &Side) {
        let payload = json!({ "callsid": side.call, "sdp": side.sdp, "reconnect": side.reconnect, "twilio": {} });
        self.session.send("invite", payload);
        assert_eq!(self.session.expect("answer").await["callsid"], json!(side.call));
    }

    pub fn hang_up(&mut self, call: &str) {
        self.session.send("hangup", json!({ "callsid": call }));
    }
}

/// `caller` calls `callee`, who answers; returns when each has heard the other.
pub async fn talk(caller: &mut Phone, callee: &mut Phone) -> (Side, Side) {
    let (mut a, mut b) = join(caller, callee, None, None).await;
    a.media.hears(callee.voice, 5).await;
    b.media.hears(caller.voice, 5).await;
    (a, b)
}

/// As [`talk`], with tampered datagrams of either side, and without waiting for media.
pub async fn join(
    caller: &mut Phone,
    callee: &mut Phone,
    of_caller: Option<Tamper>,
    of_callee: Option<Tamper>,
) -> (Side, Side) {
    let to = format!("client:{}", callee.name);
    let placed = caller.place(&to).await;
    let ringing = callee.rung().await;
    caller.session.expect("ringing").await;
    let b = callee.answer(&ringing, of_callee).await;
    let a = caller.answered(placed, of_caller).await;
    (a, b)
}

pub fn text(payload: &Value, field: &str) -> String {
    payload[field].as_str().unwrap_or_else(|| panic!("no `{field}` in {payload}")).to_owned()
}

/// `TJS` and a number no other client of this process uses.
fn temporary_call_sid() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("TJS{:08x}-0000-4000-8000-{:012x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}
