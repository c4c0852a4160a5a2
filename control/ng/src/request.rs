//! The commands of the protocol, and a request: a command with its options.
//!
//! Input: a dictionary. Output: a [`Request`] for the core, or the [`NgError`] that it is refused with. Owns: the names of
//! commands. They are compared letter by letter, as rtpengine does; only options have more than one spelling.

use crate::dictionary::Dict;
use crate::error::NgError;
use crate::options::Options;

/// A command of rtpengine 10.5.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Command {
    Ping,
    Offer,
    Answer,
    Delete,
    Query,
    List,
    Statistics,
    StartRecording,
    StopRecording,
    StartForwarding,
    StopForwarding,
    BlockDtmf,
    UnblockDtmf,
    BlockMedia,
    UnblockMedia,
    SilenceMedia,
    UnsilenceMedia,
    PlayMedia,
    StopMedia,
    PlayDtmf,
    Publish,
    SubscribeRequest,
    SubscribeAnswer,
    Unsubscribe,
}

impl Command {
    /// Whether a call may be another after it.
    pub fn changes_calls(self) -> bool {
        !matches!(self, Command::Ping | Command::Query | Command::List | Command::Statistics)
    }

    /// All commands with their names, in the order of [`Command`].
    pub const ALL: [(Command, &'static str); 24] = [
        (Command::Ping, "ping"),
        (Command::Offer, "offer"),
        (Command::Answer, "answer"),
        (Command::Delete, "delete"),
        (Command::Query, "query"),
        (Command::List, "list"),
        (Command::Statistics, "statistics"),
        (Command::StartRecording, "start recording"),
        (Command::StopRecording, "stop recording"),
        (Command::StartForwarding, "start forwarding"),
        (Command::StopForwarding, "stop forwarding"),
        (Command::BlockDtmf, "block DTMF"),
        (Command::UnblockDtmf, "unblock DTMF"),
        (Command::BlockMedia, "block media"),
        (Command::UnblockMedia, "unblock media"),
        (Command::SilenceMedia, "silence media"),
        (Command::UnsilenceMedia, "unsilence media"),
        (Command::PlayMedia, "play media"),
        (Command::StopMedia, "stop media"),
        (Command::PlayDtmf, "play DTMF"),
        (Command::Publish, "publish"),
        (Command::SubscribeRequest, "subscribe request"),
        (Command::SubscribeAnswer, "subscribe answer"),
        (Command::Unsubscribe, "unsubscribe"),
    ];

    /// Commands of later rtpengines. They are refused as 10.5.3 refuses them; the name serves the log.
    pub const LATER: [&'static str; 11] = [
        "pause recording",
        "stop DTMF",
        "connect",
        "create",
        "create answer",
        "mesh",
        "inject start",
        "inject stop",
        "transform",
        "moh",
        "cli",
    ];

    pub fn parse(name: &str) -> Result<Command, NgError> {
        let known = Command::ALL.iter().find(|(_, known)| *known == name);
        known.map(|(command, _)| *command).ok_or(NgError::UnrecognizedCommand)
    }

    pub fn name(self) -> &'static str {
        Command::ALL[self as usize].1
    }
}

/// What a client asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    pub command: Command,
    pub options: Options,
}

impl Request {
    pub fn read(dict: &Dict) -> Result<Request, NgError> {
        let command = Command::parse(dict.text("command").ok_or(NgError::NoCommand)?)?;
        Ok(Request { command, options: Options::read(dict) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_and_later_ones_are_not() {
        for (command, name) in Command::ALL {
            assert_eq!((Command::parse(name), command.name()), (Ok(command), name));
        }
        for name in Command::LATER.into_iter().chain(["Offer", "start-recording", ""]) {
            assert_eq!(Command::parse(name), Err(NgError::UnrecognizedCommand), "{name}");
        }
    }

    #[test]
    fn a_command_is_a_text() {
        assert_eq!(Request::read(&Dict::new()), Err(NgError::NoCommand));
        assert_eq!(Request::read(&Dict::new().with("command", 3)), Err(NgError::NoCommand));
        assert_eq!(Request::read(&Dict::new().with("command", "ping")).unwrap().command, Command::Ping);
    }
}
