//! What workers say, and what becomes of it: answers for control, facts for snapshots, the loss of a worker.
//!
//! Input: notes of workers. Output: answers and events for control. Owns nothing: it is the other half of [`Registry`].

use super::seat::Reply;
use super::{Registry, answer};
use crate::queues::{Answered, LobbyOrder, Spent, WorkerOrder};
use crosspoint_contract::{Answer, Done, Event, LegId, LegReport, Refused, WorkerId};

impl Registry {
    /// A worker answered the oldest order it had not answered.
    pub fn answered(&mut self, worker: usize, answered: Answered) -> Option<Answer> {
        let awaited = self.seats[worker].take_awaited()?;
        if let Reply::Closed(leg) = awaited.reply {
            self.forget(leg);
            if let Ok(Some(report)) = &answered.result {
                self.share_figures(worker, leg, report);
            }
        }
        if let (Reply::Opened(leg, _), Err(_)) = (&awaited.reply, &answered.result) {
            self.forget(*leg);
        }
        debug_assert!(
            !matches!(awaited.reply, Reply::Told) || answered.result.is_ok(),
            "told as done and then refused"
        );
        let (attachment, id) = awaited.command?;
        if attachment != self.attachment {
            return None;
        }
        let spent = answered.spent;
        let result = answered.result.and_then(|report| match awaited.reply {
            Reply::Streams => Ok(Done::Streams(match spent {
                Spent::Streams(sheet) => sheet.streams.into_iter().take(sheet.len).collect(),
                _ => Vec::new(),
            })),
            Reply::Report | Reply::Closed(_) | Reply::ClosedToo(_) => Ok(Done::Report(report.unwrap_or_default())),
            reply => reply.done(),
        });
        Some(answer(id, result))
    }

    /// Who asked for the same leg to be closed once more gets what the first one gets.
    fn share_figures(&mut self, worker: usize, leg: LegId, report: &LegReport) {
        for later in &mut self.seats[worker].awaited {
            if matches!(later.reply, Reply::ClosedToo(other) if other == leg) {
                later.reply = Reply::Figures(Box::new(report.clone()));
            }
        }
    }

    /// Keeps what an event says, for snapshots.
    pub fn note(&mut self, event: &Event) {
        let leg = match event {
            Event::LegConnected { leg, .. }
            | Event::LegMoved { leg, .. }
            | Event::LegSilent { leg, .. }
            | Event::LegHeard { leg }
            | Event::LegReported { leg, .. }
            | Event::LegUnreachable { leg, .. }
            | Event::LegFailed { leg, .. } => leg,
            Event::DigitHeard { .. } | Event::PromiseBroken { .. } | Event::WorkerLost { .. } | Event::Drained => {
                return;
            }
        };
        if let Some(record) = self.legs.get_mut(leg) {
            record.note(event);
        }
    }

    /// A worker was lost: its legs are gone, its orders are refused, its successor begins empty. It gets no legs before.
    pub fn lost(&mut self, worker: usize) -> (Vec<Answer>, Event) {
        let id = WorkerId(worker as u16);
        let awaited = self.seats[worker].take_all_awaited();
        let answers = awaited
            .into_iter()
            .filter_map(|awaited| awaited.command)
            .filter(|(attachment, _)| *attachment == self.attachment)
            .map(|(_, command)| answer(command, Err(Refused::WorkerLost(id))))
            .collect();
        let legs: Vec<LegId> =
            self.legs.iter().filter(|(_, record)| record.worker == worker).map(|(&leg, _)| leg).collect();
        for &leg in &legs {
            self.tell_lobby(LobbyOrder::Forget { leg });
            self.leave_bridge(leg);
            self.forget(leg);
        }
        self.seats[worker].is_down = true;
        self.seats[worker].owe(WorkerOrder::Begin);
        (answers, Event::WorkerLost { worker: id, legs })
    }

    /// The worker, or its successor, takes orders.
    pub fn begun(&mut self, worker: usize) {
        self.seats[worker].is_down = false;
    }
}
