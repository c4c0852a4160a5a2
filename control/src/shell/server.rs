//! `crosspoint` as a server: opens everything, joins the tasks, waits for a signal, ends in order.
//!
//! ```text
//!   listeners -> http -> session tasks --+
//!   key watch ---------------------------+--Arrival--> core loop --effects--> sessions, link, writer
//!   dataplane keeper <-> Unix socket ----+
//!                          '--NgArrival--> ng relay (its own sockets) --orders--> link
//! ```

use super::access::Origins;
use super::banner;
use super::connections::Connections;
use super::core_loop::{ARRIVALS_MAX, Arrival, CoreLoop};
use super::data_dir::{DataDir, random_bytes};
use super::dataplane_ears::Ears;
use super::dataplane_keeper::{ChildPlan, END_MAX, Keeper, LinkState, NotStarted};
use super::dataplane_link::{EndAsked, EndTold, LinkRequest, Patience, REQUESTS_MAX};
use super::fault::Fault;
use super::http::App;
use super::keys::KeyWatch;
use super::listeners::Listeners;
use super::ng::{self, NgArrival, NgListeners, Relay};
use super::session::{OpenSessions, SessionLimits};
use super::settings::{Effective, Settings};
use super::store::{PendingWrites, SqliteStore, Store, run_writer};
use super::tasks::Tasks;
use crate::core::Core;
use crate::core::input::Input;
use crate::core::metrics::Gauges;
use crosspoint_contract::Generation;
use crosspoint_ng::core::NgCore;
use sd_notify::NotifyState;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Connections beyond the sessions: pages, scrapes, handshakes under way.
const CONNECTIONS_SLACK: usize = 1024;
/// The banner waits this long for a dataplane that somebody else starts, so that it can say which backend it picked.
const BANNER_PATIENCE: Duration = Duration::from_millis(700);
/// Bounds of an orderly end, step by step.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
const FLUSH_MAX: Duration = Duration::from_secs(5);
/// The keeper's own bound, and time for it to be heard.
const DATAPLANE_END_MAX: Duration = END_MAX.saturating_add(Duration::from_millis(300));
/// rtpengine's users, and supervisors, expect this of SIGTERM. Only a store that takes no records may take longer.
const _: () = assert!(GOODBYE_MAX.saturating_add(DATAPLANE_END_MAX).as_millis() < 5000);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Runs until SIGINT or SIGTERM. `plan` starts a dataplane where that is our task. The settings were checked.
pub async fn serve(effective: &Effective, plan: ChildPlan) -> Result<(), Fault> {
    let settings = effective.settings();
    warn_of_media_on_loopback(&settings);
    let signals = Signals::install(settings.is_relay_alone());
    let dir = DataDir::open(&settings.data_dir)?;
    let _lock = dir.lock(settings.dev)?;
    let listeners = Listeners::open(&settings, &dir).await?;
    let ng = NgListeners::open(&settings).await?;
    let ng_reachable = ng.as_ref().map(NgListeners::reachable).unwrap_or_default();
    let _claim = ng::claim(&settings);
    let store = SqliteStore::open(&dir).await?;
    let mut running = start(&settings, &dir, &store, plan, ng).await?;
    let (reachable, closer) = listeners.serve(&running.app, &mut running.tasks)?;
    if let Some(link) = running.ready(signals.first(), effective).await? {
        let has_keys = settings.dev || !store.keys().await?.keys.is_empty();
        banner::print(effective, &reachable, &ng_reachable, link, has_keys);
        tell_supervisor(NotifyState::Ready);
        running.until(signals.first()).await?;
    }
    tell_supervisor(NotifyState::Stopping);
    tracing::info!(kind = "ending", "hanging up; once more to end at once");
    closer.close();
    tokio::select! {
        () = running.end() => {
            running.tasks.end().await;
            store.close().await;
        }
        () = signals.next() => tracing::warn!(kind = "ended_at_once"),
    }
    Ok(())
}

fn warn_of_media_on_loopback(settings: &Settings) {
    let has_clients = !settings.dev && !settings.is_relay_alone();
    if settings.media_listen.is_loopback() && has_clients && settings.media_attach.is_none() {
        tracing::warn!(kind = "media_on_loopback", "only clients of this machine can be heard; set media.listen");
    }
}

/// systemd, for units with Type=notify (sd_notify(3)); nobody else listens.
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(kind = "supervisor_not_told", %error, "NOTIFY_SOCKET cannot be written to");
    }
}

/// What decides whether a dataplane can start, each with where it came from.
fn given(effective: &Effective) -> String {
    let names = ["media.listen", "media.port_base", "media.workers", "media.backend", "media.ports", "ng.interfaces"];
    let given = names.map(|name| {
        let (text, origin) = effective.find(name);
        format!("{name} = {text} ({origin})")
    });
    given.join(", ")
}

struct Running {
    app: App,
    tasks: Tasks,
    link_state: watch::Receiver<LinkState>,
    not_started: oneshot::Receiver<NotStarted>,
    /// Where the dataplane's end is asked for, if it ends with us.
    dataplane_end: Option<mpsc::Sender<EndTold>>,
    /// The ng relay, where it is on.
    relay: Option<mpsc::Sender<NgArrival>>,
}

async fn start(
    settings: &Settings,
    dir: &DataDir,
    store: &SqliteStore,
    plan: ChildPlan,
    ng: Option<NgListeners>,
) -> Result<Running, Fault> {
    let core = Core::new(settings.core_config(), random_bytes()?, dir.node_key()?);
    let pending = Arc::new(PendingWrites::default());
    let (arrivals, arriving) = mpsc::channel(ARRIVALS_MAX);
    let (link, requests) = mpsc::channel(REQUESTS_MAX);
    let (state, link_state) = watch::channel(LinkState::default());
    let (tell_not_started, not_started) = oneshot::channel();

    let (table, key_watch) = KeyWatch::start(store, settings.dev).await?;
    let calls = store.live_calls().await?;
    // The channel is empty and far larger than two.
    let _ = arrivals.try_send(Arrival::Input(Input::KeysChanged(table)));
    let _ = arrivals.try_send(Arrival::Input(Input::Restored { calls }));
    let fresh_keys = key_watch.fresh_keys();
    let mut tasks = Tasks::default();
    tasks.spawn("core", CoreLoop::new(core, arriving, link.clone(), pending.clone()).run());
    tasks.spawn("key watch", key_watch.run(arrivals.clone()));
    tasks.spawn("writer", run_writer(store.clone(), pending.clone()));
    let owns_dataplane = settings.media_attach.is_none();
    let (relay, relay_loop) = match ng {
        Some(listeners) => start_relay(settings, listeners, link.clone(), &mut tasks)?,
        None => (None, None),
    };
    let (ask_end, end_asked) = mpsc::channel(1);
    let keeper = Keeper {
        socket: settings.dataplane_socket(),
        plan: owns_dataplane.then_some(plan),
        settings: settings.clone(),
        generation: Generation(u64::from_le_bytes(random_bytes()?)),
        patience: Patience::default(),
        requests,
        end: EndAsked(end_asked),
        ears: Ears { core: arrivals.clone(), relay: relay.clone() },
        state,
        not_started: Some(tell_not_started),
    };
    match relay_loop {
        Some(relay) => tasks.spawn_on_own_thread("dataplane keeper", "relay", keep(keeper, relay))?,
        None => tasks.spawn("dataplane keeper", keeper.run()),
    }
    let connections = Connections::new(
        settings.limits_sessions_max.saturating_add(CONNECTIONS_SLACK),
        settings.limits_connections_per_address_max,
    );
    let app = App {
        relay: relay.clone(),
        arrivals,
        link,
        link_state: link_state.clone(),
        pending,
        sessions: Arc::default(),
        open_sessions: OpenSessions::default(),
        session_limits: SessionLimits {
            message_bytes_max: settings.limits_message_bytes_max,
            queue_max: settings.limits_session_queue_max,
            frames_per_second_max: settings.limits_frames_per_second_max,
            frames_burst_max: settings.limits_frames_burst_max,
        },
        fresh_keys,
        origins: Origins::read(&settings.signal_origins, settings.dev),
        connections,
        last_reading: Arc::default(),
        dev: settings.dev,
    };
    let dataplane_end = owns_dataplane.then_some(ask_end);
    Ok(Running { app, tasks, link_state, not_started, dataplane_end, relay })
}

/// The ng relay: its listeners and the meter for its limits; its loop, to be run beside the keeper.
fn start_relay(
    settings: &Settings,
    listeners: NgListeners,
    link: mpsc::Sender<LinkRequest>,
    tasks: &mut Tasks,
) -> Result<(Option<mpsc::Sender<NgArrival>>, Option<Relay>), Fault> {
    let (relay, arriving) = mpsc::channel(ng::ARRIVALS_MAX);
    let udp = listeners.serve(&relay, tasks);
    let core = NgCore::new(ng::core_settings(settings), random_bytes()?, ng::now(Duration::ZERO));
    let relay_loop = Relay::new(core, udp, arriving, link.clone());
    tasks.spawn("ng load meter", ng::measure(relay.clone(), link));
    Ok((Some(relay), Some(relay_loop)))
}

/// The keeper and the relay's loop share a thread: an order of the relay leaves, and its answer is taken, without waking
/// another. Each is a task of its own, so that neither uses up the other's turns. The first that ends, ends both.
async fn keep(keeper: Keeper, relay: Relay) {
    let mut both = JoinSet::new();
    both.spawn(relay.run());
    both.spawn(keeper.run());
    if let Some(Err(error)) = both.join_next().await
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

impl Running {
    /// The state of the link once there is a dataplane; one that somebody else starts is given a moment only. `None`: the
    /// signal came first.
    async fn ready(
        &mut self,
        signal: impl Future<Output = ()>,
        effective: &Effective,
    ) -> Result<Option<LinkState>, Fault> {
        let mut state = self.link_state.clone();
        let patience = if self.dataplane_end.is_some() { Duration::MAX } else { BANNER_PATIENCE };
        let attached = async { state.wait_for(|state| state.attached.is_some()).await.is_ok() };
        let fault = tokio::select! {
            biased;
            () = signal => return Ok(None),
            fault = self.tasks.first_end() => fault,
            attached = timeout(patience, attached) => match attached {
                // The keeper is gone; its end follows.
                Ok(false) => self.tasks.first_end().await,
                Ok(true) | Err(_) => return Ok(Some(self.link_state.borrow().clone())),
            },
        };
        // A keeper that could start nothing says why, and ends.
        Err(self.not_started.try_recv().map_or(fault, |why| why.into_fault(given(effective))))
    }

    /// Serves until `signal`. When a task ends before, what is known of calls goes to disk: the dataplane carries them on
    /// and the next server adopts them.
    async fn until(&mut self, signal: impl Future<Output = ()>) -> Result<(), Fault> {
        let fault = tokio::select! {
            () = signal => return Ok(()),
            fault = self.tasks.first_end() => fault,
        };
        let _ = timeout(FLUSH_MAX, self.app.pending.flushed()).await;
        Err(fault)
    }

    /// Calls hung up, clients told, records on disk, the dataplane ended, each step with its bound. A dataplane that is not
    /// ours goes on with its answered calls, and the next server adopts them: an orderly restart costs none of them.
    async fn end(&self) {
        if self.dataplane_end.is_some() {
            tokio::join!(self.end_relay(), self.say_goodbye(Input::ShutDown));
        } else {
            tracing::info!(kind = "leaving", "calls go on in the dataplane; the next server adopts them");
            self.say_goodbye(Input::Leave).await;
        }
        if timeout(FLUSH_MAX, self.app.pending.flushed()).await.is_err() {
            tracing::error!(
                kind = "records_left",
                calls = self.app.pending.len(),
                "the store does not take the last records"
            );
        }
        if let Some(end) = &self.dataplane_end {
            let (told, gone) = oneshot::channel();
            let _ = end.try_send(told);
            if timeout(DATAPLANE_END_MAX, gone).await.is_err() {
                tracing::warn!(
                    kind = "dataplane_left",
                    "the dataplane does not end; its process id is in /healthz and in `ss -xlp`"
                );
            }
        }
    }

    /// Legs of the relay are closed while the link is there to say so.
    async fn end_relay(&self) {
        let Some(relay) = &self.relay else { return };
        let (told, ended) = oneshot::channel();
        if relay.send(NgArrival::ShutDown(told)).await.is_ok() {
            let _ = timeout(GOODBYE_MAX, ended).await;
        }
    }

    /// Returns when the calls that end with us have ended, and no client is left that could change the others.
    async fn say_goodbye(&self, goodbye: Input) {
        let leaves = matches!(goodbye, Input::Leave);
        let _ = self.app.arrivals.send(Arrival::Input(goodbye)).await;
        let hung_up = async {
            let ending = |gauges: Gauges| if leaves { gauges.calls - gauges.calls_answered } else { gauges.calls };
            while self.app.look().await.is_some_and(|view| ending(view.gauges) > 0) {
                sleep(LOOK_INTERVAL).await;
            }
            while self.app.open_sessions.count() > 0 {
                sleep(LOOK_INTERVAL).await;
            }
        };
        if timeout(GOODBYE_MAX, hung_up).await.is_err() {
            tracing::warn!(kind = "clients_left", "some clients did not say goodbye in time");
        }
    }
}

/// Ctrl-C and SIGTERM, counted. A relay in rtpengine's place takes no notice of SIGHUP, as rtpengine: log rotation sends it,
/// and the terminal that it was started from.
struct Signals {
    pressed: watch::Receiver<u32>,
}

impl Signals {
    fn install(ignores_hangup: bool) -> Signals {
        let (count, pressed) = watch::channel(0);
        tokio::spawn(async move {
            // While it is listened to, the signal does nothing else.
            let _hangup = ignores_hangup.then(|| signal(SignalKind::hangup()));
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

    /// A server whose dataplane is somebody else's business.
    async fn running(dir: &DataDir) -> Running {
        let flag = |name: &str| (name == "media-attach").then(|| dir.join("nobody.sock").display().to_string());
        let settings = resolve(None, |_| None, flag).expect("accepted").settings();
        let store = SqliteStore::open(dir).await.expect("a store");
        let plan = ChildPlan { program: "/nonexistent".into(), arguments: vec![] };
        start(&settings, dir, &store, plan, None).await.expect("started")
    }

    #[tokio::test]
    async fn server_ends_with_a_fault_when_a_task_it_lives_by_ends() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = DataDir::open(dir.path()).expect("ours");
        for name in ["core", "writer", "key watch", "dataplane keeper"] {
            let mut running = running(&dir).await;
            running.tasks.abort(name);
            let fault = running.until(std::future::pending()).await.expect_err("it ended").to_string();
            assert!(fault.starts_with(&format!("the {name} ended")), "{fault}");
        }
    }

    #[tokio::test]
    async fn keeper_that_ends_before_a_dataplane_is_there_is_a_fault_and_its_word_is_the_cause() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let dir = DataDir::open(dir.path()).expect("ours");
        let effective = resolve(None, |_| None, |_| None).expect("accepted");
        for word in [None, Some("the port is taken")] {
            let mut running = running(&dir).await;
            // What the keeper held is dropped before its end is seen.
            running.link_state = watch::channel(LinkState::default()).1;
            let (tell, not_started) = oneshot::channel();
            running.not_started = not_started;
            running.tasks.abort("dataplane keeper");
            // The signal is looked at first: the word comes after that look and before the end is taken.
            let mut word_to_tell = word.map(|why| (tell, NotStarted::Ended(why.into())));
            let signal = std::future::poll_fn(|_| {
                if let Some((tell, why)) = word_to_tell.take() {
                    let _ = tell.send(why);
                }
                std::task::Poll::Pending
            });
            let fault = running.ready(signal, &effective).await.map(drop).expect_err("not ready").to_string();
            assert!(fault.contains(word.unwrap_or("the dataplane keeper ended")), "{fault}");
        }
    }
}
