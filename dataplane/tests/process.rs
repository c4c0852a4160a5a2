//! The dataplane as a process: its end by signals and by control, its grace time, what a killed one leaves behind.
//!
//! The process is this test program itself, started again with the socket's path in its environment.

mod support;

use crosspoint_contract::{CallKey, Command, Done, Event, LegId, Refused, TransportRequest};
use crosspoint_dataplane::{BackendChoice, DataplaneConfig};
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command as Process, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use support::control::{Control, Dataplane, PATIENCE};

const SOCKET: &str = "CROSSPOINT_TEST_SOCKET";
const CHILD: &str = "CROSSPOINT_TEST_CHILD";

/// Not a test of its own: the body of the process that the tests below start.
#[test]
fn process_body() {
    let Some(socket) = std::env::var_os(SOCKET) else { return };
    let config = DataplaneConfig {
        socket: socket.into(),
        port_base: 0,
        workers: 1,
        legs_max: 4,
        child: std::env::var_os(CHILD).is_some(),
        ..DataplaneConfig::default()
    };
    crosspoint_dataplane::run(config).expect("a clean end");
}

fn start(socket: &Path, child: bool) -> Child {
    let mut process = Process::new(std::env::current_exe().expect("this program"));
    process.args(["--exact", "process_body"]).env(SOCKET, socket).stdout(Stdio::null()).stderr(Stdio::null());
    if child {
        process.env(CHILD, "1");
    }
    // SAFETY: between fork and exec it calls `pthread_sigmask` on a set of its own only, which is async-signal-safe.
    unsafe { process.pre_exec(block_signals) };
    process.spawn().expect("starts")
}

/// The test harness has a main thread of its own, which must not take the signals that `run` waits for.
fn block_signals() -> std::io::Result<()> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: `sigfillset` initialises the set before it is used.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
    Ok(())
}

fn signal(process: &Child, signal: libc::c_int) {
    // SAFETY: the process is our child and has not been waited for, so the id is its.
    assert_eq!(unsafe { libc::kill(process.id() as libc::pid_t, signal) }, 0);
}

fn ended(process: &mut Child) -> ExitStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = process.try_wait().expect("our child") {
            return status;
        }
        assert!(Instant::now() < deadline, "the process does not end");
        std::thread::yield_now();
    }
}

#[test]
fn sigterm_ends_it_cleanly_and_takes_the_socket_away() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let mut process = start(&socket, false);
    Control::attach(&socket).open(1);
    signal(&process, libc::SIGTERM);
    assert!(ended(&mut process).success());
    assert!(!socket.exists());
}

#[test]
fn sigint_is_left_to_the_control_plane_that_started_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let mut process = start(&socket, true);
    let mut control = Control::attach(&socket);
    signal(&process, libc::SIGINT);
    control.open(1);
    control.ok(Command::ShutDown);
    assert!(ended(&mut process).success());
}

#[test]
fn successor_of_a_killed_one_takes_the_socket_over() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("s");
    let mut killed = start(&socket, false);
    let generation = Control::attach(&socket).hello.generation;
    signal(&killed, libc::SIGKILL);
    ended(&mut killed);
    let mut successor = start(&socket, false);
    let mut control = Control::attach(&socket);
    assert_ne!(control.hello.generation, generation);
    assert!(control.snapshot.legs.is_empty());
    control.ok(Command::ShutDown);
    assert!(ended(&mut successor).success());
}

#[test]
fn socket_belongs_to_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    let metadata = std::fs::metadata(dataplane.directory.path().join("dataplane.sock")).expect("a socket");
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn second_dataplane_on_the_same_socket_is_refused_with_advice() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    let socket = dataplane.directory.path().join("dataplane.sock");
    let fault = crosspoint_dataplane::run(DataplaneConfig { socket, port_base: 0, ..DataplaneConfig::default() });
    assert!(fault.expect_err("refused").to_string().contains("attach to it"));
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn legs_without_a_control_plane_are_closed_when_the_grace_time_ends() {
    let dataplane = Dataplane::start(DataplaneConfig {
        workers: 1,
        legs_max: 4,
        grace: Duration::from_millis(50),
        ..DataplaneConfig::default()
    });
    dataplane.attach().open(1);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut control = dataplane.attach();
        if control.snapshot.legs.is_empty() {
            control.ok(Command::ShutDown);
            break;
        }
        drop(control);
        assert!(Instant::now() < deadline, "the leg is still there");
        std::thread::sleep(Duration::from_millis(100));
    }
    dataplane.ended();
}

#[test]
fn orders_of_a_control_plane_that_goes_at_once_are_carried_out() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    for leg in 1..=10 {
        control.send(Command::OpenLeg { leg: LegId(leg), call: CallKey(1), transport: TransportRequest::WebRtc });
    }
    drop(control);
    let mut control = dataplane.attach();
    assert_eq!(control.snapshot.legs.len(), 10);
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn connection_without_a_hello_is_no_control_plane_and_is_closed() {
    let dataplane = Dataplane::start(DataplaneConfig {
        workers: 1,
        legs_max: 4,
        grace: Duration::from_millis(300),
        ..DataplaneConfig::default()
    });
    dataplane.attach().open(1);
    let mut mute = UnixStream::connect(dataplane.directory.path().join("dataplane.sock")).expect("accepted");
    mute.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    assert_eq!(mute.read(&mut [0]).expect("closed in time"), 0);
    let mut control = dataplane.attach();
    assert!(control.snapshot.legs.is_empty(), "it did not stop the grace time");
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn drain_is_over_when_the_last_leg_has_gone() {
    let dataplane = Dataplane::on(BackendChoice::Auto);
    let mut control = dataplane.attach();
    control.open(1);
    control.ok(Command::Drain);
    let refused =
        control.ask(Command::OpenLeg { leg: LegId(2), call: CallKey(1), transport: TransportRequest::WebRtc });
    assert_eq!(refused, Err(Refused::Draining));
    control.send(Command::CloseLeg { leg: LegId(1) });
    assert_eq!(control.event(|event| *event == Event::Drained), Event::Drained);
    control.ok(Command::ShutDown);
    dataplane.ended();
}

#[test]
fn counters_of_every_worker_can_be_read() {
    let dataplane = Dataplane::start(DataplaneConfig { workers: 2, legs_max: 8, ..DataplaneConfig::default() });
    let mut control = dataplane.attach();
    control.open(1);
    // A worker puts its figures out once a turn, and an order is answered within one.
    let deadline = Instant::now() + Duration::from_secs(5);
    let (workers, lobby) = loop {
        let Ok(Done::Counters { workers, lobby }) = control.ask(Command::ReadCounters) else { panic!("counters") };
        if workers.iter().map(|worker| worker.legs).sum::<u32>() == 1 {
            break (workers, lobby);
        }
        assert!(Instant::now() < deadline, "the leg is not counted");
    };
    assert_eq!(workers.len(), 2);
    assert!(workers.iter().all(|worker| worker.elapsed_ns > 0 && worker.busy_ns > 0));
    assert!(workers.iter().any(|worker| worker.enters > 0));
    assert_eq!(lobby.handshakes_started, 0);
    control.ok(Command::ShutDown);
    dataplane.ended();
}
