//! The last line of each call in the log: how long it was, and what came from each side.
//!
//! Input: a call that is over, with what its legs said last. Output: one note. Owns nothing.

use super::NgCore;
use crate::call::Call;
use crate::effect::{Level, Turn};
use std::fmt::Write;

impl NgCore {
    pub(super) fn say_ended(&self, call: &Call, turn: &mut Turn) {
        if self.is_logged(Level::Info) {
            turn.note(Level::Info, "call_ended", Some(&call.id), line(call, turn.now.unix_us));
        }
    }
}

fn line(call: &Call, now_us: u64) -> String {
    let mut line = format!("after {:.1} s", now_us.saturating_sub(call.created_us) as f64 / 1e6);
    for party in &call.parties {
        for (media, local) in party.media.iter().flat_map(|media| media.legs().map(move |local| (media, local))) {
            let peer = local.connected_to.or(media.heard.as_ref().map(|heard| heard.rtp));
            let peer = peer.map_or(String::new(), |peer| format!(" at {peer}"));
            let (kind, report) = (media.kind.as_str(), &local.report);
            _ = write!(
                line,
                "; {kind} of '{}'{peer}, port {}: {} packets, {} bytes",
                party.tag, local.rtp, report.packets_received, report.bytes_received
            );
            for (count, what) in [(report.packets_lost.max(0) as u64, "lost"), (report.packets_dropped, "dropped")] {
                if count > 0 {
                    _ = write!(line, ", {count} {what}");
                }
            }
        }
    }
    line
}
