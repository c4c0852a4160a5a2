//! Says in one line which backend was picked and why.
//!
//! Input: the step at which the host refused io_uring, if it did. Output: a reason for people. Whether io_uring works is
//! found out by opening a ring with everything we use; no list of kernel versions would tell as much.

use std::{fmt, fs, io};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    Uring,
    Mmsg,
    Sim,
}

impl fmt::Display for BackendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BackendKind::Uring => "uring",
            BackendKind::Mmsg => "mmsg",
            BackendKind::Sim => "sim",
        })
    }
}

/// The step of opening a ring that this host refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    step: &'static str,
    error: io::Error,
}

impl Refusal {
    /// For `map_err`.
    pub(crate) fn at(step: &'static str) -> impl FnOnce(io::Error) -> Refusal {
        move |error| Refusal { step, error }
    }

    /// The likely cause.
    pub(crate) fn explain(&self) -> String {
        match self.error.raw_os_error() {
            Some(libc::EPERM) => forbidden(&read_line("/proc/sys/kernel/io_uring_disabled")),
            Some(libc::ENOSYS) => "this kernel has no io_uring, or a seccomp filter hides it".into(),
            Some(libc::EINVAL) => format!("kernel {} is too old for our use of io_uring; 6.1 will do", kernel()),
            _ => format!("io_uring does not work here ({}: {})", self.step, self.error),
        }
    }
}

fn forbidden(io_uring_disabled: &str) -> String {
    match io_uring_disabled {
        "1" | "2" => format!("io_uring is forbidden here (kernel.io_uring_disabled={io_uring_disabled})"),
        _ => "io_uring is forbidden here, probably by the seccomp filter of a container".into(),
    }
}

/// Why io_uring was taken.
pub(crate) fn uring_offer() -> String {
    format!("kernel {} offers multishot receive and buffer rings", kernel())
}

/// Major and minor version of the running kernel.
pub(crate) fn kernel() -> String {
    let release = read_line("/proc/sys/kernel/osrelease");
    release.split(['.', '-']).take(2).collect::<Vec<_>>().join(".")
}

fn read_line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "?".into(), |text| text.trim().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(errno: i32) -> String {
        Refusal::at("io_uring_setup")(io::Error::from_raw_os_error(errno)).explain()
    }

    #[test]
    fn each_refusal_names_its_likely_cause() {
        assert!(forbidden("2").contains("kernel.io_uring_disabled=2"));
        assert!(forbidden("0").contains("seccomp"));
        assert!(explained(libc::ENOSYS).contains("no io_uring"));
        assert!(explained(libc::EINVAL).contains("6.1"));
        assert!(explained(libc::ENOMEM).contains("io_uring_setup"));
    }
}
