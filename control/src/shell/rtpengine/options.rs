//! The options of rtpengine 10.5.3, one row each: its names, what it takes, and what it does here.
//!
//! The command line, the configuration file, `--help` and the translation into our settings all read this table, so an
//! option cannot be known to one of them and unknown to another.

use std::fmt;

/// One option.
#[derive(Debug)]
pub struct RelayOption {
    /// Without the dashes; the same word is the key in the configuration file.
    pub name: &'static str,
    pub short: Option<char>,
    pub takes: Takes,
    pub meaning: Meaning,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Value,
    /// May be given several times; in the file, values are separated by `;`.
    Values,
}

/// What becomes of an option here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// The value of this setting of ours.
    Setting(&'static str),
    /// Read by the translation, which says why in its own words.
    Translated(&'static str),
    /// Accepted and without effect, for this reason. All are named in one warning.
    WithoutEffect(Why),
    /// Whoever gives it would miss something: the start is refused, with what to do instead.
    Refused(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    NoKernelModule,
    NotKeptInRedis,
    NoTranscoding,
    NoRecording,
    NoPlayer,
    NotReported,
    NoHttps,
    NoJanus,
    NoEventsOut,
    UnmarkedControl,
    LogsByLevelOnly,
    OwnThreads,
    OwnDtls,
    OwnLearning,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::NoKernelModule => "there is no kernel module to drive; packets are forwarded by pinned threads",
            Why::NotKeptInRedis => "calls are not kept in Redis",
            Why::NoTranscoding => "nothing is transcoded",
            Why::NoRecording => "calls are not recorded",
            Why::NoPlayer => "no media is played",
            Why::NotReported => "figures are served at /metrics, by `statistics` and by --listen-cli only",
            Why::NoHttps => "--listen-https is not served; put a TLS proxy in front of --listen-http",
            Why::NoJanus => "the interface of Janus is not served",
            Why::NoEventsOut => "DTMF is not reported to anybody",
            Why::UnmarkedControl => "answers of the control protocol carry no mark",
            Why::LogsByLevelOnly => "the log goes to standard error in its own format",
            Why::OwnThreads => "threads and their cores are set by --num-threads and the media settings",
            Why::OwnDtls => "the DTLS certificate is ECDSA P-256 with SHA-256, its ciphers are fixed",
            Why::OwnLearning => "packets are checked and forwarded in one way only",
        })
    }
}

const fn flag(name: &'static str, meaning: Meaning) -> RelayOption {
    RelayOption { name, short: None, takes: Takes::Nothing, meaning }
}

const fn value(name: &'static str, meaning: Meaning) -> RelayOption {
    RelayOption { name, short: None, takes: Takes::Value, meaning }
}

const fn values(name: &'static str, meaning: Meaning) -> RelayOption {
    RelayOption { name, short: None, takes: Takes::Values, meaning }
}

impl RelayOption {
    const fn short(mut self, short: char) -> RelayOption {
        self.short = Some(short);
        self
    }
}

use Meaning::{Refused, Setting, Translated, WithoutEffect};
use Why::*;

/// Every option of `rtpengine --help`, in its order of topics.
pub const OPTIONS: &[RelayOption] = &[
    flag("version", Translated("Print the version and the level of compatibility, and exit.")).short('v'),
    flag("codecs", Translated("Print the codecs that are known, and exit.")),
    value("config-file", Translated("Read this file; `none` for none [default: /etc/rtpengine/rtpengine.conf].")),
    value("config-section", Translated("Section of the file [default: rtpengine].")),
    flag("foreground", Translated("Stay in the foreground.")).short('f'),
    value("pidfile", Translated("Write the process id to this file.")).short('p'),
    // What is listened on.
    values(
        "interface",
        Translated(
            "[NAME/]WHAT[!ADVERTISED], where media goes through; WHAT is an address, a host name, a network device or any; several are given one by one or separated by `;`, the first is the default [default: 127.0.0.1].",
        ),
    )
    .short('i'),
    value("listen-ng", Translated("[ADDRESS:]PORT for ng over UDP; loopback when no address is given.")).short('n'),
    value("listen-tcp-ng", Translated("[ADDRESS:]PORT for ng over TCP.")).short('N'),
    value("listen-http", Translated("[ADDRESS:]PORT for ng over HTTP and WebSocket.")),
    value("listen-cli", Translated("[ADDRESS:]PORT for the command line interface.")).short('c'),
    value("listen-https", Refused("put a TLS proxy in front of --listen-http")),
    value("https-cert", WithoutEffect(NoHttps)),
    value("https-key", WithoutEffect(NoHttps)),
    value("listen-udp", Refused("the protocol of rtpproxy is not served; point the proxy at --listen-ng")).short('u'),
    value("listen-tcp", Refused("the old line protocol is not served; point the client at --listen-ng")).short('l'),
    // Ports, limits and times.
    value("port-min", Setting("ng-port-min")).short('m'),
    value("port-max", Setting("ng-port-max")).short('M'),
    value("timeout", Setting("ng-timeout-seconds")).short('o'),
    value("silent-timeout", Setting("ng-silent-timeout-seconds")).short('s'),
    value("final-timeout", Setting("ng-final-timeout-seconds")).short('a'),
    value("offer-timeout", Setting("ng-offer-timeout-seconds")),
    value("delete-delay", Setting("ng-delete-delay-seconds")).short('d'),
    value("tos", Setting("ng-tos")).short('T'),
    value("max-sessions", Translated("Calls at once; -1 for no limit.")),
    value("max-load", Setting("ng-load-max")),
    value("max-cpu", Setting("ng-cpu-percent-max")),
    value("max-bandwidth", Setting("ng-bandwidth-max")),
    value("endpoint-learning", Setting("ng-endpoint-learning")),
    value("num-threads", Setting("media-workers")),
    flag("sip-source", Setting("ng-sip-source")),
    flag("dtls-passive", Setting("ng-dtls-passive")),
    flag("reject-invalid-sdp", Setting("ng-reject-invalid-sdp")),
    value("software-id", Setting("ng-software")),
    value("log-level", Translated("0 to 7 as in syslog(3); 6 is info [default: 6].")).short('L'),
    flag("log-stderr", Translated("Log to standard error in the background too, and not to syslog.")).short('E'),
    // Of the kernel module.
    value("table", WithoutEffect(NoKernelModule)).short('t'),
    flag("no-fallback", WithoutEffect(NoKernelModule)).short('F'),
    value("iptables-chain", WithoutEffect(NoKernelModule)),
    flag("save-interface-ports", WithoutEffect(OwnLearning)).short('S'),
    // Of the log.
    value("log-facility", WithoutEffect(LogsByLevelOnly)),
    value("log-facility-cdr", WithoutEffect(LogsByLevelOnly)),
    value("log-facility-rtcp", WithoutEffect(LogsByLevelOnly)),
    value("log-facility-dtmf", WithoutEffect(LogsByLevelOnly)),
    value("log-level-core", WithoutEffect(LogsByLevelOnly)),
    value("log-level-spandsp", WithoutEffect(LogsByLevelOnly)),
    value("log-level-ffmpeg", WithoutEffect(LogsByLevelOnly)),
    value("log-level-transcoding", WithoutEffect(LogsByLevelOnly)),
    value("log-level-codec", WithoutEffect(LogsByLevelOnly)),
    value("log-level-rtcp", WithoutEffect(LogsByLevelOnly)),
    value("log-level-ice", WithoutEffect(LogsByLevelOnly)),
    value("log-level-crypto", WithoutEffect(LogsByLevelOnly)),
    value("log-level-srtp", WithoutEffect(LogsByLevelOnly)),
    value("log-level-internals", WithoutEffect(LogsByLevelOnly)),
    value("log-level-http", WithoutEffect(LogsByLevelOnly)),
    value("log-level-control", WithoutEffect(LogsByLevelOnly)),
    value("log-level-dtx", WithoutEffect(LogsByLevelOnly)),
    value("log-format", WithoutEffect(LogsByLevelOnly)),
    value("max-log-line-length", WithoutEffect(LogsByLevelOnly)),
    value("log-mark-prefix", WithoutEffect(LogsByLevelOnly)),
    value("log-mark-suffix", WithoutEffect(LogsByLevelOnly)),
    flag("split-logs", WithoutEffect(LogsByLevelOnly)),
    flag("no-log-timestamps", WithoutEffect(LogsByLevelOnly)),
    flag("log-srtp-keys", Refused("keys are never logged")),
    flag("debug-srtp", Refused("keys are never logged")),
    // Of threads.
    value("thread-stack", WithoutEffect(OwnThreads)),
    value("media-num-threads", WithoutEffect(OwnThreads)),
    value("http-threads", WithoutEffect(OwnThreads)),
    flag("poller-per-thread", WithoutEffect(OwnThreads)),
    value("scheduling", WithoutEffect(OwnThreads)),
    value("priority", WithoutEffect(OwnThreads)),
    value("idle-scheduling", WithoutEffect(OwnThreads)),
    value("idle-priority", WithoutEffect(OwnThreads)),
    value("socket-cpu-affinity", WithoutEffect(OwnThreads)),
    // Of Redis.
    values("subscribe-keyspace", WithoutEffect(NotKeptInRedis)).short('k'),
    value("redis", WithoutEffect(NotKeptInRedis)).short('r'),
    value("redis-write", WithoutEffect(NotKeptInRedis)).short('w'),
    value("redis-num-threads", WithoutEffect(NotKeptInRedis)),
    value("redis-expires", WithoutEffect(NotKeptInRedis)),
    flag("no-redis-required", WithoutEffect(NotKeptInRedis)).short('q'),
    value("redis-allowed-errors", WithoutEffect(NotKeptInRedis)),
    value("redis-disable-time", WithoutEffect(NotKeptInRedis)),
    value("redis-cmd-timeout", WithoutEffect(NotKeptInRedis)),
    value("redis-connect-timeout", WithoutEffect(NotKeptInRedis)),
    flag("redis-delete-async", WithoutEffect(NotKeptInRedis)).short('y'),
    value("redis-delete-async-interval", WithoutEffect(NotKeptInRedis)),
    flag("active-switchover", WithoutEffect(NotKeptInRedis)),
    // Of reports to elsewhere.
    value("graphite", WithoutEffect(NotReported)).short('g'),
    value("graphite-interval", WithoutEffect(NotReported)).short('G'),
    value("graphite-prefix", WithoutEffect(NotReported)),
    value("graphite-timeout", WithoutEffect(NotReported)),
    value("homer", WithoutEffect(NotReported)),
    value("homer-protocol", WithoutEffect(NotReported)),
    value("homer-id", WithoutEffect(NotReported)),
    value("b2b-url", WithoutEffect(NotReported)).short('b'),
    value("xmlrpc-format", WithoutEffect(NotReported)).short('x'),
    value("control-tos", WithoutEffect(UnmarkedControl)),
    value("dtmf-log-dest", WithoutEffect(NoEventsOut)),
    flag("dtmf-log-ng-tcp", WithoutEffect(NoEventsOut)),
    flag("dtmf-no-suppress", WithoutEffect(NoPlayer)),
    value("dtmf-digit-delay", WithoutEffect(NoPlayer)),
    value("mos", WithoutEffect(NotReported)),
    value("mqtt-host", WithoutEffect(NotReported)),
    value("mqtt-port", WithoutEffect(NotReported)),
    value("mqtt-id", WithoutEffect(NotReported)),
    value("mqtt-keepalive", WithoutEffect(NotReported)),
    value("mqtt-user", WithoutEffect(NotReported)),
    value("mqtt-pass", WithoutEffect(NotReported)),
    value("mqtt-cafile", WithoutEffect(NotReported)),
    value("mqtt-capath", WithoutEffect(NotReported)),
    value("mqtt-certfile", WithoutEffect(NotReported)),
    value("mqtt-keyfile", WithoutEffect(NotReported)),
    value("mqtt-publish-qos", WithoutEffect(NotReported)),
    value("mqtt-publish-topic", WithoutEffect(NotReported)),
    value("mqtt-publish-interval", WithoutEffect(NotReported)),
    value("mqtt-publish-scope", WithoutEffect(NotReported)),
    value("janus-secret", WithoutEffect(NoJanus)),
    // Of recording, players and transcoding.
    value("recording-dir", WithoutEffect(NoRecording)),
    value("recording-method", WithoutEffect(NoRecording)),
    value("recording-format", WithoutEffect(NoRecording)),
    value("mysql-host", WithoutEffect(NoPlayer)),
    value("mysql-port", WithoutEffect(NoPlayer)),
    value("mysql-user", WithoutEffect(NoPlayer)),
    value("mysql-pass", WithoutEffect(NoPlayer)),
    value("mysql-query", WithoutEffect(NoPlayer)),
    value("jitter-buffer", WithoutEffect(NoTranscoding)),
    flag("jb-clock-drift", WithoutEffect(NoTranscoding)),
    value("dtx-delay", WithoutEffect(NoTranscoding)),
    value("max-dtx", WithoutEffect(NoTranscoding)),
    value("dtx-buffer", WithoutEffect(NoTranscoding)),
    value("dtx-lag", WithoutEffect(NoTranscoding)),
    value("dtx-shift", WithoutEffect(NoTranscoding)),
    values("dtx-cn-params", WithoutEffect(NoTranscoding)),
    value("amr-dtx", WithoutEffect(NoTranscoding)),
    value("silence-detect", WithoutEffect(NoTranscoding)),
    values("cn-payload", WithoutEffect(NoTranscoding)),
    // Of DTLS.
    value("dtls-rsa-key-size", WithoutEffect(OwnDtls)),
    value("dtls-cert-cipher", WithoutEffect(OwnDtls)),
    value("dtls-mtu", WithoutEffect(OwnDtls)),
    value("dtls-ciphers", WithoutEffect(OwnDtls)),
    value("dtls-signature", WithoutEffect(OwnDtls)),
];

/// The option called `name`.
pub fn find(name: &str) -> Option<&'static RelayOption> {
    OPTIONS.iter().find(|option| option.name == name)
}
