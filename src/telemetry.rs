//! Logs and metrics of the process.
//!
//! Log lines carry a request id and never a credential, key, prompt or
//! signature: nothing in the program formats one.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::{SubscriberInitExt as _, TryInitError};

use crate::config::{LogConfig, LogFormat};

/// Reason logging or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error("log.filter is not a tracing filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error(transparent)]
    Subscriber(#[from] TryInitError),
    #[error(transparent)]
    Metrics(#[from] BuildError),
}

/// Installs the process-wide log subscriber; lines go to standard error.
///
/// # Errors
/// If the filter cannot be read or a subscriber is installed already.
pub fn log(config: &LogConfig) -> Result<(), TelemetryError> {
    // What lopdf says of a broken file quotes the file, and rmcp's lines quote messages: prompts, credentials, results.
    let filter = EnvFilter::try_new(&config.filter)?;
    let filter = filter.add_directive("lopdf=off".parse()?).add_directive("rmcp=off".parse()?);
    // Colours are for a terminal: in a file they are noise, and they cost time.
    let colours = std::io::stderr().is_terminal();
    let lines = tracing_subscriber::fmt::layer().with_ansi(colours).with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry().with(filter);
    match config.format {
        LogFormat::Text => registry.with(lines).try_init()?,
        LogFormat::Json => registry.with(lines.json().flatten_event(true)).try_init()?,
    }
    Ok(())
}

/// Installs the process-wide metrics recorder.
///
/// # Errors
/// If a recorder is installed already.
pub fn metrics() -> Result<PrometheusHandle, TelemetryError> {
    let handle = PrometheusBuilder::new().install_recorder()?;
    for (name, help) in [
        ("farebox_challenges_total", "Unpaid requests answered with challenges."),
        ("farebox_payments_settled_total", "Payments settled."),
        ("farebox_settled_micros_total", "Settled amounts, in millionths of a dollar."),
        ("farebox_payments_denied_total", "Credentials that did not lead to an answer, by code."),
        ("farebox_chain_contradictions_total", "Answers of the node that contradict each other."),
        ("farebox_key_sale_credited_total", "Purchases on the chain that were credited."),
        ("farebox_key_sale_uncredited_total", "Purchases that were refused by the ledger, or held back."),
        (
            "farebox_key_sale_other_logs_total",
            "Times that events of a contract were read that are no purchases.",
        ),
        ("farebox_key_sale_foreign_keys_total", "Keys that are revoked because another wallet bought them."),
        ("farebox_payments_held_back_total", "Charges that the recipient's receive policy holds back."),
        (
            "farebox_channel_settlements_held_back_total",
            "Settlements that the payee's receive policy holds back.",
        ),
        ("farebox_key_sale_taken_ids_total", "Bought keys whose id another key had: credited, no key."),
        ("farebox_key_sale_rewinds_total", "Times that a node left out purchases, or made some up."),
        ("farebox_fetches_total", "Pages and PDFs that were to be read for chat, by outcome."),
        ("farebox_requests_total", "Requests by route and status."),
    ] {
        metrics::describe_counter!(name, help);
    }
    for (name, help) in [
        ("farebox_key_sale_cursor_block", "The first block whose purchases are not read yet."),
        ("farebox_key_sale_lag_blocks", "Blocks that count and are not read yet."),
    ] {
        metrics::describe_gauge!(name, help);
    }
    Ok(handle)
}
