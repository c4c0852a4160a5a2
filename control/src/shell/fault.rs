//! What may go wrong in the surroundings of the control plane. Each message names the likely cause and the next
//! command; it climbs to `main`, which prints it and exits with status 1.

use super::settings::SettingsError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use thiserror::Error;

#[derive(Debug, Error)]
pub enum Fault {
    #[error("{0}")]
    Settings(#[from] SettingsError),

    #[error("cannot read the configuration file {path}: {source}")]
    ConfigurationFile { path: PathBuf, source: io::Error },

    #[error(
        "cannot use the data directory {path}: {source}
  Choose one that you may write with --data-dir, or: mkdir -p {path} && chown $USER {path}"
    )]
    DataDirectory { path: PathBuf, source: io::Error },

    #[error(
        "{path} holds {bytes} bytes and not the 32 of a node's key
  Put it back from a copy, or draw a new one by removing it (calls in progress cannot be resumed then): rm {path}"
    )]
    NodeKey { path: PathBuf, bytes: usize },

    #[error(
        "the data directory {path} {why}; it holds keys, so it must be ours alone
  {next}"
    )]
    DataDirectoryShared { path: PathBuf, why: String, next: String },

    #[error(
        "no crosspoint has served from {path}: there is no store in it
  Name the server's directory with --data-dir, or start one there: crosspoint --data-dir {path}"
    )]
    DataDirectoryUnused { path: PathBuf },

    #[error("another crosspoint runs on the data directory {path}{}
  End it first, or start this one with --data-dir and other ports (--signal-listen, --media-port-base)", process.map_or(String::new(), |id| format!(" (process {id})")))]
    DataDirectoryInUse { path: PathBuf, process: Option<u32> },

    #[error("cannot listen on {address} ({name}): {source}{}", advice_on_listening(*name == "ng.listen", &format!("--{}", name.replace(['.', '_'], "-")), source, address))]
    Listen { name: &'static str, address: SocketAddr, source: io::Error },

    #[error("cannot serve a bound listener: {source}; see `ulimit -n`")]
    Serve { source: io::Error },

    #[error("cannot start a thread for the {name}: {source}; see `ulimit -u` and `ulimit -n`")]
    Thread { name: &'static str, source: io::Error },

    #[error(
        "the {name} ended: {why}
  That is a defect of crosspoint; please report the lines above. Calls go on in the dataplane for dataplane.grace_seconds:
  start crosspoint again with the same --data-dir and it takes them over"
    )]
    TaskEnded { name: &'static str, why: String },

    #[error("cannot use the certificate of signal.tls: {why}")]
    Certificate { why: String },

    #[error(
        "the store {path} fails: {source}
  If the disk is full or read-only, mend that; the file may be inspected with: sqlite3 {path} 'pragma integrity_check'"
    )]
    Store { path: PathBuf, source: sqlx::Error },

    #[error(
        "the store {path} was written by a newer version (schema {found}, this one knows {known}); start that version, or use another --data-dir"
    )]
    StoreTooNew { path: PathBuf, found: i64, known: i64 },

    #[error("cannot start our own program again as the dataplane: {source}; was it moved or replaced?")]
    SpawnDataplane { source: io::Error },

    /// `given`: the settings it was started with, and where they came from.
    #[error("the dataplane did not start: {why}
  It was given {given}
  Each is a key, a flag (media.port_base: --media-port-base) and a variable; all are explained by: crosspoint config --explain")]
    DataplaneNotStarted { why: String, given: String },

    #[error("the system's random source fails; nothing can be signed or sealed without it")]
    NoRandomness,

    #[error("{0}")]
    Command(String),
}

/// `option`: as it is written, with its dashes.
pub(super) fn advice_on_listening(is_udp: bool, option: &str, error: &io::Error, address: &SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "\n  See who has the port with: ss -l{transport}np 'sport = :{port}'\n  or take another: {option}={ip}:{other}",
            transport = if is_udp { 'u' } else { 't' },
            ip = address.ip(),
            port = address.port(),
            other = address.port().wrapping_add(100).max(1024),
        ),
        io::ErrorKind::PermissionDenied => {
            "\n  Ports below 1024 need CAP_NET_BIND_SERVICE: setcap cap_net_bind_service=+ep $(command -v crosspoint)"
                .into()
        }
        io::ErrorKind::AddrNotAvailable => "\n  No interface has this address; see them with: ip address".into(),
        _ => String::new(),
    }
}
