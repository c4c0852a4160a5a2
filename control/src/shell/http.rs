//! What is reachable over HTTP: the softphone page, the SDK and its documentation, `/signal`, `/healthz`, `/metrics`,
//! and in dev mode `POST /dev/token`.
//!
//! Files are embedded and looked up by their exact path, so there is no directory to traverse.

use super::connections::{Connections, Remote};
use super::core_loop::{Arrival, CoreView};
use super::dataplane_keeper::LinkState;
use super::dataplane_link::LinkRequest;
use super::session::{self, OpenSessions, SessionLimits};
use super::store::PendingWrites;
use super::{dev_token, health, metrics, pages};
use crate::core::input::SessionId;
use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
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
    /// Web origins that may open `/signal`; `None` for any.
    pub origins: Option<Arc<[String]>>,
    pub connections: Arc<Connections>,
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
}

pub fn router(app: App) -> Router {
    let mut router = Router::new()
        .route("/signal", get(signal))
        .route("/healthz", get(health::healthz))
        .route("/metrics", get(metrics::metrics));
    if app.dev {
        router = router.route("/dev/token", post(dev_token::mint));
    }
    router.fallback(pages::page).layer(middleware::from_fn(security_headers)).with_state(app)
}

async fn signal(
    State(app): State<App>,
    ConnectInfo(Remote(remote)): ConnectInfo<Remote>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !origin_allowed(app.origins.as_deref(), headers.get(header::ORIGIN)) {
        return (StatusCode::FORBIDDEN, "this origin may not connect; see signal.origins\n").into_response();
    }
    let session = SessionId(app.sessions.fetch_add(1, Ordering::Relaxed) + 1);
    let limits = app.session_limits;
    // A message a little over the bound still arrives whole, so that the session can name the reason it is closed for.
    let hard_bound = limits.message_bytes_max.saturating_mul(2);
    upgrade.max_message_size(hard_bound).max_frame_size(hard_bound).on_upgrade(move |socket| async move {
        let _open = app.open_sessions.enter();
        session::serve(socket, session, remote, limits, app.arrivals).await;
    })
}

/// Programs that are no browsers send no origin.
fn origin_allowed(allowed: Option<&[String]>, origin: Option<&HeaderValue>) -> bool {
    match (allowed, origin) {
        (None, _) | (_, None) => true,
        (Some(allowed), Some(origin)) => allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_origins_connect_and_programs_without_origin_do() {
        let allowed = ["https://app.example".to_owned()];
        let origin = |text: &'static str| HeaderValue::from_static(text);
        assert!(origin_allowed(Some(&allowed), Some(&origin("https://app.example"))));
        assert!(!origin_allowed(Some(&allowed), Some(&origin("https://app.example.evil"))));
        assert!(origin_allowed(Some(&allowed), None));
        assert!(origin_allowed(None, Some(&origin("https://anything"))));
    }
}
