//! Which process is at the other end of a Unix socket.
//!
//! Input: a connected stream. Output: the process id that the kernel noted when it was connected (unix(7), `SO_PEERCRED`).

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

/// `None` if the kernel does not tell, as of a process in another PID namespace.
pub fn process_id(stream: &UnixStream) -> Option<u32> {
    let mut credentials = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut bytes = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the descriptor is open as long as `stream` is borrowed; the kernel writes at most `bytes` bytes to
    // `credentials`, which has that size and is valid for any bytes, and then sets `bytes`; both outlive the call.
    let status = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut credentials).cast(),
            &raw mut bytes,
        )
    };
    (status == 0).then_some(credentials.pid).and_then(|pid| u32::try_from(pid).ok()).filter(|pid| *pid != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_end_of_our_own_pair_is_ours() {
        let (one, _other) = UnixStream::pair().expect("a pair");
        assert_eq!(process_id(&one), Some(std::process::id()));
    }
}
