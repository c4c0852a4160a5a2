//! `crosspoint token`: mints a token and prints nothing else on standard output, so that it can be used in `$( )`.

use super::print;
use crate::shell::Fault;
use crate::shell::core_loop::unix_ms;
use crate::shell::data_dir::DataDir;
use crate::shell::keys::in_force;
use crate::shell::settings::Effective;
use crate::shell::store::{SqliteStore, Store, StoredKeys};
use crate::shell::token::{DEV_KEY_SID, Grants, MintError, Signer};
use clap::Args;
use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Map, Value};
use std::io::IsTerminal;
use std::path::PathBuf;

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
    #[arg(long, default_value_t = 3600)]
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
    #[arg(long, value_delimiter = ',', help_heading = "Grants")]
    destinations: Vec<String>,
    /// Mediums of calls: audio,video
    #[arg(long, value_delimiter = ',', help_heading = "Grants")]
    mediums: Vec<String>,
    /// Calls at once.
    #[arg(long, help_heading = "Grants")]
    max_calls: Option<u32>,
    /// Length of a call.
    #[arg(long, help_heading = "Grants")]
    max_call_seconds: Option<u64>,
    /// When calls may be placed, in UTC: "mon-fri 08:00-18:00"; may be repeated.
    #[arg(long, help_heading = "Grants")]
    hours: Vec<String>,
    /// Regions through which calls may be placed.
    #[arg(long, value_delimiter = ',', help_heading = "Grants")]
    regions: Vec<String>,

    /// Account (AC…) of the key.
    #[arg(long, help_heading = "Signer")]
    account: Option<String>,
    /// Key (SK…) that signs.
    #[arg(long, help_heading = "Signer")]
    key: Option<String>,
    /// The key's secret, instead of the stored one.
    #[arg(long, requires = "key", requires = "account", help_heading = "Signer")]
    secret: Option<String>,
    /// Algorithm: HS256, HS384, HS512, ES256 or EdDSA.
    #[arg(long, value_parser = algorithm, help_heading = "Signer")]
    alg: Option<Algorithm>,
    /// PEM file (PKCS#8) of the private key, for ES256 and EdDSA.
    #[arg(
        long,
        value_name = "FILE",
        requires = "key",
        requires = "alg",
        conflicts_with = "secret",
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
    let signer = signer(effective, &arguments).await?;
    let grants = grants(&arguments);
    let token = signer
        .mint(&grants, unix_ms() / 1000, arguments.ttl, arguments.nbf)
        .map_err(|error| Fault::Command(error.to_string()))?;
    if std::io::stdout().is_terminal() {
        eprintln!(
            "# {} for {} s, signed by {} of {}",
            grants.identity, arguments.ttl, signer.key_sid, signer.account_sid
        );
    }
    print(&format!("{token}\n"))
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

async fn signer(effective: &Effective, arguments: &TokenArgs) -> Result<Signer, Fault> {
    let given = given_key(arguments)?;
    if let (Some((algorithm, key)), Some(key_sid), Some(account_sid)) = (given, &arguments.key, &arguments.account) {
        return Ok(Signer { account_sid: account_sid.clone(), key_sid: key_sid.clone(), algorithm, key });
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
    let private = given_key(arguments)?.map(|(algorithm, private)| Signer {
        account_sid: key.account_sid.clone(),
        key_sid: key_sid.clone(),
        algorithm,
        key: private,
    });
    private.map_or_else(|| Signer::stored(key).map_err(|error: MintError| Fault::Command(error.to_string())), Ok)
}

/// The key material on the command line, if any.
fn given_key(arguments: &TokenArgs) -> Result<Option<(Algorithm, EncodingKey)>, Fault> {
    if let Some(secret) = &arguments.secret {
        let algorithm = arguments.alg.unwrap_or(Algorithm::HS256);
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
