//! The TCP listeners: bound before anything else starts, so that a taken port is the first thing said; closed before
//! anything else ends, so that nobody new comes while we say goodbye.
//!
//! Input: the settings. Output: connections for [`http`], within the bounds of [`Doorkeeper`]. A connection that sends
//! nothing is closed after [`SILENT_MAX`]: until its request is whole, it costs a descriptor and proves nothing.

use super::connections::{Doorkeeper, Remote};
use super::data_dir::DataDir;
use super::fault::Fault;
use super::http::{self, App};
use super::settings::{Settings, TlsListen};
use super::tasks::Tasks;
use super::tls::{self, Certificate};
use axum::Router;
use axum_server::{Handle, Server};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

/// For the first request after the handshake, and for each further head of a request (RFC 9112 §9.5 allows it).
const SILENT_MAX: Duration = Duration::from_secs(10);

/// Where we can be reached, once the ports are known.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reachable {
    pub plain: Option<SocketAddr>,
    pub tls: Option<SocketAddr>,
    /// The listener for figures alone.
    pub metrics: Option<SocketAddr>,
}

/// Bound, not served yet.
pub struct Listeners {
    plain: Option<TcpListener>,
    tls: Option<(TcpListener, Certificate)>,
    metrics: Option<TcpListener>,
    pub silent_max: Duration,
}

/// Ends the serving of new connections.
#[derive(Clone, Debug)]
pub struct Closer(Handle<SocketAddr>);

impl Closer {
    /// Nobody new gets in; requests under way are answered. WebSockets are not touched.
    pub fn close(&self) {
        self.0.graceful_shutdown(None);
    }
}

impl Listeners {
    pub async fn open(settings: &Settings, dir: &DataDir) -> Result<Listeners, Fault> {
        let plain = settings.signal_listen.map(|address| bind("signal.listen", address)).transpose()?;
        let metrics = settings.metrics_listen.map(|address| bind("metrics.listen", address)).transpose()?;
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
        Ok(Listeners { plain, tls, metrics, silent_max: SILENT_MAX })
    }

    pub fn serve(self, app: &App, tasks: &mut Tasks) -> Result<(Reachable, Closer), Fault> {
        let closer = Closer(Handle::new());
        let mut reachable = Reachable::default();
        if let Some(listener) = self.plain {
            reachable.plain = listener.local_addr().ok();
            spawn(tasks, "listener", server(listener, &closer, self.silent_max)?, app, http::router(app.clone()));
        }
        if let Some(listener) = self.metrics {
            reachable.metrics = listener.local_addr().ok();
            spawn(
                tasks,
                "metrics listener",
                server(listener, &closer, self.silent_max)?,
                app,
                http::figures_router(app.clone()),
            );
        }
        if let Some((listener, certificate)) = self.tls {
            reachable.tls = listener.local_addr().ok();
            let doorkeeper = Doorkeeper(app.connections.clone());
            let acceptor = certificate.acceptor().acceptor(doorkeeper);
            let service = http::router(app.clone()).into_make_service_with_connect_info::<Remote>();
            let server = server(listener, &closer, self.silent_max)?.acceptor(acceptor);
            tasks.spawn("TLS listener", async { complain(server.serve(service).await) });
            if let Some(renewal) = certificate.renewal() {
                tasks.spawn("certificate watch", renewal.run());
            }
        }
        Ok((reachable, closer))
    }
}

fn bind(name: &'static str, address: SocketAddr) -> Result<TcpListener, Fault> {
    TcpListener::bind(address).map_err(|source| Fault::Listen { name, address, source })
}

/// One port above; port 0 stays the kernel's choice. Dev mode does without when it is taken.
fn beside(plain: &TcpListener) -> Option<TcpListener> {
    let address = plain.local_addr().ok()?;
    let next = SocketAddr::new(address.ip(), address.port().checked_add(1)?);
    bind("signal.tls_listen", next).ok()
}

fn server(listener: TcpListener, closer: &Closer, silent_max: Duration) -> Result<Server<SocketAddr>, Fault> {
    let server = axum_server::from_tcp(listener).map_err(|source| Fault::Serve { source })?;
    let mut server = server.handle(closer.0.clone()).first_request_timeout(silent_max);
    server.http_builder().http1().header_read_timeout(silent_max);
    server.http_builder().http2().keep_alive_interval(silent_max).keep_alive_timeout(silent_max);
    Ok(server)
}

fn spawn(tasks: &mut Tasks, name: &'static str, server: Server<SocketAddr>, app: &App, router: Router) {
    let server = server.acceptor(Doorkeeper(app.connections.clone()));
    let service = router.into_make_service_with_connect_info::<Remote>();
    tasks.spawn(name, async { complain(server.serve(service).await) });
}

fn complain(served: std::io::Result<()>) {
    if let Err(error) = served {
        tracing::error!(kind = "listener_failed", %error);
    }
}
