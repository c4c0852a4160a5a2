//! The program under test: a `crosspoint` process on free loopback ports with a data directory of its own.
//!
//! Input: flags of a scenario. Output: its URLs, log, metrics and process ids. Ready is what `/healthz` says; the process is ended
//! by its id when the [`Server`] is dropped, its dataplane too.

use crate::{PATIENCE, process};
use serde_json::Value;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub struct Server {
    child: Child,
    pub http: SocketAddr,
    flags: Vec<String>,
    data: TempDir,
    log: Arc<Mutex<String>>,
    /// From the start of the process to the first good `/healthz`.
    pub ready_after: Duration,
}

pub fn binary() -> PathBuf {
    let built = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/release/crosspoint");
    std::env::var_os("CROSSPOINT_BIN").map_or_else(built, PathBuf::from)
}

impl Server {
    pub fn start() -> Server {
        Server::start_with(&[])
    }

    pub fn start_with(flags: &[&str]) -> Server {
        let begun = Instant::now();
        let mut server = Server::spawn_unready(flags);
        server.await_ready(begun);
        server
    }

    /// For one that will not become ready.
    pub fn spawn_unready(flags: &[&str]) -> Server {
        let data = tempfile::Builder::new().prefix("crosspoint-test-").tempdir().expect("a temporary directory");
        let http = free_tcp_port();
        let mut all = vec![
            format!("--signal-listen={http}"),
            format!("--signal-tls-listen={}", free_tcp_port()),
            format!("--data-dir={}", data.path().display()),
            "--media-port-base=0".to_owned(),
            "--media-workers=1".to_owned(),
        ];
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let log = Arc::default();
        let child = spawn(&all, &log);
        Server { child, http, flags: all, data, log, ready_after: Duration::ZERO }
    }

    /// Starts the control plane again, with the same data and ports, after [`Server::kill_control`].
    pub fn restart(&mut self) {
        let begun = Instant::now();
        self.child = spawn(&self.flags, &self.log);
        self.await_ready(begun);
    }

    fn await_ready(&mut self, begun: Instant) {
        while !self.get("/healthz").is_ok_and(|(status, _)| status == 200) {
            if let Ok(Some(status)) = self.child.try_wait() {
                panic!("crosspoint ended at once ({status}):\n{}", self.log());
            }
            assert!(begun.elapsed() < PATIENCE, "crosspoint does not become ready:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
        self.ready_after = begun.elapsed();
    }

    pub fn signal_url(&self) -> String {
        format!("ws://{}/signal", self.http)
    }

    pub fn data_dir(&self) -> &Path {
        self.data.path()
    }

    /// All that the process and its dataplane printed so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("no thread panics while it logs").clone()
    }

    /// Waits until the log has a line with all of `words`.
    pub fn await_log(&self, words: &[&str]) -> String {
        let begun = Instant::now();
        loop {
            if let Some(line) = self.log().lines().find(|line| words.iter().all(|word| line.contains(word))) {
                return line.to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "the log has no line with {words:?}:\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn control_pid(&self) -> u32 {
        self.child.id()
    }

    /// The dataplane of this server, whoever its parent is by now: its command line names our data directory.
    pub fn dataplane_pid(&self) -> u32 {
        let found = process::with_arguments(&["dataplane", &self.data.path().to_string_lossy()]);
        *found.first().unwrap_or_else(|| panic!("there is no dataplane process:\n{}", self.log()))
    }

    pub fn kill_control(&mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process is ours");
    }

    /// Sends a signal, by its number.
    pub fn signal(pid: u32, signal: &str) {
        let status = Command::new("kill").args([&format!("-{signal}"), &pid.to_string()]).status();
        assert!(status.expect("kill is a program").success(), "process {pid} is gone");
    }

    /// Waits until the process has ended by itself.
    pub fn await_end(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "crosspoint does not end:\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Runs a subcommand against this server's data.
    pub fn run(&self, arguments: &[&str]) -> Output {
        let data = format!("--data-dir={}", self.data.path().display());
        run(&[arguments, &[data.as_str()]].concat())
    }

    /// The records of ended calls, newest first.
    pub fn calls(&self) -> Vec<Value> {
        let output = self.run(&["calls", "--json", "--limit=100000"]);
        assert!(output.status.success(), "crosspoint calls: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
        let calls = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        calls.filter(|call| call.get("ended_unix_ms").is_some()).collect()
    }

    /// Waits until there are `count` call records.
    pub fn await_calls(&self, count: usize) -> Vec<Value> {
        let begun = Instant::now();
        loop {
            let calls = self.calls();
            if calls.len() >= count {
                return calls;
            }
            assert!(begun.elapsed() < PATIENCE, "awaited {count} call records, there are {calls:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn metrics(&self) -> Metrics {
        let (status, body) = self.get("/metrics").expect("crosspoint answers");
        assert_eq!(status, 200, "/metrics: {body}");
        Metrics::parsed(&body)
    }

    /// Waits until the metrics satisfy `enough`.
    pub fn await_metrics(&self, what: &str, enough: impl Fn(&Metrics) -> bool) -> Metrics {
        let begun = Instant::now();
        loop {
            let metrics = self.metrics();
            if enough(&metrics) {
                return metrics;
            }
            assert!(begun.elapsed() < PATIENCE, "awaited {what}; metrics are {metrics:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Status and body of a plain HTTP/1.1 GET.
    pub fn get(&self, path: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.http)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.http)?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.unwrap_or(0), body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        for pid in process::with_arguments(&["dataplane", &self.data.path().to_string_lossy()]) {
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        if thread::panicking() {
            eprintln!("---- log of crosspoint ----\n{}---- end of log ----", self.log());
        }
    }
}

/// Runs the binary to its end, without a terminal and without this machine's configuration.
pub fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.args(arguments).stdin(Stdio::null());
    clean_environment(&mut command);
    command.output().unwrap_or_else(|e| panic!("{}: {e}; build it with `cargo build --release`", binary().display()))
}

fn spawn(flags: &[String], log: &Arc<Mutex<String>>) -> Child {
    let mut command = Command::new(binary());
    command.args(flags).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    clean_environment(&mut command);
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("{}: {e}; build it with `cargo build --release`", binary().display()));
    collect(child.stdout.take().expect("stdout is piped"), log);
    collect(child.stderr.take().expect("stderr is piped"), log);
    child
}

fn clean_environment(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CROSSPOINT_") {
            command.env_remove(name);
        }
    }
}

fn collect(stream: impl Read + Send + 'static, log: &Arc<Mutex<String>>) {
    let log = log.clone();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut log = log.lock().expect("no thread panics while it logs");
            log.push_str(&line);
            log.push('\n');
        }
    });
}

pub fn free_tcp_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("the socket is bound")
}

/// A reading of `/metrics`, Prometheus text format: series with labels, and its value.
#[derive(Clone, Debug, Default)]
pub struct Metrics(HashMap<String, f64>);

impl Metrics {
    fn parsed(text: &str) -> Metrics {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = samples.filter_map(|line| line.rsplit_once(' '));
        Metrics(pairs.filter_map(|(series, value)| Some((series.to_owned(), value.parse().ok()?))).collect())
    }

    /// Sum of all series of this name that carry `label` (`reason="unknown_source"`), or of all if it is empty.
    pub fn sum(&self, name: &str, label: &str) -> f64 {
        let is_named = |series: &str| series.split('{').next() == Some(name);
        self.0.iter().filter(|(series, _)| is_named(series) && series.contains(label)).map(|(_, value)| value).sum()
    }

    /// Packets dropped for this reason on all workers.
    pub fn dropped(&self, reason: &str) -> f64 {
        self.sum("crosspoint_worker_packets_dropped_total", &format!("reason=\"{reason}\""))
    }
}
