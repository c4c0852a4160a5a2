//! The sockets that a ring receives on, and how it stands with the receive of each.
//!
//! Input: what is opened, armed, ended, closed. Output: what to arm and what to cancel next. Owns the states. Talks to no
//! kernel: see [`crate::io::uring`].
//!
//! ```text
//!   direct descriptors   | eventfd | shared | steered to: IPv4, IPv6 | raw: one for each address |
//!                        | eventfd | shared | one for each port ...                              |
//!   source                              0        1 ...
//! ```

use crate::io::ports::WorkerPorts;
use io_uring::types::Fixed;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, RawFd};

pub(super) const EVENTFD: Fixed = Fixed(0);
pub(super) const FIRST_SOURCE: u32 = 1;
pub(super) const SHARED: u32 = 0;

/// The sockets that we receive on, and how it stands with each receive.
pub(super) struct Sources {
    pub state: Vec<SourceState>,
    /// To be armed, oldest first. Each is in here once at most, and so below.
    pub resting: VecDeque<u32>,
    /// To be cancelled.
    pub closing: Vec<u32>,
}

/// ```text
///   Absent --open--> Resting --arm--> Armed --close--> Closing --last completion--> Absent
///                      ^  `--close--> Closing            |
///                      '---- last completion ------------'  (of one that is open)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SourceState {
    Absent,
    Resting,
    Armed,
    Closing,
}

impl Sources {
    /// The shared socket, and those that ports are steered to or may be.
    pub(super) fn new(ports: &WorkerPorts) -> Sources {
        let (standing, places) = match &ports.steered {
            Some(steered) => (1 + steered.receivers.len(), 0),
            None => (1, ports.ports_max),
        };
        let state = [vec![SourceState::Resting; standing], vec![SourceState::Absent; places]].concat();
        let mut resting = VecDeque::with_capacity(state.len());
        resting.extend(0..standing as u32);
        Sources { closing: Vec::with_capacity(state.len()), state, resting }
    }

    /// Lets it wait to be armed.
    pub(super) fn rest(&mut self, source: u32) {
        self.state[source as usize] = SourceState::Resting;
        self.resting.push_back(source);
    }

    /// Lets an armed one wait to be cancelled; one that rests is found when its turn comes.
    pub(super) fn close(&mut self, source: u32) {
        let before = std::mem::replace(&mut self.state[source as usize], SourceState::Closing);
        if before == SourceState::Armed {
            self.closing.push(source);
        }
    }

    pub(super) fn wait_to_be_armed(&self) -> bool {
        !self.resting.is_empty() || !self.closing.is_empty()
    }

    /// What is registered, in the order of the figure above.
    pub(super) fn descriptors(&self, shared: RawFd, eventfd: RawFd, ports: &WorkerPorts) -> Vec<RawFd> {
        let mut descriptors = vec![eventfd, shared];
        match &ports.steered {
            Some(steered) => {
                descriptors.extend(steered.receivers.iter().map(AsRawFd::as_raw_fd));
                descriptors.extend(steered.senders.iter().map(AsRawFd::as_raw_fd));
            }
            // -1: a place for the socket of a port.
            None => descriptors.resize(1 + self.state.len(), -1),
        }
        descriptors
    }

    /// The raw socket with this index.
    pub(super) fn sender(&self, index: usize) -> Fixed {
        Fixed(FIRST_SOURCE + (self.state.len() + index) as u32)
    }
}
