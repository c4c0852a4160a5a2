//! What a network or an attacker may do to a client's datagrams before they are sent.
//!
//! Input: one datagram. Output: the datagrams to send instead, in order. DTLS layouts: RFC 6347 §4.1 (record), §4.2.2 (handshake).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

/// Maps each outgoing datagram to those that go out in its stead.
pub type Tamper = Box<dyn FnMut(&[u8]) -> Vec<Vec<u8>> + Send>;

/// The last datagrams sent that `wanted` accepts, newest last.
#[derive(Clone, Default)]
pub struct Captured(Arc<Mutex<VecDeque<Vec<u8>>>>);

const CAPTURED_MAX: usize = 64;

impl Captured {
    pub fn tamper(&self, wanted: fn(&[u8]) -> bool) -> Tamper {
        let captured = self.0.clone();
        Box::new(move |datagram| {
            if wanted(datagram) {
                let mut captured = captured.lock().expect("no thread panics while it captures");
                captured.push_back(datagram.to_vec());
                if captured.len() > CAPTURED_MAX {
                    captured.pop_front();
                }
            }
            vec![datagram.to_vec()]
        })
    }

    pub fn all(&self) -> Vec<Vec<u8>> {
        self.0.lock().expect("no thread panics while it captures").iter().cloned().collect()
    }
}

/// RFC 7983: first byte 20 to 63.
pub fn is_dtls(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|b| (20..64).contains(b))
}

/// RFC 7983 and RFC 5761 §4: RTP, not RTCP.
pub fn is_rtp(datagram: &[u8]) -> bool {
    datagram.len() > 12 && (128..192).contains(&datagram[0]) && !(192..224).contains(&datagram[1])
}

const RECORD_BYTES: usize = 13;
const HANDSHAKE_HEADER_BYTES: usize = 12;
const CONTENT_HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;

/// One unencrypted record holding one unfragmented ClientHello.
pub fn is_client_hello(datagram: &[u8]) -> bool {
    datagram.len() > RECORD_BYTES + HANDSHAKE_HEADER_BYTES
        && datagram[0] == CONTENT_HANDSHAKE
        && datagram[3..5] == [0, 0]
        && datagram[RECORD_BYTES] == CLIENT_HELLO
}

/// Sends each ClientHello as two fragments in two datagrams, the second half first; of the first ClientHello the second half is
/// lost on the way, so that only the client's retransmission completes it.
pub fn split_reordered_and_lost_once() -> Tamper {
    let mut hellos = 0;
    let mut numbers = RecordNumbers::default();
    Box::new(move |datagram| {
        if !is_client_hello(datagram) {
            return vec![numbers.renumbered(datagram)];
        }
        hellos += 1;
        let [first, second] = fragments(datagram);
        let (first, second) = (numbers.renumbered(&first), numbers.renumbered(&second));
        if hellos == 1 { vec![first] } else { vec![second, first] }
    })
}

/// The two halves of a ClientHello as fragments of their own.
fn fragments(datagram: &[u8]) -> [Vec<u8>; 2] {
    let body = &datagram[RECORD_BYTES + HANDSHAKE_HEADER_BYTES..];
    let middle = body.len() / 2;
    [fragment(datagram, 0, &body[..middle]), fragment(datagram, middle, &body[middle..])]
}

fn fragment(whole: &[u8], offset: usize, part: &[u8]) -> Vec<u8> {
    let mut record = whole[..RECORD_BYTES + HANDSHAKE_HEADER_BYTES].to_vec();
    record[11..13].copy_from_slice(&((HANDSHAKE_HEADER_BYTES + part.len()) as u16).to_be_bytes());
    // msg_type (1), length (3) and message_seq (2) stay; fragment_offset (3) and fragment_length (3) change.
    record[RECORD_BYTES + 6..RECORD_BYTES + 9].copy_from_slice(&(offset as u32).to_be_bytes()[1..]);
    record[RECORD_BYTES + 9..RECORD_BYTES + 12].copy_from_slice(&(part.len() as u32).to_be_bytes()[1..]);
    record.extend_from_slice(part);
    record
}

/// One record became two, so every later record of epoch 0 needs a new number, or a replay window would take it for a repetition.
#[derive(Default)]
struct RecordNumbers(u16);

impl RecordNumbers {
    fn renumbered(&mut self, datagram: &[u8]) -> Vec<u8> {
        let mut datagram = datagram.to_vec();
        let mut at = 0;
        while at + RECORD_BYTES <= datagram.len()
            && (20..26).contains(&datagram[at])
            && datagram[at + 3..at + 5] == [0, 0]
        {
            datagram[at + 9..at + 11].copy_from_slice(&self.0.to_be_bytes());
            self.0 += 1;
            at += RECORD_BYTES + u16::from_be_bytes([datagram[at + 11], datagram[at + 12]]) as usize;
        }
        datagram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Vec<u8> {
        let body: Vec<u8> = (0..101).collect();
        let mut datagram = vec![22, 254, 253, 0, 0, 0, 0, 0, 0, 0, 0, 0, 113];
        datagram.extend([1, 0, 0, 101, 0, 0, 0, 0, 0, 0, 0, 101]);
        datagram.extend(body);
        datagram
    }

    #[test]
    fn fragments_of_a_client_hello_hold_all_its_bytes_once() {
        let [first, second] = fragments(&hello());
        assert_eq!([&first[25..], &second[25..]].concat(), (0..101).collect::<Vec<u8>>());
        assert_eq!(first[13 + 6..25], [0, 0, 0, 0, 0, 50]);
        assert_eq!(second[13 + 6..25], [0, 0, 50, 0, 0, 51]);
    }

    #[test]
    fn second_half_of_the_first_hello_is_lost_and_later_ones_are_swapped() {
        let mut tamper = split_reordered_and_lost_once();
        assert_eq!(tamper(&hello()).len(), 1);
        let later = tamper(&hello());
        assert_eq!(later.len(), 2);
        assert!(later[0][13 + 8] > later[1][13 + 8], "the fragment with the larger offset goes first");
        let mut numbers: Vec<u8> = later.iter().map(|d| d[10]).collect();
        numbers.sort();
        assert_eq!(numbers, [2, 3]);
    }
}
