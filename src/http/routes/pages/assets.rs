//! `/dashboard`: the files that `make dashboard` built, from within the program.

use axum::extract::{Path, State as AppState};
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};

use super::not_found;
use crate::app::App;
use crate::config::Config;
use crate::http::State;
use crate::http::gates::browser::is_dashboard_host;
use crate::http::html::{HtmlPage, protect};

/// A file of the dashboard.
struct Asset {
    /// Below `/dashboard/`.
    path: &'static str,
    media_type: &'static str,
    bytes: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

// `ASSETS`, in the order of their paths; empty where `make dashboard` was not run.
include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// Shell that every address of the dashboard gets.
const SHELL: &str = "index.html";
/// Folder of files whose name changes with their content.
const HASHED: &str = "assets/";

const UNBUILT: &str = "<h1>The dashboard is not built</h1><p>This program was compiled without it. Run <code>make \
                       dashboard</code> and compile again.</p><p>Everything else works.</p>";

fn find(path: &str) -> Option<&'static Asset> {
    ASSETS.binary_search_by(|asset| asset.path.cmp(path)).ok().map(|at| &ASSETS[at])
}

/// Shows the dashboard.
pub async fn page(AppState(app): AppState<State>, uri: axum::http::Uri, headers: HeaderMap) -> Response {
    shell(&app, &uri, &headers)
}

/// Sends a file, or the shell for an address of the dashboard.
pub async fn file(
    AppState(app): AppState<State>,
    Path(path): Path<String>,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> Response {
    let is_file = path.starts_with(HASHED) || path.rsplit('/').next().is_some_and(|name| name.contains('.'));
    match find(&path).filter(|_| path != SHELL) {
        Some(asset) => {
            let policy =
                if path.starts_with(HASHED) { "public, max-age=31536000, immutable" } else { "max-age=300" };
            sent(asset, policy, &headers)
        }
        None if is_file => not_found(AppState(app), uri, headers).await,
        None => shell(&app, &uri, &headers),
    }
}

fn shell(app: &App, uri: &axum::http::Uri, headers: &HeaderMap) -> Response {
    let config = &app.config;
    if !config.dashboard.enabled {
        let body = "<h1>There is no dashboard here</h1><p>This server is for programs.</p>";
        let page = HtmlPage { status: StatusCode::NOT_FOUND, ..HtmlPage::new("No dashboard", body) };
        return page.into_response(config);
    }
    if !is_dashboard_host(config, uri, headers) {
        let location = format!("{}{}", config.dashboard_url(), uri.path());
        return (StatusCode::FOUND, [(LOCATION, location)]).into_response();
    }
    let Some(shell) = find(SHELL) else {
        let page = HtmlPage { status: StatusCode::NOT_FOUND, ..HtmlPage::new("Not built", UNBUILT) };
        return page.into_response(config);
    };
    // Asked for anew each time: it names the files of this very build.
    let mut response = sent(shell, "max-age=0, must-revalidate", headers);
    protect(config, response.headers_mut(), &policy(config));
    response
}

/// Policy of the dashboard: its own files, and requests to this server, whatever hosts its parts have.
fn policy(config: &Config) -> String {
    let (api, own) = (&config.server.public_url, config.dashboard_url());
    let api = if api == own { String::new() } else { format!(" {api}") };
    format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'{api}; \
         form-action 'self'; frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'; trusted-types \
         'none'"
    )
}

/// Sends a file in the best encoding that the client takes.
fn sent(asset: &'static Asset, cache_policy: &'static str, headers: &HeaderMap) -> Response {
    let taken = |coding: &str| {
        let values = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|value| value.split(',')).any(|one| {
            let (name, weight) = one.split_once(';').unwrap_or((one, ""));
            name.trim().eq_ignore_ascii_case(coding) && weight.trim() != "q=0"
        })
    };
    let (coding, bytes) = match (asset.brotli, asset.gzip) {
        (Some(bytes), _) if taken("br") => (Some("br"), bytes),
        (_, Some(bytes)) if taken("gzip") => (Some("gzip"), bytes),
        _ => (None, asset.bytes),
    };
    let mut response = bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(asset.media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static(cache_policy));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(coding) = coding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    }
    response
}
