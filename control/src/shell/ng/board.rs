//! The relay's side of the board (see [`crosspoint_contract::board`]): announces promises, and answers what the board shows.
//!
//! Input: promises and orders of the core on their way, answers to them. Output: an announcement before each reply; answers to
//! questions for figures of legs that no packet has touched. Owns the descriptor, and where each leg is. It is read and
//! written like a file: control maps no memory.

use crosspoint_contract::{Answer, Command, CommandId, Done, LegId, LegReport, Order, Snapshot, board};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

#[derive(Debug)]
pub struct Board {
    file: File,
    line: u32,
    promised: u64,
    /// Promised, and not announced yet.
    unannounced: u64,
    opening: HashMap<CommandId, LegId>,
    places: HashMap<LegId, u32>,
}

impl Board {
    pub fn new(descriptor: OwnedFd, line: u32, snapshot: &Snapshot) -> Board {
        let places = snapshot.legs.iter().map(|found| (found.leg, found.local.place)).collect();
        Board { file: descriptor.into(), line, promised: 0, unannounced: 0, opening: HashMap::new(), places }
    }

    /// A promise is on its way; it may be to close a leg.
    pub fn promised(&mut self, closed: Option<LegId>) {
        self.unannounced += 1;
        if let Some(leg) = closed {
            self.places.remove(&leg);
        }
    }

    /// Before anybody is told that they are done.
    pub fn announce(&mut self) -> io::Result<()> {
        if self.unannounced == 0 {
            return Ok(());
        }
        self.promised += std::mem::take(&mut self.unannounced);
        self.file.write_all_at(&self.promised.to_ne_bytes(), board::line_at(self.line))
    }

    /// The answer to an order, if the board knows it. Else the order is to be sent.
    pub fn answer(&mut self, order: &Order) -> Option<Answer> {
        let done = match &order.command {
            Command::ReadLeg { leg } if self.is_untouched(*leg) => Done::Report(LegReport::default()),
            Command::ReadStreams { leg } if self.is_untouched(*leg) => Done::Streams(Vec::new()),
            Command::OpenLeg { leg, .. } => {
                self.opening.insert(order.id, *leg);
                return None;
            }
            Command::CloseLeg { leg } => {
                self.places.remove(leg);
                return None;
            }
            _ => return None,
        };
        Some(Answer { id: order.id, result: Ok(done) })
    }

    /// An answer of the dataplane passes by.
    pub fn answered(&mut self, answer: &Answer) {
        let Some(leg) = self.opening.remove(&answer.id) else { return };
        if let Ok(Done::Opened(local)) = &answer.result {
            self.places.insert(leg, local.place);
        }
    }

    fn is_untouched(&self, leg: LegId) -> bool {
        let Some(place) = self.places.get(&leg) else { return false };
        let mut figure = [0; size_of::<u64>()];
        let read = self.file.read_exact_at(&mut figure, board::place_at(*place));
        read.is_ok() && u64::from_ne_bytes(figure) == leg.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosspoint_contract::{Fingerprint, IceCredentials, LocalDescription, WorkerId};

    const LEG: LegId = LegId(77);
    const PLACE: u32 = 3;

    /// As the dataplane makes one.
    fn board() -> (Board, File) {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(board::bytes(8)).expect("room");
        let ours = file.try_clone().expect("a descriptor");
        (Board::new(ours.into(), 2, &Snapshot::default()), file)
    }

    fn figure(file: &File, at: u64) -> u64 {
        let mut figure = [0; 8];
        file.read_exact_at(&mut figure, at).expect("on the board");
        u64::from_ne_bytes(figure)
    }

    fn order(id: u64, command: Command) -> Order {
        Order { id: CommandId(id), command }
    }

    fn open(board: &mut Board) {
        let transport = crosspoint_contract::TransportRequest::WebRtc;
        let call = crosspoint_contract::CallKey(1);
        assert_eq!(board.answer(&order(1, Command::OpenLeg { leg: LEG, call, transport })), None);
        let local = LocalDescription {
            ice: IceCredentials { ufrag: String::new(), pwd: String::new() },
            fingerprint: Fingerprint { sha256: [0; 32] },
            candidates: Vec::new(),
            ssrc: 0,
            video_ssrc: 0,
            cname: String::new(),
            worker: WorkerId(0),
            place: PLACE,
        };
        board.answered(&Answer { id: CommandId(1), result: Ok(Done::Opened(local)) });
    }

    #[test]
    fn promises_are_announced_in_sum_on_the_line_of_the_attachment() {
        let (mut board, file) = board();
        board.promised(None);
        board.promised(None);
        assert_eq!(figure(&file, board::line_at(2)), 0);
        board.announce().expect("written");
        assert_eq!(figure(&file, board::line_at(2)), 2);
        board.promised(Some(LEG));
        board.announce().expect("written");
        board.announce().expect("nothing to write");
        assert_eq!(figure(&file, board::line_at(2)), 3);
    }

    #[test]
    fn figures_of_a_leg_are_asked_for_once_a_packet_has_touched_it() {
        let (mut board, file) = board();
        let read = || order(2, Command::ReadLeg { leg: LEG });
        assert_eq!(board.answer(&read()), None, "nobody knows where it is");
        open(&mut board);
        assert_eq!(board.answer(&read()), None, "it is not there");
        file.write_all_at(&LEG.0.to_ne_bytes(), board::place_at(PLACE)).expect("written");
        let report = Done::Report(LegReport::default());
        assert_eq!(board.answer(&read()), Some(Answer { id: CommandId(2), result: Ok(report) }));
        file.write_all_at(&board::TOUCHED.to_ne_bytes(), board::place_at(PLACE)).expect("written");
        assert_eq!(board.answer(&read()), None);
        file.write_all_at(&LEG.0.to_ne_bytes(), board::place_at(PLACE)).expect("written");
        board.promised(Some(LEG));
        assert_eq!(board.answer(&read()), None, "it is closed");
    }
}
