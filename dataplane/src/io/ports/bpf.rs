//! The system call bpf(2), as far as steering needs it.
//!
//! Input: numbers, instructions, descriptors. Output: descriptors, which close what they stand for when dropped: a map, a
//! program, a link that attaches a program for as long as it is open. Decides nothing.

use super::program::Instruction;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// Numbers of `linux/bpf.h`.
const MAP_CREATE: libc::c_long = 0;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;
const LINK_CREATE: libc::c_long = 28;
const MAP_TYPE_ARRAY: u32 = 2;
const MAP_TYPE_SOCKMAP: u32 = 15;
const PROG_TYPE_SK_LOOKUP: u32 = 30;
const ATTACH_SK_LOOKUP: u32 = 36;
const F_MMAPABLE: u32 = 1 << 10;

/// The program calls nothing that is for GPL programs only.
const LICENSE: &CStr = c"MIT";

/// Room for what the verifier has to say about a program it refuses.
const VERIFIER_LOG_BYTES: usize = 16 << 10;

/// `union bpf_attr`, the first fields of the member for each command.
#[derive(Default)]
#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct MapUpdate {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[derive(Default)]
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct LinkCreate {
    prog: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
}

/// An array of one value of `bytes` bytes, which may be mapped.
pub(super) fn create_table(bytes: usize) -> io::Result<OwnedFd> {
    let (map_type, value_size) = (MAP_TYPE_ARRAY, bytes as u32);
    create(&MapCreate { map_type, key_size: 4, value_size, max_entries: 1, map_flags: F_MMAPABLE })
}

/// A map from numbers below `entries` to sockets.
pub(super) fn create_sockmap(entries: usize) -> io::Result<OwnedFd> {
    let (map_type, max_entries) = (MAP_TYPE_SOCKMAP, entries as u32);
    create(&MapCreate { map_type, key_size: 4, value_size: 4, max_entries, map_flags: 0 })
}

fn create(attributes: &MapCreate) -> io::Result<OwnedFd> {
    // SAFETY: MAP_CREATE reads this member and follows no pointers.
    let fd = unsafe { bpf(MAP_CREATE, attributes) }?;
    Ok(owned(fd))
}

/// The map holds no reference: a socket that closes leaves it.
pub(super) fn put_socket(map: &OwnedFd, key: u32, socket: BorrowedFd<'_>) -> io::Result<()> {
    let value = socket.as_raw_fd() as u32;
    let attributes = MapUpdate {
        map: raw(map),
        padding: 0,
        key: (&raw const key).addr() as u64,
        value: (&raw const value).addr() as u64,
        flags: 0,
    };
    // SAFETY: MAP_UPDATE_ELEM reads this member, and four bytes each of `key` and `value`, which outlive the call; the map
    // was created with these sizes.
    unsafe { bpf(MAP_UPDATE_ELEM, &attributes) }.map(drop)
}

/// Loads a program of type `sk_lookup`. When the verifier refuses it, the error carries the verifier's last line.
pub(super) fn load(name: &CStr, program: &[Instruction]) -> io::Result<OwnedFd> {
    let mut log = vec![0u8; VERIFIER_LOG_BYTES];
    let quiet = load_with(name, program, &mut []);
    match quiet {
        Err(error) if matches!(error.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) => {
            load_with(name, program, &mut log).map_err(|error| explained(&error, &log))
        }
        result => result,
    }
}

fn load_with(name: &CStr, program: &[Instruction], log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut prog_name = [0; 16];
    let length = name.to_bytes().len().min(prog_name.len() - 1);
    prog_name[..length].copy_from_slice(&name.to_bytes()[..length]);
    let attributes = ProgLoad {
        prog_type: PROG_TYPE_SK_LOOKUP,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr().addr() as u64,
        license: LICENSE.as_ptr().addr() as u64,
        log_level: u32::from(!log.is_empty()),
        log_size: log.len() as u32,
        log_buf: if log.is_empty() { 0 } else { log.as_mut_ptr().expose_provenance() as u64 },
        prog_name,
        expected_attach_type: ATTACH_SK_LOOKUP,
        ..ProgLoad::default()
    };
    // SAFETY: PROG_LOAD reads this member, `insn_cnt` instructions of eight bytes, the license with its zero, and writes at
    // most `log_size` bytes to `log`; all outlive the call.
    let fd = unsafe { bpf(PROG_LOAD, &attributes) }?;
    Ok(owned(fd))
}

fn explained(error: &io::Error, log: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(log);
    let last = text.trim_end_matches('\0').lines().rfind(|line| !line.starts_with("processed")).unwrap_or_default();
    io::Error::new(error.kind(), format!("{error}: {last}"))
}

/// Attaches a program to the network namespace of this thread.
pub(super) fn attach(program: &OwnedFd) -> io::Result<OwnedFd> {
    let namespace = File::open("/proc/thread-self/ns/net")?;
    let target = namespace.as_fd().as_raw_fd() as u32;
    let attributes = LinkCreate { prog: raw(program), target, attach_type: ATTACH_SK_LOOKUP, flags: 0 };
    // SAFETY: LINK_CREATE reads this member and follows no pointers.
    let fd = unsafe { bpf(LINK_CREATE, &attributes) }?;
    Ok(owned(fd))
}

/// # Safety
/// `attributes` is the member of `union bpf_attr` that `command` reads, and its pointers are as that command wants them.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<libc::c_int> {
    // SAFETY: pointer and size are those of `attributes`, which outlives the call; the rest the caller promises.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as libc::c_int) }
}

/// Of a descriptor that the kernel has just made; it closes with an exec, as all that bpf(2) makes.
fn owned(fd: libc::c_int) -> OwnedFd {
    // SAFETY: it is fresh and nobody else's.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn raw(fd: &OwnedFd) -> u32 {
    fd.as_raw_fd() as u32
}
