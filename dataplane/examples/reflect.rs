//! The bare loop: every datagram goes back to its sender, nothing else happens. What a packet costs here, it costs
//! before any stage has touched it; so this is the control that the dataplane's figures are compared with.
//!
//! ```text
//!   reflect uring 60 &                      # prints its address, and its figures when the seconds are over
//!   reflect load ADDRESS 5                  # as many 172-byte datagrams of 500 flows as one core can send and read back
//!
//!   reflect uring 60 --ports steered &      # as an RTP leg has them: PORTS ports from ADDRESS on; or `sockets`
//!   reflect load ADDRESS 5 --ports          # each flow to a port of its own
//! ```
//!
//! Pin each to a core of its own (`taskset -c`).

use crosspoint_dataplane::PortsChoice;
use crosspoint_dataplane::batch::{Disposition, Nanos};
use crosspoint_dataplane::io::{self, ClaimedPort, IoConfig, Opened, PortRefused, Ports, PortsConfig};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// 20 ms of G.711 in RTP.
const PAYLOAD_BYTES: usize = 172;

/// Callers, and ports where each has one.
const FLOWS: u16 = 500;

const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["load", addr, seconds] => load(addr.parse()?, seconds.parse()?, 1),
        ["load", addr, seconds, "--ports"] => load(addr.parse()?, seconds.parse()?, FLOWS),
        [backend, seconds] => reflect(backend, seconds.parse()?, None),
        [backend, seconds, "--ports", choice] => reflect(backend, seconds.parse()?, Some(choice.parse()?)),
        _ => Err("reflect uring|mmsg|auto SECONDS [--ports steered|sockets|auto], or \
                  reflect load ADDRESS SECONDS [--ports]"
            .into()),
    }
}

fn reflect(backend: &str, seconds: u64, choice: Option<PortsChoice>) -> Result<(), Box<dyn Error>> {
    let addrs = choice.map(|_| LOCAL).into_iter().collect();
    let choice = choice.unwrap_or_default();
    let (ports, workers) = Ports::open(&PortsConfig { addrs, choice, workers: 1, ports_max: FLOWS.into() })?;
    let opened = io::open(&IoConfig {
        addr: SocketAddr::new(LOCAL, 0),
        backend: backend.parse()?,
        legs_max: 4096,
        huge_pages: false,
        ports: workers.into_iter().next().unwrap_or_default(),
    })?;
    reflect_on(opened, &ports, seconds)
}

fn reflect_on(opened: Opened, ports: &Ports, seconds: u64) -> Result<(), Box<dyn Error>> {
    let Opened { mut io, mut batch, reason, .. } = opened;
    let start = Instant::now();
    let claimed = if ports.hello().addrs.is_empty() { Vec::new() } else { claim_in_a_row(ports)? };
    for port in &claimed {
        io.open_port(&port.spec())?;
    }
    let opening_ns = start.elapsed().as_nanos() / u128::from(FLOWS);
    let addr = claimed.first().map_or(io.local_addr(), ClaimedPort::addr);
    println!("{addr} {reason}; ports: {}; {} opened, {opening_ns} ns each", ports.hello().reason, claimed.len());
    let end = Nanos::now().saturating_add_ns(seconds * 1_000_000_000);
    let (mut turns, cpu_start) = (0u64, cpu_ns());
    while batch.now() < end {
        io.harvest(&mut batch, Some(end))?;
        io.resolve_ports(&mut batch);
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

/// Ports one after another, below those that the kernel gives to anybody.
fn claim_in_a_row(ports: &Ports) -> Result<Vec<ClaimedPort>, PortRefused> {
    let starts = (24_000..=32_000 - FLOWS).step_by(FLOWS.into());
    let row = |start| (start..start + FLOWS).map(|port| ports.claim(0, SocketAddr::new(LOCAL, port), 0)).collect();
    starts.map(row).find(Result::is_ok).unwrap_or(Err(PortRefused::Taken))
}

/// Sends bursts from a socket for each flow in turn and reads what came back, for some seconds.
fn load(addr: SocketAddr, seconds: u64, ports: u16) -> Result<(), Box<dyn Error>> {
    let to = |flow: u16| SocketAddr::new(addr.ip(), addr.port() + flow % ports);
    let sockets = (0..FLOWS).map(|flow| connected(to(flow))).collect::<std::io::Result<Vec<_>>>()?;
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
