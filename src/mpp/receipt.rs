//! Receipts (draft-httpauth-payment-00, "Payment-Receipt Header").

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// What a payer gets for a settled charge. Beyond the draft's fields it says
/// what was bought at which price, so that the amount can be checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// Always `success`: a receipt exists only for a settled payment.
    pub status: String,
    pub method: String,
    pub intent: String,
    /// RFC 3339 time of settlement.
    pub timestamp: String,
    /// Transaction hash; for a zero-amount proof the challenge id.
    pub reference: String,
    pub challenge_id: String,
    /// Base units of `currency`.
    pub amount: String,
    pub currency: String,
    pub chain_id: u64,
    /// How many units were bought (requests, for a one-time charge).
    pub units: String,
    /// Base units per unit.
    pub unit_price: String,
}

impl Receipt {
    /// The value of the `Payment-Receipt` header.
    #[must_use]
    pub fn to_header(&self) -> String {
        let json = serde_json::to_vec(self).expect("a receipt is plain strings");
        URL_SAFE_NO_PAD.encode(json)
    }
}
