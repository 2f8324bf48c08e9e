//! Vouchers: checked, then kept and credited by the [intake](super::intake).

use super::intake::{Outcome, Presented};
use super::state::Channel;
use super::{ChannelError, Channels};
use crate::id::Timestamp;
use crate::mpp::session::{Descriptor, SignedVoucher, VoucherError};

impl Channels {
    /// Accepts a voucher. The signature comes first: before it is good, nothing
    /// of the channel's state is read, told or changed. `descriptor` is the
    /// channel's, as the credential claims; the channel's id proves it.
    ///
    /// # Errors
    /// [`ChannelError`]; a refused voucher changes nothing.
    pub async fn accept(
        &self,
        descriptor: &Descriptor,
        voucher: &SignedVoucher,
        now: Timestamp,
    ) -> Result<Channel, ChannelError> {
        self.check_descriptor(descriptor, voucher.channel)?;
        self.check_signature(descriptor, voucher)?;
        self.vouchers.take(voucher.channel, now).map_err(|often| ChannelError::TooOften(often.wait))?;
        let presented = Presented { voucher: voucher.clone(), now, is_fresh: false };
        match self.intake.take(presented.clone()).await? {
            Outcome::Stale(channel) => {
                self.refresh(&channel, now).await?;
                self.credit(voucher, now).await
            }
            outcome => accepted(outcome),
        }
    }

    pub(super) fn check_signature(
        &self,
        descriptor: &Descriptor,
        voucher: &SignedVoucher,
    ) -> Result<(), VoucherError> {
        voucher.verify(descriptor.signer(), self.terms.escrow, self.terms.chain_id)
    }

    /// Keeps a voucher whose signature is good, of a channel that the chain has
    /// just been asked about, and credits what it adds.
    pub(super) async fn credit(
        &self,
        voucher: &SignedVoucher,
        now: Timestamp,
    ) -> Result<Channel, ChannelError> {
        let presented = Presented { voucher: voucher.clone(), now, is_fresh: true };
        accepted(self.intake.take(presented).await?)
    }
}

fn accepted(outcome: Outcome) -> Result<Channel, ChannelError> {
    match outcome {
        Outcome::Accepted(channel) => {
            metrics::counter!("farebox_vouchers_total").increment(1);
            Ok(*channel)
        }
        Outcome::Refused(refused) => Err(refused.into()),
        Outcome::Stale(_) => Err(ChannelError::Unavailable("the chain")),
    }
}
