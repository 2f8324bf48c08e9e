//! Session credentials: open, top up, voucher, close ("Payload Actions").

use mpp::ChallengeEcho;
use mpp::protocol::core::PaymentCredential;
use mpp::protocol::methods::tempo::session::SessionCredentialPayload as Wire;

use super::voucher::{ChannelId, Descriptor, SignedVoucher, VoucherError};
use farebox_types::money::Money;

/// A parsed session credential. Its form has been checked, nothing else.
#[derive(Debug)]
pub struct SessionCredential {
    challenge: ChallengeEcho,
    pub channel: ChannelId,
    pub descriptor: Descriptor,
    pub action: SessionAction,
}

/// Action that a session credential asks for.
#[derive(Debug)]
pub enum SessionAction {
    /// Opens the channel with this transaction, and allows the voucher's amount.
    Open { transaction: String, voucher: SignedVoucher },
    /// Adds to its deposit with this transaction.
    TopUp { transaction: String, additional: Money },
    /// Allows a higher amount.
    Voucher(SignedVoucher),
    /// Captures what was spent and returns the rest. `authorization` is a signature made for the close.
    Close { voucher: SignedVoucher, authorization: Option<String> },
}

impl SessionCredential {
    /// Reads the session payload of a credential whose challenge says `session`.
    ///
    /// # Errors
    /// The field that is missing or malformed; the text quotes no value.
    pub fn parse(credential: &PaymentCredential) -> Result<Self, VoucherError> {
        let wire: Wire =
            credential.payload_as().map_err(|_| VoucherError::Field("payload.action and its fields"))?;
        let (id, descriptor) = match &wire {
            Wire::Open { channel_id, descriptor, .. }
            | Wire::TopUp { channel_id, descriptor, .. }
            | Wire::Voucher { channel_id, descriptor, .. }
            | Wire::Close { channel_id, descriptor, .. } => (channel_id, descriptor),
        };
        let channel: ChannelId = id.parse()?;
        let descriptor = Descriptor::parse(descriptor.as_ref().ok_or(VoucherError::Field("descriptor"))?)?;
        let action = match wire {
            Wire::Open { transaction, cumulative_amount, signature, authorized_signer, .. } => {
                if let Some(signer) = authorized_signer
                    && signer.parse().ok() != Some(descriptor.authorized_signer)
                {
                    return Err(VoucherError::Field("authorizedSigner"));
                }
                let voucher = SignedVoucher::parse(channel, &cumulative_amount, &signature)?;
                SessionAction::Open { transaction, voucher }
            }
            Wire::TopUp { transaction, additional_deposit, .. } => {
                let additional = Money::parse_base_units(&additional_deposit)
                    .map_err(|_| VoucherError::Field("additionalDeposit"))?;
                SessionAction::TopUp { transaction, additional }
            }
            Wire::Voucher { cumulative_amount, signature, .. } => {
                SessionAction::Voucher(SignedVoucher::parse(channel, &cumulative_amount, &signature)?)
            }
            Wire::Close { cumulative_amount, signature, close_signature, .. } => SessionAction::Close {
                voucher: SignedVoucher::parse(channel, &cumulative_amount, &signature)?,
                authorization: close_signature,
            },
        };
        Ok(Self { challenge: credential.challenge.clone(), channel, descriptor, action })
    }

    /// Returns the challenge as the client echoed it: untrusted until verified.
    #[must_use]
    pub fn challenge(&self) -> &ChallengeEcho {
        &self.challenge
    }
}
