//! The embedded web files: the softphone, the SDK, its documentation.
//!
//! Served by exact path with an `ETag`; `no-cache` makes browsers ask each time, so a new binary is seen at once.

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::LazyLock;

/// One embedded file.
struct Page {
    path: &'static str,
    content_type: &'static str,
    contents: &'static [u8],
}

macro_rules! pages {
    ($($path:literal => $file:literal,)+) => {
        &[$(Page {
            path: $path,
            content_type: content_type($file),
            contents: include_bytes!(concat!("../../web/", $file)),
        }),+]
    };
}

const PAGES: &[Page] = pages! {
    "/" => "index.html",
    "/docs" => "docs.html",
    "/style.css" => "style.css",
    "/softphone.js" => "softphone.js",
    "/favicon.svg" => "favicon.svg",
    "/sdk/audio.js" => "sdk/audio.js",
    "/sdk/call.js" => "sdk/call.js",
    "/sdk/crosspoint.d.ts" => "sdk/crosspoint.d.ts",
    "/sdk/crosspoint.js" => "sdk/crosspoint.js",
    "/sdk/device.js" => "sdk/device.js",
    "/sdk/errors.js" => "sdk/errors.js",
    "/sdk/events.js" => "sdk/events.js",
    "/sdk/log.js" => "sdk/log.js",
    "/sdk/media.js" => "sdk/media.js",
    "/sdk/preflight.js" => "sdk/preflight.js",
    "/sdk/signaling.js" => "sdk/signaling.js",
    "/sdk/sounds.js" => "sdk/sounds.js",
    "/sdk/stats.js" => "sdk/stats.js",
};

const fn content_type(file: &str) -> &'static str {
    match file.as_bytes() {
        [.., b'.', b'h', b't', b'm', b'l'] => "text/html; charset=utf-8",
        [.., b'.', b'c', b's', b's'] => "text/css; charset=utf-8",
        [.., b'.', b'd', b'.', b't', b's'] => "application/typescript; charset=utf-8",
        [.., b'.', b'j', b's'] => "text/javascript; charset=utf-8",
        [.., b'.', b's', b'v', b'g'] => "image/svg+xml",
        _ => panic!("a page needs a content type"),
    }
}

/// Of each page, in their order.
static ETAGS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let hex = |page: &Page| digest(&SHA256, page.contents).as_ref()[..12].iter().map(|b| format!("{b:02x}")).collect();
    PAGES.iter().map(hex).map(|hex: String| format!("\"{hex}\"")).collect()
});

/// Everything that no route serves.
pub async fn page(request: Request) -> Response {
    let path = request.uri().path();
    let path = if path.len() > 1 { path.trim_end_matches('/') } else { path };
    let Some(index) = PAGES.iter().position(|page| page.path == path) else {
        return (StatusCode::NOT_FOUND, "not found; the softphone is at /, the SDK's documentation at /docs\n")
            .into_response();
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let (page, etag) = (&PAGES[index], &ETAGS[index]);
    let known = request.headers().get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, page.content_type)], page.contents).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::ETAG, HeaderValue::from_str(etag).expect("hexadecimal digits are a header value"));
    if path.starts_with("/sdk/") {
        // An app's own page imports the SDK from here, as a module, across origins.
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::path::Path;

    #[test]
    fn every_file_of_the_sdk_is_embedded() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("web/sdk");
        let on_disk: BTreeSet<String> = std::fs::read_dir(dir)
            .expect("the web files are beside us")
            .map(|entry| format!("/sdk/{}", entry.expect("readable").file_name().to_string_lossy()))
            .filter(|path| path.ends_with(".js") || path.ends_with(".d.ts"))
            .collect();
        let embedded: BTreeSet<String> =
            PAGES.iter().filter(|page| page.path.starts_with("/sdk/")).map(|page| page.path.to_owned()).collect();
        assert_eq!(embedded, on_disk);
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_found_whatever_is_asked_of_it() {
        for (path, status) in [("/dev/token", StatusCode::NOT_FOUND), ("/", StatusCode::METHOD_NOT_ALLOWED)] {
            let request = Request::post(path).body(axum::body::Body::empty()).expect("a request");
            assert_eq!(page(request).await.status(), status, "{path}");
        }
    }

    #[tokio::test]
    async fn paths_that_climb_find_nothing() {
        for path in ["/sdk/../Cargo.toml", "/..%2f..%2fetc/passwd", "//etc/passwd", "/sdk/"] {
            let request = Request::builder().uri(path).body(axum::body::Body::empty()).expect("a request");
            assert_eq!(page(request).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
    }
}
