//! The dataplane's side of the board (see [`crosspoint_contract::board`]): what control has promised, what of it is carried
//! out, and which legs no packet has touched.
//!
//! Input: announcements that control writes; attachments and promises carried out, by the link thread; first packets of
//! legs, by the workers. Output: whether a packet has to wait; a descriptor for control. Owns the memory. Each figure has one writer at a
//! time, and is an atomic only so that others may read it.
//!
//! ```text
//!   writer        figure                 reader
//!   control       line n: promised       workers
//!   link thread   line in use,           workers
//!                 carried out
//!   link thread   place: names the leg   control
//!   worker        place: touched         control
//! ```

use crate::buffers::Mapping;
use crate::leg::LegHandle;
use crosspoint_contract::board;
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// In place of a line: nobody is attached, nothing is promised.
const NO_LINE: u64 = u64::MAX;

#[derive(Debug)]
pub struct Board {
    memory: Mapping,
    file: OwnedFd,
    places: u32,
    /// That of the attached control plane.
    line: AtomicU64,
    /// Of what it has promised.
    carried_out: AtomicU64,
}

impl Board {
    /// Memory is taken as it is used.
    pub fn create(places: u32) -> io::Result<Arc<Board>> {
        let file = memfd_create("crosspoint-board", MemfdFlags::CLOEXEC)?;
        ftruncate(&file, board::bytes(places))?;
        let memory = Mapping::shared(file.as_fd(), board::bytes(places) as usize)?;
        let (line, carried_out) = (AtomicU64::new(NO_LINE), AtomicU64::new(0));
        Ok(Arc::new(Board { memory, file, places, line, carried_out }))
    }

    /// For control.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// A control plane attaches: gives it a line of its own, wiped.
    pub fn begin(&self, attachment: u64) -> u32 {
        let line = (attachment % u64::from(board::LINES)) as u32;
        self.figure(board::line_at(line)).store(0, Ordering::Relaxed);
        self.carried_out.store(0, Ordering::Relaxed);
        self.line.store(line.into(), Ordering::Release);
        line
    }

    /// It has gone, and carries out none of its promises any more.
    pub fn end(&self) {
        self.line.store(NO_LINE, Ordering::Release);
    }

    /// A promised command is in the ring of its worker, or refused.
    pub fn carried_out(&self) {
        // Release: whoever sees the figure finds the order in the ring.
        self.carried_out.store(self.carried_out.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    fn promised(&self) -> u64 {
        match self.line.load(Ordering::Acquire) {
            NO_LINE => 0,
            line => self.figure(board::line_at(line as u32)).load(Ordering::Acquire),
        }
    }

    fn place(&self, place: u32) -> Option<&AtomicU64> {
        (place < self.places).then(|| self.figure(board::place_at(place)))
    }

    /// `at` is of a line or of a place that is on the board.
    fn figure(&self, at: u64) -> &AtomicU64 {
        debug_assert!(at.is_multiple_of(8) && at < board::bytes(self.places));
        // SAFETY: the offset is below the length of the mapping.
        let figure = unsafe { self.memory.base().add(at as usize) }.cast::<u64>();
        // SAFETY: mappings begin at a page and offsets are multiples of eight, so it is aligned; it lives as long as `self`,
        // and we use it as an atomic only. Control writes it through the kernel, whatever value it likes.
        unsafe { AtomicU64::from_ptr(figure.as_ptr()) }
    }
}

/// The board as one worker and the link thread see it for its legs. The default is of a worker without a board: nothing is promised.
#[derive(Clone, Debug, Default)]
pub struct BoardView {
    board: Option<Arc<Board>>,
    /// Of the worker's slot 0.
    first_place: u32,
}

impl BoardView {
    pub fn new(board: Arc<Board>, first_place: u32) -> BoardView {
        BoardView { board: Some(board), first_place }
    }

    /// What is promised and not carried out yet, as the number of promises to wait for.
    #[inline]
    pub fn open_promise(&self) -> Option<u64> {
        let board = self.board.as_ref()?;
        let promised = board.promised();
        (promised > board.carried_out.load(Ordering::Acquire)).then_some(promised)
    }

    /// Whether so many promises are carried out, or will never be.
    pub fn is_kept(&self, promised: u64) -> bool {
        let carried_out = self.board.as_ref().map_or(promised, |board| board.carried_out.load(Ordering::Acquire));
        carried_out >= promised || self.open_promise().is_none()
    }

    /// Where control finds the leg in this slot.
    pub fn place_of(&self, slot: u32) -> u32 {
        self.first_place + slot
    }

    /// The leg is open, and no packet has come to it.
    pub fn name(&self, leg: LegHandle) {
        self.set(leg, leg.leg.0);
    }

    /// The leg has figures from now on, or is gone.
    pub fn touch(&self, leg: LegHandle) {
        self.set(leg, board::TOUCHED);
    }

    fn set(&self, leg: LegHandle, figure: u64) {
        if let Some(place) = self.board.as_ref().and_then(|board| board.place(self.place_of(leg.slot))) {
            place.store(figure, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosspoint_contract::LegId;
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    fn write(board: &Board, at: u64, figure: u64) {
        let file = File::from(board.file.try_clone().expect("a descriptor"));
        file.write_all_at(&figure.to_ne_bytes(), at).expect("written");
    }

    fn read(board: &Board, at: u64) -> u64 {
        let mut figure = [0; 8];
        File::from(board.file.try_clone().expect("a descriptor")).read_exact_at(&mut figure, at).expect("read");
        u64::from_ne_bytes(figure)
    }

    #[test]
    fn promise_is_open_until_as_many_are_carried_out() {
        let board = Board::create(8).expect("memory");
        let view = BoardView::new(board.clone(), 0);
        assert_eq!(view.open_promise(), None);
        let line = board.begin(1);
        write(&board, board::line_at(line), 2);
        assert_eq!(view.open_promise(), Some(2));
        board.carried_out();
        assert!(view.open_promise() == Some(2) && view.is_kept(1) && !view.is_kept(2));
        board.carried_out();
        assert!(view.open_promise().is_none() && view.is_kept(2));
    }

    #[test]
    fn promises_of_one_that_has_gone_are_nobodys_and_its_successor_begins_with_none() {
        let board = Board::create(8).expect("memory");
        let view = BoardView::new(board.clone(), 0);
        let first = board.begin(1);
        write(&board, board::line_at(first), 5);
        board.end();
        assert!(view.open_promise().is_none() && view.is_kept(5), "a packet does not wait for the dead");
        let second = board.begin(2);
        write(&board, board::line_at(first), 9);
        assert!(second != first && view.open_promise().is_none(), "the first speaks for itself only");
        board.begin(1 + u64::from(board::LINES));
        assert_eq!(view.open_promise(), None, "a line that is used again is wiped");
    }

    #[test]
    fn place_names_its_leg_until_a_packet_touches_it() {
        let board = Board::create(8).expect("memory");
        let view = BoardView::new(board.clone(), 4);
        let leg = LegHandle { slot: 2, leg: LegId(77) };
        view.name(leg);
        assert_eq!((view.place_of(2), read(&board, board::place_at(6))), (6, 77));
        view.touch(leg);
        assert_eq!(read(&board, board::place_at(6)), board::TOUCHED);
        view.name(LegHandle { slot: 4, leg: LegId(78) });
        assert_eq!(read(&board, board::place_at(8)), board::TOUCHED, "beyond the board");
    }
}
