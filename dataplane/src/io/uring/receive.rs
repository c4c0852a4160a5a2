//! From a completed receive to a packet in the batch.
//!
//! Input: completions, and what the kernel wrote into their buffers. Output: packets that know their sender and port. A
//! completion that is the last of its receive leaves the source to be armed again, or ends it.

use super::sources::{SHARED, SourceState};
use super::{KIND_MASK, Uring};
use crate::batch::PacketBatch;
use crate::buffers::{Buffer, HEADROOM_BYTES};
use crate::io::fault::Fault;
use crate::io::port_table::{CONTROL_BYTES, original_destination};
use crate::io::ports::PortId;
use crate::io::remote::{Remote, SOCKADDR_BYTES};
use crosspoint_contract::limits::PACKET_BYTES_MAX;
use io_uring::cqueue;
use std::io;

/// What the kernel writes before the payload: four numbers, then a name and control messages, in room of the lengths that
/// we asked for.
#[repr(C)]
struct ReceiveHeader {
    name_bytes: u32,
    control_bytes: u32,
    payload_bytes: u32,
    flags: u32,
    name: [u8; RECEIVE_NAME_BYTES],
    control: [u8; CONTROL_BYTES],
}

/// Longer than any address, so that the payload begins where the headroom ends.
const RECEIVE_NAME_BYTES: usize = HEADROOM_BYTES - CONTROL_BYTES - 16;

const _: () = assert!(size_of::<ReceiveHeader>() == HEADROOM_BYTES && RECEIVE_NAME_BYTES >= SOCKADDR_BYTES);

impl Uring {
    pub(super) fn receive(&mut self, completion: &cqueue::Entry, batch: &mut PacketBatch) -> Result<(), Fault> {
        let source = (completion.user_data() & !KIND_MASK) as u32;
        let buffer = cqueue::buffer_select(completion.flags()).map(|id| self.buffers.taken(id));
        match (usize::try_from(completion.result()), buffer) {
            (Ok(bytes), Some(buffer)) => self.hand_over(source, buffer, bytes, batch),
            (_, Some(buffer)) => self.buffers.put_or_pool(buffer, batch.pool_mut()),
            // Mostly ENOBUFS. Arming it again is all there is to do, unless it can never work.
            (_, None) if !is_hopeless(-completion.result()) => {}
            (_, None) => {
                let source = io::Error::from_raw_os_error(-completion.result());
                return Err(Fault::System { call: "multishot recvmsg", source });
            }
        }
        if !cqueue::more(completion.flags()) {
            self.receive_ended(source);
        }
        Ok(())
    }

    fn receive_ended(&mut self, source: u32) {
        if self.sources.state[source as usize] == SourceState::Closing {
            self.end(source);
        } else {
            self.sources.rest(source);
            self.counters.receive_rearmed += 1;
        }
    }

    /// Makes a packet of a buffer in which the kernel wrote `bytes`, its header included.
    fn hand_over(&mut self, source: u32, buffer: Buffer, bytes: usize, batch: &mut PacketBatch) {
        // SAFETY: the header fills the headroom of a slot, which is aligned for it and was zeroed or written before;
        // any bytes are a valid header; the kernel gave the slot back, and we hold the one right to it.
        let header = unsafe { self.memory.slot(buffer.index()).cast::<ReceiveHeader>().as_ref() };
        let bytes = bytes.saturating_sub(HEADROOM_BYTES).min(PACKET_BYTES_MAX);
        let truncated = header.flags & libc::MSG_TRUNC as u32 != 0;
        let port = self.port_of(source, header);
        self.counters.packets_received += 1;
        self.counters.bytes_received += bytes as u64;
        self.counters.port_unknown += u64::from(port.is_none());
        match header.name.first_chunk().and_then(Remote::decode).zip(port) {
            Some((remote, port)) => batch.push_received(buffer, remote, port, bytes, truncated),
            None => self.buffers.put_or_pool(buffer, batch.pool_mut()),
        }
    }

    /// Where a message of this source came to; nothing if that cannot be a port, or is a socket whose port has closed.
    fn port_of(&self, source: u32, header: &ReceiveHeader) -> Option<PortId> {
        match source {
            SHARED => Some(PortId::SHARED),
            port if self.worker_ports.are_sockets() => Some(PortId(port)).filter(|port| self.ports.is_open(*port)),
            _ => original_destination(&header.control, header.control_bytes as usize)
                .and_then(|local| self.ports.place_of(&local)),
        }
    }
}

/// The form of received messages: room for an address and for the one control message that steered ports need.
pub(super) fn receive_template() -> libc::msghdr {
    // SAFETY: msghdr is plain data for which zeroes (null pointers, no lengths) are valid.
    let mut template: libc::msghdr = unsafe { std::mem::zeroed() };
    template.msg_namelen = RECEIVE_NAME_BYTES as u32;
    template.msg_controllen = CONTROL_BYTES;
    template
}

/// Errors of a receive that arming it again cannot help.
fn is_hopeless(errno: i32) -> bool {
    matches!(errno, libc::EINVAL | libc::EBADF | libc::EFAULT | libc::ENOTSOCK | libc::EOPNOTSUPP)
}
