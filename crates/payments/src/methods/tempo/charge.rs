//! Charges on Tempo (draft-tempo-charge-00): offers and payloads.

use alloy::eips::eip2718::{Decodable2718 as _, Encodable2718 as _};
use alloy::primitives::Address;
use mpp::Base64UrlJson;
use mpp::protocol::core::{PaymentCredential, PaymentPayload};
use mpp::protocol::intents::ChargeRequest;
use mpp::protocol::methods::tempo::{FeePayerEnvelope78, TEMPO_FEE_PAYER_ENVELOPE_TYPE_ID};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tempo_alloy::primitives::AASigned;
use tempo_alloy::primitives::transaction::TempoSignature;

use crate::core::{CredentialError, Identity, Method, Network, Offer, Offered as _, Submission};
use farebox_types::money::Money;
use farebox_types::signature::expand_compact;

/// Submission mode of a charge ("Submission Modes").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SubmissionMode {
    /// The client signs, the server broadcasts.
    Pull,
    /// The client broadcasts and sends the transaction hash.
    Push,
}

impl SubmissionMode {
    /// The wire name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "push",
        }
    }
}

/// Terms that all charges of a server have in common.
#[derive(Debug, Clone)]
pub struct ChargeTerms {
    pub recipient: Address,
    pub chain_id: u64,
    /// Modes accepted when the customer pays its own network fee.
    pub modes: Vec<SubmissionMode>,
}

impl ChargeTerms {
    /// An offer of a charge of `amount` of `currency` ("Request Schema").
    ///
    /// A sponsored charge is pull only: the server must sign the transaction
    /// before it is sent ("Hash Settlement", limitations). `supportedModes` is
    /// left out only when both modes are accepted ("Submission Modes").
    #[must_use]
    pub fn offer(&self, currency: Address, amount: Money, sponsored: bool, description: &str) -> Offer {
        let mut details = json!({ "chainId": self.chain_id });
        if sponsored {
            details["feePayer"] = json!(true);
        }
        let modes: Vec<&str> = if sponsored {
            vec![SubmissionMode::Pull.as_str()]
        } else {
            self.modes.iter().map(|mode| mode.as_str()).collect()
        };
        if modes.len() == 1 && !amount.is_zero() {
            details["supportedModes"] = json!(modes);
        }
        let request = ChargeRequest {
            amount: amount.to_base_units(),
            currency: format!("{currency:#x}"),
            recipient: Some(format!("{:#x}", self.recipient)),
            method_details: Some(details),
            ..ChargeRequest::default()
        };
        let encoded = Base64UrlJson::from_typed(&request).expect("a charge request is canonical JSON");
        Offer {
            method: Method::Tempo,
            network: Network::evm(self.chain_id),
            amount,
            currency: request.currency.into(),
            sponsored,
            description: description.into(),
            request: encoded.raw().into(),
        }
    }
}

/// The charge request of an offer, as the method's verifier reads it; `None` when the offer is not a
/// charge on Tempo.
#[must_use]
pub fn charge_request(offer: &Offer) -> Option<ChargeRequest> {
    let request = Base64UrlJson::from_raw(&**offer.encoded_request());
    (offer.method() == Method::Tempo).then(|| request.decode().ok()).flatten()
}

/// The payload of a charge credential: a signed transaction, a hash or a signature.
///
/// # Errors
/// [`CredentialError::Malformed`].
pub fn charge_payload(credential: &PaymentCredential) -> Result<PaymentPayload, CredentialError> {
    credential.charge_payload().map_err(|_| {
        CredentialError::Malformed("has a payload that is none of `transaction`, `hash` and `proof`")
    })
}

/// Reads the payload of a charge credential ("Credential Schema"), and returns it in the form in which equal payloads
/// are equal texts: `0xAB` and `0xab` are one hash, and a signature is the same one with 0 or 27 as its `v`, and in its
/// compact form. Otherwise a payment that was made would pass for one that was not.
///
/// # Errors
/// [`CredentialError::Malformed`].
pub fn read_charge(credential: &PaymentCredential) -> Result<(Submission, Identity), CredentialError> {
    let payload = charge_payload(credential)?;
    let data = payload.data();
    let bytes = || alloy::hex::decode(data).ok();
    let (submission, canonical) = if payload.is_transaction() {
        (Submission::Pull, bytes().and_then(|bytes| canonical_transaction(&bytes)))
    } else if payload.is_hash() {
        (Submission::Push, bytes())
    } else {
        (Submission::Proof, bytes().and_then(|bytes| canonical_signature(&bytes)))
    };
    // What is none of them is refused later, with a reason.
    let text = data.to_ascii_lowercase();
    let canonical = canonical.map_or_else(|| text.clone(), alloy::hex::encode_prefixed);
    Ok((submission, Identity { canonical, text }))
}

/// The one encoding of a signed transaction, or of one that a sponsor completes.
fn canonical_transaction(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.first() == Some(&TEMPO_FEE_PAYER_ENVELOPE_TYPE_ID) {
        // Of the envelope only what its sender signed: the rest anybody can change.
        let envelope = FeePayerEnvelope78::decode_envelope(bytes).ok()?;
        return Some(envelope.to_recoverable_signed().encoded_2718());
    }
    let mut rest = bytes;
    let transaction = AASigned::decode_2718(&mut rest).ok().filter(|_| rest.is_empty())?;
    Some(transaction.encoded_2718())
}

/// The one encoding of a signature.
fn canonical_signature(bytes: &[u8]) -> Option<Vec<u8>> {
    let expanded = expand_compact(bytes);
    let signature = TempoSignature::from_bytes(expanded.as_ref().map_or(bytes, <[u8; 65]>::as_slice));
    signature.ok().map(|signature| signature.to_bytes().to_vec())
}
