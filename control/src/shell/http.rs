//! What is reachable over HTTP: the softphone page, the SDK and its documentation, `/signal`, `/healthz`, `/metrics`,
//! and in dev mode `POST /dev/token`. Who may ask for what is said in [`super::access`].
//!
//! Files are embedded and looked up by their exact path, so there is no directory to traverse.

use super::access::{Origins, is_this_machine, loopback_hosts_only, this_machine_only};
use super::connections::{Connections, Meter, Remote};
use super::core_loop::{Arrival, CoreView};
use super::dataplane_keeper::LinkState;
use super::dataplane_link::LinkRequest;
use super::fresh_keys::FreshKeys;
use super::ng::{NgArrival, NgView};
use super::session::{self, Inlet, OpenSessions, SessionLimits};
use super::store::PendingWrites;
use super::{dev_token, health, metrics, pages};
use crate::core::input::SessionId;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

/// A core that does not answer in this time is reported as it is: stuck.
const LOOK_MAX: Duration = Duration::from_millis(500);

/// What the handlers share.
#[derive(Clone, Debug)]
pub struct App {
    pub arrivals: mpsc::Sender<Arrival>,
    pub link: mpsc::Sender<LinkRequest>,
    pub link_state: watch::Receiver<LinkState>,
    pub pending: Arc<PendingWrites>,
    /// Sessions opened since start; numbers them.
    pub sessions: Arc<AtomicU64>,
    pub open_sessions: OpenSessions,
    pub session_limits: SessionLimits,
    pub fresh_keys: FreshKeys,
    pub origins: Origins,
    pub connections: Arc<Connections>,
    /// The ng relay, where it is on.
    pub relay: Option<mpsc::Sender<NgArrival>>,
    pub last_reading: Arc<metrics::LastReading>,
    pub dev: bool,
}

impl App {
    /// The core's figures, or `None` if it is stuck.
    pub async fn look(&self) -> Option<CoreView> {
        let (reply, view) = oneshot::channel();
        let looked = async {
            self.arrivals.send(Arrival::Look(reply)).await.ok()?;
            view.await.ok()
        };
        timeout(LOOK_MAX, looked).await.ok().flatten()
    }

    /// The ng relay's figures, or `None` if it is off or stuck.
    pub async fn look_at_relay(&self) -> Option<NgView> {
        let (reply, view) = oneshot::channel();
        let looked = async {
            self.relay.as_ref()?.send(NgArrival::Look(reply)).await.ok()?;
            view.await.ok()
        };
        timeout(LOOK_MAX, looked).await.ok().flatten()
    }
}

/// What the signaling listeners serve.
pub fn router(app: App) -> Router {
    let figures = get(metrics::metrics).layer(middleware::from_fn(this_machine_only));
    let mut router =
        Router::new().route("/signal", get(signal)).route("/healthz", get(healthz)).route("/metrics", figures);
    if app.dev {
        router = router.route("/dev/token", post(dev_token::mint));
    }
    router = router.fallback(pages::page);
    if app.dev {
        router = router.layer(middleware::from_fn(loopback_hosts_only));
    }
    router.layer(middleware::from_fn(security_headers)).with_state(app)
}

/// What `metrics.listen` serves, to everybody who reaches it.
pub fn figures_router(app: App) -> Router {
    Router::new().route("/healthz", get(health::healthz)).route("/metrics", get(metrics::metrics)).with_state(app)
}

/// What a socket reads and writes at once, held for as long as it is open. Most messages are below 1 KiB and an SDP is
/// about 7 KiB; the library's 128 KiB each way would be most of what a call costs here.
const SOCKET_BUFFER_BYTES: usize = 4 << 10;

/// Others than this machine learn whether we work, and nothing about how.
async fn healthz(State(app): State<App>, ConnectInfo(remote): ConnectInfo<Remote>, headers: HeaderMap) -> Response {
    if is_this_machine(remote, &headers) {
        health::healthz(State(app)).await
    } else {
        health::status_only(State(app)).await
    }
}

async fn signal(
    State(app): State<App>,
    ConnectInfo(Remote(remote)): ConnectInfo<Remote>,
    Extension(meter): Extension<Arc<Meter>>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !app.origins.allow(headers.get(header::ORIGIN)) {
        return (StatusCode::FORBIDDEN, "this origin may not connect; see signal.origins\n").into_response();
    }
    let session = SessionId(app.sessions.fetch_add(1, Ordering::Relaxed) + 1);
    let limits = app.session_limits;
    // A message a little over the bound still arrives whole, so that the session can name the reason it is closed for.
    let hard_bound = limits.message_bytes_max.saturating_mul(2);
    let upgrade = upgrade
        .max_message_size(hard_bound)
        .max_frame_size(hard_bound)
        .read_buffer_size(SOCKET_BUFFER_BYTES)
        .write_buffer_size(SOCKET_BUFFER_BYTES);
    upgrade.on_upgrade(move |socket| async move {
        let _open = app.open_sessions.enter();
        let inlet = Inlet { arrivals: app.arrivals, fresh_keys: app.fresh_keys, meter };
        session::serve(socket, session, remote, limits, inlet).await;
    })
}

/// The softphone and the documentation load only from here; nothing may frame them or guess their types.
async fn security_headers(request: Request, next: Next) -> Response {
    const HEADERS: [(header::HeaderName, &str); 5] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; media-src 'self' blob: data:; \
             style-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(self)"),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
