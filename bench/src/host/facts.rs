//! What a reader must know of the machine before believing a figure.
//!
//! Input: `/proc`, `/sys`, and two short measurements. Output: [`Facts`]. Owns nothing.

use serde::{Deserialize, Serialize};
use std::fs::read_to_string;
use std::sync::OnceLock;
use std::time::Instant;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Facts {
    pub kernel: String,
    pub cpu: String,
    pub cores: usize,
    pub hypervisor: bool,
    pub mitigations: Vec<String>,
    pub governor: String,
    pub memory_bytes: u64,
    /// `getppid`, median of short runs.
    pub null_system_call_ns: f64,
    /// Reading the clock, which each turn of the generator does.
    pub clock_read_ns: f64,
    /// Whether the kernel counts network interrupts apart from the threads they interrupt (`CONFIG_IRQ_TIME_ACCOUNTING`); if
    /// so, the relay's figure has those of its core added. Unknown where its configuration is not to be read.
    pub interrupts_counted_apart: Option<bool>,
    /// Other work on the machine as the run began.
    pub load_average: String,
    pub program: String,
}

pub fn read() -> Facts {
    let text = |path: &str| read_to_string(path).unwrap_or_default().trim().to_owned();
    let cpu_info = text("/proc/cpuinfo");
    let field = |name: &str| {
        let line = cpu_info.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
    };
    let governor = text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
    Facts {
        kernel: text("/proc/sys/kernel/osrelease"),
        cpu: format!("{} (family {} model {})", field("model name"), field("cpu family"), field("model\t")),
        cores: super::affinity::allowed().len(),
        hypervisor: field("flags").contains("hypervisor"),
        mitigations: mitigations(),
        governor: if governor.is_empty() { "not visible".into() } else { governor },
        memory_bytes: memory_bytes(),
        null_system_call_ns: median_ns(|| {
            // SAFETY: getppid takes nothing and cannot fail.
            unsafe { libc::getppid() };
        }),
        clock_read_ns: median_ns(|| {
            std::hint::black_box(Instant::now());
        }),
        interrupts_counted_apart: interrupts_counted_apart(),
        load_average: text("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
        program: format!("crosspoint-bench {}", env!("CARGO_PKG_VERSION")),
    }
}

/// Those that are in force, each with the kernel's own words.
fn mitigations() -> Vec<String> {
    let directory = std::fs::read_dir("/sys/devices/system/cpu/vulnerabilities").into_iter().flatten().flatten();
    let mut found: Vec<String> = directory
        .filter_map(|entry| {
            let state = read_to_string(entry.path()).ok()?;
            let state = state.trim().strip_prefix("Mitigation: ")?.to_owned();
            Some(format!("{}: {state}", entry.file_name().to_string_lossy()))
        })
        .collect();
    found.sort();
    found
}

/// From the configuration of the running kernel.
pub fn interrupts_counted_apart() -> Option<bool> {
    static ANSWER: OnceLock<Option<bool>> = OnceLock::new();
    *ANSWER.get_or_init(read_interrupts_counted_apart)
}

fn read_interrupts_counted_apart() -> Option<bool> {
    let release = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let of_distribution = read_to_string(format!("/boot/config-{}", release.trim()));
    let unpacked = || std::process::Command::new("zcat").arg("/proc/config.gz").output();
    let text = of_distribution.ok().or_else(|| String::from_utf8(unpacked().ok()?.stdout).ok())?;
    (!text.is_empty()).then(|| text.lines().any(|line| line == "CONFIG_IRQ_TIME_ACCOUNTING=y"))
}

fn memory_bytes() -> u64 {
    let info = read_to_string("/proc/meminfo").unwrap_or_default();
    let line = info.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Nanoseconds of one call: the median of 21 runs of 2,000.
fn median_ns(mut call: impl FnMut()) -> f64 {
    const CALLS: u32 = 2000;
    let mut runs: Vec<f64> = (0..21)
        .map(|_| {
            let begun = Instant::now();
            (0..CALLS).for_each(|_| call());
            begun.elapsed().as_nanos() as f64 / f64::from(CALLS)
        })
        .collect();
    runs.sort_by(f64::total_cmp);
    runs[runs.len() / 2]
}
