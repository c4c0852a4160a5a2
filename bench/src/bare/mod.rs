//! The controls: relays that do nothing but hand each packet to the other party of its call.
//!
//! They show what this kernel asks for receiving and sending a packet, so that a relay's figure can be read as "so much
//! above that". They run as processes of their own, pinned where the relay is pinned, under the same load.
//!
//! | control | receives | sends | finds the other party by |
//! |---|---|---|---|
//! | `bare:uring` | multishot on a connected socket a party | on the other's socket | the socket's number |
//! | `bare:mmsg` | `recvmmsg` on one socket for all | `sendmmsg` on the same | the last bit of the address |
//!
//! Neither looks at a packet, checks a source, knows a call, or counts anything. A relay cannot be expected to reach them.

mod mmsg;
mod uring;

use clap::{Args, ValueEnum};
use std::fmt;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, ValueEnum)]
pub enum Loop {
    Uring,
    Mmsg,
}

impl fmt::Display for Loop {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Loop::Uring => "bare:uring",
            Loop::Mmsg => "bare:mmsg",
        })
    }
}

/// How a control is started: by this program, of itself.
#[derive(Args, Clone, Debug)]
pub struct BareArgs {
    #[arg(long = "loop", value_enum)]
    pub kind: Loop,
    /// Parties, two a call.
    #[arg(long)]
    pub parties: usize,
    /// The port they hear on.
    #[arg(long)]
    pub party_port: u16,
    #[arg(long)]
    pub core: Option<usize>,
    #[arg(long, default_value_t = 0, allow_hyphen_values = true)]
    pub nice: i32,
}

/// Prints the ports it hears on, one a party, in one line; then relays until its starter is gone.
pub fn run(args: &BareArgs) -> anyhow::Result<()> {
    end_with_starter();
    if let Some(core) = args.core {
        crate::host::affinity::pin(core)?;
    }
    crate::host::affinity::set_nice(args.nice)?;
    match args.kind {
        Loop::Uring => uring::run(args),
        Loop::Mmsg => mmsg::run(args),
    }
}

fn end_with_starter() {
    // SAFETY: this operation takes a signal number and touches no memory of ours.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
}

/// Tells the starter where packets are taken.
fn announce(ports: impl Iterator<Item = u16>) {
    let ports: Vec<String> = ports.map(|port| port.to_string()).collect();
    println!("{}", ports.join(" "));
}
