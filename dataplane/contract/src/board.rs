//! The board: a page or two of memory that the dataplane maps, and that control reads and writes like a file.
//!
//! ```text
//!   control: announces 3 on its line -- tells its peer "ok" -- Promised, Promised, Promised on the socket
//!                     |                       |                       |
//!                     v                       v                       v
//!   dataplane:      line: 3      packet: carried out 0 of 3: it waits | carried out 3: it passes
//! ```
//!
//! A round trip to the dataplane costs two threads their sleep, many times what the command behind it costs. So control
//! does not wait for commands that cannot be refused and only let more pass than before: the first description of a leg,
//! the first sinks of a leg that had none. It announces how many it has promised, and only then tells its peer. A packet
//! that comes after that finds the announcement; if it cannot be passed on yet, it waits until as many commands are
//! carried out. What withholds packets (filters, other keys, other sinks) is never promised: it is ordered, and its answer
//! awaited.
//!
//! The second half tells control what it would else have to ask: a place holds the number of the leg that has it for as
//! long as no packet has come to the leg or left from it, so that its figures are those of a leg just opened.
//!
//! A descriptor of the board comes with the first byte of the dataplane's `Hello` (`SCM_RIGHTS`). Each attachment gets a
//! fresh line, so that a control plane that was cut off announces nothing in its successor's name. A figure on the board is a `u64` in
//! the host's byte order. Whatever control writes, a packet waits for a bounded time only.

/// Lines for announcements, one an attachment, in turn.
pub const LINES: u32 = 64;

/// A cache line each: the workers look at one all the time.
const LINE_BYTES: u64 = 64;

/// Where the places begin: on a page of their own.
const PLACES_AT: u64 = LINES as u64 * LINE_BYTES;

const FIGURE_BYTES: u64 = size_of::<u64>() as u64;

/// In a place whose leg has figures, and in one that nobody has.
pub const TOUCHED: u64 = 0;

/// Where the number of promises of this line is.
pub const fn line_at(line: u32) -> u64 {
    (line % LINES) as u64 * LINE_BYTES
}

/// Where the leg in this place is named.
pub const fn place_at(place: u32) -> u64 {
    PLACES_AT + place as u64 * FIGURE_BYTES
}

/// A board with so many places.
pub const fn bytes(places: u32) -> u64 {
    place_at(places).next_multiple_of(PLACES_AT)
}

const _: () = assert!(PLACES_AT.is_multiple_of(4096));
const _: () = assert!(line_at(LINES - 1) + LINE_BYTES == PLACES_AT);
