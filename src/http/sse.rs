//! Server-sent events of a metered stream. Model output is JSON of our own
//! writing, one line each, so it cannot pose as an event.

use std::fmt::Write as _;

use axum::body::Bytes;
use serde_json::json;

use super::error::{OpenAiError, OpenAiErrorBody};
use crate::meter::{ChannelBalance, StreamEnd, StreamSummary};
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;

/// Writes chunks of the answer, an event each.
pub fn data(chunks: &[Bytes]) -> Bytes {
    let length = chunks.iter().map(|json| json.len() + 8).sum();
    let mut frames = Vec::with_capacity(length);
    for json in chunks {
        frames.extend_from_slice(b"data: ");
        frames.extend_from_slice(json);
        frames.extend_from_slice(b"\n\n");
    }
    frames.into()
}

/// Comment that keeps an idle connection open.
pub const PING: Bytes = Bytes::from_static(b": ping\n\n");

/// The end of every stream of chat completions.
pub const DONE: &str = "data: [DONE]\n\n";

/// Writes the request for a voucher (draft-tempo-session-00, "Insufficient Balance During Streaming").
pub fn need_voucher(channel: ChannelId, required: Money, balance: &ChannelBalance) -> Bytes {
    let event = json!({
        "channelId": channel.to_string(),
        "requiredCumulative": required.to_base_units(),
        "acceptedCumulative": balance.accepted.to_base_units(),
        "deposit": balance.deposit.to_base_units(),
    });
    format!("event: payment-need-voucher\ndata: {event}\n\n").into()
}

/// Writes an error as an event.
pub fn error(error: &OpenAiError) -> String {
    let json = serde_json::to_string(error).expect("plain data is valid JSON");
    format!("data: {json}\n\n")
}

/// Writes the last frames: the usage, if it was asked for, the error, if there was one, then the receipt, then
/// `[DONE]`, at which many clients stop reading.
pub fn end(summary: &StreamSummary, receipt: &str) -> Bytes {
    let usage = data(summary.usage_chunk.as_slice());
    let mut frames = String::from_utf8_lossy(&usage).into_owned();
    if let Some(message) = error_message(&summary.end) {
        let (kind, code) = ("server_error", summary.end.as_str());
        frames.push_str(&error(&OpenAiError { error: OpenAiErrorBody { message, kind, param: None, code } }));
    }
    let _ = write!(frames, "event: payment-receipt\ndata: {receipt}\n\n{DONE}");
    frames.into()
}

fn error_message(end: &StreamEnd) -> Option<String> {
    let message = match end {
        StreamEnd::Complete | StreamEnd::ClientGone => return None,
        StreamEnd::Upstream(error) => return Some(error.to_string()),
        StreamEnd::NoVoucher => "no voucher came within a minute; what was delivered is paid",
        StreamEnd::OutOfCredit => "the account has no more; what was delivered is paid",
        StreamEnd::KeyEnded => "the API key was revoked or has expired; what was delivered is paid",
        StreamEnd::Superseded => "a newer request on this channel, or its close, ended this stream",
        StreamEnd::LedgerUnavailable => "the ledger cannot be written; what was delivered is paid",
    };
    Some(message.to_owned())
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    #[test]
    fn frames_are_what_clients_read() {
        let balance = ChannelBalance {
            accepted: Money::from_micros(5),
            spent: Money::from_micros(5),
            deposit: Money::from_micros(9),
        };
        let frame = need_voucher(ChannelId(B256::ZERO), Money::from_micros(7), &balance);
        let text = std::str::from_utf8(&frame).expect("UTF-8");
        assert!(text.starts_with("event: payment-need-voucher\ndata: {") && text.ends_with("}\n\n"));
        assert!(text.contains(r#""requiredCumulative":"7""#));
        let summary =
            StreamSummary { end: StreamEnd::NoVoucher, units: 1, balance: Some(balance), usage_chunk: None };
        let text = String::from_utf8(end(&summary, "{}").to_vec()).expect("UTF-8");
        assert!(text.starts_with("data: {\"error\":{\"message\":\"no voucher came"), "{text}");
        assert!(text.contains(r#","type":"server_error","param":null,"code":"no_voucher"}}"#), "{text}");
        let order: Vec<usize> = ["\"error\"", "payment-receipt", "[DONE]"]
            .iter()
            .map(|part| text.find(part).expect("every frame is there"))
            .collect();
        assert!(order.is_sorted());
    }
}
