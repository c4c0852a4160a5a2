//! Control or dataplane killed during a call.
//!
//! ```text
//!  alice ── WebSocket ── control ── WebSocket ── bob        kill -9 control: media goes on, control returns and knows the call
//!    └───────── UDP ──── dataplane ──── UDP ──────┘         kill -9 dataplane: the call ends with a code, the next one works
//! ```
//!
//! The dataplane is the server's own child, or, as under systemd, a process that the server only attaches to.

use crosspoint_tests::phone::{self, Phone};
use crosspoint_tests::server::{self, Metrics};
use crosspoint_tests::{Server, process};
use serde_json::json;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const MEDIA_FAILED: u64 = 53405;

#[tokio::test]
async fn call_outlives_control_and_is_hung_up_through_the_next_one() {
    let mut server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (mut a, mut b) = phone::talk(&mut alice, &mut bob).await;
    let dataplane = server.dataplane_pid();

    server.kill_control();
    let lost_before = a.media.heard().lost + b.media.heard().lost;
    a.media.hears(bob.voice, 100).await;
    b.media.hears(alice.voice, 100).await;

    server.restart();
    assert_eq!(server.dataplane_pid(), dataplane, "the next control attaches to the dataplane that runs");
    server.await_metrics("the call to be known again", |metrics| calls(metrics) == 1.0);
    let mut alice = Phone::connect(&server, "alice").await;
    let mut bob = Phone::register(&server, "bob").await;
    alice.resume(&a).await;
    bob.resume(&b).await;
    a.media.hears(bob.voice, 50).await;
    b.media.hears(alice.voice, 50).await;
    let lost = a.media.heard().lost + b.media.heard().lost - lost_before;
    println!("figure: {lost} voice packets lost while control was dead and came back");
    assert_eq!(lost, 0, "packets lost while control was dead");

    alice.hang_up(&a.call);
    assert_eq!(bob.session.expect("hangup").await["callsid"], json!(b.call));
    let records = server.await_calls(1);
    assert_eq!(records.len(), 1, "{records:?}");
    assert_eq!(records[0]["end_reason"], "completed", "{}", records[0]);
    server.await_metrics("no call", |metrics| calls(metrics) == 0.0);
}

#[tokio::test]
async fn call_whose_clients_do_not_return_ends_after_the_grace_time_with_one_record() {
    let mut server = Server::start_with(&["--call-restart-grace-seconds=1"]);
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let _call = phone::talk(&mut alice, &mut bob).await;
    server.kill_control();
    server.restart();
    assert_eq!(server.await_calls(1).len(), 1);
    server.await_metrics("no leg in the dataplane", |metrics| metrics.sum("crosspoint_worker_legs", "") == 0.0);
}

#[tokio::test]
async fn killed_dataplane_ends_its_calls_with_a_code_and_the_next_call_works() {
    let server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let _call = phone::talk(&mut alice, &mut bob).await;
    let dataplane = server.dataplane_pid();
    Server::signal(dataplane, "KILL");
    for phone in [&mut alice, &mut bob] {
        let hangup = phone.session.expect("hangup").await;
        assert_eq!(hangup["error"]["code"], MEDIA_FAILED, "{hangup}");
    }
    server.await_log(&["dataplane", "signal: 9"]);
    let healthy = |_: &Metrics| server.get("/healthz").is_ok_and(|(status, _)| status == 200);
    server.await_metrics("a new dataplane", healthy);
    assert_ne!(server.dataplane_pid(), dataplane);
    phone::talk(&mut alice, &mut bob).await;
    let records = server.await_calls(1);
    assert_eq!(records.len(), 1, "the second call goes on: {records:?}");
    assert_eq!(records[0]["code"], MEDIA_FAILED, "{}", records[0]);
}

#[tokio::test]
async fn control_ended_in_order_ends_its_calls_and_its_dataplane() {
    let mut server = Server::start();
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let _call = phone::talk(&mut alice, &mut bob).await;
    let dataplane = server.dataplane_pid();
    Server::signal(server.control_pid(), "INT");
    alice.session.expect("hangup").await;
    bob.session.expect("hangup").await;
    assert_eq!(server.await_end().code(), Some(0), "{}", server.log());
    assert!(!process::is_alive(dataplane), "the dataplane outlived an orderly end");
    assert_eq!(server.calls().len(), 1);
}

#[tokio::test]
async fn orderly_restart_of_a_control_that_only_attached_costs_no_call() {
    let dataplane = LoneDataplane::start();
    let attach = format!("--media-attach={}", dataplane.socket().display());
    let mut server = Server::start_with(&[&attach]);
    let (mut alice, mut bob) = (Phone::connect(&server, "alice").await, Phone::register(&server, "bob").await);
    let (mut a, mut b) = phone::talk(&mut alice, &mut bob).await;

    Server::signal(server.control_pid(), "TERM");
    assert_eq!(server.await_end().code(), Some(0), "{}", server.log());
    a.media.hears(bob.voice, 50).await;
    b.media.hears(alice.voice, 50).await;

    server.restart();
    server.await_metrics("the call to be known again", |metrics| calls(metrics) == 1.0);
    let mut alice = Phone::connect(&server, "alice").await;
    let mut bob = Phone::register(&server, "bob").await;
    alice.resume(&a).await;
    bob.resume(&b).await;
    alice.hang_up(&a.call);
    bob.session.expect("hangup").await;
    assert_eq!(server.await_calls(1)[0]["end_reason"], "completed");
}

/// A dataplane that nobody's control started.
struct LoneDataplane {
    child: Child,
    folder: TempDir,
}

impl LoneDataplane {
    fn start() -> LoneDataplane {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let child = Command::new(server::binary())
            .args(["dataplane", "--listen=127.0.0.1", "--port-base=0", "--workers=1", "--socket"])
            .arg(folder.path().join("dataplane.sock"))
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary is built");
        LoneDataplane { child, folder }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("dataplane.sock")
    }
}

impl Drop for LoneDataplane {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn calls(metrics: &Metrics) -> f64 {
    metrics.sum("crosspoint_calls", "")
}
