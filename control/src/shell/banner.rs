//! What a person sees at start: where to go, what to try, what was picked and why. On standard output; logs go to
//! standard error.

use super::dataplane_keeper::LinkState;
use super::listeners::Reachable;
use super::ng::NgReachable;
use super::settings::{Effective, MediaInterface, Origin, Settings, TlsCertificate, TlsListen};
use super::tls;
use super::token::DEV_ACCOUNT_SID;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

pub fn print(effective: &Effective, reachable: &Reachable, ng: &NgReachable, link: LinkState, has_keys: bool) {
    let text = text(effective, reachable, ng, &link, has_keys);
    // Whoever closed our output does not want the banner.
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

fn text(effective: &Effective, reachable: &Reachable, ng: &NgReachable, link: &LinkState, has_keys: bool) -> String {
    let settings = &effective.settings();
    let flags = &flags(effective);
    let mut out = String::new();
    if reachable.plain.or(reachable.tls).is_some() {
        clients(effective, settings, reachable, has_keys, flags, &mut out);
    }
    relay(settings, ng, &mut out);
    media(settings, link, &mut out);
    watch(settings, reachable, flags, &mut out);
    let state = if link.attached.is_some() { "is ready" } else { "waits for its dataplane" };
    format!("crosspoint {} {state} (Ctrl-C ends it)\n{out}", env!("CARGO_PKG_VERSION"))
}

fn line(out: &mut String, name: &str, value: String) {
    let _ = writeln!(out, "  {name:<11} {value}");
}

fn clients(
    effective: &Effective,
    settings: &Settings,
    reachable: &Reachable,
    has_keys: bool,
    flags: &str,
    out: &mut String,
) {
    let command = command();
    let mut line = |name: &str, value: String| line(out, name, value);
    let named = |address: SocketAddr| named(address, settings.media_advertise);
    let plain = reachable.plain.map(named).map(|address| format!("http://{address}"));
    let tls = reachable.tls.map(named).map(|address| format!("https://{address}"));
    let base =
        if settings.dev { plain.clone().or(tls.clone()) } else { tls.clone().or(plain.clone()) }.unwrap_or_default();
    let how = if settings.dev { "open it twice, sign in as two names, call" } else { "sign in with a token" };
    line("softphone", format!("{base}/   ({how})"));
    if !settings.dev && settings.signal_tls == TlsCertificate::Files && tls.is_some() {
        line("", "in a browser, say the name that the certificate is for instead of the address".into());
    }
    line("sdk", format!("{base}/sdk/crosspoint.js   documentation: {base}/docs"));
    if has_keys {
        line("token", format!("{}{command} token --identity alice{flags}", dev_mode(effective)));
    } else {
        line("keys", format!("none yet, so every token is refused: {command} accounts create --name NAME{flags}"));
        line("", format!("then {command} keys create{flags}"));
    }
    if let Some(address) = reachable.plain.map(named) {
        line("signal", format!("ws://{address}/signal"));
    }
    match reachable.tls.map(named) {
        Some(address) => line(
            if reachable.plain.is_some() { "" } else { "signal" },
            format!("wss://{address}/signal   stock SDK: {{ chunderw: \"{address}\" }}{}", certificate_hint(settings)),
        ),
        None if settings.dev && settings.signal_tls_listen == TlsListen::Auto => {
            line("", "no wss: the port above signal.listen is taken; choose one with --signal-tls-listen".into())
        }
        None => {}
    }
}

/// Where proxies ask the relay, and where its media goes through.
fn relay(settings: &Settings, ng: &NgReachable, out: &mut String) {
    let listeners = [("udp", ng.udp), ("tcp", ng.tcp), ("http", ng.http), ("cli", ng.cli)];
    let all: Vec<String> =
        listeners.iter().filter_map(|(name, address)| address.map(|address| format!("{name} {address}"))).collect();
    if !all.is_empty() {
        line(out, "ng", all.join("   "));
        for MediaInterface { name, addr, advertised } in settings.relay_interfaces().0 {
            let advertised = advertised.map_or(String::new(), |ip| format!(", told to peers as {ip}"));
            let (min, max) = (settings.ng_port_min, settings.ng_port_max);
            line(out, "interface", format!("{name}: {addr}{advertised}, ports {min} to {max}"));
        }
    }
}

fn media(settings: &Settings, link: &LinkState, out: &mut String) {
    match &link.attached {
        Some(hello) => {
            if !hello.ports.addrs.is_empty() {
                line(out, "ports", hello.ports.reason.clone());
            }
            for worker in &hello.workers {
                let core = worker.core.map_or("not pinned".into(), |core| format!("core {core}"));
                let picked = format!("{}: {}", worker.backend, worker.backend_reason);
                line(out, "media", format!("udp {}   worker {}, {core}; {picked}", worker.addr, worker.worker));
            }
        }
        None => {
            let why = link.trouble.as_deref().map_or(String::new(), |why| format!(" ({why})"));
            let socket = settings.dataplane_socket();
            line(
                out,
                "media",
                format!("no dataplane at {} yet{why}; attached as soon as there is one", socket.display()),
            );
        }
    }
}

fn watch(settings: &Settings, reachable: &Reachable, flags: &str, out: &mut String) {
    line(out, "data", settings.data_dir.display().to_string());
    let local = |address: SocketAddr| format!("http://{}", on_this_machine(address));
    let figures = match (reachable.metrics.or(reachable.plain), reachable.tls) {
        (Some(address), _) => local(address),
        (None, Some(address)) => format!("https://{}", named(address, settings.media_advertise)),
        (None, None) => return,
    };
    line(out, "watch", format!("{figures}/healthz   {figures}/metrics   {} calls{flags}", command()));
    if settings.dev {
        line(out, "dev mode", format!("account {DEV_ACCOUNT_SID}; placeholder keys, loopback only"));
    }
}

/// An address that others can use. A listener on all addresses is named by the one that clients are told for media, or else
/// by the one that packets to elsewhere would leave from.
fn named(address: SocketAddr, advertised: Option<IpAddr>) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let ip = advertised.filter(|ip| ip.is_ipv4() || address.is_ipv6()).or_else(|| outgoing(address.is_ipv6()));
    SocketAddr::new(ip.unwrap_or(on_this_machine(address).ip()), address.port())
}

/// What the routing table says; connecting a UDP socket sends nothing. The destinations are for documentation (RFC 5737 §3,
/// RFC 3849 §2).
fn outgoing(v6: bool) -> Option<IpAddr> {
    let (any, elsewhere) = if v6 { ("[::]:0", "[2001:db8::1]:9") } else { ("0.0.0.0:0", "192.0.2.1:9") };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(elsewhere).ok()?;
    socket.local_addr().ok().map(|address| address.ip())
}

fn on_this_machine(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(loopback, address.port())
}

/// How to start our own program from here: one that was built in a checkout is in no search path.
fn command() -> String {
    let here = std::env::current_dir().ok();
    let built = std::env::current_exe().ok().filter(|path| path.ancestors().any(|dir| dir.ends_with("target")));
    let relative = built.as_ref().zip(here).and_then(|(path, here)| path.strip_prefix(here).ok());
    relative.map_or_else(|| "crosspoint".to_owned(), |path| quoted(&path.to_string_lossy()))
}

/// What commands must be told to work on this server: its configuration file, and its data directory unless they find it by
/// themselves.
fn flags(effective: &Effective) -> String {
    let file = effective.file().map_or(String::new(), |path| format!(" --config {}", quoted(path)));
    match effective.find("data.dir") {
        (path, Origin::Flag(_)) => format!("{file} --data-dir {}", quoted(path)),
        _ => file,
    }
}

/// Before a command whose default is another mode than this server's: that would sign with the placeholder key, or not.
fn dev_mode(effective: &Effective) -> &'static str {
    match effective.find("dev") {
        ("true", Origin::Flag(_)) if effective.file().is_some() => "CROSSPOINT_DEV=true ",
        ("false", Origin::Flag(_)) if effective.file().is_none() => "CROSSPOINT_DEV=false ",
        _ => "",
    }
}

/// As one word of a shell's command line.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+=:,@%".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn certificate_hint(settings: &Settings) -> String {
    match settings.signal_tls {
        TlsCertificate::SelfSigned => {
            format!("   (self-made certificate: {})", tls::kept_at(&settings.data_dir).display())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::settings::resolve;

    fn banner(flags: &[(&str, &str)], listen: &str, has_keys: bool) -> String {
        let flag = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, text)| (*text).to_owned());
        let effective = resolve(None, |_| None, flag).expect("accepted");
        let settings = effective.settings();
        let address = Some(listen.parse().expect("an address"));
        let reachable = if settings.dev {
            Reachable { plain: address, ..Reachable::default() }
        } else {
            Reachable { tls: address, ..Reachable::default() }
        };
        text(&effective, &reachable, &NgReachable::default(), &LinkState::default(), has_keys)
    }

    #[test]
    fn outside_dev_mode_urls_have_an_address_and_nobody_is_told_to_sign_in_by_name() {
        let flags = [("dev", "false"), ("media-listen", "0.0.0.0"), ("media-advertise", "203.0.113.5")];
        let text = banner(&flags, "0.0.0.0:443", false);
        assert!(text.contains("https://203.0.113.5:443/") && !text.contains("//0.0.0.0"), "{text}");
        assert!(text.contains("keys create") && !text.contains("two names") && !text.contains(" token --"), "{text}");
        let text = banner(&flags, "0.0.0.0:443", true);
        assert!(text.contains(" CROSSPOINT_DEV=false ") && text.contains(" token --identity"), "{text}");
        assert!(!banner(&[], "127.0.0.1:8088", true).contains("CROSSPOINT_DEV"));
        assert!(banner(&[], "127.0.0.1:8088", true).contains("sign in as two names"));
    }

    #[test]
    fn interfaces_of_the_relay_are_named_with_what_peers_are_told_and_the_ports() {
        let flag = |name: &str| match name {
            "ng-listen" => Some("127.0.0.1:2223".to_owned()),
            "ng-interfaces" => Some("pub/192.0.2.1!203.0.113.1 lan/10.0.0.1".to_owned()),
            _ => None,
        };
        let effective = resolve(None, |_| None, flag).expect("accepted");
        let ng = NgReachable { udp: Some("127.0.0.1:2223".parse().expect("an address")), ..NgReachable::default() };
        let text = text(&effective, &Reachable::default(), &ng, &LinkState::default(), true);
        assert!(text.contains("pub: 192.0.2.1, told to peers as 203.0.113.1, ports 30000 to 40000"), "{text}");
        assert!(text.contains("lan: 10.0.0.1, ports"), "{text}");
    }

    #[test]
    fn without_a_dataplane_it_is_not_called_ready_and_the_socket_is_named() {
        let text = banner(&[("media-attach", "/run/x.sock")], "127.0.0.1:8088", true);
        assert!(text.contains("no dataplane at /run/x.sock yet") && !text.contains("is ready"), "{text}");
    }

    #[test]
    fn printed_commands_name_the_configuration_file_and_quote_what_a_shell_would_split() {
        let flag = |name: &str| (name == "data-dir").then(|| "/d d".to_owned());
        let effective = resolve(Some(("its own.toml", "")), |_| None, flag).expect("accepted");
        assert_eq!(flags(&effective), " --config 'its own.toml' --data-dir '/d d'");
        let reachable = Reachable { tls: Some("192.0.2.1:443".parse().expect("an address")), ..Reachable::default() };
        let text = text(&effective, &reachable, &NgReachable::default(), &LinkState::default(), true);
        assert!(text.contains("token --identity alice --config 'its own.toml'"), "{text}");
        assert_eq!((quoted("it's"), quoted("/a/b.toml")), (r"'it'\''s'".into(), "/a/b.toml".into()));
    }

    #[test]
    fn listener_on_all_addresses_is_named_by_one() {
        let any = "0.0.0.0:443".parse().expect("an address");
        assert!(!named(any, None).ip().is_unspecified());
        assert_eq!(on_this_machine(any).to_string(), "127.0.0.1:443");
    }
}
