//! Repeated messages: each gets the answer that the first one got, and has no second effect.
//!
//! Input: sender and cookie of each message, and the reply once it is known. Output: what to do with the message. Owns: the
//! replies of the last [`KEPT_MS`]. Kamailio and OpenSIPS repeat a message five times, a second apart, under the
//! same cookie; what the message says is not compared, except over HTTP.
//!
//! rtpengine keeps one cache for all senders, so that two proxies which count from 1 get each other's answers. Here a cookie
//! belongs to its [`Sender`].

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// How long a reply is kept, counted from the arrival of the message.
pub const KEPT_MS: u64 = 45_000;
/// Replies of a few kilobytes at 20,000 messages a second outlive the last repetition only up to here; the oldest go first.
pub const KEPT_BYTES_MAX: usize = 128 << 20;
pub const ENTRIES_MAX: usize = 262_144;
/// Of one message, as many repetitions wait for the answer; further ones are dropped, as the network might have done.
pub const WAITING_MAX: usize = 8;

/// What an entry costs beside its cookie and its reply.
const ENTRY_BYTES: usize = 160;

/// Whose cookie it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    Datagram(SocketAddr),
    /// A TCP or WebSocket connection, by the number that the shell gave it.
    Connection(u64),
    /// HTTP: a repetition comes on another connection, and behind a proxy all clients are one host. So only the same message
    /// counts as repeated, told by a hash of it.
    Host(IpAddr, u64),
}

impl Sender {
    pub fn host(ip: IpAddr, message: &[u8]) -> Sender {
        let mut hasher = DefaultHasher::new();
        hasher.write(message);
        Sender::Host(ip, hasher.finish())
    }
}

/// A message in work: give it back with the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ticket(Arc<Key>);

/// What to do with a message that arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    /// Not seen before: do it, then call [`Cookies::answer`].
    Fresh(Ticket),
    /// Answer with these bytes.
    Answered(Arc<[u8]>),
    /// The same message is in work. [`Cookies::answer`] will name this one's place too.
    Waiting,
}

type Key = (Sender, Box<[u8]>);

/// The cache. `R` tells where the answer to one message goes: an address, a connection, a waiting HTTP request.
#[derive(Debug)]
pub struct Cookies<R> {
    entries: HashMap<Arc<Key>, Entry<R>>,
    /// In the order of arrival.
    arrivals: VecDeque<(u64, Arc<Key>)>,
    kept_bytes: usize,
}

#[derive(Debug)]
enum Entry<R> {
    InWork(Vec<R>),
    Answered(Arc<[u8]>),
}

impl<R> Default for Cookies<R> {
    fn default() -> Cookies<R> {
        Cookies { entries: HashMap::new(), arrivals: VecDeque::new(), kept_bytes: 0 }
    }
}

impl<R> Cookies<R> {
    pub fn arrive(&mut self, now_ms: u64, sender: Sender, cookie: &[u8], reply_to: R) -> Arrival {
        self.expire(now_ms);
        let key = Arc::new((sender, cookie.into()));
        match self.entries.get_mut(&key) {
            Some(Entry::Answered(reply)) => Arrival::Answered(Arc::clone(reply)),
            Some(Entry::InWork(waiting)) => {
                if waiting.len() < WAITING_MAX {
                    waiting.push(reply_to);
                }
                Arrival::Waiting
            }
            None => {
                self.insert(now_ms, Arc::clone(&key), reply_to);
                Arrival::Fresh(Ticket(key))
            }
        }
    }

    /// Keeps the reply, and says where it has to go: to the first message and to those that waited for it.
    /// Empty if the message took so long that it was forgotten.
    pub fn answer(&mut self, ticket: Ticket, reply: Arc<[u8]>) -> Vec<R> {
        let Some(entry) = self.entries.get_mut(&ticket.0) else { return Vec::new() };
        let Entry::InWork(waiting) = entry else { return Vec::new() };
        let waiting = std::mem::take(waiting);
        self.kept_bytes += reply.len();
        *entry = Entry::Answered(reply);
        waiting
    }

    /// Forgets what is older than [`KEPT_MS`], and what is beyond the bounds: with each arrival, so that without messages what is
    /// kept stays, and no more comes.
    fn expire(&mut self, now_ms: u64) {
        while let Some((arrived_ms, _)) = self.arrivals.front() {
            let full = self.kept_bytes > KEPT_BYTES_MAX || self.entries.len() >= ENTRIES_MAX;
            if !full && now_ms < arrived_ms + KEPT_MS {
                break;
            }
            self.forget_oldest();
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn insert(&mut self, now_ms: u64, key: Arc<Key>, reply_to: R) {
        self.kept_bytes += ENTRY_BYTES + key.1.len();
        self.arrivals.push_back((now_ms, Arc::clone(&key)));
        self.entries.insert(key, Entry::InWork(vec![reply_to]));
    }

    fn forget_oldest(&mut self) {
        let Some((_, key)) = self.arrivals.pop_front() else { return };
        self.kept_bytes -= ENTRY_BYTES + key.1.len();
        if let Some(Entry::Answered(reply)) = self.entries.remove(&key) {
            self.kept_bytes -= reply.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KAMAILIO: Sender = Sender::Connection(1);

    fn fresh(cookies: &mut Cookies<u32>, now_ms: u64, cookie: &[u8], reply_to: u32) -> Ticket {
        match cookies.arrive(now_ms, KAMAILIO, cookie, reply_to) {
            Arrival::Fresh(ticket) => ticket,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_repetition_gets_the_same_bytes() {
        let mut cookies = Cookies::default();
        let ticket = fresh(&mut cookies, 0, b"1", 7);
        assert_eq!(cookies.answer(ticket, b"1 pong"[..].into()), [7]);
        for now_ms in [1_000, 5_000, 29_999] {
            assert_eq!(cookies.arrive(now_ms, KAMAILIO, b"1", 8), Arrival::Answered(b"1 pong"[..].into()));
        }
        fresh(&mut cookies, 60_000, b"1", 9);
    }

    #[test]
    fn a_repetition_during_work_is_answered_with_the_first() {
        let mut cookies = Cookies::default();
        let ticket = fresh(&mut cookies, 0, b"1", 0);
        for repetition in 1..20 {
            assert_eq!(cookies.arrive(1, KAMAILIO, b"1", repetition), Arrival::Waiting);
        }
        assert_eq!(cookies.answer(ticket.clone(), b"r"[..].into()), (0..WAITING_MAX as u32).collect::<Vec<_>>());
        assert_eq!(cookies.answer(ticket, b"other"[..].into()), [0; 0], "the first answer stands");
    }

    #[test]
    fn two_senders_may_count_alike() {
        let mut cookies = Cookies::default();
        let ticket = fresh(&mut cookies, 0, b"1", 0);
        cookies.answer(ticket, b"r"[..].into());
        let other = Sender::Datagram("127.0.0.1:5000".parse().unwrap());
        assert!(matches!(cookies.arrive(0, other, b"1", 0), Arrival::Fresh(_)));
    }

    #[test]
    fn neither_entries_nor_bytes_grow_without_bound() {
        let mut cookies = Cookies::default();
        let reply: Arc<[u8]> = vec![0; 1 << 20].into();
        for count in 0..300_u32 {
            let ticket = fresh(&mut cookies, 0, &count.to_be_bytes(), 0);
            cookies.answer(ticket, Arc::clone(&reply));
            assert!(cookies.kept_bytes <= KEPT_BYTES_MAX + reply.len() + ENTRY_BYTES + 4);
        }
        assert!(cookies.len() < 130);
        for count in 0..ENTRIES_MAX as u32 + 10 {
            fresh(&mut cookies, 0, &(count + 1000).to_be_bytes(), 0);
            assert!(cookies.len() <= ENTRIES_MAX);
        }
        cookies.expire(KEPT_MS);
        assert!(cookies.is_empty() && cookies.kept_bytes == 0 && cookies.arrivals.is_empty());
    }

    #[test]
    fn an_answer_after_the_message_was_forgotten_goes_nowhere() {
        let mut cookies = Cookies::default();
        let ticket = fresh(&mut cookies, 0, b"1", 0);
        cookies.expire(KEPT_MS);
        assert_eq!(cookies.answer(ticket, b"r"[..].into()), [0; 0]);
        assert_eq!(cookies.kept_bytes, 0);
    }

    proptest! {
        /// Against the obvious: a list of who came when, and what each was told.
        #[test]
        fn a_message_takes_effect_once_and_everybody_hears_the_same(
            steps in proptest::collection::vec((0..4_u8, any::<bool>(), 0..20_000_u64), 1..60),
        ) {
            let mut cookies = Cookies::default();
            let mut in_work: HashMap<u8, (Ticket, u64, usize)> = HashMap::new();
            let mut answered: HashMap<u8, (Arc<[u8]>, u64)> = HashMap::new();
            let mut now_ms = 0;
            for (step, (cookie, answer, pause_ms)) in steps.into_iter().enumerate() {
                now_ms += pause_ms;
                in_work.retain(|_, (_, arrived_ms, _)| now_ms < *arrived_ms + KEPT_MS);
                answered.retain(|_, (_, arrived_ms)| now_ms < *arrived_ms + KEPT_MS);
                match cookies.arrive(now_ms, KAMAILIO, &[cookie], step) {
                    Arrival::Fresh(ticket) => {
                        prop_assert!(!in_work.contains_key(&cookie) && !answered.contains_key(&cookie));
                        in_work.insert(cookie, (ticket, now_ms, 1));
                    }
                    Arrival::Waiting => in_work.get_mut(&cookie).expect("in work").2 += 1,
                    Arrival::Answered(reply) => prop_assert_eq!(&reply, &answered[&cookie].0),
                }
                if answer && let Some((ticket, arrived_ms, waiting)) = in_work.remove(&cookie) {
                    let reply: Arc<[u8]> = vec![step as u8].into();
                    prop_assert_eq!(cookies.answer(ticket, Arc::clone(&reply)).len(), waiting.min(WAITING_MAX));
                    answered.insert(cookie, (reply, arrived_ms));
                }
            }
        }
    }
}
