//! Hours of a grant: when its bearer may place calls, in UTC.
//!
//! Input: text like `08:00-18:00`, `mon-fri 08:00-18:00` or `sat 22:00-06:00`, one or a list. Output: whether a moment
//! lies within. An interval that ends before it begins passes midnight and belongs to the day it begins on.

use serde::Deserialize;
use serde_json::Value;

const MINUTES_OF_DAY: u32 = 24 * 60;
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub struct Hours(Vec<Interval>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Interval {
    /// By index of [`DAYS`].
    days: [bool; 7],
    begins_minute: u32,
    ends_minute: u32,
}

impl Hours {
    pub fn contains(&self, unix_ms: u64) -> bool {
        let minutes = unix_ms / 60_000;
        let minute = (minutes % u64::from(MINUTES_OF_DAY)) as u32;
        // 1970-01-01 was a Thursday.
        let day = ((minutes / u64::from(MINUTES_OF_DAY) + 3) % 7) as usize;
        self.0.iter().any(|interval| interval.contains(day, minute))
    }

    pub fn parse(text: &str) -> Option<Hours> {
        Some(Hours(vec![Interval::parse(text)?]))
    }
}

impl TryFrom<Value> for Hours {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        let texts = match value {
            Value::Array(list) => list,
            one => vec![one],
        };
        let intervals: Option<Vec<_>> = texts.iter().map(|t| t.as_str().and_then(Interval::parse)).collect();
        intervals.map(Hours).ok_or("hours are written like \"mon-fri 08:00-18:00\", in UTC")
    }
}

impl Interval {
    fn parse(text: &str) -> Option<Interval> {
        let text = text.trim().to_ascii_lowercase();
        let (days, times) = text.rsplit_once(' ').map_or((None, text.as_str()), |(d, t)| (Some(d), t));
        let (begins, ends) = times.split_once('-')?;
        let days = days.map_or(Some([true; 7]), parse_days)?;
        Some(Interval { days, begins_minute: parse_minute(begins)?, ends_minute: parse_minute(ends)? })
    }

    fn contains(&self, day: usize, minute: u32) -> bool {
        if self.begins_minute < self.ends_minute {
            return self.days[day] && (self.begins_minute..self.ends_minute).contains(&minute);
        }
        let yesterday = (day + 6) % 7;
        (self.days[day] && minute >= self.begins_minute) || (self.days[yesterday] && minute < self.ends_minute)
    }
}

fn parse_days(text: &str) -> Option<[bool; 7]> {
    let index = |name: &str| DAYS.iter().position(|day| *day == name);
    let (first, last) = text.trim().split_once('-').unwrap_or((text.trim(), text.trim()));
    let (first, last) = (index(first)?, index(last)?);
    let mut days = [false; 7];
    for n in 0..=(last + 7 - first) % 7 {
        days[(first + n) % 7] = true;
    }
    Some(days)
}

fn parse_minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    let minute_of_day = hour.min(25) * 60 + minute.min(60);
    (minute < 60 && minute_of_day <= MINUTES_OF_DAY).then_some(minute_of_day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-22 was a Sunday.
    const SUNDAY_UNIX_MS: u64 = 1_795_305_600_000;
    const HOUR_MS: u64 = 3_600_000;

    fn at(text: &str, day: u64, hour: u64) -> bool {
        Hours::parse(text).expect("well-formed").contains(SUNDAY_UNIX_MS + (day * 24 + hour) * HOUR_MS)
    }

    #[test]
    fn working_hours_exclude_the_weekend_and_the_night() {
        let text = "mon-fri 08:00-18:00";
        assert!(at(text, 1, 8) && at(text, 5, 17));
        assert!(!at(text, 0, 9) && !at(text, 1, 7) && !at(text, 1, 18) && !at(text, 6, 9));
    }

    #[test]
    fn an_interval_over_midnight_belongs_to_the_day_it_begins_on() {
        let text = "sun 22:00-06:00";
        assert!(at(text, 0, 23) && at(text, 1, 5));
        assert!(!at(text, 0, 5) && !at(text, 1, 6) && !at(text, 1, 23));
    }

    #[test]
    fn nonsense_is_refused_rather_than_ignored() {
        for text in ["", "08:00", "25:00-26:00", "08:60-09:00", "foo 08:00-09:00", "4294967295:00-1:00"] {
            assert_eq!(Hours::parse(text), None, "{text:?}");
        }
    }
}
