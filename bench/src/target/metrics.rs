//! The figures that our own relay publishes: how many packets a batch has, how many system calls they take.
//!
//! Input: `/metrics` in the Prometheus text format. Output: sums over workers. Owns nothing.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics {
    pub packets_sent: f64,
    pub batches: f64,
    /// System calls of the packet path: `io_uring_enter`, or `recvmmsg` and `sendmmsg`.
    pub system_calls: f64,
    pub packets_dropped: f64,
}

impl Metrics {
    pub fn read(addr: SocketAddr) -> Option<Metrics> {
        let mut stream = TcpStream::connect_timeout(&addr, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET /metrics HTTP/1.0\r\nHost: {addr}\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.contains("crosspoint_worker_").then(|| Metrics::of_text(&text))
    }

    fn of_text(text: &str) -> Metrics {
        let sum = |family: &str| {
            let of_family = |line: &&str| line.strip_prefix(family).is_some_and(|rest| rest.starts_with(['{', ' ']));
            let value = |line: &str| line.rsplit(' ').next()?.parse::<f64>().ok();
            text.lines().filter(of_family).filter_map(value).sum()
        };
        Metrics {
            packets_sent: sum("crosspoint_worker_packets_sent_total"),
            batches: sum("crosspoint_worker_batches_total"),
            system_calls: sum("crosspoint_worker_enters_total"),
            packets_dropped: sum("crosspoint_worker_packets_dropped_total"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_summed_over_workers_and_other_families_are_left_out() {
        let text = "# HELP crosspoint_worker_batches x\ncrosspoint_worker_batches_total{worker=\"0\"} 3\n\
                    crosspoint_worker_batches_total{worker=\"1\"} 4\ncrosspoint_worker_batches_total_more 100\n";
        assert_eq!(Metrics::of_text(text).batches, 7.0);
    }
}
