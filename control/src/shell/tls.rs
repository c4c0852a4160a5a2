//! Certificates of the TLS listener: given as files, or made once and kept in the data directory.
//!
//! Stock SDKs only speak `wss`, so dev mode needs a certificate too; a browser must be told once to accept it.

use super::data_dir::DataDir;
use super::fault::Fault;
use super::settings::{Settings, TlsCertificate};
use axum_server::tls_rustls::RustlsConfig;
use std::io;
use std::net::IpAddr;
use std::path::Path;

const KEPT: &str = "certificate.pem";

/// The configuration of the TLS listener, or `None` if there is to be none.
pub async fn certificate(settings: &Settings, dir: &DataDir, listen: IpAddr) -> Result<Option<RustlsConfig>, Fault> {
    // One provider, installed explicitly; a second installation in the same process is harmless.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let fault = |error: io::Error| Fault::Certificate { why: error.to_string() };
    match (settings.signal_tls, &settings.signal_tls_certificate, &settings.signal_tls_key) {
        (TlsCertificate::Off, ..) => Ok(None),
        (TlsCertificate::SelfSigned, ..) => {
            let pem = self_made(dir, listen)?;
            RustlsConfig::from_pem(pem.clone(), pem).await.map(Some).map_err(fault)
        }
        (TlsCertificate::Files, Some(chain), Some(key)) => {
            RustlsConfig::from_pem_file(chain, key).await.map(Some).map_err(|error| Fault::Certificate {
                why: format!(
                    "{error}; signal.tls_certificate is {}, signal.tls_key is {}",
                    chain.display(),
                    key.display()
                ),
            })
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
