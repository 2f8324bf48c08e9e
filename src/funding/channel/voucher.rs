//! Vouchers: verified here, then stored and credited by the [queue](super::voucher_queue).

use super::state::Channel;
use super::voucher_queue::{VerifiedVoucher, VoucherOutcome};
use super::{ChannelError, Channels};
use crate::id::Timestamp;
use crate::payments::methods::tempo::session::{Descriptor, SignedVoucher, VoucherError};

impl Channels {
    /// Accepts a voucher. The signature comes first: before it is good, the
    /// channel's state is neither read, shown nor changed. `descriptor` is the
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
        self.voucher_limiter
            .take(voucher.channel, now)
            .map_err(|limited| ChannelError::TooOften(limited.wait_ms))?;
        let verified = VerifiedVoucher { voucher: voucher.clone(), now, is_fresh: false };
        match self.vouchers.submit(verified).await? {
            VoucherOutcome::Stale(channel) => {
                self.refresh(&channel, now).await?;
                self.credit(voucher, now).await
            }
            outcome => accepted(outcome),
        }
    }

    /// Checks a voucher's signature against the signer of its channel.
    pub(super) fn check_signature(
        &self,
        descriptor: &Descriptor,
        voucher: &SignedVoucher,
    ) -> Result<(), VoucherError> {
        voucher.verify(descriptor.signer(), self.terms.escrow, self.terms.chain_id)
    }

    /// Stores a voucher whose signature is good, of a channel whose state was just
    /// read from the chain, and credits its addition.
    pub(super) async fn credit(
        &self,
        voucher: &SignedVoucher,
        now: Timestamp,
    ) -> Result<Channel, ChannelError> {
        let verified = VerifiedVoucher { voucher: voucher.clone(), now, is_fresh: true };
        accepted(self.vouchers.submit(verified).await?)
    }
}

fn accepted(outcome: VoucherOutcome) -> Result<Channel, ChannelError> {
    match outcome {
        VoucherOutcome::Accepted(channel) => {
            metrics::counter!("farebox_vouchers_total").increment(1);
            Ok(*channel)
        }
        VoucherOutcome::Refused(refusal) => Err(refusal.into()),
        VoucherOutcome::Stale(_) => Err(ChannelError::Unavailable("the chain")),
    }
}
