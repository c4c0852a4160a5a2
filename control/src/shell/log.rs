//! Log lines on standard error, as text or JSON. Nothing here logs per packet, and no field carries a secret or token.

use super::settings::LogFormat;
use std::io::{IsTerminal, stderr};
use tracing_subscriber::EnvFilter;

/// Takes effect once per process. A filter that does not parse is replaced by `info`, and said so.
pub fn start(level: &str, format: LogFormat) {
    let (filter, bad) = match EnvFilter::try_new(level) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).with_target(false);
    // A second start in one process (tests) keeps the first.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    if let Some(error) = bad {
        tracing::warn!(kind = "log_level_unreadable", level, %error, "log.level does not parse; using info");
    }
}
