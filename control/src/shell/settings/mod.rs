//! The configuration: one table of keys, from which the TOML parser, the flags, the environment variables, the
//! help and `crosspoint config` all derive.
//!
//! A key `signal.listen` is `listen` in the file's `[signal]`, the flag `--signal-listen` and the variable
//! `CROSSPOINT_SIGNAL_LISTEN`. Precedence: flag, environment, file, default. Deliberately not here: what the
//! settings do.

mod check;
mod file;
mod resolve;
mod value;

pub use file::FileError;
pub use resolve::{Effective, Origin, SettingsError, resolve};
pub use value::{
    CorePlan, EndpointLearning, IoBackend, LogFilter, LogFormat, MediaInterface, MediaInterfaces, MediaPorts, Setting,
    Span, SrtpEngine, TlsCertificate, TlsListen, TomlKind,
};

use crate::core::config::CoreConfig;
use crate::core::limits::Limits;
use crosspoint_contract::limits::WORKERS_MAX;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::LazyLock;

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// Dotted name; the part before the dot is the file's section.
    pub name: &'static str,
    /// As it would be written on the command line.
    pub default: &'static str,
    pub documentation: &'static str,
    pub kind: TomlKind,
    /// Of a number. What is beyond it would make a server that serves nobody, or that no machine can be.
    pub span: Option<Span>,
    form: &'static str,
    accepts: fn(&str) -> bool,
}

impl Key {
    /// `signal.tls_listen` is `signal-tls-listen` on the command line.
    pub fn flag(&self) -> &'static str {
        static FLAGS: LazyLock<HashMap<&str, String>> =
            LazyLock::new(|| KEYS.iter().map(|key| (key.name, key.name.replace(['.', '_'], "-"))).collect());
        &FLAGS[self.name]
    }

    pub fn variable(&self) -> String {
        format!("CROSSPOINT_{}", self.name.replace('.', "_").to_uppercase())
    }

    /// Completes the sentence "expects …".
    pub fn expects(&self) -> String {
        match self.span {
            Some((min, max)) => format!("{} from {min} to {max}", self.form),
            None => self.form.to_owned(),
        }
    }

    pub fn section(&self) -> &'static str {
        self.name.split_once('.').map_or("", |(section, _)| section)
    }
}

macro_rules! span {
    () => {
        None
    };
    ($min:literal, $max:literal) => {
        Some(($min, $max))
    };
}

macro_rules! settings {
    ($($(#[doc = $doc:literal])+ $field:ident: $type:ty = $name:literal, $default:literal $(, $min:literal..=$max:literal)?;)+) => {
        /// The effective configuration. Each field is the key of its name.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Settings { $($(#[doc = $doc])+ pub $field: $type,)+ }

        pub const KEYS: &[Key] = &[$(Key {
            name: $name,
            default: $default,
            documentation: concat!($($doc),+),
            kind: <$type as Setting>::KIND,
            span: span!($($min, $max)?),
            form: <$type as Setting>::EXPECTS,
            accepts: |text| {
                let span: Option<Span> = span!($($min, $max)?);
                <$type as Setting>::read(text).is_some_and(|value| span.is_none_or(|span| value.is_within(span)))
            },
        },)+];

        impl Settings {
            /// `text_of` gives accepted text for each name in [`KEYS`].
            fn build<'a>(text_of: impl Fn(&str) -> &'a str) -> Settings {
                Settings {
                    $($field: <$type as Setting>::read(text_of($name)).expect("resolve() checked each text"),)+
                }
            }
        }
    };
}

settings! {
    /// Dev mode: loopback only, a built-in account with placeholder keys, POST /dev/token. On by default, and off by default once a configuration file is given.
    dev: bool = "dev", "true";

    /// Address of the HTTP and WebSocket listener without TLS. Off loopback only behind a proxy that ends TLS. Empty: none.
    signal_listen: Option<SocketAddr> = "signal.listen", "127.0.0.1:8088";
    /// Address of the listener with TLS. auto: in dev mode one port above signal.listen, otherwise off.
    signal_tls_listen: TlsListen = "signal.tls_listen", "auto";
    /// Certificate of the TLS listener: off, self-signed (made once, kept in the data directory) or files.
    signal_tls: TlsCertificate = "signal.tls", "self-signed";
    /// PEM file with the certificate chain, for signal.tls = files.
    signal_tls_certificate: Option<PathBuf> = "signal.tls_certificate", "";
    /// PEM file with the certificate's private key, for signal.tls = files.
    signal_tls_key: Option<PathBuf> = "signal.tls_key", "";
    /// Web origins that may open /signal, separated by spaces; * for any: the token carries the authority. In dev mode, whose keys everybody knows, * means the pages of this machine.
    signal_origins: String = "signal.origins", "*";

    /// Address of a listener without TLS for /metrics and the whole /healthz, for whoever watches from elsewhere. Empty: none; to this machine signal.listen serves them.
    metrics_listen: Option<SocketAddr> = "metrics.listen", "";

    /// Name of this node, sealed into bridge tokens.
    node_name: String = "node.name", "node1";
    /// Region shown to clients and written into call records.
    node_region: String = "node.region", "local";
    /// Gateway name shown to clients and written into call records.
    node_gateway: String = "node.gateway", "local";

    /// Directory of the store, the node key and the dataplane's socket. Owner-only.
    data_dir: PathBuf = "data.dir", "${XDG_STATE_HOME:-~/.local/state}/crosspoint";

    /// IP address that the workers bind.
    media_listen: IpAddr = "media.listen", "127.0.0.1";
    /// IP address given to clients as candidate, if it differs (1:1 NAT). Empty: media.listen.
    media_advertise: Option<IpAddr> = "media.advertise", "";
    /// UDP port of worker 0; each further worker has the next port. 0: the kernel chooses.
    media_port_base: u16 = "media.port_base", "20000", 0..=65535;
    /// Worker threads. 0: one for each core this process may run on.
    media_workers: u16 = "media.workers", "0", 0..=128;
    /// Cores the workers are pinned to: none, auto, or a list such as 2-5,8.
    media_cores: CorePlan = "media.cores", "none";
    /// How workers speak to the kernel: auto, uring (io_uring) or mmsg (recvmmsg and sendmmsg).
    media_backend: IoBackend = "media.backend", "auto";
    /// How UDP ports of ng calls are received on: auto, steered (entries of a table behind one socket a worker; needs CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW) or sockets (one for each port).
    media_ports: MediaPorts = "media.ports", "auto";
    /// What computes SRTP: auto (AVX-512 where the processor has it) or portable (libraries, to compare with).
    media_srtp: SrtpEngine = "media.srtp", "auto";
    /// Legs that all workers together may hold.
    media_legs_max: u32 = "media.legs_max", "20000", 1..=2_560_000;
    /// A connected leg without authentic media for this long is reported silent.
    media_silence_ms: u32 = "media.silence_ms", "10000", 1..=86_400_000;
    /// How often a connected leg is reported.
    media_report_seconds: u32 = "media.report_seconds", "5", 1..=86_400;
    /// Socket of a dataplane that somebody else starts (systemd). Empty: start one and watch it.
    media_attach: Option<PathBuf> = "media.attach", "";

    /// How long the legs of a dataplane live without a control plane.
    dataplane_grace_seconds: u32 = "dataplane.grace_seconds", "3600", 0..=31_536_000;

    /// Address of the ng protocol over UDP, as Kamailio and OpenSIPS speak it. It has no password: keep it on loopback or a closed network. Empty: none.
    ng_listen: Option<SocketAddr> = "ng.listen", "";
    /// The same over TCP. Empty: none.
    ng_tcp_listen: Option<SocketAddr> = "ng.tcp_listen", "";
    /// The same over HTTP (/ng, /ng-plain) and WebSocket. Empty: none.
    ng_http_listen: Option<SocketAddr> = "ng.http_listen", "";
    /// Address of the line-based interface for operators (list totals, terminate …). Empty: none.
    ng_cli_listen: Option<SocketAddr> = "ng.cli_listen", "";
    /// Addresses for media of ng calls, [NAME/]ADDRESS[!ADVERTISED], separated by spaces; messages choose by name, the first is the default. Empty: media.listen.
    ng_interfaces: MediaInterfaces = "ng.interfaces", "";
    /// Lowest UDP port for media of ng calls.
    ng_port_min: u16 = "ng.port_min", "30000", 1..=65535;
    /// Highest UDP port for media of ng calls.
    ng_port_max: u16 = "ng.port_max", "40000", 1..=65535;
    /// A call without any media for this long is ended.
    ng_timeout_seconds: u32 = "ng.timeout_seconds", "60", 0..=31_536_000;
    /// The same for a call on hold.
    ng_silent_timeout_seconds: u32 = "ng.silent_timeout_seconds", "3600", 0..=31_536_000;
    /// Longest call. 0: no limit.
    ng_final_timeout_seconds: u32 = "ng.final_timeout_seconds", "0", 0..=31_536_000;
    /// An offer without an answer is forgotten after this long.
    ng_offer_timeout_seconds: u32 = "ng.offer_timeout_seconds", "3600", 1..=31_536_000;
    /// A deleted call goes on for this long, unless the message says otherwise.
    ng_delete_delay_seconds: u32 = "ng.delete_delay_seconds", "30", 0..=31_536_000;
    /// Type-of-service byte of media packets.
    ng_tos: u16 = "ng.tos", "0", 0..=255;
    /// ng calls at once; one more is refused with the error that makes proxies choose another relay. 4294967295: no limit.
    ng_sessions_max: u32 = "ng.sessions_max", "4294967295", 1..=4_294_967_295;
    /// New ng calls are refused while the machine's load average is above. Empty: no limit.
    ng_load_max: Option<f64> = "ng.load_max", "", 0..=1_000_000;
    /// New ng calls are refused while the machine's processors are busier than this many percent. Empty: no limit.
    ng_cpu_percent_max: Option<f64> = "ng.cpu_percent_max", "", 0..=100;
    /// New ng calls are refused while more bytes a second are relayed. Empty: no limit.
    ng_bandwidth_max: Option<f64> = "ng.bandwidth_max", "", 0..=1_000_000_000_000;
    /// How the address of a media peer without SRTP is learnt from its packets: delayed (the last of three seconds), immediate (the first), heuristic (the best match) or off.
    ng_endpoint_learning: EndpointLearning = "ng.endpoint_learning", "delayed";
    /// Take media addresses from the SIP message's source instead of SDP, unless the message says otherwise.
    ng_sip_source: bool = "ng.sip_source", "false";
    /// Prefer the passive DTLS role.
    ng_dtls_passive: bool = "ng.dtls_passive", "false";
    /// Refuse SDP with broken syntax instead of passing it on.
    ng_reject_invalid_sdp: bool = "ng.reject_invalid_sdp", "false";
    /// How this software names itself in SDP and STUN; clients of the protocol look for rtpengine.
    ng_software: String = "ng.software", "rtpengine";

    /// A call that nobody answers rings this long.
    call_ring_seconds: u32 = "call.ring_seconds", "30", 1..=86_400;
    /// A call whose socket is lost is kept for what the client asks, at most this long.
    call_reconnect_seconds_max: u32 = "call.reconnect_seconds_max", "30", 0..=86_400;
    /// After a restart, adopted calls wait this long for their clients to come back.
    call_restart_grace_seconds: u32 = "call.restart_grace_seconds", "60", 0..=86_400;
    /// Legs found in the dataplane that belong to no known call are closed after this long.
    call_orphan_grace_seconds: u32 = "call.orphan_grace_seconds", "3600", 0..=31_536_000;
    /// Whether revoking a key ends the calls that were made with it.
    call_end_when_key_revoked: bool = "call.end_when_key_revoked", "true";
    /// Whether video is forwarded when both sides offer it.
    call_video: bool = "call.video", "true";

    /// Open sockets.
    limits_sessions_max: usize = "limits.sessions_max", "20000", 1..=10_000_000;
    /// Open sockets of one identity.
    limits_sessions_per_identity_max: usize = "limits.sessions_per_identity_max", "16", 1..=10_000_000;
    /// Open TCP connections from one IP address. Generous, because offices share one.
    limits_connections_per_address_max: usize = "limits.connections_per_address_max", "2000", 1..=10_000_000;
    /// Calls at once.
    limits_calls_max: usize = "limits.calls_max", "10000", 1..=10_000_000;
    /// Calls at once of one identity whose token sets no limit.
    limits_calls_per_identity_max: usize = "limits.calls_per_identity_max", "64", 1..=10_000_000;
    /// Instances of one callee that ring together.
    limits_ringing_instances_max: usize = "limits.ringing_instances_max", "10", 1..=1000;
    /// Bytes of one signaling message; a longer one closes the socket.
    limits_message_bytes_max: usize = "limits.message_bytes_max", "65536", 1024..=16_777_216;
    /// Signaling messages a socket may send in a second, on average.
    limits_frames_per_second_max: u32 = "limits.frames_per_second_max", "50", 1..=1_000_000;
    /// Signaling messages a socket may send at once.
    limits_frames_burst_max: u32 = "limits.frames_burst_max", "200", 1..=1_000_000;
    /// Messages that may wait for a client that reads slowly; one more closes its socket.
    limits_session_queue_max: usize = "limits.session_queue_max", "256", 1..=65_536;
    /// Longest accepted token life.
    limits_token_life_seconds_max: u64 = "limits.token_life_seconds_max", "86400", 1..=315_360_000;

    /// Log filter: a level (error, warn, info, debug, trace) or directives such as info,crosspoint_control=debug.
    log_level: LogFilter = "log.level", "info";
    /// Format of log lines on standard error: text or json.
    log_format: LogFormat = "log.format", "text";
}

impl Settings {
    /// What the core is told.
    pub fn core_config(&self) -> CoreConfig {
        CoreConfig {
            node: self.node_name.clone(),
            region: self.node_region.clone(),
            gateway: self.node_gateway.clone(),
            ring_timeout_s: self.call_ring_seconds,
            reconnect_seconds_max: self.call_reconnect_seconds_max,
            restart_grace_s: self.call_restart_grace_seconds,
            orphan_grace_s: self.call_orphan_grace_seconds,
            end_calls_of_revoked_keys: self.call_end_when_key_revoked,
            video: self.call_video,
            limits: Limits {
                sessions_max: self.limits_sessions_max,
                sessions_per_identity_max: self.limits_sessions_per_identity_max,
                calls_max: self.limits_calls_max,
                calls_per_identity_max: self.limits_calls_per_identity_max,
                ringing_instances_max: self.limits_ringing_instances_max,
                message_bytes_max: self.limits_message_bytes_max,
                frames_per_second_max: self.limits_frames_per_second_max,
                frames_burst_max: self.limits_frames_burst_max,
                token_life_s_max: self.limits_token_life_seconds_max,
                ..Limits::default()
            },
        }
    }

    /// Workers that a dataplane of these settings has.
    pub fn workers_count(&self) -> usize {
        match self.media_workers {
            0 => std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX),
            workers => workers.into(),
        }
    }

    /// Whether proxies may ask for media to be relayed.
    pub fn relay_is_on(&self) -> bool {
        [self.ng_listen, self.ng_tcp_listen, self.ng_http_listen].iter().any(Option::is_some)
    }

    /// Whether there is nobody to signal to: a relay in rtpengine's place.
    pub fn is_relay_alone(&self) -> bool {
        self.relay_is_on() && self.signal_listen.is_none() && !matches!(self.signal_tls_listen, TlsListen::At(_))
    }

    /// Where media of ng calls goes through: what is set, or the address of all other media; nowhere without the relay.
    pub fn relay_interfaces(&self) -> MediaInterfaces {
        if !self.ng_interfaces.0.is_empty() || !self.relay_is_on() {
            return self.ng_interfaces.clone();
        }
        let (addr, advertised) = (self.media_listen, self.media_advertise);
        MediaInterfaces(vec![MediaInterface { name: "default".into(), addr, advertised }])
    }

    /// Where the dataplane's socket is.
    pub fn dataplane_socket(&self) -> PathBuf {
        self.media_attach.clone().unwrap_or_else(|| self.data_dir.join("dataplane.sock"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crosspoint_contract::limits::LEGS_PER_WORKER_MAX;

    #[test]
    fn defaults_of_the_table_are_the_defaults_of_the_core() {
        let settings = resolve(None, |_| None, |_| None).expect("defaults are accepted").settings();
        assert_eq!(settings.core_config(), CoreConfig::default());
    }

    #[test]
    fn every_key_accepts_its_default_and_has_its_own_flag_and_a_sentence() {
        let mut flags: Vec<&str> = KEYS.iter().map(Key::flag).collect();
        flags.sort();
        flags.dedup();
        assert_eq!(flags.len(), KEYS.len());
        for key in KEYS {
            assert!((key.accepts)(key.default), "{}", key.name);
            assert!(key.documentation.trim_end().ends_with('.'), "{}", key.name);
        }
    }

    fn given(key: &Key, text: &str) -> Result<Effective, SettingsError> {
        resolve(None, |_| None, |flag| (flag == key.flag()).then(|| text.to_owned()))
    }

    #[test]
    fn each_number_is_accepted_from_its_least_to_its_greatest_and_refused_beyond_by_name_with_its_span() {
        for key in KEYS {
            let is_number = key.kind == TomlKind::Integer || key.form.contains("a number");
            assert_eq!(key.span.is_some(), is_number, "{} and its span", key.name);
            let Some((min, max)) = key.span else { continue };
            for good in [min.to_string(), max.to_string(), format!("00{min}")] {
                given(key, &good).unwrap_or_else(|error| panic!("{good}: {error}")).settings();
            }
            // However it is written: the number counts.
            let below = min.checked_sub(1).map_or("-1".to_owned(), |below| format!("00{below}"));
            for bad in [below, (max + 1).to_string(), "99999999999999999999999".into(), "NaN".into(), "1 ".into()] {
                let error = given(key, &bad).expect_err(key.name).to_string();
                let parts = [key.name, key.flag(), &bad, &format!("from {min} to {max}")];
                assert!(parts.iter().all(|part| error.contains(part)), "{error}");
            }
        }
    }

    #[test]
    fn greatest_numbers_are_those_of_the_contract_and_of_the_library() {
        let max = |name| KEYS.iter().find(|key| key.name == name).and_then(|key| key.span).expect("a number").1;
        assert_eq!(max("media.workers"), WORKERS_MAX as u64);
        assert_eq!(max("media.legs_max"), (WORKERS_MAX * LEGS_PER_WORKER_MAX) as u64);
        // A longer one would panic at each client that connects.
        assert!(max("limits.session_queue_max") <= tokio::sync::Semaphore::MAX_PERMITS as u64);
    }
}
