//! The backend of io_uring: one ring, one system call a turn.
//!
//! Input: a bound UDP socket, and ports. Output: see [`crate::io`]. Owns the ring, the buffer ring and the socket.
//!
//! ```text
//!                       harvest: io_uring_enter(submit what is queued, run what completed)
//!                          |                                         |
//!   submit: SEND entries --'    multishot RECVMSG, always armed      |   multishot POLL on the eventfd
//!      ^                              | fills                        v      | ends a sleep
//!      | same buffer            buffer ring <--- free buffers   completions: one a received packet
//!      '---- stages <---- batch <---------------------------------------'
//! ```
//!
//! **Set-up.** `SINGLE_ISSUER` and `DEFER_TASKRUN`: only the worker enters the ring, and the kernel works for it only
//! then; so packets wait in the socket's queue, not in ours, and a small, cache-warm buffer ring serves any number
//! of legs. With `DEFER_TASKRUN`, completions appear only in an enter with `GETEVENTS`.
//!
//! **Sends** are `SEND` with an address, `MSG_DONTWAIT` and `CQE_SKIP_SUCCESS`. `MSG_DONTWAIT` makes the kernel try each
//! once, while it takes it from the queue: afterwards it was copied, or it failed. So the buffer is free again as
//! soon as the enter that took the entry returns, and a completion says failures only. Without `MSG_DONTWAIT` a full
//! socket queue would keep the buffer for an unknown time, and only completions of successes could tell.
//!
//! **Ports.** Each socket we receive on is a *source* with a multishot receive of its own: 0 is the shared one. Where ports are
//! steered, 1 and 2 are the sockets they are steered to, and a control message says to which port. Where ports are
//! sockets, the source is the port's id. All use one form of message, so payloads lie at one place.
//!
//! **Sleep** is an enter that waits for one completion: a packet, or the poll of the eventfd, or the time-out.

mod ports;
mod receive;
mod sources;

use crate::batch::{BATCH_CAPACITY, Disposition, Nanos, PacketBatch};
use crate::buffers::{Buffer, BufferPool, HEADROOM_BYTES, PoolMemory};
use crate::io::buffer_ring::BufferRing;
use crate::io::fault::Fault;
use crate::io::headers::HEADERS_BYTES_MAX;
use crate::io::is_exhausted;
use crate::io::port_table::{Exit, PortTable};
use crate::io::ports::WorkerPorts;
use crate::io::probe::Refusal;
use crate::io::remote::{Remote, SOCKADDR_BYTES};
use crate::io::wake::{Sleeper, Waker};
use crate::io::{IoCounters, PortId};
use crosspoint_contract::limits::BATCH_PACKETS_MAX;
use io_uring::types::{CancelBuilder, Fixed, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use receive::receive_template;
use sources::{FIRST_SOURCE, Sources};
use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;
use std::rc::Rc;

/// Two full batches of sends: a turn may submit twice.
const SUBMISSIONS_MAX: usize = 2 * BATCH_CAPACITY;

/// Completions that need no receive buffer: failed sends, ends of standing requests.
const OTHER_COMPLETIONS_MAX: usize = 2 * SUBMISSIONS_MAX;

/// Buffers beside those of the ring: a full queue of sends, and a batch of local packets.
const SPARE_BUFFERS: usize = SUBMISSIONS_MAX + BATCH_CAPACITY;

const BUFFER_GROUP: u16 = 0;

/// What a completion is about: the upper half of its `user_data`. The lower half of a receive is its source, that of a
/// send its length.
const RECEIVE: u64 = 1 << 32;
const WAKE: u64 = 2 << 32;
const SEND: u64 = 3 << 32;
const CANCEL: u64 = 4 << 32;
const KIND_MASK: u64 = !0 << 32;

// A packet that is sent has its address at the start of the headroom, and headers at its end.
const _: () = assert!(SOCKADDR_BYTES + HEADERS_BYTES_MAX <= HEADROOM_BYTES);

pub(crate) struct Uring {
    ring: IoUring,
    buffers: BufferRing,
    /// One for each entry in the submission queue, oldest first.
    queued: VecDeque<Queued>,
    sources: Sources,
    ports: PortTable,
    /// The ports' sockets are registered, and this keeps them.
    worker_ports: WorkerPorts,
    wake_armed: bool,
    /// Failed sends that `packets_sent` and `bytes_sent` counted already; taken off the next ones, so that neither falls.
    sent_too_many: u64,
    sent_too_many_bytes: u64,
    counters: IoCounters,
    /// The kernel reads it whenever the receive is tried.
    receive_template: Box<libc::msghdr>,
    memory: Rc<PoolMemory>,
    sleeper: Sleeper,
    _socket: UdpSocket,
}

/// What an entry of the submission queue holds on to until the kernel has taken it.
struct Queued {
    /// `Buffer::NONE` for a standing request.
    buffer: Buffer,
    bytes: u32,
}

impl Uring {
    /// Opens a ring for the socket, with `receive_buffers` (a power of two) of the pool's buffers in its buffer ring.
    pub(crate) fn open(
        socket: &UdpSocket,
        worker_ports: &WorkerPorts,
        receive_buffers: usize,
        pool: &mut BufferPool,
    ) -> Result<Uring, Refusal> {
        let sleeper = Sleeper::new().map_err(Refusal::at("eventfd"))?;
        let socket = socket.try_clone().map_err(Refusal::at("dup"))?;
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize((receive_buffers + OTHER_COMPLETIONS_MAX).next_power_of_two() as u32)
            .build(SUBMISSIONS_MAX as u32)
            .map_err(Refusal::at("io_uring_setup"))?;
        let sources = Sources::new(worker_ports);
        let descriptors = sources.descriptors(socket.as_raw_fd(), sleeper.eventfd(), worker_ports);
        ring.submitter().register_files(&descriptors).map_err(Refusal::at("registering descriptors"))?;
        let buffers = BufferRing::new(receive_buffers, pool).map_err(Refusal::at("mmap"))?;
        // SAFETY: address and length are those of the buffer ring's mapping, and what its entries point at is in the
        // pool's. `Uring` owns a share of both and `drop` takes them back from the kernel first.
        unsafe { ring.submitter().register_buf_ring_with_flags(buffers.address(), buffers.len(), BUFFER_GROUP, 0) }
            .map_err(Refusal::at("registering a buffer ring"))?;
        Ok(Uring {
            ring,
            buffers,
            queued: VecDeque::with_capacity(SUBMISSIONS_MAX),
            sources,
            ports: PortTable::new(worker_ports),
            worker_ports: worker_ports.clone(),
            wake_armed: false,
            sent_too_many: 0,
            sent_too_many_bytes: 0,
            counters: IoCounters::default(),
            receive_template: Box::new(receive_template()),
            memory: pool.memory().clone(),
            sleeper,
            _socket: socket,
        })
    }

    /// Buffers of the pool that goes with a ring of `receive_buffers`.
    pub(crate) fn pool_buffers(receive_buffers: usize) -> usize {
        receive_buffers + SPARE_BUFFERS
    }

    pub(crate) fn harvest(&mut self, batch: &mut PacketBatch, sleep_until: Option<Nanos>) -> Result<(), Fault> {
        assert!(Rc::ptr_eq(&self.memory, batch.pool_mut().memory()), "the batch of another backend");
        self.arm();
        self.enter(None, batch.pool_mut())?;
        self.reap(batch)?;
        if let Some(until) = sleep_until.filter(|_| batch.is_empty()) {
            self.sleep(until, batch)?;
        }
        batch.set_now(Nanos::now());
        Ok(())
    }

    pub(crate) fn resolve_ports(&mut self, batch: &mut PacketBatch) {
        self.counters.port_unknown += self.ports.resolve(batch);
    }

    pub(crate) fn submit(&mut self, first: usize, batch: &mut PacketBatch) {
        assert!(Rc::ptr_eq(&self.memory, batch.pool_mut().memory()), "the batch of another backend");
        self.make_room(batch.len() - first, batch.pool_mut());
        for i in first..batch.len() {
            let packet = batch.packet(i);
            let (remote, port, bytes) = (packet.remote, packet.port, packet.len());
            let send = packet.disposition == Disposition::Send;
            let buffer = batch.take_buffer(i);
            if send {
                self.queue_send(buffer, port, &remote, bytes, batch.pool_mut());
            } else {
                self.buffers.put_or_pool(buffer, batch.pool_mut());
            }
        }
        self.buffers.publish();
    }

    pub(crate) fn waker(&self) -> Waker {
        self.sleeper.waker()
    }

    pub(crate) fn counters(&self) -> IoCounters {
        self.counters
    }

    #[cfg(test)]
    pub(crate) fn buffers_idle(&self) -> usize {
        self.buffers.held()
    }

    /// Lets the kernel take what is queued if a batch would not fit behind it: somebody submits without harvesting.
    fn make_room(&mut self, packets: usize, pool: &mut BufferPool) {
        if self.queued.len() + packets <= SUBMISSIONS_MAX {
            return;
        }
        self.counters.enters += 1;
        // An error comes again at the next harvest, which tells it; what does not fit until then is counted.
        if let Ok(taken) = self.enter_ring(EnterFlags::empty(), None) {
            self.release(taken, pool);
        }
    }

    /// Queues a packet for the next enter. Address and headers lie in the headroom, where they stay as long as the packet.
    fn queue_send(&mut self, buffer: Buffer, port: PortId, remote: &Remote, bytes: usize, pool: &mut BufferPool) {
        let (headroom, payload) = pool.split_mut(&buffer);
        let (name, rest) = headroom.split_first_chunk_mut().expect("the headroom is longer than an address");
        let room = rest.last_chunk_mut().expect("and holds headers beside it");
        let Some(departure) = self.ports.depart(port, remote, &payload[..bytes], name, room) else {
            self.counters.send_failed += 1;
            return self.buffers.put_or_pool(buffer, pool);
        };
        let socket = match departure.by {
            Exit::Socket(port) => Fixed(FIRST_SOURCE + port.0),
            Exit::Raw(index) => self.sources.sender(index),
        };
        let (name, first) = (name.as_ptr(), pool.start(&buffer, departure.headers_bytes));
        let send = opcode::Send::new(socket, first.as_ptr(), (departure.headers_bytes + bytes) as u32)
            .flags(libc::MSG_DONTWAIT)
            .dest_addr(name.cast())
            .dest_addr_len(departure.name_bytes)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(SEND | bytes as u64);
        if let Err(buffer) = self.push(&send, buffer, bytes as u32) {
            self.counters.send_exhausted += 1;
            self.buffers.put_or_pool(buffer, pool);
        }
    }

    /// Puts an entry into the submission queue, and keeps its buffer until the kernel has taken it. Gives the buffer
    /// back if the queue is full, which only an enter that took nothing can cause.
    fn push(&mut self, entry: &squeue::Entry, buffer: Buffer, bytes: u32) -> Result<(), Buffer> {
        // SAFETY: what the entry points at stays valid until the kernel is done with it. A receive: its template and
        // the pool are ours, and `drop` ends the request before they go. A send: packet and address lie in the buffer
        // that `queued` keeps until the kernel has taken the entry and thereby copied both. A poll points at nothing.
        match unsafe { self.ring.submission().push(entry) } {
            Ok(()) => {
                self.queued.push_back(Queued { buffer, bytes });
                Ok(())
            }
            Err(_) => Err(buffer),
        }
    }

    /// Gives the kernel what is queued and lets it work; with a time-out, until one completion is there.
    fn enter(&mut self, timeout: Option<Timespec>, pool: &mut BufferPool) -> Result<(), Fault> {
        // Completions for a whole batch are waiting: more would only use up buffers.
        let backlog = self.ring.completion().len() >= BATCH_PACKETS_MAX;
        if backlog && self.queued.is_empty() {
            return Ok(());
        }
        self.counters.enters += 1;
        let flags = if backlog { EnterFlags::empty() } else { EnterFlags::GETEVENTS };
        match self.enter_ring(flags, timeout.as_ref()) {
            Ok(taken) => self.release(taken, pool),
            Err(error) if is_transient(&error) => {}
            Err(source) => return Err(Fault::System { call: "io_uring_enter", source }),
        }
        Ok(())
    }

    /// The system call; says how many entries the kernel took.
    fn enter_ring(&self, flags: EnterFlags, timeout: Option<&Timespec>) -> io::Result<usize> {
        let queued = self.queued.len() as u32;
        let Some(timeout) = timeout else {
            // SAFETY: the submission queue holds `queued` entries, and there is no argument.
            return unsafe { self.ring.submitter().enter::<libc::sigset_t>(queued, 0, flags.bits(), None) };
        };
        let flags = flags | EnterFlags::EXT_ARG;
        let argument = SubmitArgs::new().timespec(timeout);
        // SAFETY: as above; EXT_ARG announces a `SubmitArgs`, and it and the time-out it points at outlive the call.
        unsafe { self.ring.submitter().enter(queued, 1, flags.bits(), Some(&argument)) }
    }

    /// The kernel took the oldest `taken` entries: their packets are copied or refused, their buffers free.
    fn release(&mut self, taken: usize, pool: &mut BufferPool) {
        let (mut packets, mut bytes) = (0, 0);
        for queued in self.queued.drain(..taken) {
            if queued.buffer != Buffer::NONE {
                packets += 1;
                bytes += u64::from(queued.bytes);
                self.buffers.put_or_pool(queued.buffer, pool);
            }
        }
        self.buffers.publish();
        self.count_sent(packets, bytes);
    }

    /// Counts as sent, less what was counted so before and then failed.
    fn count_sent(&mut self, packets: u64, bytes: u64) {
        let (less, less_bytes) = (packets.min(self.sent_too_many), bytes.min(self.sent_too_many_bytes));
        self.sent_too_many -= less;
        self.sent_too_many_bytes -= less_bytes;
        self.counters.packets_sent += packets - less;
        self.counters.bytes_sent += bytes - less_bytes;
    }

    /// Takes completions until the batch is full or there are no more.
    fn reap(&mut self, batch: &mut PacketBatch) -> Result<(), Fault> {
        while batch.len() < BATCH_PACKETS_MAX {
            let Some(completion) = self.ring.completion().next() else { break };
            match completion.user_data() & KIND_MASK {
                RECEIVE => self.receive(&completion, batch)?,
                WAKE => self.wake_armed = cqueue::more(completion.flags()),
                SEND => self.count_refused(&completion),
                _ => {}
            }
        }
        Ok(())
    }

    /// Only refused sends have completions.
    fn count_refused(&mut self, completion: &cqueue::Entry) {
        self.sent_too_many += 1;
        self.sent_too_many_bytes += completion.user_data() & !KIND_MASK;
        if is_exhausted(&io::Error::from_raw_os_error(-completion.result())) {
            self.counters.send_exhausted += 1;
        } else {
            self.counters.send_failed += 1;
        }
    }

    fn sleep(&mut self, until: Nanos, batch: &mut PacketBatch) -> Result<(), Fault> {
        // What no longer stands must be armed before a sleep, or nothing would end it: the caller comes again at once.
        if self.sources.wait_to_be_armed() || !self.wake_armed || !self.sleeper.fall_asleep() {
            return Ok(());
        }
        let remaining = until.timespec_from(Nanos::now());
        let timeout = Timespec::new().sec(remaining.tv_sec as u64).nsec(remaining.tv_nsec as u32);
        let entered = self.enter(Some(timeout), batch.pool_mut());
        self.sleeper.rise();
        entered?;
        self.reap(batch)
    }
}

impl Drop for Uring {
    /// Sends what is queued, ends the standing requests and lets go of the descriptors, so that the port is free
    /// and the kernel is done with our memory when this returns. Closing the ring alone does so some time later.
    fn drop(&mut self) {
        // Errors change nothing: the ring is closed next, which does the same if later.
        let _ = self.enter_ring(EnterFlags::GETEVENTS, None);
        let submitter = self.ring.submitter();
        let _ = submitter.register_sync_cancel(Some(Timespec::new().sec(1)), CancelBuilder::any());
        // Deferred work again: only an enter lets the cancelled requests end and drop their hold on the socket.
        self.queued.clear();
        let _ = self.enter_ring(EnterFlags::GETEVENTS, None);
        let _ = submitter.unregister_files();
        let _ = submitter.unregister_buf_ring(BUFFER_GROUP);
    }
}

/// The enter ended early, or had nothing to do in time.
fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY))
}
