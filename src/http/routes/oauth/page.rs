//! Pages of the authorization server. Everything that a client says is escaped, and nothing comes from another host.

use std::fmt::Write as _;
use std::sync::LazyLock;

use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, X_FRAME_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::http::State;
use crate::http::error::HttpError;
use crate::http::html::escape;
use crate::oauth::client::{ClientOrigin, OauthClient};
use crate::oauth::consent::{DEFAULT_DAILY, DEFAULT_DAYS, MAX_DAYS};
use crate::oauth::{AuthorizationRequest, RedirectKind, RedirectUri};

const STYLE: &str = include_str!("consent.css");
const SCRIPT: &str = include_str!("consent.js");

/// Policy of every page: what is in it, and nothing else; in no frame.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; img-src data:; connect-src 'self'; \
         form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
        hash(SCRIPT),
        hash(STYLE)
    )
});

/// Makes a page. `title` and `body` are HTML.
fn page(app: &State, status: StatusCode, title: &str, body: &str) -> Response {
    let product = escape(&app.config.product.name);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\"><title>{title} - {product}</title><link rel=\"icon\" \
         href=\"data:,\"><style>{STYLE}</style></head><body><main><p class=\"product\">{product}</p>\
         <h1>{title}</h1>{body}</main></body></html>"
    );
    let policy = HeaderValue::from_str(&POLICY).expect("ours, and visible ASCII");
    let headers: [(HeaderName, HeaderValue); 4] = [
        (CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (CONTENT_SECURITY_POLICY, policy),
        (X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    (status, headers, html).into_response()
}

/// Page for a link that leads nowhere: there is nobody to redirect to.
pub fn unusable(app: &State, error: &HttpError) -> Response {
    let body = format!(
        "<p>{}.</p><p>Nothing was allowed, and you were not sent on.</p><h2>To try again</h2><p>Go back to the program \
         that opened this page and connect again. If it ends here again, let it forget its login for this server (often \
         called <em>log out</em> or <em>clear authentication</em>), so that it registers anew.</p>",
        escape(&sentence(&error.detail))
    );
    page(app, error.code.status(), "This link cannot be used", &body)
}

/// Page for a request that is refused, of a client that nobody vouches for.
pub fn refused(app: &State, redirect_uri: &RedirectUri, reason: &str, location: &str) -> Response {
    let body = format!(
        "<p>{}.</p><p>Nothing was allowed.</p><p><a href=\"{}\">Go back to {}</a></p>",
        escape(&sentence(reason)),
        escape(location),
        escape(redirect_uri.host())
    );
    page(app, StatusCode::BAD_REQUEST, "This request cannot be granted", &body)
}

/// Page on which a wallet's owner decides. `sealed` is the request, `denied` the URI that says no.
pub fn consent(app: &State, request: &AuthorizationRequest, sealed: &str, denied: &str) -> Response {
    let client = &request.client;
    let name = escape(&client.display_name());
    let mut scopes = String::new();
    for scope in request.scopes.iter() {
        let _ = write!(
            scopes,
            "<label class=\"check\"><input type=\"checkbox\" name=\"scope\" value=\"{0}\" checked> <span>{1} \
             <code>{0}</code></span></label>",
            scope.as_str(),
            scope.description()
        );
    }
    let (daily, total) = (DEFAULT_DAILY.to_dollars(), "");
    let body = format!(
        "{}<form id=\"consent\" autocomplete=\"off\"><input type=\"hidden\" name=\"request\" value=\"{}\">\
         <fieldset><legend>It may</legend>{scopes}</fieldset>\
         <fieldset class=\"limits\"><legend>At the most</legend>\
         <label>Dollars a day <input name=\"daily\" inputmode=\"decimal\" value=\"{daily}\"></label>\
         <label>Dollars in total <input name=\"total\" inputmode=\"decimal\" placeholder=\"no limit\" \
         value=\"{total}\"></label>\
         <label>For how many days <input name=\"days\" type=\"number\" min=\"1\" max=\"{MAX_DAYS}\" \
         value=\"{DEFAULT_DAYS}\" required></label></fieldset>\
         <p class=\"note\">An empty field is no limit. If {name} had access before, this replaces it. You can change or \
         end it at any time with your wallet.</p>\
         <fieldset><legend>Allow it with your wallet</legend><div id=\"wallets\"></div>\
         <p id=\"none\">No wallet was found in this browser. You can sign elsewhere:</p>\
         <details id=\"paste\"><summary>Paste a signature</summary>\
         <label>Wallet address <input name=\"wallet\" placeholder=\"0x…\" spellcheck=\"false\"></label>\
         <button type=\"button\" id=\"show\">Show the message to sign</button>\
         <label>Message, to be signed as it is (EIP-191) <textarea name=\"message\" rows=\"16\" readonly></textarea></label>\
         <label>Signature <textarea name=\"signature\" rows=\"3\" placeholder=\"0x…\" spellcheck=\"false\"></textarea></label>\
         <button type=\"button\" id=\"allow\">Allow</button></details></fieldset></form>\
         <p id=\"status\" role=\"status\" aria-live=\"polite\"></p>\
         <p class=\"other\"><a href=\"{}\">No, do not allow it</a></p>\
         <noscript><p class=\"warning\">Signing needs JavaScript, which this browser does not run.</p></noscript>\
         <script>{SCRIPT}</script>",
        about(client, &request.redirect_uri),
        escape(sealed),
        escape(denied),
    );
    page(app, StatusCode::OK, &format!("Allow {name} to use your account?"), &body)
}

/// Facts about the client, and warnings where nobody vouches for them.
fn about(client: &OauthClient, redirect_uri: &RedirectUri) -> String {
    let name = escape(&client.display_name());
    let (known_by, mut warnings) = match (client.origin, client.document_host()) {
        (ClientOrigin::Document | ClientOrigin::Pinned, Some(host)) => {
            (format!("published by <strong>{}</strong>", escape(&host)), String::new())
        }
        (ClientOrigin::Document | ClientOrigin::Pinned | ClientOrigin::Registered, _) => (
            "registered itself".to_owned(),
            format!(
                "<p class=\"warning\"><strong>Nobody vouches for the name “{name}”.</strong> The program chose it \
                 itself. Allow it only if you started this login just now.</p>"
            ),
        ),
    };
    let receiver = match redirect_uri.kind() {
        RedirectKind::Web => format!("<strong>{}</strong>", escape(redirect_uri.host())),
        RedirectKind::Loopback => {
            warnings.push_str(
                "<p class=\"warning\"><strong>The access goes to a program on this computer.</strong> Go on only if you \
                 started it here, on this computer.</p>",
            );
            format!("a program on this computer ({})", escape(redirect_uri.host()))
        }
        RedirectKind::Application => {
            format!("the application for <strong>{}:</strong> on this device", escape(redirect_uri.host()))
        }
    };
    format!(
        "<dl><dt>Client</dt><dd><strong>{name}</strong>, {known_by}</dd><dt>Goes to</dt><dd>{receiver}</dd></dl>{warnings}"
    )
}

/// Returns a message of an error as the beginning of a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
