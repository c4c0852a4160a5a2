//! `GET /healthz`: 200 while calls can be carried, 503 while they cannot, and why. The why is for this machine and for
//! `metrics.listen`; others get the status alone.

use super::http::App;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

#[derive(Serialize)]
struct Health {
    /// `ok`, `no_dataplane` or `stuck`.
    status: &'static str,
    dataplane_attached: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataplane_process: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trouble: Option<String>,
    workers: Vec<Worker>,
    calls: usize,
    /// Calls whose newest state is not on disk yet.
    store_pending: usize,
}

#[derive(Serialize)]
struct Worker {
    worker: u16,
    address: String,
    core: Option<u16>,
    backend: String,
    backend_reason: String,
}

#[derive(Serialize)]
struct StatusOnly {
    status: &'static str,
}

pub async fn healthz(State(app): State<App>) -> Response {
    let health = look(&app).await;
    (code(health.status), Json(health)).into_response()
}

pub async fn status_only(State(app): State<App>) -> Response {
    let status = look(&app).await.status;
    (code(status), Json(StatusOnly { status })).into_response()
}

fn code(status: &str) -> StatusCode {
    if status == "ok" { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn look(app: &App) -> Health {
    let link = app.link_state.borrow().clone();
    let view = app.look().await;
    let status = match (&view, &link.attached) {
        (None, _) => "stuck",
        (Some(_), None) => "no_dataplane",
        (Some(_), Some(_)) => "ok",
    };
    let workers = link.attached.iter().flat_map(|hello| &hello.workers).map(|worker| Worker {
        worker: worker.worker.0,
        address: worker.addr.to_string(),
        core: worker.core,
        backend: worker.backend.clone(),
        backend_reason: worker.backend_reason.clone(),
    });
    Health {
        status,
        dataplane_attached: link.attached.is_some(),
        dataplane_process: link.attached.as_ref().map(|hello| hello.process_id),
        trouble: link.trouble.clone(),
        workers: workers.collect(),
        calls: view.map_or(0, |view| view.gauges.calls),
        store_pending: app.pending.len(),
    }
}
