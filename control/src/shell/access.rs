//! Who may ask: pages of which origin may signal, which names dev mode answers to, and who sees the figures.
//!
//! Dev mode's keys are known to everybody, so what protects it is that only this machine can ask. A browser on this
//! machine asks for any page it shows; therefore dev mode looks at the page's origin (RFC 6454) and, against names that
//! are rebound to 127.0.0.1, at the host it is addressed by.

use super::connections::Remote;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// Web origins that may open `/signal`.
#[derive(Clone, Debug)]
pub struct Origins {
    /// `None`: all, or in dev mode none but those of this machine.
    listed: Option<Arc<[String]>>,
    dev: bool,
}

impl Origins {
    /// `text` is `*` or origins separated by spaces.
    pub fn read(text: &str, dev: bool) -> Origins {
        let listed = (text.trim() != "*").then(|| text.split_whitespace().map(str::to_owned).collect());
        Origins { listed, dev }
    }

    /// Programs that are no browsers send no origin.
    pub fn allow(&self, origin: Option<&HeaderValue>) -> bool {
        let Some(origin) = origin else { return true };
        let is_listed = |listed: &Arc<[String]>| listed.iter().any(|one| one.as_bytes() == origin.as_bytes());
        self.listed.as_ref().map_or(!self.dev, is_listed) || (self.dev && is_of_this_machine(origin))
    }
}

/// `null`, the origin of sandboxed frames and files, could be anybody's.
fn is_of_this_machine(origin: &HeaderValue) -> bool {
    let authority = origin.to_str().ok().and_then(|text| text.split_once("://")).map(|(_, authority)| authority);
    authority.is_some_and(is_loopback_name)
}

/// Middleware of dev mode: answers only who addresses this machine by a name of its own.
pub async fn loopback_hosts_only(request: Request, next: Next) -> Response {
    if host(request.uri(), request.headers()).is_some_and(is_loopback_name) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "dev mode answers to localhost and loopback addresses only\n").into_response()
}

/// HTTP/2 names the host in the request's target (RFC 9113 §8.3.1), HTTP/1.1 in a header.
fn host<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    let header = || headers.get(header::HOST).and_then(|host| host.to_str().ok());
    uri.authority().map(|authority| authority.as_str()).or_else(header)
}

fn is_loopback_name(authority: &str) -> bool {
    let name = match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => authority,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name == "localhost"
        || name.ends_with(".localhost")
        || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Middleware of what is only for this machine.
pub async fn this_machine_only(ConnectInfo(remote): ConnectInfo<Remote>, request: Request, next: Next) -> Response {
    if is_this_machine(remote, request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "only for this machine; for others, set metrics.listen\n").into_response()
}

/// Whether the request was made on this machine, and not passed on by a proxy on it.
pub fn is_this_machine(Remote(remote): Remote, headers: &HeaderMap) -> bool {
    const PASSED_ON: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];
    remote.ip().is_loopback() && !PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn only_listed_origins_connect_and_programs_without_origin_do() {
        let listed = Origins::read("https://app.example https://b.example", false);
        assert!(listed.allow(Some(&origin("https://app.example"))));
        assert!(!listed.allow(Some(&origin("https://app.example.evil"))));
        assert!(!listed.allow(Some(&origin("http://localhost"))));
        assert!(listed.allow(None));
        assert!(Origins::read("*", false).allow(Some(&origin("https://anything"))));
    }

    #[test]
    fn dev_mode_takes_pages_of_this_machine_and_listed_ones() {
        let any = Origins::read("*", true);
        for of_this_machine in
            ["http://localhost:3000", "https://127.0.0.1:8089", "http://[::1]:1", "http://a.localhost"]
        {
            assert!(any.allow(Some(&origin(of_this_machine))), "{of_this_machine}");
        }
        for foreign in ["https://evil.example", "null", "http://localhost.evil.example", "file://", "http://192.0.2.1"]
        {
            assert!(!any.allow(Some(&origin(foreign))), "{foreign}");
        }
        let listed = Origins::read("https://app.example", true);
        assert!(listed.allow(Some(&origin("https://app.example"))) && listed.allow(Some(&origin("http://localhost"))));
    }

    #[test]
    fn only_loopback_names_are_hosts_of_dev_mode() {
        for host in ["localhost", "localhost:8088", "127.0.0.1:1", "[::1]:8088", "[::1]", "127.0.0.5"] {
            assert!(is_loopback_name(host), "{host}");
        }
        for host in ["evil.example", "localhost.evil.example:8088", "127.0.0.1.evil.example", "localhost:evil", ""] {
            assert!(!is_loopback_name(host), "{host}");
        }
    }

    #[test]
    fn request_that_a_proxy_of_this_machine_passes_on_is_not_of_this_machine() {
        let at = |address: &str| Remote(address.parse().expect("an address"));
        let mut headers = HeaderMap::new();
        assert!(is_this_machine(at("127.0.0.1:1"), &headers));
        assert!(!is_this_machine(at("192.0.2.1:1"), &headers));
        headers.insert("x-forwarded-for", origin("203.0.113.9"));
        assert!(!is_this_machine(at("127.0.0.1:1"), &headers));
    }
}
