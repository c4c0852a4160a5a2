//! What a person sees at start: where to go, what to try, what was picked and why. On standard output; logs go to
//! standard error.

use super::dataplane_keeper::LinkState;
use super::listeners::Reachable;
use super::settings::{Settings, TlsListen};
use super::tls;
use super::token::DEV_ACCOUNT_SID;
use crosspoint_contract::WorkerHello;
use std::fmt::Write as _;
use std::io::Write as _;

pub fn print(settings: &Settings, reachable: &Reachable, link: LinkState) {
    let text = text(settings, reachable, &link);
    // Whoever closed our output does not want the banner.
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

fn text(settings: &Settings, reachable: &Reachable, link: &LinkState) -> String {
    let mut out = String::new();
    let command = command();
    let mut line = |name: &str, value: String| {
        let _ = writeln!(out, "  {name:<11} {value}");
    };
    let plain = reachable.plain.map(|address| format!("http://{address}"));
    let tls = reachable.tls.map(|address| format!("https://{address}"));
    let base = plain.clone().or(tls.clone()).unwrap_or_default();
    line("softphone", format!("{base}/   (open it twice, sign in as two names, call)"));
    line("sdk", format!("{base}/sdk/crosspoint.js   documentation: {base}/docs"));
    line("token", format!("{command} token --identity alice{}", data_dir_flag(settings)));
    if let Some(address) = reachable.plain {
        line("signal", format!("ws://{address}/signal"));
    }
    match reachable.tls {
        Some(address) => line(
            "",
            format!("wss://{address}/signal   stock SDK: {{ chunderw: \"{address}\" }}{}", certificate_hint(settings)),
        ),
        None if settings.dev && settings.signal_tls_listen == TlsListen::Auto => {
            line("", "no wss: the port above signal.listen is taken; choose one with --signal-tls-listen".into())
        }
        None => {}
    }
    match &link.attached {
        Some(hello) => {
            for worker in &hello.workers {
                let core = worker.core.map_or("not pinned".into(), |core| format!("core {core}"));
                line("media", format!("udp {}   worker {}, {core}; {}", worker.addr, worker.worker, picked(worker)));
            }
        }
        None => line(
            "media",
            format!("no dataplane yet: {}", link.trouble.as_deref().unwrap_or("it is starting; see /healthz")),
        ),
    }
    line("data", settings.data_dir.display().to_string());
    let figures = reachable.metrics.map_or_else(|| base.clone(), |address| format!("http://{address}"));
    line("watch", format!("{figures}/healthz   {figures}/metrics   {command} calls{}", data_dir_flag(settings)));
    if settings.dev {
        line("dev mode", format!("account {DEV_ACCOUNT_SID}; placeholder keys, loopback only"));
    }
    format!("crosspoint {} is ready (Ctrl-C ends it)\n{out}", env!("CARGO_PKG_VERSION"))
}

/// Which io backend, and why. The reason may begin with the backend's name, even more than once.
fn picked(worker: &WorkerHello) -> String {
    let named = format!("{}:", worker.backend);
    let mut why = worker.backend_reason.trim();
    while let Some(rest) = why.strip_prefix(&named) {
        why = rest.trim_start();
    }
    format!("{named} {why}")
}

/// How to start our own program from here: one that was built in a checkout is in no search path.
fn command() -> String {
    let here = std::env::current_dir().ok();
    let built = std::env::current_exe().ok().filter(|path| path.ancestors().any(|dir| dir.ends_with("target")));
    let relative = built.as_ref().zip(here).and_then(|(path, here)| path.strip_prefix(here).ok());
    relative.map_or_else(|| "crosspoint".to_owned(), |path| path.display().to_string())
}

/// Commands find another data directory only if they are told.
fn data_dir_flag(settings: &Settings) -> String {
    let default = super::settings::resolve(None, |name| std::env::var(name).ok(), |_| None);
    match default {
        Ok(default) if default.settings().data_dir == settings.data_dir => String::new(),
        _ => format!(" --data-dir {}", settings.data_dir.display()),
    }
}

fn certificate_hint(settings: &Settings) -> String {
    match settings.signal_tls {
        super::settings::TlsCertificate::SelfSigned => {
            format!("   (self-made certificate: {})", tls::kept_at(&settings.data_dir).display())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosspoint_contract::WorkerId;

    #[test]
    fn backend_is_named_once_however_its_reason_begins() {
        for reason in [
            "kernel 6.8 has all it needs",
            "uring: kernel 6.8 has all it needs",
            "uring: uring: kernel 6.8 has all it needs",
        ] {
            let worker = WorkerHello {
                worker: WorkerId(0),
                core: None,
                addr: ([127, 0, 0, 1], 1).into(),
                backend: "uring".into(),
                backend_reason: reason.into(),
            };
            assert_eq!(picked(&worker), "uring: kernel 6.8 has all it needs");
        }
    }
}
