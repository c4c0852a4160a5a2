//! `crosspoint accounts` and `crosspoint keys`: who may sign tokens. A running server takes changes up within a second.

use super::print;
use crate::core::keys::Account;
use crate::shell::Fault;
use crate::shell::core_loop::unix_ms;
use crate::shell::data_dir::{DataDir, random_bytes};
use crate::shell::settings::Effective;
use crate::shell::store::{SqliteStore, Store, StoredKey};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use clap::{Subcommand, ValueEnum};
use jsonwebtoken::DecodingKey;
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject;
use std::fmt::Write;
use std::path::PathBuf;
use zeroize::Zeroizing;

#[derive(Subcommand, Debug)]
pub(super) enum AccountsCommand {
    /// List accounts.
    List,
    /// Create an account and print its SID.
    Create {
        /// A name for people.
        #[arg(long)]
        name: String,
    },
    /// Suspend an account: tokens of all its keys are refused from now on.
    Suspend {
        /// The account's SID (AC…).
        account: String,
    },
    /// Let a suspended account's tokens be accepted again.
    Resume {
        /// The account's SID (AC…).
        account: String,
    },
}

#[derive(Subcommand, Debug)]
pub(super) enum KeysCommand {
    /// List keys; secrets are not shown.
    List,
    /// Create a key with a secret and print both: the secret is shown this once.
    Create {
        /// The account (AC…) whose tokens it signs; may be left out while there is one account only.
        #[arg(long)]
        account: Option<String>,
        /// A name for people.
        #[arg(long, default_value = "")]
        label: String,
        #[arg(long, value_enum, default_value_t = SecretAlgorithm::Hs256)]
        alg: SecretAlgorithm,
    },
    /// Register a public key (PEM: P-256 for ES256, Ed25519 for EdDSA); the private key never comes here.
    Register {
        /// File with the public key, as `openssl pkey -pubout` writes it.
        public_key: PathBuf,
        #[arg(long)]
        account: Option<String>,
        #[arg(long, default_value = "")]
        label: String,
    },
    /// Revoke a key: its tokens are refused from now on.
    Revoke {
        /// The key's SID (SK…).
        key: String,
    },
}

/// Algorithms with a shared secret.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum SecretAlgorithm {
    #[value(name = "HS256")]
    Hs256,
    #[value(name = "HS384")]
    Hs384,
    #[value(name = "HS512")]
    Hs512,
}

pub(super) async fn accounts(effective: &Effective, command: AccountsCommand) -> Result<(), Fault> {
    match command {
        AccountsCommand::List => {
            let store = open_used(effective).await?;
            let mut out = String::new();
            for account in store.keys().await?.accounts {
                let state = if account.suspended { "suspended" } else { "active" };
                let _ = writeln!(out, "{} {state:<9} {}", account.sid, account.name);
            }
            print(&out)
        }
        AccountsCommand::Create { name } => {
            let store = open(effective).await?;
            let account = Account { sid: sid("AC")?, name, suspended: false };
            store.add_account(&account, unix_ms()).await?;
            print(&format!("{}\n", account.sid))
        }
        AccountsCommand::Suspend { account } => set_suspended(effective, &account, true).await,
        AccountsCommand::Resume { account } => set_suspended(effective, &account, false).await,
    }
}

async fn set_suspended(effective: &Effective, account: &str, suspended: bool) -> Result<(), Fault> {
    if !open_used(effective).await?.set_suspended(account, suspended).await? {
        return Err(Fault::Command(format!("there is no account {account}; list them with: crosspoint accounts list")));
    }
    print(&format!("{account} is {}\n", if suspended { "suspended" } else { "active" }))
}

pub(super) async fn keys(effective: &Effective, command: KeysCommand) -> Result<(), Fault> {
    match command {
        KeysCommand::List => list(&open_used(effective).await?).await,
        KeysCommand::Create { account, label, alg } => {
            let store = open(effective).await?;
            let algorithm = alg.to_possible_value().expect("every variant has a name").get_name().to_owned();
            let secret = Zeroizing::new(hex(&random_bytes::<32>()?));
            let key = new_key(&store, account, label, algorithm, secret).await?;
            store.add_key(&key).await?;
            print(&format!("key     {}\naccount {}\nsecret  {}\n", key.sid, key.account_sid, key.material.as_str()))
        }
        KeysCommand::Register { public_key, account, label } => {
            let pem = std::fs::read_to_string(&public_key).map_err(|error| {
                Fault::Command(format!("cannot read the public key {}: {error}", public_key.display()))
            })?;
            let algorithm = algorithm_of(&pem)?.to_owned();
            let store = open(effective).await?;
            let key = new_key(&store, account, label, algorithm, Zeroizing::new(pem)).await?;
            store.add_key(&key).await?;
            print(&format!("key       {}\naccount   {}\nalgorithm {}\n", key.sid, key.account_sid, key.algorithm))
        }
        KeysCommand::Revoke { key } => {
            if open_used(effective).await?.revoke_key(&key).await? {
                return print(&format!("{key} is revoked\n"));
            }
            Err(Fault::Command(format!("there is no key {key}; list them with: crosspoint keys list")))
        }
    }
}

async fn open(effective: &Effective) -> Result<SqliteStore, Fault> {
    SqliteStore::open(&DataDir::open(&effective.settings().data_dir)?).await
}

/// Makes nothing: a mistyped directory is an error, not a new store.
async fn open_used(effective: &Effective) -> Result<SqliteStore, Fault> {
    SqliteStore::open(&DataDir::used(&effective.settings().data_dir)?).await
}

async fn list(store: &SqliteStore) -> Result<(), Fault> {
    let mut out = String::new();
    for key in store.keys().await?.keys {
        let state = if key.revoked { "revoked" } else { "active" };
        let _ = writeln!(out, "{} {} {:<6} {state:<8} {}", key.sid, key.account_sid, key.algorithm, key.label);
    }
    print(&out)
}

async fn new_key(
    store: &SqliteStore,
    account: Option<String>,
    label: String,
    algorithm: String,
    material: Zeroizing<String>,
) -> Result<StoredKey, Fault> {
    let account_sid = choose_account(&store.keys().await?.accounts, account)?;
    Ok(StoredKey {
        sid: sid("SK")?,
        account_sid,
        algorithm,
        material,
        label,
        revoked: false,
        created_unix_ms: unix_ms(),
    })
}

fn choose_account(accounts: &[Account], wanted: Option<String>) -> Result<String, Fault> {
    match (wanted, accounts) {
        (Some(wanted), _) if accounts.iter().any(|account| account.sid == wanted) => Ok(wanted),
        (Some(wanted), _) => {
            Err(Fault::Command(format!("there is no account {wanted}; list them with: crosspoint accounts list")))
        }
        (None, [only]) => Ok(only.sid.clone()),
        (None, []) => Err(Fault::Command(
            "there is no account yet; create one with: crosspoint accounts create --name NAME".into(),
        )),
        (None, _) => Err(Fault::Command(
            "there are several accounts; say which with --account AC… (crosspoint accounts list)".into(),
        )),
    }
}

/// Which algorithm a public key is for. Tried by parsing, because PEM does not say.
fn algorithm_of(pem: &str) -> Result<&'static str, Fault> {
    if pem.contains("PRIVATE KEY") {
        let next = "register the public half: openssl pkey -in FILE -pubout";
        return Err(Fault::Command(format!("this is a private key, which belongs only to whoever signs; {next}")));
    }
    if DecodingKey::from_ed_pem(pem.as_bytes()).is_ok() {
        Ok("EdDSA")
    } else if is_p256(pem) {
        Ok("ES256")
    } else {
        Err(Fault::Command("this is no public key in PEM for ES256 (P-256) or EdDSA (Ed25519)".into()))
    }
}

// RFC 7518 §3.4: ES256 is P-256 and nothing else; a key of another curve would verify no token.
fn is_p256(pem: &str) -> bool {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes());
    der.is_ok_and(|der| ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der.as_ref()).is_ok())
}

fn sid(prefix: &str) -> Result<String, Fault> {
    Ok(prefix.to_owned() + &hex(&random_bytes::<16>()?))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_are_told_apart_and_private_keys_refused() {
        let pem = |algorithm| {
            let pair = rcgen::KeyPair::generate_for(algorithm).expect("a key pair");
            (pair.public_key_pem(), pair.serialize_pem())
        };
        let (p256, p256_private) = pem(&rcgen::PKCS_ECDSA_P256_SHA256);
        let (ed25519, _) = pem(&rcgen::PKCS_ED25519);
        assert_eq!(algorithm_of(&p256).expect("P-256"), "ES256");
        assert_eq!(algorithm_of(&ed25519).expect("Ed25519"), "EdDSA");
        assert!(algorithm_of(&p256_private).expect_err("private").to_string().contains("-pubout"));
        algorithm_of("hello").expect_err("no key");
        let (p384, _) = pem(&rcgen::PKCS_ECDSA_P384_SHA384);
        algorithm_of(&p384).expect_err("no algorithm of ours");
    }

    #[test]
    fn account_may_be_left_out_only_while_there_is_one() {
        let account = |sid: &str| Account { sid: sid.into(), name: String::new(), suspended: false };
        assert_eq!(choose_account(&[account("AC1")], None).expect("the only one"), "AC1");
        choose_account(&[], None).expect_err("none");
        choose_account(&[account("AC1"), account("AC2")], None).expect_err("several");
        choose_account(&[account("AC1")], Some("AC3".into())).expect_err("unknown");
    }
}
