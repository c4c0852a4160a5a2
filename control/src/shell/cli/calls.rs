//! `crosspoint calls`: call records, newest first, as a table or as JSON lines; `show` prints one whole.

use super::print;
use crate::core::record::CallRecord;
use crate::shell::Fault;
use crate::shell::data_dir::DataDir;
use crate::shell::settings::Effective;
use crate::shell::store::{SqliteStore, Store};
use clap::{Args, Subcommand};
use std::fmt::Write;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct CallsArgs {
    /// How many records, newest first.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<CallsCommand>,
}

#[derive(Subcommand, Debug)]
enum CallsCommand {
    /// One record with its legs, as JSON.
    Show {
        /// The call's SID: CA and 32 hexadecimal digits.
        #[arg(value_name = "SID")]
        call_sid: String,
    },
}

pub(super) async fn run(effective: &Effective, arguments: CallsArgs) -> Result<(), Fault> {
    let store = SqliteStore::open(&DataDir::used(&effective.settings().data_dir)?).await?;
    if let Some(CallsCommand::Show { call_sid }) = arguments.command {
        let Some(record) = store.record(&call_sid).await? else {
            let dir = effective.settings().data_dir;
            return Err(Fault::Command(format!(
                "no record of {call_sid} in {}; calls in progress have none yet. List them: crosspoint calls",
                dir.display()
            )));
        };
        return print(&(json(&record, true) + "\n"));
    }
    let records = store.records(arguments.limit).await?;
    if arguments.json {
        return print(&records.iter().map(|record| json(record, false) + "\n").collect::<String>());
    }
    print(&table(&records))
}

fn json(record: &CallRecord, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(record) } else { serde_json::to_string(record) };
    text.expect("a record holds nothing that JSON cannot")
}

fn table(records: &[CallRecord]) -> String {
    if records.is_empty() {
        return "no calls yet; open the softphone page twice and call\n".into();
    }
    let mut out = format!(
        "{:<34} {:<20} {:>8} {:<20} {:<20} {:<12} {:<7} {}\n",
        "CALL", "STARTED (UTC)", "SECONDS", "FROM", "TO", "END", "BY", "CODE"
    );
    for record in records {
        let _ = writeln!(
            out,
            "{:<34} {:<20} {:>8} {:<20} {:<20} {:<12} {:<7} {}",
            record.call_sid,
            utc(record.started_unix_ms),
            talk_seconds(record),
            record.from,
            record.to,
            record.end_reason,
            record.ended_by,
            record.code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
        );
    }
    out
}

fn talk_seconds(record: &CallRecord) -> String {
    let talked = record.answered_unix_ms.map(|answered| record.ended_unix_ms.saturating_sub(answered));
    talked.map_or_else(|| "-".to_owned(), |ms| format!("{:.1}", ms as f64 / 1000.0))
}

/// `2026-01-02 03:04:05`, by the civil calendar (Hinnant's days-to-date).
fn utc(unix_ms: u64) -> String {
    let seconds = unix_ms / 1000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", of_day / 3600, of_day / 60 % 60, of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_827_696_789), "2000-02-29 12:34:56");
        assert_eq!(utc(1_798_761_599_000), "2026-12-31 23:59:59");
    }
}
