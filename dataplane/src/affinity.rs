//! Pins threads to cores, and reads what a thread has used of one.
//!
//! Input: a [`CorePlan`] and what the process is allowed. Output: the core of each worker. Owns nothing.

use crate::config::CorePlan;
use std::io;
use std::mem::MaybeUninit;

/// Cores this process may run on, ascending.
pub fn allowed_cores() -> Vec<u16> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: the pointer and size are those of `set`; pid 0 is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
    if result != 0 {
        return Vec::new();
    }
    // SAFETY: zeroed is a valid cpu_set_t, and the call has filled it.
    let set = unsafe { set.assume_init() };
    (0..libc::CPU_SETSIZE as u16)
        // SAFETY: every index is below CPU_SETSIZE, the length of the set.
        .filter(|&core| unsafe { libc::CPU_ISSET(usize::from(core), &set) })
        .collect()
}

/// The core of worker `index`, if it is to have one.
pub fn core_of(plan: &CorePlan, index: usize) -> Option<u16> {
    match plan {
        CorePlan::None => None,
        CorePlan::List(cores) => cores.get(index).copied(),
        CorePlan::Auto => {
            let mut cores = allowed_cores();
            // Interrupts and everything unpinned gather on core 0.
            cores.sort_by_key(|&core| (core == 0, core));
            cores.get(index).copied()
        }
    }
}

/// Pins the calling thread.
pub fn pin(core: u16) -> io::Result<()> {
    let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
    // SAFETY: zeroed is a valid, empty cpu_set_t; CPU_SET ignores cores beyond its length.
    let set = unsafe {
        libc::CPU_SET(usize::from(core), set.assume_init_mut());
        set.assume_init()
    };
    // SAFETY: the pointer and size are those of `set`; pid 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The kernel's name of the calling thread.
pub fn thread_id() -> i32 {
    // SAFETY: gettid takes nothing and cannot fail.
    unsafe { libc::gettid() }
}

/// Nanoseconds of processor time that a thread of this process has used; 0 when it has ended.
pub fn thread_busy_ns(thread_id: i32) -> u64 {
    /// `CPUCLOCK_PERTHREAD_MASK | CPUCLOCK_SCHED` of the kernel's clock ids.
    const THREAD_CLOCK: libc::clockid_t = 0b110;
    let clock = (!thread_id << 3) | THREAD_CLOCK;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to; an id without a thread is refused.
    let result = unsafe { libc::clock_gettime(clock, &mut time) };
    if result == 0 { time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_plan_uses_core_zero_last() {
        let cores = allowed_cores();
        let planned: Vec<_> = (0..cores.len()).filter_map(|n| core_of(&CorePlan::Auto, n)).collect();
        assert_eq!(planned.len(), cores.len());
        assert!(cores.len() == 1 || planned.first() != Some(&0));
        assert_eq!(core_of(&CorePlan::Auto, cores.len()), None);
    }

    #[test]
    fn busy_time_of_a_working_thread_grows() {
        let before = thread_busy_ns(thread_id());
        let sum: u64 = (0..2_000_000u64).map(std::hint::black_box).sum();
        assert!(std::hint::black_box(sum) > 0);
        assert!(thread_busy_ns(thread_id()) > before);
        assert_eq!(thread_busy_ns(i32::MAX / 16), 0, "no such thread");
    }
}
