//! The `crosspoint` binary: one program, two roles. The only file that knows both planes.
//!
//! Without a subcommand it is the control plane; as `crosspoint dataplane` it is the media plane, started by the
//! control plane or by systemd.

use crosspoint_control::shell::Fault;
use crosspoint_control::shell::cli::{self, DataplaneRequest, Invocation};
use crosspoint_dataplane::DataplaneConfig;
use std::io::Write;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run() {
        Ok(status) => status,
        Err(message) => {
            eprintln!("crosspoint: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let told = |fault: Fault| fault.to_string();
    match cli::parse().map_err(told)? {
        Invocation::Serve(effective) => cli::serve(&effective).map_err(told)?,
        Invocation::Relay(relay) => cli::serve_relay(&relay).map_err(told)?,
        Invocation::Short(command) => command.run().map_err(told)?,
        Invocation::Dataplane(request) => {
            let is_child = request.child;
            match run_dataplane(*request) {
                Err(why) if is_child && told_parent(&why) => return Ok(ExitCode::FAILURE),
                ended => ended?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn run_dataplane(request: DataplaneRequest) -> Result<(), String> {
    // Before the log has its thread: a signal to a thread that does not block it would end the process there.
    crosspoint_dataplane::block_signals().map_err(|fault| fault.to_string())?;
    let _log = cli::start_log(&request);
    crosspoint_dataplane::run(dataplane_config(request)?).map_err(|fault| fault.to_string())
}

/// Whether a control plane at the other end of our standard output hears why we end; it says so in its own words then.
fn told_parent(why: &str) -> bool {
    let mut output = std::io::stdout();
    writeln!(output, "{why}").and_then(|()| output.flush()).is_ok()
}

/// Our settings in the words of the media plane.
fn dataplane_config(request: DataplaneRequest) -> Result<DataplaneConfig, String> {
    let settings = request.settings;
    Ok(DataplaneConfig {
        socket: request.socket,
        listen: settings.media_listen,
        advertised: settings.media_advertise,
        port_base: settings.media_port_base,
        workers: settings.media_workers,
        cores: settings.media_cores.0.parse().map_err(|error| format!("media.cores: {error}"))?,
        backend: settings.media_backend.name().parse().map_err(|error| format!("media.backend: {error}"))?,
        rtp_addrs: cli::relay_addresses(&settings),
        ports: settings.media_ports.name().parse().map_err(|error| format!("media.ports: {error}"))?,
        srtp: settings.media_srtp.name().parse().map_err(|error| format!("media.srtp: {error}"))?,
        legs_max: settings.media_legs_max,
        grace: std::time::Duration::from_secs(settings.dataplane_grace_seconds.into()),
        silence_ms: settings.media_silence_ms,
        report_interval: std::time::Duration::from_secs(settings.media_report_seconds.max(1).into()),
        child: request.child,
    })
}
