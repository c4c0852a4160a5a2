//! Messages on a stream. They follow each other without length or separator, so the end of each is found by reading it.
//!
//! Input: what a TCP connection delivers, in any pieces. Output: whole messages, each `cookie SP dictionary`, for
//! [`crate::message::split`]. Owns: the bytes of the message that is not complete yet, [`MESSAGE_BYTES_MAX`] at most.
//!
//! rtpengine 10.5.3 knows only bencode here, and closes the connection if the first 1,024 bytes hold no whole message. This
//! also takes JSON and messages in as many segments as they need.

use crate::bencode;
use crate::message::{COOKIE_BYTES_MAX, MESSAGE_BYTES_MAX};
use thiserror::Error;

/// Why a stream cannot go on: where the next message would start is unknown. The connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FramingError {
    #[error("no cookie in front of the message")]
    NoCookie,
    #[error("neither bencode nor JSON after the cookie")]
    Malformed,
    #[error("a message of more than {MESSAGE_BYTES_MAX} bytes")]
    TooLong,
}

/// Cuts one connection's bytes into messages. Calling order: [`StreamReader::push`] what arrived, then
/// [`StreamReader::next_message`] until it has none.
#[derive(Debug, Default)]
pub struct StreamReader {
    bytes: Vec<u8>,
    /// Up to here the bytes belong to messages that were handed out.
    start: usize,
    state: State,
}

/// What is known of the message at `start`.
#[derive(Debug, Default)]
enum State {
    #[default]
    Cookie,
    /// The position of the dictionary, counted from `start`, and how far it was looked through.
    Bencode(usize, bencode::Scan),
    Json(usize, JsonScan),
}

impl StreamReader {
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message.
    pub fn next_message(&mut self) -> Result<Option<&[u8]>, FramingError> {
        if let State::Cookie = self.state {
            self.skip_line_ends();
            self.find_dictionary()?;
        }
        let message = &self.bytes[self.start..];
        let end = match &mut self.state {
            State::Cookie => None,
            State::Bencode(from, scan) => end_of(scan.find_end(&message[*from..]))?.map(|end| *from + end),
            State::Json(from, scan) => scan.find_end(&message[*from..]).map(|end| *from + end),
        };
        match end {
            Some(end) if end <= MESSAGE_BYTES_MAX => Ok(Some(self.take(end))),
            None if message.len() <= MESSAGE_BYTES_MAX => Ok(None),
            _ => Err(FramingError::TooLong),
        }
    }

    /// Not part of the protocol; whoever types a message by hand ends it with a line end.
    fn skip_line_ends(&mut self) {
        let message = &self.bytes[self.start..];
        self.start += message.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    }

    fn find_dictionary(&mut self) -> Result<(), FramingError> {
        let message = &self.bytes[self.start..];
        let Some(space) = message.iter().take(COOKIE_BYTES_MAX + 1).position(|byte| *byte == b' ') else {
            return if message.len() > COOKIE_BYTES_MAX { Err(FramingError::NoCookie) } else { Ok(()) };
        };
        self.state = match message.get(space + 1) {
            _ if space == 0 => return Err(FramingError::NoCookie),
            None => State::Cookie,
            Some(b'd') => State::Bencode(space + 1, bencode::Scan::default()),
            Some(b'{') => State::Json(space + 1, JsonScan::default()),
            Some(_) => return Err(FramingError::Malformed),
        };
        Ok(())
    }

    fn take(&mut self, length: usize) -> &[u8] {
        let message = self.start..self.start + length;
        self.start = message.end;
        self.state = State::Cookie;
        &self.bytes[message]
    }
}

fn end_of(found: Result<usize, bencode::BencodeError>) -> Result<Option<usize>, FramingError> {
    match found {
        Ok(end) => Ok(Some(end)),
        Err(bencode::BencodeError::Incomplete) => Ok(None),
        Err(bencode::BencodeError::Malformed) => Err(FramingError::Malformed),
    }
}

/// Looks for the bracket that closes a JSON object. What is between is the parser's business.
#[derive(Debug, Default)]
struct JsonScan {
    position: usize,
    depth: usize,
    in_text: bool,
    after_backslash: bool,
}

impl JsonScan {
    fn find_end(&mut self, bytes: &[u8]) -> Option<usize> {
        while self.position < bytes.len() {
            self.step(bytes[self.position]);
            self.position += 1;
            if self.depth == 0 {
                return Some(self.position);
            }
        }
        None
    }

    fn step(&mut self, byte: u8) {
        match byte {
            _ if self.after_backslash => self.after_backslash = false,
            b'\\' if self.in_text => self.after_backslash = true,
            b'"' => self.in_text = !self.in_text,
            b'{' if !self.in_text => self.depth += 1,
            b'}' if !self.in_text => self.depth -= 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGES: [&[u8]; 4] =
        [b"1 d7:command4:pinge", b"2 {\"command\":\"ping\",\"a\":\"}\\\"{\",\"d\":{}}", b"3 de", b"x_4 d1:ali1eei-1ee"];

    fn read_all(reader: &mut StreamReader) -> Result<Vec<Vec<u8>>, FramingError> {
        let mut messages = Vec::new();
        while let Some(message) = reader.next_message()? {
            messages.push(message.to_vec());
        }
        Ok(messages)
    }

    #[test]
    fn messages_are_cut_wherever_the_segments_end() {
        let stream = [&MESSAGES.concat()[..], b"\r\n", MESSAGES[0]].concat();
        for segment_bytes in [1, 2, 3, 7, 20, stream.len()] {
            let mut reader = StreamReader::default();
            let mut messages = Vec::new();
            for segment in stream.chunks(segment_bytes) {
                reader.push(segment);
                messages.extend(read_all(&mut reader).unwrap());
            }
            assert_eq!(messages, [&MESSAGES[..], &MESSAGES[..1]].concat(), "{segment_bytes}");
        }
    }

    #[test]
    fn a_message_of_more_than_1024_bytes_may_come_in_segments() {
        let message = [b"1 d3:sdp4000:".to_vec(), vec![b'v'; 4000], b"e".to_vec()].concat();
        let mut reader = StreamReader::default();
        reader.push(&message[..1500]);
        assert_eq!(reader.next_message(), Ok(None));
        reader.push(&message[1500..]);
        assert_eq!(reader.next_message(), Ok(Some(&message[..])));
    }

    #[test]
    fn a_stream_without_sense_or_end_is_given_up() {
        let error_after = |bytes: &[u8]| {
            let mut reader = StreamReader::default();
            reader.push(bytes);
            read_all(&mut reader).unwrap_err()
        };
        assert_eq!(error_after(b" de"), FramingError::NoCookie);
        assert_eq!(error_after(&[b'x'; COOKIE_BYTES_MAX + 1]), FramingError::NoCookie);
        assert_eq!(error_after(b"1 [1]"), FramingError::Malformed);
        assert_eq!(error_after(b"1 d18446744073709551615:a"), FramingError::Malformed);
        assert_eq!(error_after(&[b"1 {".to_vec(), vec![b' '; MESSAGE_BYTES_MAX]].concat()), FramingError::TooLong);
        assert_eq!(
            error_after(&[b"1 d99999:".to_vec(), vec![b'v'; MESSAGE_BYTES_MAX]].concat()),
            FramingError::TooLong
        );
    }
}
