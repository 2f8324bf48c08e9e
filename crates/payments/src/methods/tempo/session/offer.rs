//! Session offers: a price per unit, paid from a channel.

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

/// Terms that all session offers of a server share.
#[derive(Debug, Clone)]
pub struct SessionTerms {
    pub currency: Address,
    /// Payee of the channels.
    pub recipient: Address,
    pub chain_id: u64,
    pub escrow: Address,
    /// Account that may settle and close for the payee; zero when the payee does so itself.
    pub operator: Address,
    /// Least amount that a voucher must add to the one before.
    pub min_voucher_delta: Money,
    /// True if the server pays the network fee of opening and topping up.
    pub sponsored: bool,
}

/// A price per unit, in the form of a challenge's request (draft-tempo-session-00, "Request Schema").
#[derive(Debug, Clone)]
pub struct SessionOffer {
    unit_price: Money,
    description: Arc<str>,
    request: Value,
    encoded: Arc<str>,
}

/// Balance of a channel, for a client that resumes it ("Session Snapshot").
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub channel: ChannelId,
    pub descriptor: Descriptor,
    pub accepted: Money,
    pub spent: Money,
    pub settled: Money,
    pub deposit: Money,
    /// Moment of the payer's request to close, in Unix seconds; zero without one.
    pub close_requested_at: u64,
    /// Highest voucher accepted, for clients that lost their state.
    pub voucher: Option<SignedVoucher>,
}

impl SessionOffer {
    /// Returns an offer of `unit_price` per unit. A deposit is always suggested: clients
    /// without a suggestion deposit their maximum.
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

    /// Returns this offer for a client that has a channel already. `least` is the least
    /// amount of its next voucher.
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

    /// Returns this offer for a request whose prompt costs `prompt_units`, with the deposit that is suggested for it.
    #[must_use]
    pub fn for_request(&self, prompt_units: u64, suggested_deposit: Money) -> Self {
        let mut request = self.request.clone();
        request["suggestedDeposit"] = json!(suggested_deposit.to_base_units());
        if prompt_units == 0 {
            return Self::encode(self.unit_price, self.description.clone(), request);
        }
        request["methodDetails"]["promptUnits"] = json!(prompt_units.to_string());
        let description = format!("{}; this prompt costs {prompt_units} more, once", self.description);
        Self::encode(self.unit_price, description.into(), request)
    }

    /// Returns the price of one unit.
    #[must_use]
    pub fn unit_price(&self) -> Money {
        self.unit_price
    }

    /// Returns true if an echoed request has this offer's terms. Two challenges of one
    /// offer may differ in the channel that they suggest.
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
    /// Returns the wire form.
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

    /// Returns the value of the `Payment-Session-Snapshot` header: base64url without
    /// padding. Some clients read padded base64 only; spaces after the JSON make
    /// both forms the same text.
    #[must_use]
    pub fn to_header(&self, terms: &SessionTerms, least: Money) -> String {
        let mut wire = serde_json::to_vec(&self.to_wire(terms, least)).expect("plain strings are valid JSON");
        wire.resize(wire.len().next_multiple_of(3), b' ');
        URL_SAFE_NO_PAD.encode(wire)
    }
}
