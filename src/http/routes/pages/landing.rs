//! `/`: what this server is, for people; programs get the index of operations. Made from the configuration alone.

use std::fmt::Write as _;

use axum::extract::State as AppState;
use axum::http::header::VARY;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};

use crate::app::App;
use crate::config::ModelConfig;
use crate::http::State;
use crate::http::error::{self, Code, HttpError};
use crate::http::html::{self, HtmlPage, escape};
use crate::http::routes::discovery;

/// Models that the page lists; the dashboard lists all.
const MAX_MODELS: usize = 12;

/// Shows the landing page to people, and the index of operations to programs.
pub async fn landing(
    AppState(app): AppState<State>,
    headers: HeaderMap,
    documents: discovery::Shared,
) -> Response {
    let mut response = if html::is_wanted(&headers) {
        let body = body(&app);
        let page = HtmlPage { is_wide: true, ..HtmlPage::new("AI calls, paid as you go", &body) };
        page.into_response(&app.config)
    } else {
        discovery::index(documents).await
    };
    response.headers_mut().append(VARY, HeaderValue::from_static("accept"));
    response
}

/// Answers for a path that leads nowhere: a page to people, an error to programs.
pub async fn not_found(AppState(app): AppState<State>, uri: Uri, headers: HeaderMap) -> Response {
    if html::is_wanted(&headers) && error::Shape::of(uri.path()) == error::Shape::Problem {
        let body = "<h1>There is nothing here</h1><p>The address may be mistyped, or the page has moved.</p><p \
                    class=\"actions\"><a class=\"button\" href=\"/\">Go to the start</a></p>";
        let page = HtmlPage { status: StatusCode::NOT_FOUND, ..HtmlPage::new("Not found", body) };
        return page.into_response(&app.config);
    }
    let detail = match error::Shape::of(uri.path()) {
        error::Shape::OpenAi => {
            "there is nothing here: /v1 has chat/completions, models, pii/preview, credits, key and usage"
        }
        error::Shape::Management => {
            "there is nothing here: /api/v1 has keys, billing, channels and models, see /openapi-full.json"
        }
        error::Shape::Oauth => {
            "there is nothing here; /.well-known/oauth-authorization-server has the endpoints"
        }
        error::Shape::Problem => "there is nothing here; GET /mpp lists the operations",
    };
    HttpError::new(Code::NotFound, detail).into_response()
}

fn body(app: &App) -> String {
    let config = &app.config;
    let (name, url) = (escape(&config.product.name), escape(&config.server.public_url));
    let start = config
        .dashboard_link("")
        .map_or_else(String::new, |to| format!("<a class=\"button\" href=\"{to}\">Open the dashboard</a>"));
    let (models, ways) = (models(&config.models), ways(app, &url));
    let preview = config.pii.preview_price.to_dollars();
    format!(
        "<h1>AI calls, paid as you go.</h1><p class=\"lead\">{}</p><p class=\"actions\">{start}<a class=\"button plain\" \
         href=\"#ways\">Three ways in</a></p><h2 id=\"ways\">Three ways in, one ledger</h2><div class=\"cards\">{ways}</div>\
         <h2>Prices</h2>{models}<p class=\"note\">Finding and removing personal data in a text, an image or a PDF costs \
         ${preview} a call. Every charge is recorded before its answer leaves; what fails is free.</p>\
         <h2>For programs</h2><p>{name} describes itself: <a href=\"/mpp\">operations and prices</a>, <a \
         href=\"/openapi.json\">OpenAPI for agents</a>, <a href=\"/openapi-full.json\">all of the API</a>, <a \
         href=\"/llms.txt\">llms.txt</a>, and MCP at <code>{}/mcp</code>.</p>",
        escape(&config.product.description),
        escape(config.mcp_url()),
    )
}

/// Describes the ways to pay, each with a block to copy.
fn ways(app: &App, url: &str) -> String {
    let config = &app.config;
    let model = config.models.first().map_or("MODEL", |model| model.id.as_str());
    let model = escape(model);
    let prefix = escape(&config.keys.prefix);
    let mut cards = String::new();
    let mut card = |title: &str, text: &str, code: &str, link: &str| {
        let _ = write!(
            cards,
            "<section class=\"card\"><h3>{title}</h3><p>{text}</p><pre><code>{code}</code></pre>{link}</section>"
        );
    };
    card(
        "Developers",
        "Prepaid credits and the OpenAI client that you have: change the base URL and the key.",
        &format!(
            "curl {url}/v1/chat/completions \\\n  -H \"Authorization: Bearer {prefix}…\" \\\n  --json '{{\"model\":\"{model}\",\
             \"messages\":[\n    {{\"role\":\"user\",\"content\":\"Hello\"}}]}}'"
        ),
        &config
            .dashboard_link("/keys")
            .map_or_else(String::new, |to| format!("<a href=\"{to}\">Get a key</a>")),
    );
    card(
        "Agents",
        "No account: a wallet on Tempo pays each request over HTTP 402, and streams chunk by chunk.",
        &format!("npx mppx {url}/mpp/pii/preview \\\n  -J '{{\"text\":\"Mail jane@example.com\"}}'"),
        "<a href=\"/mpp\">Operations and prices</a>",
    );
    card(
        "Wallets and coding agents",
        "Buy and manage keys with signatures, or connect Codex and Claude Code by MCP within limits that you sign.",
        &format!(
            "claude mcp add --transport http \\\n  {} {}/mcp",
            slug(&config.product.name),
            escape(config.mcp_url())
        ),
        "<a href=\"/llms-full.txt\">Reference</a>",
    );
    cards
}

/// Returns a number with its thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Returns a name as commands take it.
fn slug(name: &str) -> String {
    let plain = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect::<String>();
    plain.trim_matches('-').to_owned()
}

fn models(models: &[ModelConfig]) -> String {
    if models.is_empty() {
        return "<p>No models are sold here yet.</p>".into();
    }
    let mut rows = String::new();
    for model in models.iter().take(MAX_MODELS) {
        let _ = write!(
            rows,
            "<tr><td><code>{}</code></td><td class=\"number\">${}</td><td class=\"number\">${}</td><td \
             class=\"number\">${}</td><td class=\"number\">{}</td></tr>",
            escape(&model.id),
            model.price_per_million_input.to_dollars(),
            model.price_per_million_output.to_dollars(),
            model.price_per_chunk.to_dollars(),
            grouped(model.context_length),
        );
    }
    let more = models.len().saturating_sub(MAX_MODELS);
    let more = if more > 0 { format!("<p class=\"note\">And {more} more.</p>") } else { String::new() };
    format!(
        "<div class=\"scroll\" role=\"region\" aria-label=\"Prices of models\" tabindex=\"0\"><table><thead><tr><th \
         scope=\"col\">Model</th><th scope=\"col\" class=\"number\">Input, 1M tokens</th><th scope=\"col\" \
         class=\"number\">Output, 1M tokens</th><th scope=\"col\" class=\"number\">A streamed chunk, by channel</th><th \
         scope=\"col\" class=\"number\">Context</th></tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_written_as_people_and_commands_take_them() {
        let numbers = [7, 999, 32_768, 1_000_000].map(grouped);
        assert_eq!(numbers, ["7", "999", "32,768", "1,000,000"]);
        assert_eq!(slug("Pryv"), "pryv");
        assert_eq!(slug("My <AI> shop!"), "my--ai--shop");
    }
}
