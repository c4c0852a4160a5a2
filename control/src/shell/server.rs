//! `crosspoint` as a server: opens everything, joins the tasks, waits for a signal, ends in order.
//!
//! ```text
//!   listeners -> http -> session tasks --+
//!   key watch ---------------------------+--Arrival--> core loop --effects--> sessions, link, writer
//!   dataplane keeper <-> Unix socket ----+
//! ```

use super::banner;
use super::connections::{Connections, Doorkeeper, Remote};
use super::core_loop::{ARRIVALS_MAX, Arrival, CoreLoop};
use super::data_dir::{DataDir, random_bytes};
use super::dataplane_keeper::{ChildPlan, Keeper, LinkState};
use super::dataplane_link::{LinkRequest, REQUESTS_MAX};
use super::fault::Fault;
use super::http::{self, App};
use super::keys::KeyWatch;
use super::session::{OpenSessions, SessionLimits};
use super::settings::{Effective, Settings, TlsListen};
use super::store::{PendingWrites, SqliteStore, Store, spawn_writer};
use super::tls;
use crate::core::Core;
use crate::core::input::Input;
use crosspoint_contract::Generation;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{sleep, timeout};

/// Connections beyond the sessions: pages, scrapes, handshakes under way.
const CONNECTIONS_SLACK: usize = 1024;
/// The banner waits this long for the dataplane, so that it can say which backend it picked.
const BANNER_PATIENCE: Duration = Duration::from_millis(700);
/// Bounds of an orderly end, step by step.
const HANG_UP_MAX: Duration = Duration::from_secs(2);
const FLUSH_MAX: Duration = Duration::from_secs(5);
const DATAPLANE_END_MAX: Duration = Duration::from_secs(5);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Where we can be reached, once the ports are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reachable {
    pub plain: Option<SocketAddr>,
    pub tls: Option<SocketAddr>,
}

/// Runs until SIGINT or SIGTERM. `plan` starts a dataplane where that is our task.
pub async fn serve(effective: &Effective, plan: ChildPlan) -> Result<(), Fault> {
    let settings = effective.settings();
    refuse_placeholders_off_loopback(&settings)?;
    refuse_unreachable_media(&settings)?;
    let signals = Signals::install();
    let dir = DataDir::open(&settings.data_dir)?;
    let _lock = dir.lock()?;
    let listeners = Listeners::open(&settings, &dir).await?;
    let store = SqliteStore::open(&dir).await?;
    let running = start(&settings, &dir, &store, plan).await?;
    let reachable = listeners.serve(running.app.clone());
    banner::print(&settings, &reachable, running.attached().await);
    signals.first().await;
    tracing::info!(kind = "ending", "hanging up; once more to end at once");
    tokio::select! {
        () = running.end() => store.close().await,
        () = signals.next() => tracing::warn!(kind = "ended_at_once"),
    }
    Ok(())
}

fn refuse_placeholders_off_loopback(settings: &Settings) -> Result<(), Fault> {
    if !settings.dev {
        return Ok(());
    }
    let tls = match settings.signal_tls_listen {
        TlsListen::At(address) => Some(address.ip()),
        TlsListen::Auto | TlsListen::Off => None,
    };
    let addresses = [
        ("signal.listen", settings.signal_listen.map(|address| address.ip())),
        ("signal.tls_listen", tls),
        ("media.listen", Some(settings.media_listen)),
        ("media.advertise", settings.media_advertise),
    ];
    let exposed = addresses.into_iter().find_map(|(name, ip)| ip.filter(|ip| !ip.is_loopback()).map(|ip| (name, ip)));
    match exposed {
        Some((name, ip)) => Err(Fault::PlaceholderKeysOffLoopback { name, value: ip.to_string() }),
        None => Ok(()),
    }
}

/// A client cannot send to 0.0.0.0, so somebody must say which address it is.
fn refuse_unreachable_media(settings: &Settings) -> Result<(), Fault> {
    let any_address = settings.media_listen.is_unspecified() && settings.media_advertise.is_none();
    if any_address && settings.media_attach.is_none() {
        let why = format!("media.listen is {} and no address is advertised to clients", settings.media_listen);
        return Err(Fault::Combination { why, next: "--media-advertise ADDRESS, the one that clients reach" });
    }
    if settings.media_listen.is_loopback() && !settings.dev && settings.media_attach.is_none() {
        tracing::warn!(kind = "media_on_loopback", "only clients of this machine can be heard; set media.listen");
    }
    Ok(())
}

/// Sockets that are bound before anything else starts, so that a taken port is the first thing said.
struct Listeners {
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, axum_server::tls_rustls::RustlsConfig)>,
}

impl Listeners {
    async fn open(settings: &Settings, dir: &DataDir) -> Result<Listeners, Fault> {
        let plain = settings.signal_listen.map(|address| bind("signal.listen", address)).transpose()?;
        let wanted = match (settings.signal_tls_listen, &plain) {
            (TlsListen::At(address), _) => Some(bind("signal.tls_listen", address)?),
            (TlsListen::Auto, Some(plain)) if settings.dev => beside(plain),
            (TlsListen::Auto | TlsListen::Off, _) => None,
        };
        let tls = match wanted {
            Some(listener) => {
                let ip = listener.local_addr().map_or(settings.media_listen, |address| address.ip());
                tls::certificate(settings, dir, ip).await?.map(|certificate| (listener, certificate))
            }
            None => None,
        };
        if plain.is_none() && tls.is_none() {
            let why = "neither signal.listen nor signal.tls_listen names an address".to_owned();
            return Err(Fault::Combination { why, next: "--signal-tls-listen 0.0.0.0:443" });
        }
        Ok(Listeners { plain, tls })
    }

    fn serve(self, app: App) -> Reachable {
        let doorkeeper = Doorkeeper(app.connections.clone());
        let service = http::router(app).into_make_service_with_connect_info::<Remote>();
        let mut reachable = Reachable::default();
        if let Some(listener) = self.plain {
            reachable.plain = listener.local_addr().ok();
            match axum_server::from_tcp(listener) {
                Ok(server) => drop(tokio::spawn(server.acceptor(doorkeeper.clone()).serve(service.clone()))),
                Err(error) => tracing::error!(kind = "listener_failed", %error),
            }
        }
        if let Some((listener, certificate)) = self.tls {
            reachable.tls = listener.local_addr().ok();
            match axum_server::from_tcp_rustls(listener, certificate) {
                Ok(server) => drop(tokio::spawn(server.map(|tls| tls.acceptor(doorkeeper)).serve(service))),
                Err(error) => tracing::error!(kind = "listener_failed", %error),
            }
        }
        reachable
    }
}

fn bind(name: &'static str, address: SocketAddr) -> Result<TcpListener, Fault> {
    let bind = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| Fault::Listen { name, address, source })
}

/// One port above; port 0 stays the kernel's choice. Dev mode does without when it is taken.
fn beside(plain: &TcpListener) -> Option<TcpListener> {
    let address = plain.local_addr().ok()?;
    let next = SocketAddr::new(address.ip(), address.port().checked_add(1)?);
    bind("signal.tls_listen", next).ok()
}

struct Running {
    app: App,
    link_state: watch::Receiver<LinkState>,
    /// Whether the dataplane ends with us.
    owns_dataplane: bool,
}

async fn start(settings: &Settings, dir: &DataDir, store: &SqliteStore, plan: ChildPlan) -> Result<Running, Fault> {
    let core = Core::new(settings.core_config(), random_bytes()?, dir.node_key()?);
    let pending = Arc::new(PendingWrites::default());
    let (arrivals, arriving) = mpsc::channel(ARRIVALS_MAX);
    let (link, requests) = mpsc::channel(REQUESTS_MAX);
    let (state, link_state) = watch::channel(LinkState::default());

    let (table, key_watch) = KeyWatch::start(store, settings.dev).await?;
    let calls = store.live_calls().await?;
    // The channel is empty and far larger than two.
    let _ = arrivals.try_send(Arrival::Input(Input::KeysChanged(table)));
    let _ = arrivals.try_send(Arrival::Input(Input::Restored { calls }));
    tokio::spawn(CoreLoop::new(core, arriving, link.clone(), pending.clone()).run());
    tokio::spawn(key_watch.run(arrivals.clone()));
    spawn_writer(store.clone(), pending.clone());
    let owns_dataplane = settings.media_attach.is_none();
    let keeper = Keeper {
        socket: settings.dataplane_socket(),
        plan: owns_dataplane.then_some(plan),
        settings: settings.clone(),
        generation: Generation(u64::from_le_bytes(random_bytes()?)),
        requests,
        arrivals: arrivals.clone(),
        state,
    };
    tokio::spawn(keeper.run());
    let connections = Connections::new(
        settings.limits_sessions_max.saturating_add(CONNECTIONS_SLACK),
        settings.limits_connections_per_address_max,
    );
    let app = App {
        arrivals,
        link,
        link_state: link_state.clone(),
        pending,
        sessions: Arc::default(),
        open_sessions: OpenSessions::default(),
        session_limits: SessionLimits {
            message_bytes_max: settings.limits_message_bytes_max,
            queue_max: settings.limits_session_queue_max.max(1),
        },
        origins: origins(&settings.signal_origins),
        connections,
        last_reading: Arc::default(),
        dev: settings.dev,
    };
    Ok(Running { app, link_state, owns_dataplane })
}

fn origins(text: &str) -> Option<Arc<[String]>> {
    (text.trim() != "*").then(|| text.split_whitespace().map(str::to_owned).collect())
}

impl Running {
    /// The state of the link, after giving the dataplane a moment to come up.
    async fn attached(&self) -> LinkState {
        let mut state = self.link_state.clone();
        let _ = timeout(BANNER_PATIENCE, state.wait_for(|state| state.attached.is_some())).await;
        state.borrow().clone()
    }

    /// Calls hung up, clients told, records on disk, the dataplane ended if it is ours. Each step has its bound.
    async fn end(&self) {
        let _ = self.app.arrivals.send(Arrival::Input(Input::ShutDown)).await;
        let hung_up = async {
            while self.app.look().await.is_some_and(|view| view.gauges.calls > 0) {
                sleep(LOOK_INTERVAL).await;
            }
            while self.app.open_sessions.count() > 0 {
                sleep(LOOK_INTERVAL).await;
            }
        };
        if timeout(HANG_UP_MAX, hung_up).await.is_err() {
            tracing::warn!(kind = "clients_left", "some clients did not say goodbye in time");
        }
        if timeout(FLUSH_MAX, self.app.pending.flushed()).await.is_err() {
            tracing::error!(
                kind = "records_left",
                calls = self.app.pending.len(),
                "the store does not take the last records"
            );
        }
        if self.owns_dataplane {
            let (told, gone) = oneshot::channel();
            let _ = self.app.link.send(LinkRequest::ShutDown(told)).await;
            if timeout(DATAPLANE_END_MAX, gone).await.is_err() {
                tracing::warn!(
                    kind = "dataplane_left",
                    "the dataplane does not end; its process id is in /healthz and in `ss -xlp`"
                );
            }
        }
    }
}

/// Ctrl-C and SIGTERM, counted.
struct Signals {
    pressed: watch::Receiver<u32>,
}

impl Signals {
    fn install() -> Signals {
        let (count, pressed) = watch::channel(0);
        tokio::spawn(async move {
            let (Ok(mut interrupt), Ok(mut terminate)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return std::future::pending().await;
            };
            loop {
                either(&mut interrupt, &mut terminate).await;
                count.send_modify(|count| *count += 1);
            }
        });
        Signals { pressed }
    }

    async fn first(&self) {
        let _ = self.pressed.clone().wait_for(|count| *count >= 1).await;
    }

    async fn next(&self) {
        let _ = self.pressed.clone().wait_for(|count| *count >= 2).await;
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::settings::resolve;

    fn refused(flags: &[(&str, &str)]) -> Option<String> {
        let flag = |name: &str| flags.iter().find(|(flag, _)| *flag == name).map(|(_, text)| (*text).to_owned());
        let settings = resolve(None, |_| None, flag).expect("accepted").settings();
        refuse_placeholders_off_loopback(&settings).err().map(|fault| fault.to_string())
    }

    #[test]
    fn placeholder_keys_are_refused_off_loopback_on_every_listener() {
        for (flag, value) in [
            ("signal-listen", "0.0.0.0:1"),
            ("signal-tls-listen", "192.0.2.1:1"),
            ("media-listen", "0.0.0.0"),
            ("media-advertise", "203.0.113.5"),
        ] {
            let refused = refused(&[(flag, value)]).unwrap_or_else(|| panic!("{flag} {value} was accepted"));
            assert!(refused.contains("crosspoint keys create"), "{refused}");
        }
        assert_eq!(refused(&[]), None);
        assert_eq!(refused(&[("signal-listen", "0.0.0.0:1"), ("dev", "false")]), None);
    }
}
