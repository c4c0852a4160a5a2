//! `crosspoint calls`: calls in progress and call records, newest first, as a table or as JSON lines; `show` prints one
//! whole.

use super::print;
use crate::core::record::{CallRecord, LiveCall, LiveLeg};
use crate::shell::Fault;
use crate::shell::core_loop::unix_ms;
use crate::shell::data_dir::DataDir;
use crate::shell::settings::Effective;
use crate::shell::store::{SqliteStore, Store};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt::Write;

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct CallsArgs {
    /// How many records, newest first.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// One JSON object a line. Calls in progress come first, and have a `state` and no `ended_unix_ms`.
    #[arg(long)]
    json: bool,
    #[command(subcommand)]
    command: Option<CallsCommand>,
}

#[derive(Subcommand, Debug)]
enum CallsCommand {
    /// One call with its legs, as JSON.
    Show {
        /// SID of the call, or by which a party knows it: CA and 32 hexadecimal digits.
        #[arg(value_name = "SID")]
        call_sid: String,
    },
}

pub(super) async fn run(effective: &Effective, arguments: CallsArgs) -> Result<(), Fault> {
    let store = SqliteStore::open(&DataDir::used(&effective.settings().data_dir)?).await?;
    if let Some(CallsCommand::Show { call_sid }) = arguments.command {
        return show(effective, &store, &call_sid).await;
    }
    // In this order: a call that ends meanwhile is listed twice rather than not at all.
    let live = store.live_calls().await?;
    let records = store.records(arguments.limit).await?;
    if arguments.json {
        let live = live.iter().map(|call| live_json(call).to_string() + "\n");
        return print(&live.chain(records.iter().map(|record| record_json(record, false) + "\n")).collect::<String>());
    }
    print(&table(&live, &records, unix_ms()))
}

async fn show(effective: &Effective, store: &SqliteStore, sid: &str) -> Result<(), Fault> {
    let live = store.live_calls().await?;
    if let Some(call) = live.iter().find(|call| call.call_sid == sid || call.legs.iter().any(|leg| leg.call_sid == sid))
    {
        return print(&format!("{:#}\n", live_json(call)));
    }
    match store.record(sid).await? {
        Some(record) => print(&(record_json(&record, true) + "\n")),
        None => {
            let dir = effective.settings().data_dir;
            Err(Fault::Command(format!("no call {sid} in {}; list them: crosspoint calls", dir.display())))
        }
    }
}

/// What may be shown of a call in progress: not its descriptions, which hold the passwords of its legs.
fn live_json(call: &LiveCall) -> Value {
    let leg = |leg: &LiveLeg| {
        json!({ "call_sid": leg.call_sid, "role": leg.role, "identity": leg.identity, "instance": leg.instance,
                "codec": leg.codec })
    };
    json!({
        "call_sid": call.call_sid, "account_sid": call.account_sid, "from": call.from, "to": call.to,
        "state": live_state(call), "started_unix_ms": call.started_unix_ms, "answered_unix_ms": call.answered_unix_ms,
        "ends_unix_ms": call.ends_unix_ms, "path": call.path, "legs": call.legs.iter().map(leg).collect::<Vec<_>>(),
    })
}

fn live_state(call: &LiveCall) -> &'static str {
    match (&call.end, call.answered_unix_ms) {
        (Some(_), _) => "ending",
        (None, Some(_)) => "in progress",
        (None, None) => "ringing",
    }
}

fn record_json(record: &CallRecord, pretty: bool) -> String {
    let text = if pretty { serde_json::to_string_pretty(record) } else { serde_json::to_string(record) };
    text.expect("a record holds nothing that JSON cannot")
}

/// Columns are as wide as what stands in them.
fn table(live: &[LiveCall], records: &[CallRecord], now_unix_ms: u64) -> String {
    if live.is_empty() && records.is_empty() {
        return "no calls yet; open the softphone page twice and call\n".into();
    }
    const HEAD: [&str; 8] = ["CALL", "STARTED (UTC)", "SECONDS", "FROM", "TO", "END", "BY", "CODE"];
    let mut live: Vec<&LiveCall> = live.iter().collect();
    live.sort_by_key(|call| std::cmp::Reverse(call.started_unix_ms));
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(live.into_iter().map(|call| live_row(call, now_unix_ms)));
    rows.extend(records.iter().map(record_row));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 8] = std::array::from_fn(width);
    let mut out = String::new();
    for row in &rows {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(out, "{}", cells.join("  ").trim_end());
    }
    out
}

fn live_row(call: &LiveCall, now_unix_ms: u64) -> [String; 8] {
    let state = format!("({})", live_state(call));
    [
        call.call_sid.clone(),
        utc(call.started_unix_ms),
        talk_seconds(call.answered_unix_ms, call.end.as_ref().map_or(now_unix_ms, |end| end.unix_ms)),
        call.from.clone(),
        call.to.clone(),
        call.end.as_ref().map_or(state, |end| end.reason.clone()),
        call.end.as_ref().map_or("-", |end| &end.by).to_owned(),
        "-".to_owned(),
    ]
}

fn record_row(record: &CallRecord) -> [String; 8] {
    [
        record.call_sid.clone(),
        utc(record.started_unix_ms),
        talk_seconds(record.answered_unix_ms, record.ended_unix_ms),
        record.from.clone(),
        record.to.clone(),
        record.end_reason.clone(),
        record.ended_by.clone(),
        record.code.map_or_else(|| "-".to_owned(), |code| code.to_string()),
    ]
}

fn talk_seconds(answered_unix_ms: Option<u64>, until_unix_ms: u64) -> String {
    let talked = answered_unix_ms.map(|answered| until_unix_ms.saturating_sub(answered));
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
    use crosspoint_contract::{BridgeId, CallKey, Generation};

    #[test]
    fn call_in_progress_is_shown_and_columns_stand_under_each_other() {
        let call = LiveCall {
            call_sid: "CA1".into(),
            account_sid: "AC1".into(),
            key: CallKey(1),
            dataplane: Generation(1),
            bridge: BridgeId(1),
            from: "client:somebody-with-a-name-longer-than-a-column".into(),
            to: "client:bob".into(),
            started_unix_ms: 1_000,
            answered_unix_ms: Some(2_000),
            joining_unix_ms: None,
            end: None,
            ends_unix_ms: None,
            path: vec![],
            legs: vec![],
        };
        assert_eq!(
            (&live_json(&call)["state"], &live_json(&call)["answered_unix_ms"]),
            (&"in progress".into(), &2_000.into())
        );
        let text = table(&[call], &[], 4_500);
        let (head, row) = text.trim_end().split_once('\n').expect("two lines");
        assert!(row.contains("(in progress)") && row.contains(" 2.5 "), "{text}");
        assert_eq!(head.find("TO"), row.find("client:bob"), "{text}");
        assert!(table(&[], &[], 0).contains("no calls yet"));
    }

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(951_827_696_789), "2000-02-29 12:34:56");
        assert_eq!(utc(1_798_761_599_000), "2026-12-31 23:59:59");
    }
}
