//! Receipts (draft-httpauth-payment-00, "Payment Receipt").

use serde::{Deserialize, Serialize};

/// Confirmation of a settled charge. Beyond the draft's fields it says
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
    /// The method's name of the transfer: a transaction hash; for a zero-amount proof the challenge id.
    pub reference: String,
    pub challenge_id: String,
    /// Base units of `currency`.
    pub amount: String,
    pub currency: String,
    /// The chain of the transfer, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain_id: Option<u64>,
    /// Units bought: requests, for a one-time charge.
    pub units: String,
    /// Base units per unit.
    pub unit_price: String,
}
