//! Every bound of the core, and the limits that refuse new calls first.
//!
//! Input: the settings, the load as measured, the number of calls. Output: the refusal that clients fail over on. Owns nothing.

use crate::effect::Load;
use crate::error::NgError;
use crate::settings::Settings;

/// How long a reply is held for the dataplane to take the orders behind it. It needs well under a millisecond; a proxy
/// repeats its question after a second.
pub const ORDERS_WAIT_MS: u64 = 500;

/// How long an answer waits for figures of the dataplane: far above a round trip, far below a client's repetition.
pub const FIGURES_WAIT_MS: u64 = 400;
/// A dataplane that was too busy is told again after this.
pub const REPAIR_MS: u64 = 100;
/// Parties of a call: forks, subscribers and those deleted long ago. Beyond it new ones are refused.
pub const PARTIES_MAX: usize = 256;
/// Other ports that are tried for a leg whose ports are taken.
pub const PORT_TRIES_MAX: u32 = 20;
/// What an address gets that never speaks: 200 s of audio, as long as a phone may ring to a caller that sends nothing before
/// the answer. Beyond it nobody there wants it, or whoever signaled named somebody else's host.
pub const UNHEARD_PACKETS_MAX: u32 = 10_000;
/// Legs left behind by an earlier control plane are kept for so long.
pub const ORPHANS_KEPT_MS: u64 = 3_600_000;
/// Candidates of one m-line that are kept, trickled ones among them.
pub const CANDIDATES_HEARD_MAX: usize = 64;
/// Trickled fragments wait so long for the description that they belong to, as in rtpengine.
pub const FRAGMENTS_WAIT_MS: u64 = 3_000;
/// Of all calls; beyond it the oldest go.
pub const FRAGMENTS_WAITING_MAX: usize = 1_024;
pub const FRAGMENTS_BYTES_MAX: usize = 1 << 20;
/// Call identifiers, tags, branches and labels: longer ones are refused as if they were missing.
pub const NAME_BYTES_MAX: usize = 1024;

/// Whether one more call may be taken.
pub fn admit(calls: usize, settings: &Settings, load: Load) -> Result<(), NgError> {
    let over = |value: f32, max: f32| max > 0.0 && value > max;
    match () {
        () if settings.sessions_max.is_some_and(|max| calls >= max as usize) => Err(NgError::SessionLimit),
        () if over(load.cpu_percent, settings.cpu_percent_max) => Err(NgError::CpuLimit),
        () if over(load.load, settings.load_max) => Err(NgError::LoadLimit),
        () if settings.bytes_per_second_max > 0 && load.bytes_per_second > settings.bytes_per_second_max => {
            Err(NgError::BandwidthLimit)
        }
        () => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_refuses_with_the_words_that_clients_compare() {
        let mut settings = Settings::on([127, 0, 0, 1].into());
        let busy = Load { cpu_percent: 91.0, load: 3.0, bytes_per_second: 11, ..Load::default() };
        assert_eq!(admit(1_000_000, &settings, busy), Ok(()), "no limit by default");
        settings.bytes_per_second_max = 10;
        assert_eq!(admit(0, &settings, busy), Err(NgError::BandwidthLimit));
        settings.load_max = 2.5;
        assert_eq!(admit(0, &settings, busy), Err(NgError::LoadLimit));
        settings.cpu_percent_max = 90.0;
        assert_eq!(admit(0, &settings, busy), Err(NgError::CpuLimit));
        settings.sessions_max = Some(2);
        assert_eq!(admit(2, &settings, busy), Err(NgError::SessionLimit));
        assert_eq!(admit(1, &settings, Load::default()), Ok(()));
    }
}
