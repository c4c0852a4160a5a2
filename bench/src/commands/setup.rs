//! Calls per second through the control protocol.
//!
//! Closed loop: a client sends the next request when the reply is there, as one process of a proxy does. A triple is
//! offer, answer and delete of one call. Rounds alternate between the targets; the first round warms up and is not counted.

use crate::target::ng::{ANSWERED, Client, OFFERED};
use crate::target::{Options, Target};
use anyhow::Context;
use clap::Args;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

#[derive(Args, Debug)]
pub struct SetupArgs {
    /// What to measure, in turn: crosspoint, rtpengine, a path to either, or ng:udp:ADDRESS:PORT.
    #[arg(long, default_values = ["crosspoint", "rtpengine"], num_args = 1..)]
    target: Vec<String>,
    /// Clients at once, each with a socket of its own.
    #[arg(long, default_value_t = 1)]
    clients: usize,
    /// Counted rounds of each target.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds a round.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

/// One round of one target.
struct Round {
    triples_per_second: f64,
    offers: Vec<Duration>,
    answers: Vec<Duration>,
    deletes: Vec<Duration>,
}

pub fn run(args: &SetupArgs) -> anyhow::Result<()> {
    let ports = |place: usize| (30_000 + 1000 * place as u16, 30_999 + 1000 * place as u16);
    let opened = args.target.iter().enumerate().map(|(place, name)| {
        Target::open(
            name,
            None,
            &Options { core: None, nice: 0, ports: ports(place), arguments: Vec::new(), allow_remote: false },
        )
    });
    let targets: Vec<Target> = opened.collect::<anyhow::Result<_>>()?;
    let mut rounds: Vec<Vec<Round>> = targets.iter().map(|_| Vec::new()).collect();
    for number in 0..=args.rounds {
        for (place, target) in targets.iter().enumerate() {
            let round =
                measure(target.ng_addr()?, args).with_context(|| format!("round {number} of {}", target.name))?;
            if number > 0 {
                rounds[place].push(round);
            }
        }
    }
    println!("{} clients, {} rounds of {} s each, in turn; medians", args.clients, args.rounds, args.seconds);
    for (target, rounds) in targets.iter().zip(&rounds) {
        let rates = rounds.iter().map(|round| round.triples_per_second).collect();
        println!("{:<12} {:>8.0} offer+answer+delete a second", target.name, median(rates));
        let all = |of: fn(&Round) -> &Vec<Duration>| rounds.iter().flat_map(of).copied().collect::<Vec<_>>();
        for (name, times) in
            [("offer", all(|r| &r.offers)), ("answer", all(|r| &r.answers)), ("delete", all(|r| &r.deletes))]
        {
            println!("{:<12} {name:<6} {}", "", percentiles(times));
        }
    }
    if let [first, others @ ..] = &rounds[..] {
        for (target, other) in targets[1..].iter().zip(others) {
            let pairs = first.iter().zip(other).map(|(a, b)| a.triples_per_second / b.triples_per_second).collect();
            println!("{} / {}: {:.2} (median of the pairs)", targets[0].name, target.name, median(pairs));
        }
    }
    Ok(())
}

fn measure(addr: SocketAddr, args: &SetupArgs) -> anyhow::Result<Round> {
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let begun = Instant::now();
    let clients: Vec<Round> = std::thread::scope(|scope| {
        let spawned: Vec<_> =
            (0..args.clients).map(|number| scope.spawn(move || one_client(addr, number, end))).collect();
        spawned.into_iter().map(|client| client.join().expect("a client does not panic")).collect::<anyhow::Result<_>>()
    })?;
    let elapsed = begun.elapsed().as_secs_f64();
    let mut all = Round { triples_per_second: 0.0, offers: Vec::new(), answers: Vec::new(), deletes: Vec::new() };
    for client in clients {
        all.triples_per_second += client.deletes.len() as f64 / elapsed;
        all.offers.extend(client.offers);
        all.answers.extend(client.answers);
        all.deletes.extend(client.deletes);
    }
    Ok(all)
}

fn one_client(addr: SocketAddr, number: usize, end: Instant) -> anyhow::Result<Round> {
    let mut client = Client::connect(addr, Duration::from_secs(5))?;
    let mut round = Round { triples_per_second: 0.0, offers: Vec::new(), answers: Vec::new(), deletes: Vec::new() };
    for turn in 0_u64.. {
        let at = Instant::now();
        if at >= end {
            break;
        }
        let id = format!("setup-{number}-{turn}-{:?}", std::thread::current().id());
        client.offer(&id, OFFERED, None)?;
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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |share: f64| times.get(((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1)));
    let us = |share: f64| at(share).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6);
    format!("p50 {:>5.0} µs   p99 {:>5.0} µs   max {:>6.0} µs", us(0.5), us(0.99), us(1.0))
}
