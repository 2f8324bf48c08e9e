//! Vouchers: checked, then kept and credited by the [queue](super::voucher_queue).

use super::state::Channel;
use super::voucher_queue::{VerifiedVoucher, VoucherOutcome};
use super::{ChannelError, Channels};
use crate::id::Timestamp;
use crate::payments::methods::tempo::session::{Descriptor, SignedVoucher, VoucherError};

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
        self.limiter.take(voucher.channel, now).map_err(|limited| ChannelError::TooOften(limited.wait_ms))?;
        let presented = VerifiedVoucher { voucher: voucher.clone(), now, is_fresh: false };
        match self.vouchers.take(presented.clone()).await? {
            VoucherOutcome::Stale(channel) => {
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
        let presented = VerifiedVoucher { voucher: voucher.clone(), now, is_fresh: true };
        accepted(self.vouchers.take(presented).await?)
    }
}

fn accepted(outcome: VoucherOutcome) -> Result<Channel, ChannelError> {
    match outcome {
        VoucherOutcome::VoucherEffect(channel) => {
            metrics::counter!("farebox_vouchers_total").increment(1);
            Ok(*channel)
        }
        VoucherOutcome::ChannelRefusal(refused) => Err(refused.into()),
        VoucherOutcome::Stale(_) => Err(ChannelError::Unavailable("the chain")),
    }
}
