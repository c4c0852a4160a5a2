//! Start, stop and configuration of the program, as an operator sees them.
//!
//! ```text
//!  operator ── flags, environment, TOML, signals ── crosspoint ── HTTP ── operator
//! ```

use crosspoint_tests::phone::{Phone, talk};
use crosspoint_tests::server::{free_tcp_port, run};
use crosspoint_tests::{Server, process, token};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn refused(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success(), "{arguments:?} was accepted:\n{}", said(&output));
    said(&output)
}

#[test]
fn ready_within_a_second_and_says_where() {
    // The best of three: another process may have the cores for a moment.
    let starts: Vec<(Duration, String)> = (0..3)
        .map(|_| {
            let server = Server::start();
            server.await_log(&[&format!("http://{}", server.http)]);
            (server.ready_after, server.log())
        })
        .collect();
    let best = starts.iter().map(|(after, _)| *after).min().expect("three starts");
    println!("figure: ready after {best:?}");
    assert!(best < Duration::from_secs(1), "ready only after {best:?}");
    for words in ["crosspoint token --identity", "uring", "127.0.0.1:"] {
        assert!(starts[0].1.contains(words), "the start says nothing of `{words}`:\n{}", starts[0].1);
    }
}

#[test]
fn interrupt_ends_it_cleanly_with_its_dataplane() {
    let mut server = Server::start();
    let dataplane = server.dataplane_pid();
    Server::signal(server.control_pid(), "INT");
    assert_eq!(server.await_end().code(), Some(0), "{}", server.log());
    assert!(!process::is_alive(dataplane), "the dataplane is still there");
}

/// As a bridge and as rtpengine's stand-in, of which supervisors expect an end within five seconds.
#[test]
fn dataplane_that_hangs_is_killed_and_holds_up_the_end_for_less_than_five_seconds() {
    let relay = format!("--ng-listen={}", free_tcp_port());
    for flags in [&[][..], &[relay.as_str()]] {
        let mut server = Server::start_with(flags);
        let dataplane = server.dataplane_pid();
        Server::signal(dataplane, "STOP");
        let begun = Instant::now();
        Server::signal(server.control_pid(), "TERM");
        assert_eq!(server.await_end().code(), Some(0), "{}", server.log());
        assert!(begun.elapsed() < Duration::from_secs(5), "{flags:?}: {:?}", begun.elapsed());
        assert!(!Path::new("/proc").join(dataplane.to_string()).exists(), "{flags:?}: it is left, or its status");
        server.await_log(&["dataplane_killed", &dataplane.to_string()]);
    }
}

#[test]
fn terminate_ends_it_cleanly_too() {
    let mut server = Server::start();
    Server::signal(server.control_pid(), "TERM");
    assert_eq!(server.await_end().code(), Some(0), "{}", server.log());
}

#[test]
fn dataplane_of_its_own_ends_cleanly_by_either_signal() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("s");
        let arguments = ["dataplane", "--listen=127.0.0.1", "--port-base=0", "--workers=1", "--log-format=json"];
        let program = std::env::var("CROSSPOINT_BIN").expect("tests/run names the program");
        let mut process = std::process::Command::new(program)
            .args(arguments)
            .arg(format!("--socket={}", socket.display()))
            .stderr(std::process::Stdio::piped())
            .spawn()
            .expect("started");
        let mut log = BufReader::new(process.stderr.take().expect("piped"));
        let mut line = String::new();
        while !line.contains("dataplane is ready") {
            line.clear();
            assert_ne!(log.read_line(&mut line).expect("readable"), 0, "it ended before it was ready");
        }
        Server::signal(process.id(), signal);
        let rest = std::io::read_to_string(log).expect("readable");
        assert_eq!(process.wait().expect("ended").code(), Some(0), "SIG{signal}: {rest}");
        assert!(rest.contains("saying goodbye") && !socket.exists(), "SIG{signal}: {rest}");
    }
}

#[test]
fn placeholder_keys_are_refused_on_any_other_address_than_loopback() {
    let data = tempfile::tempdir().expect("a temporary directory");
    let data = format!("--data-dir={}", data.path().display());
    for flag in ["--signal-listen=0.0.0.0:0", "--signal-tls-listen=0.0.0.0:0", "--media-listen=0.0.0.0"] {
        let text = refused(&[flag, "--media-port-base=0", &data]);
        assert!(text.contains("loopback"), "{flag}: {text}");
    }
}

#[test]
fn taken_port_is_named_with_its_cause() {
    let server = Server::start();
    let data = tempfile::tempdir().expect("a temporary directory");
    let text = refused(&[
        &format!("--signal-listen={}", server.http),
        "--signal-tls-listen=off",
        "--media-port-base=0",
        &format!("--data-dir={}", data.path().display()),
    ]);
    assert!(text.contains(&server.http.port().to_string()), "{text}");
}

#[test]
fn taken_media_port_ends_the_start_with_its_cause() {
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("loopback has a free port");
    let port = socket.local_addr().expect("bound").port().to_string();
    let data = tempfile::tempdir().expect("a temporary directory");
    let text = refused(&[
        "--signal-listen=127.0.0.1:0",
        "--signal-tls-listen=off",
        &format!("--media-port-base={port}"),
        "--media-workers=1",
        &format!("--data-dir={}", data.path().display()),
    ]);
    assert!(text.contains(&format!("127.0.0.1:{port} is in use")) && text.contains("--media-port-base"), "{text}");
    assert!(!text.contains("is ready"), "{text}");
}

#[test]
fn what_serve_refuses_config_refuses_too() {
    for flags in [
        ["--call-ring-seconds=0"],
        ["--limits-session-queue-max=00"],
        ["--limits-session-queue-max=4000000000000000000"],
        ["--signal-tls=files"],
        ["--log-level=verbose"],
        ["--media-port-base=65536"],
    ] {
        let data = tempfile::tempdir().expect("a temporary directory");
        let data = format!("--data-dir={}", data.path().display());
        let of_config = refused(&["config", flags[0], &data]);
        let of_serve = refused(&[flags[0], &data]);
        assert!(of_config.contains(of_serve.lines().next().expect("an error")), "{of_serve}\n{of_config}");
    }
}

#[test]
fn key_made_beside_a_running_server_signs_tokens_at_once() {
    let server = Server::start();
    let made = server.run(&["accounts", "create", "--name=test"]);
    assert!(made.status.success(), "{}", said(&made));
    for i in 0..3 {
        let made = server.run(&["keys", "create"]);
        let text = said(&made);
        let key =
            text.split_whitespace().find(|word| word.starts_with("SK")).unwrap_or_else(|| panic!("no key: {text}"));
        let token = server.run(&["token", "--identity=alice", "--key", key]);
        assert!(token.status.success(), "{}", said(&token));
        let token = String::from_utf8(token.stdout).expect("a token is text");
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(async {
            Phone::with_token(&server, &format!("alice{i}"), token.trim()).await.session.register().await;
        });
    }
}

#[test]
fn second_control_plane_on_a_dataplane_is_told_who_has_it() {
    let first = Server::start();
    let socket = format!("--media-attach={}", first.data_dir().join("dataplane.sock").display());
    let log = Server::spawn_unready(&[&socket]);
    log.await_log(&["another control plane is attached", &first.control_pid().to_string()]);
}

#[test]
fn unknown_key_of_the_configuration_is_an_error_with_a_suggestion() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("crosspoint.toml");
    std::fs::write(&file, "dev = true\n\n[signal]\nlissten = \"127.0.0.1:0\"\n").expect("the directory is ours");
    let text = refused(&["--config", &file.to_string_lossy()]);
    assert!(text.contains("signal.listen") && text.contains("line 4"), "{text}");
}

#[test]
fn configuration_is_printed_with_the_origin_of_each_value() {
    let output = run(&["config", "--media-workers=3"]);
    assert!(output.status.success(), "{}", said(&output));
    let text = said(&output);
    let line = |key: &str| {
        text.lines().find(|line| line.contains(key)).unwrap_or_else(|| panic!("no {key} in {text}")).to_owned()
    };
    assert!(line("workers").contains('3') && line("workers").contains("--media-workers"), "{text}");
    assert!(line("ring_seconds").contains("30") && line("ring_seconds").contains("default"), "{text}");
}

#[test]
fn help_names_every_subcommand() {
    let text = said(&run(&["--help"]));
    for subcommand in ["token", "calls", "config", "keys", "dataplane"] {
        assert!(text.contains(subcommand), "no {subcommand} in {text}");
    }
}

#[tokio::test]
async fn token_of_the_command_line_registers_a_client() {
    let server = Server::start();
    let output = server.run(&["token", "--identity", "alice"]);
    assert!(output.status.success(), "{}", said(&output));
    let token = String::from_utf8(output.stdout).expect("a token is text");
    let mut alice = Phone::with_token(&server, "alice", token.trim()).await;
    alice.session.register().await;
}

#[test]
fn pages_sdk_health_and_metrics_are_served() {
    let server = Server::start();
    for (path, words) in [
        ("/", "<html"),
        ("/docs", "Device"),
        ("/sdk/crosspoint.js", "export"),
        ("/sdk/crosspoint.d.ts", "class Device"),
        ("/healthz", ""),
        ("/metrics", "# HELP crosspoint_"),
    ] {
        let (status, body) = server.get(path).expect("crosspoint answers");
        assert_eq!(status, 200, "{path}");
        assert!(body.contains(words), "{path} does not contain {words:?}: {body:.200}");
    }
    assert_eq!(server.get("/nothing-here").expect("crosspoint answers").0, 404);
}

#[test]
fn dev_token_is_given_only_to_pages_of_this_machine() {
    let server = Server::start();
    let post = |host: &str| {
        let body = "{\"identity\":\"alice\"}";
        let mut stream = TcpStream::connect(server.http).expect("crosspoint listens");
        let head = format!("POST /dev/token HTTP/1.0\r\nHost: {host}\r\nContent-Type: application/json\r\n");
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).expect("crosspoint reads");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).expect("crosspoint answers");
        reply
    };
    let given = post(&server.http.to_string());
    assert!(given.contains(" 200 ") && given.contains("\"token\""), "{given}");
    // A name that resolves to 127.0.0.1 by the attacker's DNS: the page behind it must not get a token.
    let refused = post("attacker.example");
    assert!(!refused.contains("\"token\""), "{refused}");
}

#[tokio::test]
async fn secrets_of_a_call_do_not_appear_in_the_log() {
    let server = Server::start_with(&["--log-level=trace"]);
    let token = token::good("alice");
    let mut alice = Phone::with_token(&server, "alice", &token).await;
    let mut bob = Phone::register(&server, "bob").await;
    let (side, _other) = talk(&mut alice, &mut bob).await;
    let signature = token.rsplit('.').next().expect("a token has three parts");
    for secret in [signature, &side.reconnect, "a=ice-pwd", "PRIVATE KEY"] {
        assert!(!server.log().contains(secret), "{secret} is in the log");
    }
}
