//! The wall clock beside the monotonic one, for the one place that needs it: NTP time in sender reports.
//!
//! Workers take their time from [`crate::batch::PacketBatch::now`], read once a batch; tests give them times of their
//! own. This module only says what to add to be on the NTP time line, found once at start.

use crate::batch::{Nanos as IoNanos, PacketBatch};
use crosspoint_wire::Nanos;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// When the packets of this batch were harvested.
#[inline]
pub fn of(batch: &PacketBatch) -> Nanos {
    Nanos(batch.now().0)
}

/// The clock that batches are stamped with, for set-up and tests.
pub fn monotonic() -> Nanos {
    Nanos(IoNanos::now().0)
}

/// Seconds from the NTP epoch (1900) to the Unix epoch (RFC 5905 §6).
const NTP_TO_UNIX_SECONDS: u64 = 2_208_988_800;

/// The NTP time at which the monotonic clock, which shows `now`, was zero (RFC 3550 §6.4.1).
pub fn ntp_origin(now: Nanos) -> Nanos {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    nanos(unix + Duration::from_secs(NTP_TO_UNIX_SECONDS)).since(now)
}

/// A span; more than 584 years are cut off.
pub fn nanos(span: Duration) -> Nanos {
    Nanos(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX))
}
