//! Pins threads and the processes they start to cores.

use anyhow::{Context, bail};
use std::mem::zeroed;

/// Pins the calling thread; what it starts inherits that.
pub fn pin(core: usize) -> anyhow::Result<()> {
    if core >= libc::CPU_SETSIZE as usize {
        bail!("core {core}: this kernel interface knows {} cores", libc::CPU_SETSIZE);
    }
    // SAFETY: all-zero bytes are an empty cpu_set_t; `core` is below its length.
    let set = unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        libc::CPU_SET(core, &mut set);
        set
    };
    // SAFETY: the pointer and size are those of `set`; 0 is the calling thread.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if result != 0 {
        let error = std::io::Error::last_os_error();
        return Err(error)
            .with_context(|| format!("cannot pin to core {core}; `nproc` and `taskset -p $$` show what is allowed"));
    }
    Ok(())
}

/// Cores that this process may use.
pub fn allowed() -> Vec<usize> {
    // SAFETY: all-zero bytes are an empty cpu_set_t.
    let mut set: libc::cpu_set_t = unsafe { zeroed() };
    // SAFETY: the pointer and size are those of `set`; 0 is the calling thread.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    // SAFETY: each index is below the length of the set.
    let is_in = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    if result == 0 { (0..libc::CPU_SETSIZE as usize).filter(is_in).collect() } else { Vec::new() }
}

/// Priority of the calling thread (nice(2)); what it starts inherits that.
pub fn set_nice(nice: i32) -> anyhow::Result<()> {
    // SAFETY: the call takes numbers only; on Linux, 0 is the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
    if nice != 0 && result != 0 {
        let error = std::io::Error::last_os_error();
        return Err(error).with_context(|| format!("--nice {nice}: below zero it needs CAP_SYS_NICE"));
    }
    Ok(())
}

/// Where the kernel groups tasks by session (sched(7), autogroup), a nice value counts within the session only; this is that
/// of the session itself. Set for as long as it lives.
pub struct SessionPriority {
    before: Option<String>,
}

const AUTOGROUP: &str = "/proc/self/autogroup";

impl SessionPriority {
    pub fn raise(nice: i32) -> SessionPriority {
        let text = std::fs::read_to_string(AUTOGROUP).unwrap_or_default();
        let before = text.trim().rsplit(' ').next().filter(|before| !before.is_empty()).map(str::to_owned);
        let is_set = nice != 0 && std::fs::write(AUTOGROUP, nice.to_string()).is_ok();
        SessionPriority { before: before.filter(|_| is_set) }
    }
}

impl Drop for SessionPriority {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            let _ = std::fs::write(AUTOGROUP, before);
        }
    }
}

/// Runs `work` on a thread pinned to the core, so that what it starts is pinned too and we are not.
pub fn pinned<T: Send>(
    core: Option<usize>,
    nice: i32,
    work: impl FnOnce() -> anyhow::Result<T> + Send,
) -> anyhow::Result<T> {
    let pinned = move || {
        core.map_or(Ok(()), pin)?;
        set_nice(nice)?;
        work()
    };
    std::thread::scope(|scope| scope.spawn(pinned).join().expect("the thread does not panic"))
}
