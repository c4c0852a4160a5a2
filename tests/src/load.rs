//! Many calls at once.
//!
//! Input: a server's URL and a plan. Output: a [`Report`]. Each call has two clients with a socket of each kind of their own; calls
//! are placed at the planned rate, all of them talk at the same time for a while, then each is hung up by its caller.

use crate::media::{Heard, Media, Offered};
use crate::phone::text;
use crate::session::Session;
use crate::token;
use anyhow::{Context, Result};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout};

#[derive(Clone, Debug)]
pub struct Plan {
    pub calls: usize,
    pub per_second: u32,
    /// How long all calls talk after the last one is up.
    pub talk: Duration,
}

#[derive(Debug, Default)]
pub struct Report {
    /// What each side of each call heard.
    pub sides: Vec<Heard>,
    pub failures: Vec<String>,
    /// Invite to answer, as the caller sees it, sorted.
    pub set_up: Vec<Duration>,
}

impl Report {
    pub fn set_up_at(&self, percent: usize) -> Duration {
        let last = self.set_up.len().saturating_sub(1);
        self.set_up.get(last * percent / 100).copied().unwrap_or_default()
    }

    pub fn packets(&self) -> u64 {
        self.sides.iter().map(|heard| heard.packets).sum()
    }

    pub fn lost(&self) -> u64 {
        self.sides.iter().map(|heard| heard.lost).sum()
    }
}

/// Meeting points of all calls: everybody talks, and everybody has talked.
pub struct Meeting {
    pub all_up: Barrier,
    pub all_talked: Barrier,
}

/// Carries the plan out. `while_talking` runs when all calls are up, and again when they have talked.
pub async fn run(url: &str, plan: &Plan, mut while_talking: impl FnMut(Moment)) -> Report {
    let meeting = Arc::new(Meeting { all_up: Barrier::new(plan.calls + 1), all_talked: Barrier::new(plan.calls + 1) });
    let mut pace = interval(Duration::from_secs(1) / plan.per_second);
    let mut calls = JoinSet::new();
    for number in 0..plan.calls {
        pace.tick().await;
        calls.spawn(call(url.to_owned(), number, plan.clone(), meeting.clone()));
    }
    meeting.all_up.wait().await;
    while_talking(Moment::AllUp);
    meeting.all_talked.wait().await;
    while_talking(Moment::AllTalked);
    let mut report = Report::default();
    while let Some(result) = calls.join_next().await {
        match result.map_err(anyhow::Error::from).and_then(|result| result) {
            Ok(done) => {
                report.sides.extend(done.sides);
                report.set_up.push(done.set_up);
            }
            Err(e) => report.failures.push(format!("{e:#}")),
        }
    }
    report.set_up.sort();
    report
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    AllUp,
    AllTalked,
}

struct Ended {
    sides: [Heard; 2],
    set_up: Duration,
}

/// A call that fails comes to the meeting points all the same, so that the others do not wait for it for ever.
async fn call(url: String, number: usize, plan: Plan, meeting: Arc<Meeting>) -> Result<Ended> {
    let up = timeout(Duration::from_secs(60), tokio::spawn(set_up(url, number))).await;
    meeting.all_up.wait().await;
    let deadline = Instant::now() + plan.talk;
    tokio::time::sleep_until(deadline).await;
    meeting.all_talked.wait().await;
    let mut up = up.context("not up in a minute")?.context("a client of this call panicked")?;
    up.caller.send("hangup", json!({ "callsid": up.call }));
    up.callee.expect("hangup").await;
    Ok(Ended { sides: up.media.map(|media| media.heard()), set_up: up.took })
}

struct Up {
    caller: Session,
    callee: Session,
    call: String,
    media: [Media; 2],
    took: Duration,
}

async fn set_up(url: String, number: usize) -> Up {
    let names = [format!("caller-{number}"), format!("callee-{number}")];
    let mut callee = Session::connect(&url, &names[1], &token::good(&names[1])).await;
    callee.register().await;
    let mut caller = Session::connect(&url, &names[0], &token::good(&names[0])).await;
    let offered = Offered::new().await;
    let begun = Instant::now();
    let temporary = format!("TJS{number:08x}-0000-4000-8000-000000000000");
    let params = format!("To=client%3A{}", names[1]);
    caller.send("invite", json!({ "callsid": temporary, "sdp": offered.sdp, "twilio": { "params": params } }));
    let invite = callee.expect("invite").await;
    caller.expect("ringing").await;
    let (heard_by_callee, sdp) = Media::answering(&text(&invite, "sdp"), voice(number, 1), None).await;
    callee.send("answer", json!({ "callsid": text(&invite, "callsid"), "sdp": sdp }));
    let answer = caller.expect("answer").await;
    let took = begun.elapsed();
    let mut media = [offered.answered(&text(&answer, "sdp"), voice(number, 0), None), heard_by_callee];
    media[0].hears(voice(number, 1), 5).await;
    media[1].hears(voice(number, 0), 5).await;
    Up { caller, callee, call: text(&answer, "callsid"), media, took }
}

/// Neighbouring calls and the two sides of one have different voices.
fn voice(number: usize, side: usize) -> u8 {
    ((number * 2 + side) % 250 + 1) as u8
}
