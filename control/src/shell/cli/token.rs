//! `crosspoint token`: mints a token and prints nothing else on standard output, so that it can be used in `$( )`.
//!
//! What is printed has passed the checks that the server makes, so a mistake shows here and not in a client's error.

use super::print;
use crate::core::keys::{Account, ApiKey, KeyTable};
use crate::core::refusal::Refusal;
use crate::core::token;
use crate::shell::Fault;
use crate::shell::core_loop::unix_ms;
use crate::shell::data_dir::{DataDir, Holder};
use crate::shell::keys::in_force;
use crate::shell::settings::{Effective, Settings};
use crate::shell::store::{SqliteStore, Store, StoredKey, StoredKeys};
use crate::shell::token::{DEV_KEY_SID, Grants, MintError, Signer};
use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const HELP: &str = "\
Which key signs: --key and --secret (or --private-key) as given; else the stored key named by --key; else, in dev mode,
the placeholder key; else the only stored key with a secret.";

#[derive(Args, Debug)]
#[command(after_help = HELP)]
pub(super) struct TokenArgs {
    /// Name of the client that the bearer becomes.
    #[arg(long)]
    identity: String,
    /// Life in seconds.
    #[arg(long, default_value_t = 3600, allow_hyphen_values = true, value_parser = clap::value_parser!(u64).range(1..))]
    ttl: u64,
    /// Unix time before which it is not valid.
    #[arg(long, value_name = "UNIX_SECONDS")]
    nbf: Option<u64>,

    /// May receive calls (the default).
    #[arg(long, overrides_with = "no_incoming", help_heading = "Grants")]
    incoming: bool,
    /// May not receive calls.
    #[arg(long, help_heading = "Grants")]
    no_incoming: bool,
    /// May place calls, through this application.
    #[arg(long, value_name = "APP_SID", default_value = "AP00000000000000000000000000000001", help_heading = "Grants")]
    outgoing: String,
    /// May not place calls.
    #[arg(long, conflicts_with = "outgoing", help_heading = "Grants")]
    no_outgoing: bool,
    /// Parameter given to the application with each call; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair, help_heading = "Grants")]
    param: Vec<(String, String)>,
    /// Destinations that may be called, as patterns with *: client:*,+49*
    #[arg(long, value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), help_heading = "Grants")]
    destinations: Vec<String>,
    /// Mediums of calls: audio,video
    #[arg(long, value_delimiter = ',', value_parser = ["audio", "video"], help_heading = "Grants")]
    mediums: Vec<String>,
    /// Calls at once. To allow none, say --no-outgoing.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..), help_heading = "Grants")]
    max_calls: Option<u32>,
    /// Length of a call.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..), help_heading = "Grants")]
    max_call_seconds: Option<u64>,
    /// When calls may be placed, in UTC: "mon-fri 08:00-18:00"; may be repeated.
    #[arg(long, help_heading = "Grants")]
    hours: Vec<String>,
    /// Regions through which calls may be placed.
    #[arg(long, value_delimiter = ',', value_parser = NonEmptyStringValueParser::new(), help_heading = "Grants")]
    regions: Vec<String>,

    /// Account (AC…) of the key.
    #[arg(long, help_heading = "Signer")]
    account: Option<String>,
    /// Key (SK…) that signs.
    #[arg(long, help_heading = "Signer")]
    key: Option<String>,
    /// The key's secret, instead of the stored one. Others see command lines; better give the variable or the file.
    #[arg(
        long,
        env = "CROSSPOINT_TOKEN_SECRET",
        hide_env_values = true,
        requires = "key",
        requires = "account",
        help_heading = "Signer"
    )]
    secret: Option<String>,
    /// File with the key's secret.
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        requires = "account",
        conflicts_with = "secret",
        help_heading = "Signer"
    )]
    secret_file: Option<PathBuf>,
    /// Algorithm: HS256, HS384, HS512, ES256 or EdDSA.
    #[arg(long, value_parser = algorithm, help_heading = "Signer")]
    alg: Option<Algorithm>,
    /// PEM file (PKCS#8) of the private key, for ES256 and EdDSA.
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        requires = "alg",
        conflicts_with_all = ["secret", "secret_file"],
        help_heading = "Signer"
    )]
    private_key: Option<PathBuf>,
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expects KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "HS256" | "HS384" | "HS512" | "ES256" | "EdDSA" => text.parse().map_err(|_| "unknown algorithm".to_owned()),
        _ => Err("expects HS256, HS384, HS512, ES256 or EdDSA".into()),
    }
}

pub(super) async fn run(effective: &Effective, arguments: TokenArgs) -> Result<(), Fault> {
    let (signer, table) = signer(effective, &arguments).await?;
    let grants = grants(&arguments);
    let token = checked(&signer, table, &grants, &arguments, &effective.settings())?;
    warn_of_placeholder(&signer, &effective.settings());
    if std::io::stdout().is_terminal() {
        eprintln!(
            "# {} for {} s, signed by {} of {}",
            grants.identity, arguments.ttl, signer.key_sid, signer.account_sid
        );
    }
    print(&format!("{token}\n"))
}

/// The token, if a server of these settings would take it. Without the stored keys, whose token cannot be verified here, a
/// second token of the same claims is.
fn checked(
    signer: &Signer,
    table: Option<KeyTable>,
    grants: &Grants,
    arguments: &TokenArgs,
    settings: &Settings,
) -> Result<String, Fault> {
    let now_unix = unix_ms() / 1000;
    let mint = |signer: &Signer| {
        let token = signer.mint(grants, now_unix, arguments.ttl, arguments.nbf);
        token.map_err(|error| Fault::Command(error.to_string()))
    };
    let token = mint(signer)?;
    let (shown, table) = match table {
        Some(table) => (token.clone(), table),
        None => {
            let (rehearsal, table) = rehearsal(signer);
            (mint(&rehearsal)?, table)
        }
    };
    let from_unix_ms = arguments.nbf.unwrap_or(0).max(now_unix).saturating_mul(1000);
    match token::verify(&shown, &table, &settings.core_config().limits, from_unix_ms) {
        Ok(_) => Ok(token),
        Err(refusal) => Err(Fault::Command(advice(refusal, settings))),
    }
}

/// A signer that we can also verify, under the names of another.
fn rehearsal(signer: &Signer) -> (Signer, KeyTable) {
    let secret = "only to check the claims";
    let key = StoredKey {
        sid: signer.key_sid.clone(),
        account_sid: signer.account_sid.clone(),
        algorithm: "HS256".into(),
        material: Zeroizing::new(secret.to_owned()),
        label: String::new(),
        revoked: false,
        created_unix_ms: 0,
    };
    let account = Account { sid: signer.account_sid.clone(), name: String::new(), suspended: false };
    let (account_sid, key_sid) = (signer.account_sid.clone(), signer.key_sid.clone());
    let key_of_secret = EncodingKey::from_secret(secret.as_bytes());
    let signer = Signer { account_sid, key_sid, algorithm: Algorithm::HS256, key: key_of_secret };
    (signer, StoredKeys { accounts: vec![account], keys: vec![key] }.table())
}

fn advice(refusal: Refusal, settings: &Settings) -> String {
    let why = match refusal {
        Refusal::TokenIdentity => {
            "--identity is no client name: it is empty, too long, or has control characters or space at its ends"
                .to_owned()
        }
        Refusal::TokenTooLongLived => {
            format!(
                "--ttl, counted from now with --nbf, is over limits.token_life_seconds_max, {} s",
                settings.limits_token_life_seconds_max
            )
        }
        Refusal::TokenExpired => "it would have expired already; see --ttl".to_owned(),
        Refusal::TokenMalformed => {
            "a limit is not as it must be: --hours is written like \"mon-fri 08:00-18:00\"".to_owned()
        }
        Refusal::TokenSignature => "the private key is not the one whose public key is stored".to_owned(),
        Refusal::TokenAlgorithm => "--alg is not the algorithm of the stored key (crosspoint keys list)".to_owned(),
        Refusal::AccountSuspended => "the account is suspended; see: crosspoint accounts resume".to_owned(),
        Refusal::TokenAccount => "the key belongs to no account of the store".to_owned(),
        other => other.to_string(),
    };
    format!("a server would refuse this token ({}): {why}", refusal.name())
}

/// Dev mode is the default of this command as of the server; a server that was given a configuration is not in it.
fn warn_of_placeholder(signer: &Signer, settings: &Settings) {
    if signer.key_sid != DEV_KEY_SID {
        return;
    }
    if let Some(Holder { process, dev: false }) = DataDir::holder(&settings.data_dir) {
        eprintln!(
            "# the server on {} (process {process}) does not take this token: it is signed by the placeholder key of dev \
             mode; give the server's --config here, or --key",
            settings.data_dir.display()
        );
    }
}

fn grants(arguments: &TokenArgs) -> Grants {
    let lists = [
        ("destinations", &arguments.destinations),
        ("mediums", &arguments.mediums),
        ("hours", &arguments.hours),
        ("regions", &arguments.regions),
    ];
    let mut limits = Map::new();
    limits.extend(
        lists.into_iter().filter(|(_, list)| !list.is_empty()).map(|(n, list)| (n.into(), list.clone().into())),
    );
    limits.extend(arguments.max_calls.map(|max| ("max_calls".to_owned(), Value::from(max))));
    limits.extend(arguments.max_call_seconds.map(|max| ("max_call_seconds".to_owned(), Value::from(max))));
    Grants {
        identity: arguments.identity.clone(),
        incoming: !arguments.no_incoming,
        outgoing_application: (!arguments.no_outgoing).then(|| arguments.outgoing.clone()),
        outgoing_params: arguments.param.clone(),
        limits,
    }
}

/// Who signs, and the keys in force if they were looked at.
async fn signer(effective: &Effective, arguments: &TokenArgs) -> Result<(Signer, Option<KeyTable>), Fault> {
    let given = given_key(arguments)?;
    if let (Some((algorithm, key)), Some(key_sid), Some(account_sid)) = (given, &arguments.key, &arguments.account) {
        return Ok((Signer { account_sid: account_sid.clone(), key_sid: key_sid.clone(), algorithm, key }, None));
    }
    let settings = effective.settings();
    let stored = stored_keys(effective).await?;
    let key_sid = match &arguments.key {
        Some(key_sid) => key_sid.clone(),
        None if settings.dev => DEV_KEY_SID.to_owned(),
        None => only_key(&stored)?,
    };
    let table = in_force(&stored, settings.dev);
    let Some(key) = table.keys.get(&key_sid).filter(|key| !key.revoked) else {
        return Err(Fault::Command(format!(
            "there is no key {key_sid} in force in {}; see: crosspoint keys list",
            settings.data_dir.display()
        )));
    };
    refuse_contradiction(key, arguments)?;
    let private = given_key(arguments)?.map(|(algorithm, private)| Signer {
        account_sid: key.account_sid.clone(),
        key_sid: key_sid.clone(),
        algorithm,
        key: private,
    });
    let stored = || Signer::stored(key).map_err(|error: MintError| Fault::Command(error.to_string()));
    let signer = private.map_or_else(stored, Ok)?;
    Ok((signer, Some(table)))
}

/// What is said of a stored key must be so: it would be ignored otherwise, or make a token that nobody takes.
fn refuse_contradiction(key: &ApiKey, arguments: &TokenArgs) -> Result<(), Fault> {
    if let Some(account) = arguments.account.as_ref().filter(|account| **account != key.account_sid) {
        return Err(Fault::Command(format!(
            "the key {} belongs to the account {}, not to {account}; leave --account out, or name another --key",
            key.sid, key.account_sid
        )));
    }
    let algorithm = key.material.algorithm();
    if let Some(given) = arguments.alg.filter(|given| *given != algorithm) {
        return Err(Fault::Command(format!(
            "the key {} signs with {algorithm:?}, not {given:?}; leave --alg out, or name another --key",
            key.sid
        )));
    }
    Ok(())
}

/// The key material on the command line, if any.
fn given_key(arguments: &TokenArgs) -> Result<Option<(Algorithm, EncodingKey)>, Fault> {
    let from_file = arguments.secret_file.as_deref().map(secret_in).transpose()?;
    if let Some(secret) = from_file.as_ref().or(arguments.secret.as_ref()) {
        let algorithm = arguments.alg.unwrap_or(Algorithm::HS256);
        if matches!(algorithm, Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(Fault::Command(format!("{algorithm:?} signs with --private-key, not with a secret")));
        }
        return Ok(Some((algorithm, EncodingKey::from_secret(secret.as_bytes()))));
    }
    let (Some(path), Some(algorithm)) = (&arguments.private_key, arguments.alg) else { return Ok(None) };
    let unreadable = |why: String| Fault::Command(format!("cannot use the private key {}: {why}", path.display()));
    let pem = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let key = match algorithm {
        Algorithm::ES256 => EncodingKey::from_ec_pem(&pem),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(&pem),
        _ => return Err(unreadable("--alg must be ES256 or EdDSA".into())),
    };
    key.map(|key| Some((algorithm, key))).map_err(|error| unreadable(error.to_string()))
}

fn secret_in(path: &Path) -> Result<String, Fault> {
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| Fault::Command(format!("cannot read the secret {}: {error}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}

/// Dev mode needs no store: it may not have been started yet.
async fn stored_keys(effective: &Effective) -> Result<StoredKeys, Fault> {
    let settings = effective.settings();
    match DataDir::used(&settings.data_dir) {
        Err(Fault::DataDirectoryUnused { .. }) if settings.dev => Ok(StoredKeys::default()),
        dir => SqliteStore::open(&dir?).await?.keys().await,
    }
}

fn only_key(stored: &StoredKeys) -> Result<String, Fault> {
    let mut secrets = stored.keys.iter().filter(|key| key.is_secret() && !key.revoked);
    match (secrets.next(), secrets.next()) {
        (Some(key), None) => Ok(key.sid.clone()),
        (None, _) => Err(Fault::Command(
            "the store has no key with a secret; create one with: crosspoint keys create --account AC…".into(),
        )),
        (Some(_), Some(_)) => {
            Err(Fault::Command("the store has several keys; say which with --key SK… (crosspoint keys list)".into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::settings::resolve;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        token: TokenArgs,
    }

    /// Minted in a directory where no server has been.
    async fn mint(flags: &[&str]) -> Result<String, String> {
        let dir = tempfile::tempdir().expect("temporary directory");
        let flag = |name: &str| (name == "data-dir").then(|| dir.path().display().to_string());
        let effective = resolve(None, |_| None, flag).expect("accepted");
        let arguments = Line::try_parse_from(["token"].iter().chain(flags)).expect("well-formed").token;
        let (signer, table) = signer(&effective, &arguments).await.map_err(|fault| fault.to_string())?;
        let minted = checked(&signer, table, &grants(&arguments), &arguments, &effective.settings());
        minted.map_err(|fault| fault.to_string())
    }

    #[tokio::test]
    async fn token_that_a_server_would_refuse_is_not_minted() {
        let soon = format!("--nbf={}", unix_ms() / 1000 + 600);
        let given: &[&str] = &["--key=SK1", "--account=AC1", "--secret=s"];
        for signer in [&[], given] {
            let with = |flags: &[&'static str]| [signer, flags].concat();
            mint(&with(&["--identity=alice", "--hours=mon-fri 08:00-18:00"])).await.expect("good");
            mint(&[&with(&["--identity=alice"])[..], &[&soon]].concat()).await.expect("good from then on");
            for (flags, why) in [
                (["--identity=", "--ttl=60"], "--identity"),
                (["--identity=alice", "--ttl=100000"], "86400 s"),
                (["--identity=alice", "--hours=nonsense"], "mon-fri"),
            ] {
                let refused = mint(&with(&flags)).await.expect_err(why);
                assert!(refused.contains(why), "{refused}");
            }
        }
    }

    #[tokio::test]
    async fn flags_that_contradict_the_key_or_mean_nothing_are_refused() {
        let dev = "--account=AC00000000000000000000000000000001";
        mint(&["--identity=a", "--alg=HS256", dev]).await.expect("so it is");
        for (flag, why) in [("--alg=HS512", "signs with HS256, not HS512"), ("--account=AC2", "not to AC2")] {
            let refused = mint(&["--identity=a", flag]).await.expect_err(flag);
            assert!(refused.contains(why), "{refused}");
        }
        for flags in [&["--mediums=smell"][..], &["--destinations="], &["--max-calls=0"], &["--ttl", "-5"]] {
            let refused =
                Line::try_parse_from(["token", "--identity=a"].iter().chain(flags)).expect_err("means nothing");
            assert!(
                refused.to_string().contains("invalid value") || refused.to_string().contains("a value is required"),
                "{refused}"
            );
        }
    }

    #[tokio::test]
    async fn secret_is_read_from_a_file_without_its_last_line_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "s3cret\n").expect("written");
        assert_eq!(secret_in(file.path()).expect("readable"), "s3cret");
        let path = format!("--secret-file={}", file.path().display());
        mint(&["--identity=a", "--key=SK1", "--account=AC1", &path]).await.expect("signed");
    }
}
