//! Log lines on standard error, as text or JSON. Nothing here logs per packet, and no field carries a secret or token.
//!
//! Lines are written by a thread of their own, over a bounded queue: a terminal that is stopped or a full disk must not
//! hold the core or a worker. What finds the queue full is dropped and counted.

use super::settings::{LogFilter, LogFormat};
use crate::core::effect::{Level, Note};
use socket2::{SockRef, Type};
use std::io::{IsTerminal, Write, stderr};
use std::sync::OnceLock;
use tracing::Metadata;
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait: some megabytes.
const LINES_MAX: usize = 16_384;

/// Libraries that print what passes through them at trace, tokens included, or a line per bad datagram. No filter of the
/// user's gets more out of them.
const QUIET: [&str; 7] =
    ["tungstenite=warn", "tokio_tungstenite=warn", "axum=warn", "hyper=warn", "h2=warn", "rustls=warn", "dimpl=off"];

static DROPPED: OnceLock<ErrorCounter> = OnceLock::new();

/// Writes what waits when it is dropped, at the end of the process.
#[must_use]
pub struct Log(#[expect(dead_code, reason = "held for its drop")] WorkerGuard);

/// Takes effect once per process.
pub fn start(level: &LogFilter, format: LogFormat) -> Log {
    let filter = EnvFilter::new(&level.0);
    let filter = QUIET.iter().fold(filter, |filter, quiet| filter.add_directive(quiet.parse().expect("a directive")));
    let (writer, log) = queue(stderr());
    let _ = DROPPED.set(writer.error_counter());
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer.clone()).with_target(false);
    // A second start in one process (tests) keeps the first.
    let _ = match format {
        LogFormat::Text if is_syslog() => lines.without_time().with_level(false).with_writer(Syslog(writer)).try_init(),
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    log
}

/// Whether standard error is syslog's socket, as in the background it is.
fn is_syslog() -> bool {
    SockRef::from(&stderr()).r#type().is_ok_and(|socket| socket == Type::DGRAM)
}

/// Lines as syslog(3) sends them: one datagram each, the priority before it (RFC 3164 §4.1.1, §4.1.3).
struct Syslog(NonBlocking);

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = SyslogLine;

    fn make_writer(&'a self) -> SyslogLine {
        SyslogLine { severity: 6, queue: self.0.clone() }
    }

    fn make_writer_for(&'a self, line: &Metadata<'_>) -> SyslogLine {
        let severity = match *line.level() {
            tracing::Level::ERROR => 3,
            tracing::Level::WARN => 4,
            tracing::Level::INFO => 6,
            tracing::Level::DEBUG | tracing::Level::TRACE => 7,
        };
        SyslogLine { severity, queue: self.0.clone() }
    }
}

struct SyslogLine {
    severity: u8,
    queue: NonBlocking,
}

impl Write for SyslogLine {
    /// A line comes in one piece.
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        const DAEMON: u8 = 3;
        let mut datagram = format!("<{}>crosspoint[{}]: ", DAEMON * 8 + self.severity, std::process::id()).into_bytes();
        datagram.extend_from_slice(line.trim_ascii_end());
        self.queue.write_all(&datagram)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.queue.flush()
    }
}

fn queue(sink: impl Write + Send + 'static) -> (NonBlocking, Log) {
    let builder = NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("log");
    let (writer, guard) = builder.finish(sink);
    (writer, Log(guard))
}

/// Lines that found the queue full since start.
pub fn lines_dropped() -> u64 {
    DROPPED.get().map_or(0, |dropped| dropped.dropped_lines() as u64)
}

/// A line of the core. `tracing` must know field names when it is compiled; a field that is not in this list is still
/// logged, in the message.
macro_rules! note {
    ($level:ident, $note:expr, $($name:literal),+; $($number:literal),+) => {
        tracing::$level!(
            kind = $note.kind,
            $($name = value($note, $name),)+
            $($number = number($note, $number),)+
            "{}",
            Message { note: $note, named: &[$($name),+], numbers: &[$($number),+] }
        )
    };
}

macro_rules! note_fields {
    ($level:ident, $note:expr) => {
        note!(
            $level,
            $note,
            "account",
            "by",
            "call_sid",
            "callsid",
            "from",
            "identity",
            "key",
            "leg",
            "order",
            "reason",
            "remote",
            "session",
            "to",
            "type",
            "was",
            "why";
            "calls",
            "code",
            "legs",
            "process_id",
            "silent_ms",
            "unanswered_ms",
            "wait_ms",
            "worker",
            "workers"
        )
    };
}

pub fn note(note: &Note) {
    match note.level {
        Level::Debug => note_fields!(debug, note),
        Level::Info => note_fields!(info, note),
        Level::Warn => note_fields!(warn, note),
    }
}

fn value<'a>(note: &'a Note, name: &str) -> Option<&'a str> {
    note.fields.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
}

fn number(note: &Note, name: &str) -> Option<u64> {
    value(note, name)?.parse().ok()
}

/// The kind in words, and the fields that no list names. Values come from peers, so they are quoted and escaped.
struct Message<'a> {
    note: &'a Note,
    named: &'a [&'static str],
    numbers: &'a [&'static str],
}

impl std::fmt::Display for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.note.kind.replace('_', " "))?;
        let is_field = |key: &&'static str, value: &str| {
            self.named.contains(key) || self.numbers.contains(key) && value.parse::<u64>().is_ok()
        };
        let rest = self.note.fields.iter().filter(|(key, value)| !is_field(key, value));
        rest.into_iter().try_for_each(|(key, value)| write!(f, " {key}={value:?}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::io;
    use std::sync::{Arc, Mutex, mpsc};

    /// Takes nothing until it is let go.
    struct Stuck(mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn sink_that_is_stuck_holds_nobody_and_what_is_lost_is_counted() {
        let (let_go, held) = mpsc::channel();
        let (writer, log) = queue(Stuck(held));
        let dropped = writer.error_counter();
        let subscriber = tracing_subscriber::fmt().with_writer(writer).finish();
        tracing::subscriber::with_default(subscriber, || (0..LINES_MAX + 10).for_each(|i| tracing::info!(i)));
        assert!((8..=10).contains(&dropped.dropped_lines()), "{}", dropped.dropped_lines());
        drop(let_go);
        drop(log);
    }

    #[test]
    fn line_for_syslog_begins_with_its_priority_and_our_name() {
        let lines = Lines::default();
        let (writer, log) = queue(lines.clone());
        let subscriber = tracing_subscriber::fmt().without_time().with_level(false).with_target(false);
        let subscriber = subscriber.with_writer(Syslog(writer)).finish();
        tracing::subscriber::with_default(subscriber, || tracing::warn!("too many"));
        drop(log);
        let said = String::from_utf8(lines.0.lock().expect("whole").clone()).expect("text");
        assert_eq!(said, format!("<28>crosspoint[{}]: too many", std::process::id()));
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn fields_of_a_note_are_fields_of_the_json_line() {
        let lines = Lines::default();
        let sink = lines.clone();
        let subscriber =
            tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || sink.clone()).finish();
        let fields = vec![
            ("call_sid", "CA1".to_owned()),
            ("calls", "3".into()),
            ("legs", "none".into()),
            ("type", "a \"quoted\" one".into()),
            ("unheard_of", "x".into()),
        ];
        let line = Note { level: Level::Info, kind: "call_started", fields };
        tracing::subscriber::with_default(subscriber, || note(&line));
        let line: Value = serde_json::from_slice(&lines.0.lock().expect("whole")).expect("one JSON object");
        assert_eq!(line["kind"], "call_started");
        assert_eq!(line["call_sid"], "CA1");
        assert_eq!(line["type"], json!("a \"quoted\" one"));
        assert_eq!(line["calls"], 3);
        assert_eq!(line["message"], "call started legs=\"none\" unheard_of=\"x\"");
        assert_eq!(line.get("why"), None);
    }
}
