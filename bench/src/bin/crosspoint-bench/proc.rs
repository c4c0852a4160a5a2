//! What the kernel says of processes (proc(5)).

use std::fs::read_to_string;

/// A process and its children.
pub fn family(process_id: u32) -> Vec<u32> {
    let children = read_to_string(format!("/proc/{process_id}/task/{process_id}/children")).unwrap_or_default();
    // Children are listed by the thread that started them.
    let tasks = std::fs::read_dir(format!("/proc/{process_id}/task")).into_iter().flatten().flatten();
    let of_threads = tasks.filter_map(|task| read_to_string(task.path().join("children")).ok());
    let all: String = of_threads.fold(children, |all, children| all + " " + &children);
    let mut ids: Vec<u32> = all.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    std::iter::once(process_id).chain(ids.into_iter().flat_map(family)).collect()
}

/// Resident memory of all these processes.
pub fn resident_bytes(process_ids: &[u32]) -> u64 {
    let of = |id: &u32| {
        let status = read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    process_ids.iter().filter_map(of).sum()
}

/// Open descriptors of all these processes.
pub fn descriptors(process_ids: &[u32]) -> usize {
    process_ids.iter().filter_map(|id| std::fs::read_dir(format!("/proc/{id}/fd")).ok()).map(Iterator::count).sum()
}

/// Kernel memory of all UDP sockets of this machine, in bytes (`/proc/net/sockstat`: pages).
pub fn udp_memory_bytes() -> u64 {
    let text = read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("UDP:")).unwrap_or_default();
    let pages = line.split_whitespace().skip_while(|word| *word != "mem").nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}
