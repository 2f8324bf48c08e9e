//! Session receipts ("Receipt Generation").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// How a channel stands after a request. `units` times `unit_price` is what
/// this request cost; `spent` is the channel's total.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionReceipt {
    pub method: String,
    pub intent: String,
    pub status: String,
    /// RFC 3339.
    pub timestamp: String,
    /// The channel id.
    pub reference: String,
    pub challenge_id: String,
    pub channel_id: String,
    /// Base units.
    pub accepted_cumulative: String,
    /// Base units.
    pub spent: String,
    /// Units delivered by this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub units: Option<u64>,
    /// Base units per unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit_price: Option<String>,
    /// Of an on-chain settlement or close.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tx_hash: Option<String>,
}

impl SessionReceipt {
    /// The JSON of a `payment-receipt` event.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a receipt is plain strings")
    }

    /// The value of the `Payment-Receipt` header.
    #[must_use]
    pub fn to_header(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.to_json())
    }
}
