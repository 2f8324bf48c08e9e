//! Pages for people, as this server writes them: one style, headers that let nothing else in, and links onwards.

use axum::http::header::{
    ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, STRICT_TRANSPORT_SECURITY, X_FRAME_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::config::Config;

const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
const PERMISSIONS_POLICY: HeaderName = HeaderName::from_static("permissions-policy");
/// Features of browsers that no page here uses.
const NO_FEATURES: &str = "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
                           microphone=(), midi=(), payment=(), usb=()";

/// Writes a text into HTML.
#[must_use]
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A page of this server.
pub struct HtmlPage<'a> {
    pub status: StatusCode,
    /// HTML.
    pub title: &'a str,
    /// HTML of the main part, with its heading.
    pub body: &'a str,
    /// Script that belongs to the page, ours alone.
    pub script: Option<&'static str>,
    /// True for a page that takes the whole width.
    pub is_wide: bool,
}

impl HtmlPage<'_> {
    /// Makes a page that is not found to be anything else: status 200, narrow, without a script.
    #[must_use]
    pub const fn new<'a>(title: &'a str, body: &'a str) -> HtmlPage<'a> {
        HtmlPage { status: StatusCode::OK, title, body, script: None, is_wide: false }
    }

    /// Writes the page as an answer that no cache keeps.
    #[must_use]
    pub fn into_response(self, config: &Config) -> Response {
        let HtmlPage { status, title, body, script, is_wide } = self;
        let product = escape(&config.product.name);
        let style = if is_wide { " class=\"wide\"" } else { "" };
        let dashboard = config.dashboard_link("");
        let dashboard = dashboard.map_or_else(String::new, |to| format!("<a href=\"{to}\">Dashboard</a>"));
        let code = script.map_or_else(String::new, |script| format!("<script>{script}</script>"));
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width, initial-scale=1\"><title>{title} - {product}</title><link rel=\"icon\" \
             href=\"/favicon.svg\" type=\"image/svg+xml\"><link rel=\"stylesheet\" href=\"/site.css\"></head><body>\
             <header class=\"bar\"><a class=\"name\" href=\"/\"><img src=\"/favicon.svg\" alt=\"\">{product}</a>{dashboard}\
             <a href=\"/llms-full.txt\">Reference</a></header><main{style}>{body}</main><footer class=\"bar\">\
             <a href=\"/\">Home</a>{dashboard}<a href=\"/mpp\">Operations and prices</a><a href=\"/openapi-full.json\">\
             OpenAPI</a></footer>{code}</body></html>"
        );
        let mut response = (status, html).into_response();
        let own = script.map_or_else(|| "'none'".into(), |script| format!("'sha256-{}'", hash(script)));
        // A page with a script sends by it.
        let forms = if script.is_some() { "'none'" } else { "'self'" };
        let policy = format!(
            "default-src 'none'; script-src {own}; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action \
             {forms}; frame-ancestors 'none'; base-uri 'none'"
        );
        protect(config, response.headers_mut(), &policy);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

fn hash(script: &str) -> String {
    STANDARD.encode(Sha256::digest(script.as_bytes()))
}

/// Sets the headers of a page: its policy, and what keeps it out of frames and from others' hands.
pub fn protect(config: &Config, headers: &mut HeaderMap, policy: &str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    // Wallets open windows of their own, and answer from there.
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin-allow-popups"));
    headers.insert(PERMISSIONS_POLICY, HeaderValue::from_static(NO_FEATURES));
    if let Ok(policy) = HeaderValue::from_str(policy) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    if config.dashboard_url().starts_with("https://") {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(STRICT_TRANSPORT_SECURITY, year);
    }
}

/// Returns true for a request of a browser that shows a page: programs ask for JSON, or for anything.
#[must_use]
pub fn is_wanted(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}
