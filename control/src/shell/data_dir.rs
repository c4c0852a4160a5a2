//! The data directory: owner-only, used by one running crosspoint at a time, with the node's key in it.
//!
//! ```text
//!   DIR (0700)
//!     lock             held while a server runs; contains its process id, and "dev" in dev mode
//!     node.key (0600)  32 random bytes: seals bridge tokens, so it must outlive the process
//!     store.db (0600)  accounts, keys, call records, live calls
//!     dataplane.sock   the contract with the dataplane
//!     certificate.pem  the self-made certificate and its key, if TLS asks for one
//! ```

use super::fault::Fault;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The store's file.
pub const STORE: &str = "store.db";

/// A directory that exists and is ours alone.
#[derive(Debug)]
pub struct DataDir {
    path: PathBuf,
}

/// Held by the one server of a data directory; released when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDirLock {
    _file: File,
}

/// Who holds the lock, by its own word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    pub process: u32,
    pub dev: bool,
}

impl Holder {
    fn read(file: &mut File) -> Option<Holder> {
        let mut text = String::new();
        file.read_to_string(&mut text).ok()?;
        let mut words = text.split_whitespace();
        Some(Holder { process: words.next()?.parse().ok()?, dev: words.next() == Some("dev") })
    }
}

impl DataDir {
    /// Makes it if it is not there; takes an empty one of ours. One with something in it must be ours and nobody else's
    /// already: its permissions are not touched, for it may be somebody's home.
    pub fn open(path: &Path) -> Result<DataDir, Fault> {
        let fault = |source| Fault::DataDirectory { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(fault)?;
        let is_empty = fs::read_dir(path).map_err(fault)?.next().is_none();
        if is_empty {
            // One that is not ours refuses, and is refused below.
            let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
        }
        refuse_shared(path, &fs::metadata(path).map_err(fault)?)?;
        Ok(DataDir { path: path.to_owned() })
    }

    /// One that a server has used before. For commands that only read: makes nothing.
    pub fn used(path: &Path) -> Result<DataDir, Fault> {
        let dir = DataDir { path: path.to_owned() };
        match fs::metadata(dir.join(STORE)) {
            Ok(_) => Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Fault::DataDirectoryUnused { path: dir.path }),
            Err(source) => Err(Fault::DataDirectory { path: dir.path, source }),
        }
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// For the one server of it; `dev`: whether that takes placeholder keys.
    pub fn lock(&self, dev: bool) -> Result<DataDirLock, Fault> {
        let path = self.join("lock");
        let fault = |source| Fault::DataDirectory { path: self.path.clone(), source };
        let mut file = owner_only().read(true).truncate(false).open(&path).map_err(fault)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                let process = Holder::read(&mut file).map(|holder| holder.process);
                return Err(Fault::DataDirectoryInUse { path: self.path.clone(), process });
            }
            Err(fs::TryLockError::Error(error)) => return Err(fault(error)),
        }
        file.set_len(0)
            .and_then(|()| writeln!(file, "{}{}", std::process::id(), if dev { " dev" } else { "" }))
            .map_err(fault)?;
        Ok(DataDirLock { _file: file })
    }

    /// The server that runs on `path`, if one does.
    pub fn holder(path: &Path) -> Option<Holder> {
        let mut file = File::open(path.join("lock")).ok()?;
        match file.try_lock_shared() {
            Err(fs::TryLockError::WouldBlock) => Holder::read(&mut file),
            _ => None,
        }
    }

    /// The key of this node, drawn at the first start.
    pub fn node_key(&self) -> Result<[u8; 32], Fault> {
        let path = self.join("node.key");
        let fault = |source| Fault::DataDirectory { path: self.path.clone(), source };
        match fs::read(&path) {
            Ok(bytes) => <[u8; 32]>::try_from(bytes).map_err(|bytes| Fault::NodeKey { path, bytes: bytes.len() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = random_bytes()?;
                self.write_secret("node.key", &key)?;
                Ok(key)
            }
            Err(error) => Err(fault(error)),
        }
    }

    /// Writes a file that only the owner may read: whole or not at all.
    pub fn write_secret(&self, name: &str, contents: &[u8]) -> Result<(), Fault> {
        let partial = self.join(&format!("{name}.partial"));
        let write = || -> io::Result<()> {
            let mut file = owner_only().truncate(true).open(&partial)?;
            file.write_all(contents)?;
            file.sync_all()?;
            fs::rename(&partial, self.join(name))
        };
        write().map_err(|source| Fault::DataDirectory { path: self.path.clone(), source })
    }
}

fn refuse_shared(path: &Path, found: &fs::Metadata) -> Result<(), Fault> {
    let (owner, we) = (found.uid(), rustix::process::geteuid().as_raw());
    let mode = found.permissions().mode() & 0o7777;
    let (why, next) = if owner != we {
        let next = "run as that user, or choose another with --data-dir".to_owned();
        (format!("belongs to user {owner}, and we run as user {we}"), next)
    } else if mode & 0o077 != 0 {
        let next = format!(
            "if it is for crosspoint alone: chmod 700 {0}; else choose another with --data-dir",
            path.display()
        );
        (format!("is open to others (mode {mode:04o})"), next)
    } else {
        return Ok(());
    };
    Err(Fault::DataDirectoryShared { path: path.to_owned(), why, next })
}

fn owner_only() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

/// Bytes from the system's random source.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], Fault> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Fault::NoRandomness)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn second_server_on_a_data_directory_is_refused_until_the_first_ends() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let first = DataDir::open(dir.path()).expect("open").lock(false).expect("lock");
        let second = DataDir::open(dir.path()).expect("open");
        let refused = second.lock(true).expect_err("locked").to_string();
        assert!(refused.contains(&format!("(process {})", std::process::id())), "{refused}");
        assert_eq!(DataDir::holder(dir.path()), Some(Holder { process: std::process::id(), dev: false }));
        drop(first);
        assert_eq!(DataDir::holder(dir.path()), None);
        second.lock(true).expect("free again");
    }

    #[test]
    fn directory_that_others_may_use_is_refused_and_left_as_it_is() {
        let dir = tempfile::tempdir().expect("temporary directory");
        fs::write(dir.path().join("letter"), "to somebody").expect("written");
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let refused = DataDir::open(dir.path()).expect_err("open to others").to_string();
        assert!(refused.contains(&format!("chmod 700 {}", dir.path().display())), "{refused}");
        assert_eq!(fs::metadata(dir.path()).expect("there").permissions().mode() & 0o777, 0o755);
        fs::remove_file(dir.path().join("letter")).expect("removed");
        DataDir::open(dir.path()).expect("an empty one is taken");
        assert_eq!(fs::metadata(dir.path()).expect("there").permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn reading_makes_neither_directory_nor_store() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("mistyped");
        let unused = DataDir::used(&path).expect_err("nothing there").to_string();
        assert!(unused.contains("--data-dir"), "{unused}");
        DataDir::used(dir.path()).expect_err("no store in it");
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
    }

    #[test]
    fn node_key_survives_and_nobody_else_may_read_it() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let path = dir.path().join("made");
        let key = DataDir::open(&path).expect("open").node_key().expect("drawn");
        assert_eq!(DataDir::open(&path).expect("open").node_key().expect("read"), key);
        let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(&path.join("node.key"))), (0o700, 0o600));
    }
}
