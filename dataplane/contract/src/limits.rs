//! Every bound of the dataplane and of the contract, each with the reason for its value.

/// A frame larger than this is a broken peer. The largest honest frame is a part of a snapshot.
pub const FRAME_BYTES_MAX: usize = 16 << 20;

/// Legs, and bridges, in one part of a snapshot: about half a megabyte.
pub const LEGS_PER_SNAPSHOT_MAX: usize = 1000;

/// Control's own words about one call: what a relay knows of two parties with the longest SDP there may be (64 KiB each), and
/// as much again.
pub const NOTE_BYTES_MAX: usize = 256 << 10;

/// Notes in one part of a snapshot end behind the one that passes this.
pub const NOTES_PER_SNAPSHOT_BYTES: usize = 1 << 20;

/// What a leg takes in a snapshot with all its formats and every string as long as SDP can make it: ICE's are bounded
/// at 256 characters (RFC 8839 §5.4), `a=mid` by the line.
const LEG_SNAPSHOT_BYTES_MAX: usize = 8 << 10;

/// Packets that pass a stage together: enough to amortise a clock read and a system call, few enough that a
/// batch of SRTP (about 0.3 µs a packet) delays its first packet by less than 50 µs.
pub const BATCH_PACKETS_MAX: usize = 64;

/// Largest UDP payload we receive or send. Media stays below the Ethernet MTU; a longer datagram is dropped.
pub const PACKET_BYTES_MAX: usize = 1500;

/// Room kept behind each received packet, so that protecting it in place (tag, SRTCP index, one extension) fits.
pub const TAILROOM_BYTES: usize = 64;

/// One buffer of the pool: packet and tailroom, in whole cache lines.
pub const BUFFER_BYTES: usize = 1600;

/// Legs of one worker. Sized for 10,000 calls on one core.
pub const LEGS_PER_WORKER_MAX: usize = 20_000;

/// Addresses that RTP legs may be opened on: several interfaces in both families. Each costs a worker a quarter of a
/// megabyte of table, and each datagram to this host a comparison.
pub const RTP_ADDRS_MAX: usize = 16;

/// Workers of one process. A worker is a core.
pub const WORKERS_MAX: usize = 128;

/// Streams (SSRCs) one leg may receive. A browser's audio and video with RTX need four; the rest is slack
/// for SSRC changes. A further SSRC replaces the stream that was silent longest.
pub const STREAMS_PER_LEG_MAX: usize = 8;

/// Payload types a leg may name: RFC 3551 leaves 7 bits, offers in use have fewer than 32.
pub const FORMATS_PER_LEG_MAX: usize = 32;

/// Candidates of the peer that a description of a leg may name: those of two components on eight addresses.
pub const CANDIDATES_PER_LEG_MAX: usize = 32;

/// Legs that one leg's packets go to: the other party, and subscribers (recorders, listeners) beside it.
pub const SINKS_PER_LEG_MAX: usize = 32;

/// Commands that a worker applies between two batches, before it looks at the packets of the next. Bounds how long control may
/// delay media: at about a microsecond each, by less than any jitter buffer notices. Within the bound a packet never
/// overtakes a command, so a command is said to be done as soon as it is on its way to the worker with fewer than
/// these before it.
pub const COMMANDS_PER_TICK_MAX: usize = 256;

/// Depth of the link that carries commands to a worker. Full means control is told `Busy`.
pub const CONTROL_TO_WORKER_MAX: usize = 4096;

/// Depth of the link that carries events to control. Full means the event is dropped and counted.
pub const WORKER_TO_CONTROL_MAX: usize = 16_384;

/// Depth of the link that carries datagrams (DTLS, new STUN peers) to the lobby.
pub const WORKER_TO_LOBBY_MAX: usize = 1024;

/// Depth of the link that carries datagrams and keys from the lobby to a worker.
pub const LOBBY_TO_WORKER_MAX: usize = 1024;

/// Handshakes that may be open at once: each holds about 50 KiB. Beyond it a leg waits for its peer's retransmission.
pub const HANDSHAKES_HALF_OPEN_MAX: usize = 4096;

/// Bytes of handshake that one peer may have buffered while its handshake is incomplete.
pub const HANDSHAKE_BUFFER_BYTES_MAX: usize = 32 << 10;

/// A digit string for [`crate::Command::SendDigits`].
pub const DIGITS_MAX: usize = 64;

/// Outstanding commands per attachment. Control queues beyond this.
pub const COMMANDS_OUTSTANDING_MAX: usize = 2048;

const _: () = assert!(PACKET_BYTES_MAX + TAILROOM_BYTES <= BUFFER_BYTES);
const _: () = assert!(BUFFER_BYTES.is_multiple_of(64));
const _: () = assert!(COMMANDS_OUTSTANDING_MAX <= CONTROL_TO_WORKER_MAX);
const _: () = assert!(LEGS_PER_SNAPSHOT_MAX * LEG_SNAPSHOT_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(NOTES_PER_SNAPSHOT_BYTES + NOTE_BYTES_MAX < FRAME_BYTES_MAX);
const _: () = assert!(BATCH_PACKETS_MAX.is_power_of_two());
const _: () = assert!(LEGS_PER_WORKER_MAX * STREAMS_PER_LEG_MAX <= 1 << 24);
