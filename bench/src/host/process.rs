//! What the kernel says of processes and cores (proc(5)).
//!
//! Input: process ids. Output: nanoseconds, bytes, counts. Owns nothing. A process that is gone has used nothing.

use std::collections::BTreeMap;
use std::fs::{read_dir, read_link, read_to_string};
use std::net::SocketAddr;

/// A process and all it started, and those in turn.
pub fn family(process_id: u32) -> Vec<u32> {
    let children = read_to_string(format!("/proc/{process_id}/task/{process_id}/children")).unwrap_or_default();
    // Children are listed by the thread that started them.
    let of_threads = tasks(process_id).filter_map(|task| read_to_string(task.join("children")).ok());
    let all: String = of_threads.fold(children, |all, children| all + " " + &children);
    let mut ids: Vec<u32> = all.split_whitespace().filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    std::iter::once(process_id).chain(ids.into_iter().flat_map(family)).collect()
}

fn tasks(process_id: u32) -> impl Iterator<Item = std::path::PathBuf> {
    read_dir(format!("/proc/{process_id}/task")).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Nanoseconds that each thread of these processes has run, by thread id: `schedstat` counts what the scheduler gave it,
/// user and kernel, in nanoseconds, where `stat` counts ticks. A thread that sleeps is exact; one that runs may lag by the
/// time since the kernel's last tick.
pub fn thread_cpu_ns(process_ids: &[u32]) -> BTreeMap<u32, u64> {
    let of_task = |task: std::path::PathBuf| {
        let id = task.file_name()?.to_str()?.parse().ok()?;
        Some((id, cpu_of(&task)?))
    };
    process_ids.iter().flat_map(|id| tasks(*id).filter_map(of_task)).collect()
}

/// What was used between two readings. Threads that began meanwhile count in full.
pub fn cpu_between_ns(before: &BTreeMap<u32, u64>, after: &BTreeMap<u32, u64>) -> u64 {
    after.iter().map(|(id, ns)| ns.saturating_sub(before.get(id).copied().unwrap_or(0))).sum()
}

fn cpu_of(task: &std::path::Path) -> Option<u64> {
    read_to_string(task.join("schedstat")).ok()?.split_whitespace().next()?.parse().ok()
}

/// Nanoseconds of the thread that does the kernel's deferred network work of this core when it is too much.
pub fn deferred_cpu_ns(core: usize) -> u64 {
    let name = format!("ksoftirqd/{core}");
    let is_it = |path: &std::path::PathBuf| {
        let is_process = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with(|c: char| c.is_ascii_digit()));
        is_process && read_to_string(path.join("comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let all = read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path());
    all.into_iter().find(is_it).and_then(|path| cpu_of(&path)).unwrap_or(0)
}

/// What a core did, in ticks of 10 ms (`/proc/stat`).
#[derive(Clone, Copy, Debug, Default)]
pub struct CoreTicks {
    pub idle: u64,
    pub softirq: u64,
    /// Given to other machines by the hypervisor.
    pub steal: u64,
    pub all: u64,
}

pub fn core_ticks(core: usize) -> CoreTicks {
    let text = read_to_string("/proc/stat").unwrap_or_default();
    let prefix = format!("cpu{core} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().filter_map(|ticks| ticks.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, steal, ..] = ticks[..] else { return CoreTicks::default() };
    CoreTicks { idle: idle + iowait, softirq, steal, all: user + nice + system + idle + iowait + irq + softirq + steal }
}

/// Memory of all these processes: resident, and with shared pages divided by their users.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    pub resident_bytes: u64,
    pub proportional_bytes: u64,
}

pub fn memory(process_ids: &[u32]) -> Memory {
    let mut sum = Memory::default();
    for id in process_ids {
        let rollup = read_to_string(format!("/proc/{id}/smaps_rollup")).unwrap_or_default();
        let bytes = |field: &str| {
            let line = rollup.lines().find_map(|line| line.strip_prefix(field));
            line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
        };
        sum.resident_bytes += bytes("Rss:");
        sum.proportional_bytes += bytes("Pss:");
    }
    sum
}

/// Open descriptors of all these processes.
pub fn descriptors(process_ids: &[u32]) -> usize {
    process_ids.iter().filter_map(|id| read_dir(format!("/proc/{id}/fd")).ok()).map(Iterator::count).sum()
}

/// What the kernel keeps for sockets of the whole machine: objects of its slabs (`/proc/slabinfo`, root only) and packets
/// in UDP queues (`/proc/net/sockstat`).
pub fn socket_memory_bytes() -> Option<u64> {
    let slabs = read_to_string("/proc/slabinfo").ok()?;
    let used = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, active, _, bytes, ..] = words[..] else { return None };
        let is_of_sockets =
            matches!(name, "UDP" | "UDPv6" | "sock_inode_cache" | "filp" | "eventpoll_epi" | "eventpoll_pwq");
        is_of_sockets.then(|| Some(active.parse::<u64>().ok()? * bytes.parse::<u64>().ok()?)).flatten()
    };
    Some(slabs.lines().filter_map(used).sum::<u64>() + udp_queue_bytes())
}

fn udp_queue_bytes() -> u64 {
    let text = read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("UDP:")).unwrap_or_default();
    let pages = line.split_whitespace().skip_while(|word| *word != "mem").nth(1).and_then(|pages| pages.parse().ok());
    pages.unwrap_or(0_u64) * 4096
}

/// The process that holds the UDP socket bound to this address, if it runs here and we may look.
pub fn of_udp_listener(addr: SocketAddr) -> Option<u32> {
    let table = read_to_string("/proc/net/udp").ok()?;
    let port = format!(":{:04X}", addr.port());
    let inode = table.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words.get(1)?.ends_with(&port).then(|| words.get(9).map(|inode| format!("socket:[{inode}]")))?
    })?;
    let holds = |id: &u32| {
        let descriptors = read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        descriptors.into_iter().any(|fd| read_link(fd.path()).is_ok_and(|link| link.to_string_lossy() == inode))
    };
    let processes = read_dir("/proc").ok()?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    processes.into_iter().find(holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::time::{Duration, Instant};

    #[test]
    fn work_that_is_done_is_seen() {
        let own = [std::process::id()];
        let before = thread_cpu_ns(&own);
        // The kernel brings a running thread's time up to date at its tick, so this works on until that came.
        let deadline = Instant::now() + Duration::from_secs(20);
        while cpu_between_ns(&before, &thread_cpu_ns(&own)) < 5_000_000 {
            assert!(Instant::now() < deadline, "20 seconds of work, and none was seen");
            std::hint::black_box((0..100_000u64).map(std::hint::black_box).sum::<u64>());
        }
    }

    #[test]
    fn the_owner_of_a_socket_is_found_by_its_address() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
        assert_eq!(of_udp_listener(socket.local_addr().expect("bound")), Some(std::process::id()));
    }

    #[test]
    fn a_core_that_exists_has_ticks() {
        assert!(core_ticks(0).all > 0);
        assert_eq!(core_ticks(99_999).all, 0);
    }
}
