//! Certificates of the TLS listener: given as files, or made once and kept in the data directory.
//!
//! Stock SDKs only speak `wss`, so dev mode needs a certificate too; a browser must be told once to accept it. Files that
//! change are read again, so that a renewed certificate needs no restart and costs no call.

use super::data_dir::DataDir;
use super::fault::Fault;
use super::settings::{Settings, TlsCertificate};
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use tokio::time::{MissedTickBehavior, interval};

const KEPT: &str = "certificate.pem";
const RENEWAL_LOOK_INTERVAL: Duration = Duration::from_secs(10);

/// What the TLS listener shows.
pub struct Certificate {
    config: RustlsConfig,
    files: Option<Files>,
}

#[derive(Clone)]
struct Files {
    chain: PathBuf,
    key: PathBuf,
}

/// When the two files were last written.
type Stamps = [Option<SystemTime>; 2];

impl Certificate {
    pub fn acceptor(&self) -> RustlsAcceptor {
        RustlsAcceptor::new(self.config.clone())
    }

    /// What reads the files again, if there are files.
    pub fn renewal(&self) -> Option<Renewal> {
        let files = self.files.clone()?;
        Some(Renewal { config: self.config.clone(), tried: files.stamps(), files })
    }
}

impl Files {
    fn stamps(&self) -> Stamps {
        [&self.chain, &self.key].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
    }
}

/// Takes changed files up. Whoever writes them may be halfway: what does not fit together is left alone until it does.
pub struct Renewal {
    config: RustlsConfig,
    files: Files,
    tried: Stamps,
}

impl Renewal {
    pub async fn run(mut self) {
        let mut ticks = interval(RENEWAL_LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    async fn look(&mut self) {
        let stamps = self.files.stamps();
        if stamps == self.tried {
            return;
        }
        self.tried = stamps;
        match self.config.reload_from_pem_file(&self.files.chain, &self.files.key).await {
            Ok(()) => tracing::info!(kind = "certificate_renewed", "new connections get it; open ones go on"),
            Err(error) => tracing::warn!(kind = "certificate_unreadable", %error, "the one before stays in use"),
        }
    }
}

/// The certificate of the TLS listener, or `None` if there is to be none.
pub async fn certificate(settings: &Settings, dir: &DataDir, listen: IpAddr) -> Result<Option<Certificate>, Fault> {
    // One provider, installed explicitly; a second installation in the same process is harmless.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let fault = |error: io::Error| Fault::Certificate { why: error.to_string() };
    match (settings.signal_tls, &settings.signal_tls_certificate, &settings.signal_tls_key) {
        (TlsCertificate::Off, ..) => Ok(None),
        (TlsCertificate::SelfSigned, ..) => {
            let pem = self_made(dir, listen)?;
            let config = RustlsConfig::from_pem(pem.clone(), pem).await.map_err(fault)?;
            Ok(Some(Certificate { config, files: None }))
        }
        (TlsCertificate::Files, Some(chain), Some(key)) => {
            let config = RustlsConfig::from_pem_file(chain, key).await.map_err(|error| Fault::Certificate {
                why: format!(
                    "{error}; signal.tls_certificate is {}, signal.tls_key is {}",
                    chain.display(),
                    key.display()
                ),
            })?;
            Ok(Some(Certificate { config, files: Some(Files { chain: chain.clone(), key: key.clone() }) }))
        }
        (TlsCertificate::Files, ..) => {
            Err(Fault::Certificate { why: "files needs both signal.tls_certificate and signal.tls_key".into() })
        }
    }
}

/// Certificate and key in one PEM text.
fn self_made(dir: &DataDir, listen: IpAddr) -> Result<Vec<u8>, Fault> {
    match std::fs::read(dir.join(KEPT)) {
        Ok(pem) => return Ok(pem),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(Fault::DataDirectory { path: dir.path().to_owned(), source }),
    }
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !listen.is_loopback() && !listen.is_unspecified() {
        names.push(listen.to_string());
    }
    let made =
        rcgen::generate_simple_self_signed(names).map_err(|error| Fault::Certificate { why: error.to_string() })?;
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    dir.write_secret(KEPT, pem.as_bytes())?;
    Ok(pem.into_bytes())
}

/// Where the self-made certificate is, for those who want to trust it.
pub fn kept_at(dir: &Path) -> std::path::PathBuf {
    dir.join(KEPT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_pair(files: &Files, name: &str) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        std::fs::write(&files.chain, made.cert.pem()).expect("written");
        std::fs::write(&files.key, made.signing_key.serialize_pem()).expect("written");
    }

    /// Far enough from now that the clock's grain cannot hide the change.
    fn age(path: &Path, seconds: u64) {
        let file = std::fs::File::options().write(true).open(path).expect("a file");
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).expect("a file system with times");
    }

    #[tokio::test]
    async fn renewed_certificate_is_taken_up_and_half_of_one_is_not() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let dir = tempfile::tempdir().expect("temporary directory");
        let files = Files { chain: dir.path().join("chain.pem"), key: dir.path().join("key.pem") };
        write_pair(&files, "old.example");
        let config = RustlsConfig::from_pem_file(&files.chain, &files.key).await.expect("a pair");
        let certificate = Certificate { config: config.clone(), files: Some(files.clone()) };
        age(&files.chain, 60);
        let mut renewal = certificate.renewal().expect("files");

        let before = config.get_inner();
        std::fs::write(&files.key, "half").expect("written");
        age(&files.key, 50);
        renewal.look().await;
        assert!(std::sync::Arc::ptr_eq(&before, &config.get_inner()));

        write_pair(&files, "new.example");
        renewal.look().await;
        assert!(!std::sync::Arc::ptr_eq(&before, &config.get_inner()));
    }
}
