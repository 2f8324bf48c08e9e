//! Server-sent events of a metered stream. Model output is JSON of our own
//! writing, one line each, so it cannot pose as an event.

use std::fmt::Write as _;

use axum::body::Bytes;
use serde_json::json;

use crate::meter::{ChannelBalance, StreamEnd, StreamSummary};
use crate::money::Money;
use crate::payments::methods::tempo::session::ChannelId;

/// Chunks of the answer, an event each.
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

/// A sign of life.
pub const PING: Bytes = Bytes::from_static(b": ping\n\n");

/// The end of every stream of chat completions.
pub const DONE: &str = "data: [DONE]\n\n";

/// draft-tempo-session-00, "Insufficient Balance During Streaming".
pub fn need_voucher(channel: ChannelId, required: Money, standing: &ChannelBalance) -> Bytes {
    let event = json!({
        "channelId": channel.to_string(),
        "requiredCumulative": required.to_base_units(),
        "acceptedCumulative": standing.accepted.to_base_units(),
        "deposit": standing.deposit.to_base_units(),
    });
    format!("event: payment-need-voucher\ndata: {event}\n\n").into()
}

/// The last frames: what went wrong, if anything did, then the receipt, then
/// `[DONE]`, at which many clients stop reading.
pub fn end(delivered: &StreamSummary, receipt: &str) -> Bytes {
    let mut frames = String::new();
    if let Some((code, message)) = complaint(&delivered.end) {
        let error =
            json!({ "error": { "message": message, "type": "server_error", "param": null, "code": code } });
        let _ = write!(frames, "data: {error}\n\n");
    }
    let _ = write!(frames, "event: payment-receipt\ndata: {receipt}\n\n{DONE}");
    frames.into()
}

fn complaint(end: &StreamEnd) -> Option<(&'static str, String)> {
    let message = match end {
        StreamEnd::Complete | StreamEnd::ClientGone => return None,
        StreamEnd::Upstream(error) => error.to_string(),
        StreamEnd::NoVoucher => "no voucher came within a minute; what was delivered is paid".to_owned(),
        StreamEnd::OutOfCredit => "the account has no more; what was delivered is paid".to_owned(),
        StreamEnd::KeyEnded => {
            "the API key was revoked or has expired; what was delivered is paid".to_owned()
        }
        StreamEnd::Superseded => {
            "a newer request on this channel, or its close, ended this stream".to_owned()
        }
        StreamEnd::LedgerUnavailable => "the ledger cannot be written; what was delivered is paid".to_owned(),
    };
    Some((end.as_str(), message))
}

#[cfg(test)]
mod tests {
    use alloy::primitives::B256;

    use super::*;

    #[test]
    fn frames_are_what_clients_read() {
        let standing = ChannelBalance {
            accepted: Money::from_micros(5),
            spent: Money::from_micros(5),
            deposit: Money::from_micros(9),
        };
        let frame = need_voucher(ChannelId(B256::ZERO), Money::from_micros(7), &standing);
        let text = std::str::from_utf8(&frame).expect("UTF-8");
        assert!(text.starts_with("event: payment-need-voucher\ndata: {") && text.ends_with("}\n\n"));
        assert!(text.contains(r#""requiredCumulative":"7""#));
        let delivered = StreamSummary { end: StreamEnd::NoVoucher, units: 1, balance: Some(standing) };
        let text = String::from_utf8(end(&delivered, "{}").to_vec()).expect("UTF-8");
        let order: Vec<usize> = ["\"error\"", "payment-receipt", "[DONE]"]
            .iter()
            .map(|part| text.find(part).expect("every frame is there"))
            .collect();
        assert!(order.is_sorted());
    }
}
