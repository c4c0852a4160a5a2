//! `crypto`: protecting and unprotecting, every suite, alone and in batches, beside `webrtc-srtp` and libsrtp2.
//!
//! `portable` is ours without wide vectors, where the processor has them.
//!
//! Implementations take turns, round by round. Time is processor time of this thread, so that others on the machine only
//! make caches colder. Copying packets into place and making packets to unprotect is outside the measured time. What
//! one implementation protects, all must unprotect: a round in which one refuses a packet ends the run.

use crate::crypto::libsrtp::{Library, Libsrtp};
use crate::crypto::ours::Ours;
use crate::crypto::webrtc::Webrtc;
use crate::crypto::{Implementation, SLOT_BYTES, STREAMS, Slot, Streams};
use crate::inputs::rtp_packet;
use crate::interrupt;
use crate::load::plan::{SUITES, SuiteName, sdes_name};
use crate::report::document::{Document, Measure, Ratio, Subject, median};
use crate::report::progress::Progress;
use anyhow::ensure;
use clap::Args;
use crosspoint_wire::srtp::{Engine, Suite};

/// Packets of one round, half a megabyte: all of it in the second cache.
const PACKETS: usize = 32 * STREAMS;

#[derive(Args, Debug)]
pub struct CryptoArgs {
    /// Suites by their names in SDP; all of them without this.
    #[arg(long, value_delimiter = ',')]
    pub suite: Vec<SuiteName>,
    /// Counted rounds, implementations in turn.
    #[arg(long, default_value_t = 31)]
    pub rounds: usize,
    /// Core to run on.
    #[arg(long)]
    pub core: Option<usize>,
}

struct Contestant {
    name: String,
    implementation: Box<dyn Implementation>,
    protect_ns: Vec<f64>,
    unprotect_ns: Vec<f64>,
}

pub fn run(args: &CryptoArgs, progress: &Progress) -> anyhow::Result<Document> {
    if let Some(core) = args.core {
        crate::host::affinity::pin(core)?;
    }
    let library = Library::load();
    let loaded =
        library.map_or("no libsrtp2 here (Debian: apt install libsrtp2-1)".into(), |library| library.version());
    let load = format!("172-byte packets, {PACKETS} a round, {} rounds in turn, one core; {loaded}", args.rounds);
    let mut document = Document::new("crypto", load);
    let chosen: Vec<Suite> = args.suite.iter().map(|name| name.0).collect();
    let suites: Vec<Suite> =
        SUITES.iter().map(|(suite, _)| *suite).filter(|one| chosen.is_empty() || chosen.contains(one)).collect();
    let bar = progress.bar((suites.len() * 2 * args.rounds) as u64, "crypto");
    for suite in suites {
        for streams in [Streams::One, Streams::Batch] {
            let mut contestants = contestants(suite, library);
            for round in 0..=args.rounds {
                one_round(&mut contestants, suite, streams, round)?;
                interrupt::check()?;
                bar.inc(1);
            }
            note(&mut document, &contestants, suite, streams);
        }
    }
    bar.finish_and_clear();
    Ok(document)
}

/// Ours first.
fn contestants(suite: Suite, library: Option<Library>) -> Vec<Contestant> {
    let contestant = |name: &str, implementation: Box<dyn Implementation>| Contestant {
        name: name.into(),
        implementation,
        protect_ns: Vec::new(),
        unprotect_ns: Vec::new(),
    };
    let mut all = vec![contestant("crosspoint", Box::new(Ours::new(suite, Engine::detect())))];
    if !matches!(Engine::detect(), Engine::Portable) {
        all.push(contestant("portable", Box::new(Ours::new(suite, Engine::Portable))));
    }
    all.extend(Webrtc::new(suite).map(|webrtc| contestant("webrtc-srtp", Box::new(webrtc))));
    let libsrtp = library.and_then(|library| Libsrtp::new(library, suite));
    all.extend(libsrtp.map(|libsrtp| contestant("libsrtp2", Box::new(libsrtp))));
    all
}

/// The first round warms up and is not counted.
fn one_round(contestants: &mut [Contestant], suite: Suite, streams: Streams, round: usize) -> anyhow::Result<()> {
    let plain = plain_packets(streams, round);
    let mut sealed: Option<Vec<Slot>> = None;
    for contestant in contestants.iter_mut() {
        let mut slots = plain.clone();
        let (took, is_done) =
            timed(|| in_order(&mut slots, streams, |slots| contestant.implementation.protect(slots, streams)));
        ensure!(is_done, "{} refuses to protect with {}", contestant.name, sdes_name(suite));
        // Ours, which is first, is what all unprotect.
        let sealed = sealed.get_or_insert(slots);
        let mut slots = sealed.clone();
        let (took_back, is_done) =
            timed(|| in_order(&mut slots, streams, |slots| contestant.implementation.unprotect(slots, streams)));
        ensure!(is_done, "{} does not unprotect what crosspoint protects with {}", contestant.name, sdes_name(suite));
        if round > 0 {
            contestant.protect_ns.push(took);
            contestant.unprotect_ns.push(took_back);
        }
    }
    Ok(())
}

/// All at once, or a batch at a time.
fn in_order(slots: &mut [Slot], streams: Streams, mut work: impl FnMut(&mut [Slot]) -> bool) -> bool {
    match streams {
        Streams::One => work(slots),
        Streams::Batch => slots.chunks_mut(STREAMS).all(work),
    }
}

fn plain_packets(streams: Streams, round: usize) -> Vec<Slot> {
    let per_stream = match streams {
        Streams::One => PACKETS,
        Streams::Batch => PACKETS / STREAMS,
    };
    let slot = |packet: usize| {
        let number = (round * per_stream + packet / (PACKETS / per_stream)) as u16;
        let packet = rtp_packet(number, 0x00C0_FFEE + streams.of(packet) as u32);
        let mut bytes = [0; SLOT_BYTES];
        bytes[..packet.len()].copy_from_slice(&packet);
        Slot { bytes, length: packet.len() }
    };
    (0..PACKETS).map(slot).collect()
}

/// Nanoseconds a packet, of this thread's processor time.
fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = thread_cpu_ns();
    let result = work();
    ((thread_cpu_ns() - before) as f64 / PACKETS as f64, result)
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to, and the clock of the calling thread exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// One operation's rounds.
type Of = fn(&Contestant) -> &Vec<f64>;

fn note(document: &mut Document, contestants: &[Contestant], suite: Suite, streams: Streams) {
    let grouping = if streams == Streams::One { "single" } else { "batch" };
    let figures: [(&str, Of); 2] =
        [("protect", |contestant| &contestant.protect_ns), ("unprotect", |contestant| &contestant.unprotect_ns)];
    for (operation, of) in figures {
        let figure = format!("{operation}.{grouping}.{}", sdes_name(suite));
        for contestant in contestants {
            let place =
                document.subjects.iter().position(|subject| subject.name == contestant.name).unwrap_or_else(|| {
                    document.subjects.push(Subject { name: contestant.name.clone(), ..Subject::default() });
                    document.subjects.len() - 1
                });
            let measure = Measure { value: median(of(contestant).clone()), unit: "ns a packet".into() };
            document.subjects[place].measures.insert(figure.clone(), measure);
        }
        let (ours, others) = contestants.split_first().expect("ours is always there");
        for other in others {
            let pairs: Vec<f64> = of(other).iter().zip(of(ours)).map(|(other, ours)| other / ours).collect();
            let (of, to) = (other.name.clone(), ours.name.clone());
            document.ratios.push(Ratio { figure: figure.clone(), of, to, median: median(pairs.clone()), pairs });
        }
    }
}
