//! Session receipts ("Receipt Generation").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Balance of a channel after a request. `units` times `unit_price` is the price of
/// this request; `spent` is the channel's total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReceipt {
    pub method: String,
    pub intent: String,
    pub status: String,
    /// Moment of the receipt, RFC 3339.
    pub timestamp: String,
    /// Channel id.
    pub reference: String,
    pub challenge_id: String,
    pub channel_id: String,
    /// Highest amount accepted, in base units.
    pub accepted_cumulative: String,
    /// Amount spent on the channel, in base units.
    pub spent: String,
    /// Number of units delivered by this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    /// Number of those that the prompt cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt_units: Option<u64>,
    /// Price of one unit, in base units.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<String>,
    /// Hash of a transaction that opened, topped up or closed the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
}

impl SessionReceipt {
    /// Returns the JSON of a `payment-receipt` event.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a receipt is plain strings")
    }

    /// Returns the value of the `Payment-Receipt` header.
    #[must_use]
    pub fn to_header(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_json())
    }
}
