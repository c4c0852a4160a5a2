//! `setup`: calls per second through the control plane, over ng or as WebRTC clients place them.
//!
//! Over ng, a closed loop: a client sends the next request when the reply is there, as one process of a proxy does. A triple is
//! offer, answer and delete of one call. Rounds alternate between the targets; the first round warms up and is not counted.
//!
//! As WebRTC clients (`--signaling webrtc`): whole calls at a rate, each with two clients that have a WebSocket, ICE, DTLS and
//! audio of their own. A call counts as up when both sides hear each other.

use crate::host::process;
use crate::interrupt;
use crate::report::document::{Document, Measure, Ratio, Subject, median};
use crate::report::progress::Progress;
use crate::target::ng::{ANSWERED, Client, OFFERED};
use crate::target::{Options, Target};
use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use crosspoint_tests::load;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// A request that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(5);

/// Media ports of a target, from here on.
const PORTS_FROM: u16 = 10_000;
const PORTS_EACH: u16 = 4000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Signaling {
    Ng,
    Webrtc,
}

#[derive(Args, Debug)]
pub struct SetupArgs {
    /// What to measure, in turn: self, rtpengine, a path to either, or ng:udp:ADDRESS:PORT.
    #[arg(long, default_values = ["self", "rtpengine"], num_args = 1.., value_delimiter = ',')]
    target: Vec<String>,
    /// How calls are placed. WebRTC: at `self` only.
    #[arg(long, value_enum, default_value = "ng")]
    signaling: Signaling,
    /// ng: clients at once, each with a socket of its own.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// ng: counted rounds of each target.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// ng: seconds a round.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// WebRTC: calls placed.
    #[arg(long, default_value_t = 200)]
    calls: usize,
    /// WebRTC: calls placed a second.
    #[arg(long, default_value_t = 50)]
    per_second: u32,
    /// WebRTC: seconds that all calls talk at the same time, for what a packet costs then.
    #[arg(long, default_value_t = 5.0)]
    talk: f64,
    /// Address a relay on another machine, which must be yours.
    #[arg(long)]
    allow_remote: bool,
}

pub fn run(args: &SetupArgs, progress: &Progress) -> anyhow::Result<Document> {
    match args.signaling {
        Signaling::Ng => over_ng(args, progress),
        Signaling::Webrtc => as_webrtc_clients(args),
    }
}

fn open(args: &SetupArgs) -> anyhow::Result<Vec<Target>> {
    let open_one = |(place, name): (usize, &String)| {
        let from = PORTS_FROM + PORTS_EACH * place as u16;
        let options = Options {
            core: None,
            nice: 0,
            ports: (from, from + PORTS_EACH - 1),
            arguments: Vec::new(),
            allow_remote: args.allow_remote,
        };
        Target::open(name, None, &options)
    };
    if args.target.len() > 5 {
        bail!("at most five targets side by side");
    }
    args.target.iter().enumerate().map(open_one).collect()
}

// ---- over ng ------------------------------------------------------------------------------------------------------------

/// One round of one target.
#[derive(Default)]
struct Round {
    triples_per_second: f64,
    offers: Vec<Duration>,
    answers: Vec<Duration>,
    deletes: Vec<Duration>,
}

fn over_ng(args: &SetupArgs, progress: &Progress) -> anyhow::Result<Document> {
    let targets = open(args)?;
    let load = format!(
        "offer, answer, delete over ng; {} clients, each waits for its reply; {} rounds of {} s in turn",
        args.clients, args.rounds, args.seconds
    );
    let mut document = Document::new("setup", load);
    let mut rounds: Vec<Vec<Round>> = targets.iter().map(|_| Vec::new()).collect();
    let bar = progress.bar(((args.rounds + 1) * targets.len()) as u64, "setup");
    for number in 0..=args.rounds {
        for (place, target) in targets.iter().enumerate() {
            let round =
                measure(target.ng_addr()?, args).with_context(|| format!("round {number} of {}", target.name))?;
            if number > 0 {
                rounds[place].push(round);
            }
            bar.inc(1);
            interrupt::check()?;
        }
    }
    bar.finish_and_clear();
    document.subjects = targets.iter().zip(&rounds).map(|(target, rounds)| subject(&target.name, rounds)).collect();
    if let Some((first, others)) = rounds.split_first() {
        for (target, other) in targets[1..].iter().zip(others) {
            let pairs: Vec<f64> =
                first.iter().zip(other).map(|(a, b)| a.triples_per_second / b.triples_per_second).collect();
            let (of, to) = (targets[0].name.clone(), target.name.clone());
            document.ratios.push(Ratio {
                figure: "triples_per_second".into(),
                of,
                to,
                median: median(pairs.clone()),
                pairs,
            });
        }
    }
    Ok(document)
}

fn subject(name: &str, rounds: &[Round]) -> Subject {
    let mut subject = Subject { name: name.into(), ..Subject::default() };
    let mut put = |name: String, value: f64, unit: &str| {
        subject.measures.insert(name, Measure { value, unit: unit.into() });
    };
    put("triples_per_second".into(), median(rounds.iter().map(|round| round.triples_per_second).collect()), "calls/s");
    let all = |of: fn(&Round) -> &Vec<Duration>| rounds.iter().flat_map(of).copied().collect::<Vec<_>>();
    for (request, mut times) in
        [("offer", all(|r| &r.offers)), ("answer", all(|r| &r.answers)), ("delete", all(|r| &r.deletes))]
    {
        times.sort_unstable();
        for (quantile, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
            put(format!("{request}_{quantile}"), micros_at(&times, share), "µs");
        }
    }
    subject
}

fn measure(addr: SocketAddr, args: &SetupArgs) -> anyhow::Result<Round> {
    let begun = Instant::now();
    let end = begun + Duration::from_secs_f64(args.seconds);
    let clients: Vec<Round> = std::thread::scope(|scope| {
        let spawned: Vec<_> =
            (0..args.clients).map(|number| scope.spawn(move || one_client(addr, number, end))).collect();
        spawned.into_iter().map(|client| client.join().expect("a client does not panic")).collect::<anyhow::Result<_>>()
    })?;
    let elapsed = begun.elapsed().as_secs_f64();
    let mut all = Round::default();
    for client in clients {
        all.triples_per_second += client.deletes.len() as f64 / elapsed;
        all.offers.extend(client.offers);
        all.answers.extend(client.answers);
        all.deletes.extend(client.deletes);
    }
    Ok(all)
}

fn one_client(addr: SocketAddr, number: usize, end: Instant) -> anyhow::Result<Round> {
    let mut client = Client::connect(addr, PATIENCE)?;
    let mut round = Round::default();
    for turn in 0_u64.. {
        let at = Instant::now();
        if at >= end || interrupt::is_requested() {
            break;
        }
        let id = format!("setup-{number}-{turn}-{:?}", std::thread::current().id());
        client.offer(&id, OFFERED, &[])?;
        let offered = Instant::now();
        client.answer(&id, ANSWERED)?;
        let answered = Instant::now();
        client.delete(&id)?;
        round.offers.push(offered - at);
        round.answers.push(answered - offered);
        round.deletes.push(answered.elapsed());
    }
    Ok(round)
}

fn micros_at(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

// ---- as WebRTC clients --------------------------------------------------------------------------------------------------

fn as_webrtc_clients(args: &SetupArgs) -> anyhow::Result<Document> {
    if args.target.iter().any(|name| name != "self" && name != "crosspoint") && args.target.len() == 1 {
        bail!("--signaling webrtc: only `self` is started with a signaling listener");
    }
    let options = Options {
        core: None,
        nice: 0,
        ports: (PORTS_FROM, PORTS_FROM + PORTS_EACH - 1),
        arguments: Vec::new(),
        allow_remote: false,
    };
    let target = Target::open("self", None, &options)?;
    let Some(http) = target.http() else { bail!("the relay was not started with a signaling listener") };
    let load =
        format!("{} WebRTC calls, {} a second: WebSocket, ICE, DTLS, audio both ways", args.calls, args.per_second);
    let mut document = Document::new("setup", load);
    let plan = load::Plan { calls: args.calls, per_second: args.per_second, talk: Duration::from_secs_f64(args.talk) };
    let begun = Instant::now();
    let mut all_up = Duration::ZERO;
    let mut readings = Vec::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(load::run(&format!("ws://{http}/signal"), &plan, |moment| {
        if moment == load::Moment::AllUp {
            all_up = begun.elapsed();
        }
        readings.push(Spent::by(&target));
    }));
    let mut subject = Subject { name: target.name.clone(), ..Subject::default() };
    let mut put = |name: &str, value: f64, unit: &str| {
        subject.measures.insert(name.into(), Measure { value, unit: unit.into() });
    };
    put("webrtc_calls_per_second", report.set_up.len() as f64 / all_up.as_secs_f64().max(1e-9), "calls/s");
    put("webrtc_calls_failed", report.failures.len() as f64, "calls");
    for (quantile, share) in [("p50", 0.5), ("p99", 0.99), ("max", 1.0)] {
        put(&format!("invite_to_answer_{quantile}"), micros_at(&report.set_up, share), "µs");
    }
    if let [before, after] = &readings[..]
        && after.packets > before.packets
    {
        let packets = after.packets - before.packets;
        put("webrtc_packets_forwarded", packets, "packets");
        put("webrtc_cpu_ns_per_packet", (after.cpu_ns - before.cpu_ns) as f64 / packets, "ns");
    }
    document.subjects.push(subject);
    Ok(document)
}

/// What the relay had used and sent at one moment.
struct Spent {
    cpu_ns: u64,
    packets: f64,
}

impl Spent {
    fn by(target: &Target) -> Spent {
        let packets = target.metrics().map_or(0.0, |metrics| metrics.packets_sent);
        Spent { cpu_ns: process::thread_cpu_ns(&target.process_ids()).values().sum(), packets }
    }
}
