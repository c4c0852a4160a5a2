//! What the kernel knows about a process: memory, processor time, arguments. Read from `/proc`, for figures and for signals.

use std::fs;

/// Memory of a process, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident_kib: u64,
    /// Resident, shared pages divided by their users.
    pub proportional_kib: u64,
}

pub fn memory(pid: u32) -> Memory {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = |field: &str| {
        let line = rollup.lines().find(|line| line.starts_with(field));
        line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0)
    };
    Memory { resident_kib: kib("Rss:"), proportional_kib: kib("Pss:") }
}

/// User and system time the process has taken, all threads, in nanoseconds. Its grain is the kernel's tick of 10 ms.
pub fn cpu_ns(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The name in parentheses may hold spaces; the fields after it are counted from 3 (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|f| f.parse::<u64>().ok()).unwrap_or(0);
    (ticks(14) + ticks(15)) * 10_000_000
}

/// Processes of our own whose command line holds all these texts, this process excepted.
pub fn with_arguments(texts: &[&str]) -> Vec<u32> {
    let holds_all = |pid: &u32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        *pid != std::process::id() && texts.iter().all(|text| line.contains(text))
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(holds_all).collect()
}

pub fn is_alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
