//! What a metered route asks for: a price per unit, paid from a channel.

use std::sync::Arc;

use alloy::primitives::Address;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mpp::protocol::core::Base64UrlJson;
use mpp::protocol::methods::tempo::session::{SessionSnapshot, SnapshotVoucher};
use serde_json::{Value, json};

use super::voucher::{ChannelId, Descriptor, SignedVoucher};
use crate::core::{Intent, Method, Offered};
use farebox_types::money::Money;

/// What all session offers of a server have in common.
#[derive(Debug, Clone)]
pub struct SessionTerms {
    pub currency: Address,
    /// The channel's payee.
    pub recipient: Address,
    pub chain_id: u64,
    pub escrow: Address,
    /// May settle and close for the payee; zero when the payee does so itself.
    pub operator: Address,
    /// The least a voucher must add.
    pub min_voucher_delta: Money,
    /// Whether the server pays the network fee of opening and topping up.
    pub sponsored: bool,
}

/// A price per unit, as a challenge carries it (draft-tempo-session-00, "Request Schema").
#[derive(Debug, Clone)]
pub struct SessionOffer {
    unit_price: Money,
    description: Arc<str>,
    request: Value,
    encoded: Arc<str>,
}

/// How a channel stands, for a client that resumes it ("Session Snapshot").
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub channel: ChannelId,
    pub descriptor: Descriptor,
    pub accepted: Money,
    pub spent: Money,
    pub settled: Money,
    pub deposit: Money,
    /// Unix seconds; zero when no close was requested.
    pub close_requested_at: u64,
    /// The highest voucher accepted; clients that lost their state ask for it.
    pub voucher: Option<SignedVoucher>,
}

impl SessionOffer {
    /// An offer of `unit_price` per unit. A deposit is always suggested: clients
    /// without a suggestion lock their maximum.
    #[must_use]
    pub fn new(
        terms: &SessionTerms,
        unit: &str,
        unit_price: Money,
        suggested_deposit: Money,
        description: &str,
    ) -> Self {
        let mut details = json!({
            "chainId": terms.chain_id,
            "escrowContract": format!("{:#x}", terms.escrow),
            "sessionProtocol": "v2",
        });
        if terms.min_voucher_delta.is_positive() {
            details["minVoucherDelta"] = json!(terms.min_voucher_delta.to_base_units());
        }
        if !terms.operator.is_zero() {
            details["operator"] = json!(format!("{:#x}", terms.operator));
        }
        if terms.sponsored {
            details["feePayer"] = json!(true);
        }
        let request = json!({
            "amount": unit_price.to_base_units(),
            "currency": format!("{:#x}", terms.currency),
            "recipient": format!("{:#x}", terms.recipient),
            "suggestedDeposit": suggested_deposit.to_base_units(),
            "unitType": unit,
            "methodDetails": details,
        });
        Self::encode(unit_price, description.into(), request)
    }

    fn encode(unit_price: Money, description: Arc<str>, request: Value) -> Self {
        let encoded = Base64UrlJson::from_value(&request).expect("canonical JSON").raw().into();
        Self { unit_price, description, request, encoded }
    }

    /// The same offer for a client that has a channel already. `least` is what
    /// its next voucher must allow.
    #[must_use]
    pub fn resuming(&self, snapshot: &Snapshot, terms: &SessionTerms, least: Money) -> Self {
        let mut request = self.request.clone();
        if let Some(fields) = request.as_object_mut() {
            fields.remove("suggestedDeposit");
        }
        request["methodDetails"]["channelId"] = json!(snapshot.channel.to_string());
        request["methodDetails"]["sessionSnapshot"] =
            serde_json::to_value(snapshot.to_wire(terms, least)).expect("plain strings are valid JSON");
        Self::encode(self.unit_price, self.description.clone(), request)
    }

    /// What one unit costs.
    #[must_use]
    pub fn unit_price(&self) -> Money {
        self.unit_price
    }

    /// Whether an echoed request of ours has this offer's terms. What differs
    /// between two challenges of one offer is which channel it suggests.
    #[must_use]
    pub fn has_terms_of(&self, echoed: &Value) -> bool {
        let details =
            ["chainId", "escrowContract", "sessionProtocol", "operator", "feePayer", "minVoucherDelta"];
        ["amount", "currency", "recipient", "unitType"].iter().all(|name| self.request[name] == echoed[name])
            && details.iter().all(|name| self.request["methodDetails"][name] == echoed["methodDetails"][name])
    }
}

impl Offered for SessionOffer {
    fn method(&self) -> Method {
        Method::Tempo
    }

    fn intent(&self) -> Intent {
        Intent::Session
    }

    fn encoded_request(&self) -> &Arc<str> {
        &self.encoded
    }

    fn description(&self) -> &Arc<str> {
        &self.description
    }
}

impl Snapshot {
    /// The wire form.
    #[must_use]
    pub fn to_wire(&self, terms: &SessionTerms, least: Money) -> SessionSnapshot {
        SessionSnapshot {
            accepted_cumulative: self.accepted.to_base_units(),
            chain_id: terms.chain_id,
            channel_id: self.channel.to_string(),
            close_requested_at: (self.close_requested_at > 0).then(|| self.close_requested_at.to_string()),
            deposit: self.deposit.to_base_units(),
            descriptor: self.descriptor.to_wire(),
            settlement_route: None,
            escrow: format!("{:#x}", terms.escrow),
            highest_voucher: self.voucher.as_ref().map(|voucher| SnapshotVoucher {
                channel_id: self.channel.to_string(),
                cumulative_amount: voucher.amount.to_base_units(),
                signature: alloy::hex::encode_prefixed(&voucher.signature),
            }),
            required_cumulative: least.to_base_units(),
            settled: self.settled.to_base_units(),
            spent: self.spent.to_base_units(),
            units: None,
        }
    }

    /// The value of the `Payment-Session-Snapshot` header: base64url without
    /// padding. Some clients read standard base64 with padding only; blanks
    /// after the JSON make the two the same text.
    #[must_use]
    pub fn to_header(&self, terms: &SessionTerms, least: Money) -> String {
        let mut wire = serde_json::to_vec(&self.to_wire(terms, least)).expect("plain strings are valid JSON");
        wire.resize(wire.len().next_multiple_of(3), b' ');
        URL_SAFE_NO_PAD.encode(wire)
    }
}
