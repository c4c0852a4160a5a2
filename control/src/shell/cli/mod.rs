//! The command line: parsing, help, and the commands that work on the store.
//!
//! Settings' flags come from the table in `settings`; subcommands are declared here. The dataplane's process is only
//! described here ([`Invocation::Dataplane`]): `main` alone knows how to run it.

mod accounts;
mod calls;
mod config;
mod layers;
mod token;

pub use layers::DataplaneRequest;

use super::Fault;
use super::dataplane_keeper::ChildPlan;
use super::log::{self, Log};
use super::rtpengine::{self, Relay};
use super::server;
use super::settings::{Effective, LogFilter, Settings};
use clap::{ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::net::IpAddr;
use std::path::PathBuf;

const EXAMPLES: &str = "\
Examples:
  crosspoint                                     start in dev mode, on loopback, with a softphone page
  crosspoint token --identity alice              a token for the dev account; paste it into a client
  crosspoint token --identity bob --max-call-seconds 60 --destinations 'client:*'
  crosspoint calls --limit 5                     the last call records
  crosspoint config --explain > crosspoint.toml  every key with its documentation, ready to edit
  crosspoint --config crosspoint.toml            start with a configuration; see its first key, dev
  crosspoint keys create --account AC…           a key to sign tokens with; a running server takes it up

Every key of the configuration is also a flag (signal.listen: --signal-listen) and a variable (CROSSPOINT_SIGNAL_LISTEN).
A flag beats a variable beats the file.";

/// A real-time media bridge: browsers call each other through it with signed tokens.
///
/// Without a subcommand it serves; without a configuration it serves in dev mode, on loopback only.
#[derive(Parser, Debug)]
#[command(name = "crosspoint", version, after_help = EXAMPLES, after_long_help = EXAMPLES, subcommand_help_heading = "Commands")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Serve, as without a subcommand.
    Serve,
    /// Mint an access token and print it.
    Token(Box<token::TokenArgs>),
    /// List call records, or show one.
    Calls(calls::CallsArgs),
    /// List, create, register and revoke the keys that sign tokens.
    #[command(subcommand)]
    Keys(accounts::KeysCommand),
    /// List, create, suspend and resume accounts.
    #[command(subcommand)]
    Accounts(accounts::AccountsCommand),
    /// Print the effective configuration and where each value came from.
    Config(ConfigArgs),
    /// Relay media for SIP proxies, started with rtpengine's own options and configuration file.
    Rtpengine,
    /// Run the media plane: the other process, which a server starts by itself.
    Dataplane(DataplaneArgs),
}

#[derive(Args, Debug)]
struct ConfigArgs {
    /// With the documentation of each key.
    #[arg(long)]
    explain: bool,
}

#[derive(Args, Debug)]
struct DataplaneArgs {
    /// Where to make the contract's Unix socket [default: dataplane.sock in the data directory]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Started by a control plane in the same terminal: SIGINT is left to that one.
    #[arg(long, hide = true)]
    child: bool,
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    Serve(Effective),
    /// As a drop-in for rtpengine.
    Relay(Box<Relay>),
    Dataplane(Box<DataplaneRequest>),
    /// A command that only needs the store or the settings.
    Short(Box<ShortCommand>),
}

#[derive(Debug)]
pub struct ShortCommand {
    command: Command,
    effective: Effective,
}

/// Reads the command line; on `--help`, `--version` and mistakes it prints and exits, as clap does.
pub fn parse() -> Result<Invocation, Fault> {
    let matches = layers::with_settings(Cli::command()).get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    // A child has the environment of its parent, which has warned already.
    if !matches!(&cli.command, Some(Command::Dataplane(DataplaneArgs { child: true, .. }))) {
        layers::warnings_of_environment().iter().for_each(|warning| eprintln!("crosspoint: warning: {warning}"));
    }
    match cli.command {
        Some(Command::Dataplane(arguments)) => {
            let effective = layers::dataplane_settings(&matches)?;
            Ok(Invocation::Dataplane(Box::new(DataplaneRequest {
                socket: arguments.socket.unwrap_or_else(|| effective.settings().dataplane_socket()),
                child: arguments.child,
                settings: effective.settings(),
            })))
        }
        Some(Command::Rtpengine) => relay(&matches),
        None | Some(Command::Serve) => Ok(Invocation::Serve(layers::settings(&matches)?)),
        Some(command) => {
            Ok(Invocation::Short(Box::new(ShortCommand { command, effective: layers::settings(&matches)? })))
        }
    }
}

/// The drop-in: what it only prints is printed here, as for `--help`.
fn relay(matches: &ArgMatches) -> Result<Invocation, Fault> {
    let options = matches.subcommand_matches("rtpengine").unwrap_or(matches);
    let file = layers::file(matches)?;
    let file = file.as_ref().map(|(path, text)| (path.as_str(), text.as_str()));
    match rtpengine::read(options, layers::data_dir(matches), file)? {
        rtpengine::Request::Print(text) => {
            print(&text)?;
            std::process::exit(0)
        }
        rtpengine::Request::Serve(relay) => Ok(Invocation::Relay(relay)),
    }
}

/// Serves as a relay until a signal ends it; the first of two processes where it goes to the background.
pub fn serve_relay(relay: &Relay) -> Result<(), Fault> {
    let served = || {
        if !relay.enter_background()? {
            return Ok(());
        }
        let _pid = relay.write_pid()?;
        relay.warn();
        serve(&relay.effective)
    };
    served().map_err(|fault| relay.ended(fault))
}

/// Serves until a signal ends it.
pub fn serve(effective: &Effective) -> Result<(), Fault> {
    effective.check()?;
    let settings = effective.settings();
    let _log = log::start(&settings.log_level, settings.log_format);
    let program = std::env::current_exe().map_err(|source| Fault::SpawnDataplane { source })?;
    let plan = ChildPlan { program, arguments: layers::child_arguments(effective) };
    runtime(tokio::runtime::Builder::new_multi_thread())?.block_on(server::serve(effective, plan))
}

/// Addresses on which the relay's media may be received.
pub fn relay_addresses(settings: &Settings) -> Vec<IpAddr> {
    let mut addresses: Vec<IpAddr> = settings.relay_interfaces().0.iter().map(|interface| interface.addr).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

/// Starts the log of a dataplane process, which has the same settings for it.
pub fn start_log(request: &DataplaneRequest) -> Log {
    log::start(&request.settings.log_level, request.settings.log_format)
}

impl ShortCommand {
    pub fn run(self) -> Result<(), Fault> {
        let _log = log::start(&LogFilter("warn".into()), self.effective.settings().log_format);
        let work = async {
            match self.command {
                Command::Token(arguments) => token::run(&self.effective, *arguments).await,
                Command::Calls(arguments) => calls::run(&self.effective, arguments).await,
                Command::Keys(command) => accounts::keys(&self.effective, command).await,
                Command::Accounts(command) => accounts::accounts(&self.effective, command).await,
                Command::Config(arguments) => config::run(&self.effective, arguments.explain),
                Command::Serve | Command::Rtpengine | Command::Dataplane(_) => {
                    unreachable!("parse() gives these another invocation")
                }
            }
        };
        runtime(tokio::runtime::Builder::new_current_thread())?.block_on(work)
    }
}

fn runtime(mut builder: tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, Fault> {
    builder
        .enable_all()
        .build()
        .map_err(|error| Fault::Command(format!("cannot start the runtime: {error}; see `ulimit -u` and `ulimit -n`")))
}

/// Writes to standard output; whoever closed it (`| head`) does not want the rest.
fn print(text: &str) -> Result<(), Fault> {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_consistent() {
        layers::with_settings(Cli::command()).debug_assert();
    }
}
