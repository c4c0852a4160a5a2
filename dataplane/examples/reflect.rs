//! The bare loop: every datagram goes back to its sender, nothing else happens. What a packet costs here, it costs
//! before any stage has touched it; so this is the control that the dataplane's figures are compared with.
//!
//! ```text
//!   reflect uring 60 &              # prints its address, and its figures when the seconds are over
//!   reflect load ADDRESS 5 [flows]  # as many 172-byte datagrams as one core can send and read back
//! ```
//!
//! Pin each to a core of its own (`taskset -c`).

use crosspoint_dataplane::batch::{Disposition, Nanos};
use crosspoint_dataplane::io::{self, IoConfig, Opened, WorkerPorts};
use std::error::Error;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// 20 ms of G.711 in RTP.
const PAYLOAD_BYTES: usize = 172;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["load", addr, seconds] => load(addr.parse()?, seconds.parse()?, 500),
        ["load", addr, seconds, flows] => load(addr.parse()?, seconds.parse()?, flows.parse()?),
        [backend, seconds] => reflect(backend, seconds.parse()?, 4096),
        [backend, seconds, legs] => reflect(backend, seconds.parse()?, legs.parse()?),
        _ => Err("reflect uring|mmsg|auto SECONDS [LEGS], or reflect load ADDRESS SECONDS [FLOWS]".into()),
    }
}

fn reflect(backend: &str, seconds: u64, legs_max: usize) -> Result<(), Box<dyn Error>> {
    let addr = SocketAddr::from(([127, 0, 0, 1], 0));
    let config =
        IoConfig { addr, backend: backend.parse()?, legs_max, huge_pages: false, ports: WorkerPorts::default() };
    let Opened { mut io, mut batch, reason, .. } = io::open(&config)?;
    println!("{} {reason}", io.local_addr());
    let end = Nanos::now().saturating_add_ns(seconds * 1_000_000_000);
    let (mut turns, cpu_start) = (0u64, cpu_ns());
    while batch.now() < end {
        io.harvest(&mut batch, Some(end))?;
        turns += u64::from(!batch.is_empty());
        for packet in batch.packets_mut() {
            packet.disposition = Disposition::Send;
        }
        io.submit(&mut batch);
    }
    let (counters, cpu) = (io.counters(), cpu_ns() - cpu_start);
    let packets = counters.packets_received.max(1);
    println!(
        "{packets} packets, {} ns of CPU each, {:.1} a batch, {:.2} system calls a batch; {counters:?}",
        cpu / packets,
        packets as f64 / turns.max(1) as f64,
        counters.enters as f64 / turns.max(1) as f64,
    );
    Ok(())
}

/// Sends bursts from `flows` sockets in turn and reads what came back, for some seconds.
fn load(addr: SocketAddr, seconds: u64, flows: usize) -> Result<(), Box<dyn Error>> {
    let sockets = (0..flows).map(|_| connected(addr)).collect::<std::io::Result<Vec<_>>>()?;
    let (mut sent, mut returned, mut buffer) = (0u64, 0u64, [0; 2048]);
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(seconds) {
        for socket in &sockets {
            sent += u64::from(socket.send(&[0x80; PAYLOAD_BYTES]).is_ok());
        }
        for socket in &sockets {
            while socket.recv(&mut buffer).is_ok() {
                returned += 1;
            }
        }
    }
    println!("{} packets/s sent, {:.1} % came back", sent / seconds, returned as f64 * 100.0 / sent as f64);
    Ok(())
}

fn connected(addr: SocketAddr) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((addr.ip(), 0))?;
    socket.connect(addr)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// What this thread has used of a core, in user space and for it in the kernel.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec to write to, and the clock of the calling thread exists.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
