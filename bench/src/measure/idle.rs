//! What the relay costs when nothing is sent: its calls are held, its threads wait.

use crate::measure::rig::Rig;
use crate::measure::trial::Reading;
use std::time::Duration;

/// Share of a core that the relay uses while its calls are silent.
pub fn share_of_core(rig: &Rig, seconds: f64) -> Option<f64> {
    let before = Reading::before(&rig.target, None);
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let used = before.used_until(&Reading::after(&rig.target, None));
    used.is_visible.then(|| used.relay_ns as f64 / used.elapsed_ns as f64)
}
