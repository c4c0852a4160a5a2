//! Standing requests of a ring: which receives stand, and how those of ports come and go.
//!
//! Input: ports that open and close; receives that ended. Output: entries in the submission queue. Where ports are steered
//! this is table work only.

use super::sources::{EVENTFD, FIRST_SOURCE, SourceState};
use super::{BUFFER_GROUP, CANCEL, RECEIVE, Uring, WAKE};
use crate::buffers::Buffer;
use crate::io::ports::{PortId, PortRefused, PortSpec};
use io_uring::types::Fixed;
use io_uring::{opcode, squeue};
use std::io;
use std::os::fd::{AsRawFd, RawFd};

impl Uring {
    pub(crate) fn open_port(&mut self, port: &PortSpec) -> Result<PortId, PortRefused> {
        let id = self.ports.open(port)?;
        if let Some(socket) = &port.socket {
            if self.register(id, socket.as_raw_fd()).is_err() {
                self.ports.close(id);
                self.ports.free(id);
                return Err(PortRefused::Exhausted);
            }
            self.sources.rest(id.0);
        }
        Ok(id)
    }

    pub(crate) fn mark_port(&mut self, id: PortId, tos: u8) {
        self.ports.mark(id, tos);
    }

    /// The id of a port that is a socket is free when its receive has ended: what completed before belongs to nobody.
    pub(crate) fn close_port(&mut self, id: PortId) {
        if !self.ports.is_open(id) {
            return;
        }
        self.ports.close(id);
        if self.worker_ports.are_sockets() {
            self.sources.close(id.0);
        } else {
            self.ports.free(id);
        }
    }

    /// Puts a port's socket at its place among the direct descriptors, or -1 there.
    fn register(&self, id: PortId, fd: RawFd) -> io::Result<usize> {
        self.ring.submitter().register_files_update(FIRST_SOURCE + id.0, &[fd])
    }

    /// Queues the standing requests that are not standing, and ends those of closed ports, as far as there is room.
    pub(super) fn arm(&mut self) {
        while let Some(source) = self.sources.closing.pop() {
            if !self.cancel(source) {
                self.sources.closing.push(source);
                break;
            }
        }
        while self.buffers.held() > 0
            && let Some(source) = self.sources.resting.pop_front()
        {
            if !self.arm_source(source) {
                self.sources.resting.push_front(source);
                break;
            }
        }
        if !self.wake_armed {
            let poll = opcode::PollAdd::new(EVENTFD, libc::POLLIN as u32).multi(true).build();
            self.wake_armed = self.push(&poll.user_data(WAKE), Buffer::NONE, 0).is_ok();
        }
    }

    /// Whether there was room.
    fn arm_source(&mut self, source: u32) -> bool {
        if self.sources.state[source as usize] == SourceState::Closing {
            self.end(source);
            return true;
        }
        let socket = Fixed(FIRST_SOURCE + source);
        let receive = opcode::RecvMsgMulti::new(socket, &raw const *self.receive_template, BUFFER_GROUP).build();
        let pushed = self.push(&receive.user_data(RECEIVE | u64::from(source)), Buffer::NONE, 0).is_ok();
        if pushed {
            self.sources.state[source as usize] = SourceState::Armed;
        }
        pushed
    }

    /// Ends a receive. Whether there was room.
    fn cancel(&mut self, source: u32) -> bool {
        if self.sources.state[source as usize] != SourceState::Closing {
            return true;
        }
        // It fails if the receive has just ended by itself, which is as good.
        let cancel = opcode::AsyncCancel::new(RECEIVE | u64::from(source)).build();
        self.push(&cancel.flags(squeue::Flags::SKIP_SUCCESS).user_data(CANCEL), Buffer::NONE, 0).is_ok()
    }

    /// Of a closed port, no completion comes any more.
    pub(super) fn end(&mut self, source: u32) {
        self.sources.state[source as usize] = SourceState::Absent;
        // Should it fail, the socket stays until the next one takes its place.
        let _ = self.register(PortId(source), -1);
        self.ports.free(PortId(source));
    }
}
